use super::*;
use crate::spec::registers::{EVENT_MASKED, EVENT_PENDING, FECTL, FRCD};
use crate::{Access, Capabilities, Iova, Request};

const CAPABILITIES: Capabilities = Capabilities::legacy(48);
const MESSAGE: MsiMessage = MsiMessage { address: 0x1234_5600_FEE1_2000, data: 0x41 };

struct Reporting {
    registers: Registers,
    faults: FaultReporting,
}

impl Reporting {
    /// With the event set up and not masked.
    fn new() -> Self {
        Self::with(&CAPABILITIES)
    }

    fn with(capabilities: &Capabilities) -> Self {
        let registers = Registers::new(capabilities);
        registers.write(FECTL + 4, MESSAGE.data);
        registers.write(FECTL + 8, MESSAGE.address as u32);
        registers.write(FECTL + 12, (MESSAGE.address >> 32) as u32);
        let reporting = Self { registers, faults: FaultReporting::new(capabilities) };
        assert_eq!(reporting.faults.write_control(&reporting.registers, 0), None);
        reporting
    }

    fn record(&self, page: u64) -> Option<MsiMessage> {
        let info = memory(page << 12, Access::Read);
        self.faults.record(&self.registers, SourceId(0x0113), FaultReason::ReadDenied, info)
    }

    fn mask(&self) {
        assert_eq!(self.faults.write_control(&self.registers, EVENT_MASKED), None);
    }

    fn unmask(&self) -> Option<MsiMessage> {
        self.faults.write_control(&self.registers, 0)
    }

    fn clear_record(&self, index: usize) {
        let last_word = self.faults.record_offset(index) + 12;
        assert!(self.faults.is_last_word(last_word));
        self.faults.write_record(&self.registers, last_word, 1 << 31);
    }

    fn status(&self) -> u32 {
        self.registers.get(FSTS)
    }

    fn record_words(&self, index: u64) -> [u64; 2] {
        let record = self.faults.record_offset(index as usize);
        [0, 8].map(|half| self.registers.get_u64(record + half))
    }

    fn pending(&self) -> bool {
        self.registers.get(FECTL) & EVENT_PENDING != 0
    }
}

#[test]
fn a_record_says_who_wanted_what_and_why_not() {
    let reporting = Reporting::new();
    let source = SourceId(0x0113);
    let record = |reason, info| {
        let _ = reporting.faults.record(&reporting.registers, source, reason, info);
    };
    record(FaultReason::ReadDenied, memory(0x1234_5678_9ABC, Access::Read));
    record(FaultReason::WriteDenied, memory(u64::MAX, Access::Write));
    record(FaultReason::SourceMismatch, FaultInfo::Interrupt(0xABCD));
    assert_eq!(reporting.record_words(0), [0x1234_5678_9000, 0xC000_0006_0000_0113]);
    assert_eq!(reporting.record_words(1), [!0xFFF, 0x8000_0005_0000_0113]);
    assert_eq!(reporting.record_words(2), [0xABCD << 48, 0x8000_0026_0000_0113]);
}

#[test]
fn the_first_fault_raises_the_event_and_further_ones_do_not() {
    let reporting = Reporting::new();
    assert_eq!(reporting.record(1), Some(MESSAGE));
    assert_eq!(reporting.record(2), None);
    assert!(!reporting.pending());
    // All dealt with: the next is a first one again.
    reporting.clear_record(0);
    assert_eq!(reporting.record(3), None);
    reporting.clear_record(1);
    reporting.clear_record(2);
    assert_eq!(reporting.record(4), Some(MESSAGE));
}

#[test]
fn the_status_names_the_first_record_of_a_series() {
    let reporting = Reporting::new();
    let _ = reporting.record(1);
    let _ = reporting.record(2);
    assert_eq!(reporting.status(), 2);
    reporting.clear_record(0);
    assert_eq!(reporting.status(), 2);
    reporting.clear_record(1);
    assert_eq!(reporting.status() & 3, 0);
    let _ = reporting.record(3);
    assert_eq!(reporting.status(), 2 | 2 << 8);
    assert_eq!(reporting.record_words(2)[0], 3 << 12);
}

#[test]
fn a_fault_that_finds_no_room_is_lost_and_that_is_told() {
    let reporting = Reporting::new();
    for page in 0..8 {
        let _ = reporting.record(page);
    }
    assert_eq!(reporting.status(), 2);
    assert_eq!(reporting.record(8), None);
    assert_eq!(reporting.status(), 3);
    // Room alone is not enough: software has to take note of the loss.
    for index in 0..8 {
        reporting.clear_record(index);
    }
    assert_eq!(reporting.status(), 1);
    let _ = reporting.record(9);
    assert_eq!(reporting.status(), 1);
    reporting.faults.write_status(&reporting.registers, 1);
    assert_eq!(reporting.status(), 0);
    assert_eq!(reporting.record(10), Some(MESSAGE));
    assert_eq!(reporting.record_words(0)[0], 10 << 12);
}

#[test]
fn the_ring_is_as_long_as_the_capabilities_say() {
    for records in [1, 2, 14, 15, 256] {
        let builder = Capabilities::builder(crate::Profile::Legacy, 48).fault_records(records);
        let reporting = Reporting::with(&builder.build().unwrap());
        // Twice around, so that every record is the first of a series once.
        for round in 0..2 * records {
            assert_eq!(reporting.record(round as u64), Some(MESSAGE));
            let index = round % records;
            assert_eq!(reporting.status(), 2 | (index as u32) << 8);
            assert_eq!(reporting.record_words(index as u64)[0], (round as u64) << 12);
            reporting.clear_record(index);
            assert_eq!(reporting.status() & 3, 0);
        }
        for page in 0..records {
            let _ = reporting.record(page as u64);
        }
        assert_eq!(reporting.status(), 2);
        let _ = reporting.record(0);
        assert_eq!(reporting.status(), 3);
        assert!(!reporting.faults.is_last_word(reporting.faults.record_offset(records) + 12));
    }
}

#[test]
fn clearing_one_status_bit_leaves_its_neighbours() {
    let reporting = Reporting::new();
    for page in 0..9 {
        let _ = reporting.record(page);
    }
    let _ = reporting.faults.queue_error(&reporting.registers, QueueError::InvalidType);
    let status = reporting.status();
    assert_eq!(status, 1 | 2 | 1 << 4);
    // The summary bit is not software's to clear, nor is a record cleared by a write without its bit.
    assert!(!reporting.faults.write_status(&reporting.registers, 2));
    reporting.faults.write_record(&reporting.registers, FRCD + 12, 0x7FFF_FFFF);
    assert_eq!(reporting.status(), status);
    assert!(!reporting.faults.write_status(&reporting.registers, 1));
    assert_eq!(reporting.status(), 2 | 1 << 4);
    assert!(reporting.faults.write_status(&reporting.registers, 1 << 4));
    assert_eq!(reporting.status(), 2);
    assert!(!reporting.faults.write_status(&reporting.registers, 1 << 4));
}

#[test]
fn clearing_a_record_leaves_the_rest_of_it() {
    let reporting = Reporting::new();
    let _ = reporting.record(1);
    reporting.faults.write_record(&reporting.registers, FRCD + 12, u32::MAX);
    assert_eq!(reporting.record_words(0), [0x1000, 0x4000_0006_0000_0113]);
}

#[test]
fn a_masked_event_waits_until_it_is_unmasked() {
    let reporting = Reporting::new();
    reporting.mask();
    assert_eq!(reporting.record(1), None);
    assert!(reporting.pending());
    // Masking again does not lose it.
    reporting.mask();
    assert_eq!(reporting.unmask(), Some(MESSAGE));
    assert!(!reporting.pending());
    reporting.mask();
    assert_eq!(reporting.unmask(), None);
}

#[test]
fn an_event_that_waits_is_dropped_once_there_is_nothing_to_tell() {
    let reporting = Reporting::new();
    reporting.mask();
    let _ = reporting.record(1);
    let _ = reporting.faults.queue_error(&reporting.registers, QueueError::InvalidType);
    reporting.clear_record(0);
    assert!(reporting.pending());
    reporting.faults.write_status(&reporting.registers, 1 << 4);
    assert!(!reporting.pending());
    assert_eq!(reporting.unmask(), None);
}

#[test]
fn before_software_unmasks_the_event_no_message_is_sent() {
    let reporting =
        Reporting { registers: Registers::new(&CAPABILITIES), faults: FaultReporting::new(&CAPABILITIES) };
    assert_eq!(reporting.record(1), None);
    assert!(reporting.pending());
}

#[test]
fn a_queue_error_is_an_event_only_if_nothing_was_told_before() {
    let reporting = Reporting::new();
    let error = || reporting.faults.queue_error(&reporting.registers, QueueError::TailBeyondQueue);
    assert_eq!(error(), Some(MESSAGE));
    assert_eq!(reporting.registers.get(IQERCD), 1);
    assert_eq!(error(), None);
    assert_eq!(reporting.record(1), None);
}

fn memory(address: u64, access: Access) -> FaultInfo {
    FaultInfo::Memory { iova: Iova(address), request: Request::new(SourceId(0x0113), access) }
}
