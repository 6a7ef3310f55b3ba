//! Faults, one after another, while software clears what it likes.

use std::sync::Arc;

use iommu::{Access, Capabilities, MsiMessage, Pasid, Profile, Request, SourceId};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::bits::field;
use crate::event::Messages;
use crate::fault::Record;
use crate::fault_log::FaultLog;
use crate::memory::Memory;
use crate::rig::{FECTL, FSTS, IQA, IQT, IRE, IRTA, QIE, Rig, SIRTP};
use crate::walks::config;

const FEDATA: u64 = 0x3C;
const FEADDR: u64 = 0x40;
const MESSAGE: MsiMessage = MsiMessage { address: 0xFEE0_2000, data: 0x77 };
/// Bus 1 has a context table, without entries; those of odd functions have FPD set.
const BUS: u16 = 0x0100;

#[derive(Clone, Debug)]
enum Step {
    /// A device asks, for itself or for a PASID; nothing of that is allowed.
    Request {
        source: u16,
        pasid: Option<u32>,
        access: Access,
        page: u64,
    },
    /// An interrupt request for an entry that is not there.
    Interrupt {
        source: u16,
        index: u16,
    },
    /// Software clears F of a record.
    Clear(usize),
    ClearAll,
    ClearOverflow,
    /// The queue gets a descriptor that does not exist.
    Break,
    /// Software replaces it and clears IQE.
    Repair,
    /// Software writes IM.
    Mask(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let access = prop_oneof![Just(Access::Read), Just(Access::Write), Just(Access::Atomic)];
    let source = prop_oneof![2 => any::<u16>(), 1 => (0..8_u16).prop_map(|function| BUS + function)];
    let pasid = proptest::option::weighted(0.2, 0..0x10_0000_u32);
    let step = prop_oneof![
        12 => (source.clone(), pasid, access, 0..0x1_0000_u64)
            .prop_map(|(source, pasid, access, page)| Step::Request { source, pasid, access, page }),
        4 => (source, any::<u16>()).prop_map(|(source, index)| Step::Interrupt { source, index }),
        6 => (0..64_usize).prop_map(Step::Clear),
        1 => Just(Step::ClearAll),
        1 => Just(Step::ClearOverflow),
        1 => Just(Step::Break),
        1 => Just(Step::Repair),
        1 => any::<bool>().prop_map(Step::Mask),
    ];
    proptest::collection::vec(step, 0..100)
}

struct Sequence {
    rig: Rig,
    messages: Arc<Messages>,
    log: FaultLog,
    queue: u64,
    tail: u64,
}

impl Sequence {
    fn new(profile: Profile) -> Self {
        let mut memory = Memory::new();
        let (root, contexts, queue) =
            (memory.pages(1, false), memory.pages(1, false), memory.pages(1, false));
        memory.write(root + 16 * u64::from(BUS >> 8), contexts | 1);
        for function in 0..256 {
            memory.write(contexts + 16 * function, (function % 2) << 1);
        }
        // 65536 entries, none of them present.
        let entries = memory.pages(256, true);
        let mut rig = Rig::new(Capabilities::new(profile, 48), memory);
        let messages = Arc::new(Messages::default());
        rig.unit.connect(messages.clone());
        rig.write32(FEDATA, MESSAGE.data);
        rig.write32(FEADDR, MESSAGE.address as u32);
        rig.write32(FECTL, 0);
        rig.translate_with(root);
        rig.write64(IRTA, entries | 15);
        rig.command(SIRTP, 0);
        rig.command(0, IRE);
        rig.write64(IQA, queue);
        rig.command(0, QIE);
        let log = FaultLog::new(rig.caps.fault_record_count() as usize);
        Self { rig, messages, log, queue, tail: 0 }
    }

    /// A descriptor at the tail, or in place of the last.
    fn put(&mut self, at: u64, word: u64) {
        self.rig.memory.write(self.queue + at, word);
        self.rig.memory.write(self.queue + at + 8, 0);
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Request { source, pasid, access, page } => {
                let request = Request { pasid: pasid.map(Pasid), ..Request::new(SourceId(source), access) };
                let disabled = source >> 8 == BUS >> 8 && source & 1 == 1;
                let reason = match (pasid, source >> 8 == BUS >> 8) {
                    (Some(_), _) => 0x31,
                    (None, true) => 0x02,
                    (None, false) => 0x01,
                };
                let address = page << 12 | 0x123;
                prop_assert_eq!(self.rig.access(&request, address, 4), Err(reason));
                if !(disabled && reason == 0x02) {
                    self.log.record(Record::of_memory(&request, address, reason));
                }
            }
            Step::Interrupt { source, index } => {
                let index = u64::from(index);
                let address = 0xFEE0_0010 | (index & 0x7FFF) << 5 | (index >> 15) << 2;
                let outcome =
                    self.rig.unit.remap(SourceId(source), MsiMessage { address, data: 0 }, |message| message);
                prop_assert_eq!(outcome.map_err(|blocked| blocked.reason), Err(0x22));
                self.log.record(Record::of_interrupt(source, index as u16, 0x22));
            }
            Step::Clear(index) => self.clear(index % self.log.records.len()),
            Step::ClearAll => (0..self.log.records.len()).for_each(|index| self.clear(index)),
            Step::ClearOverflow => {
                self.rig.write32(FSTS, 1);
                self.log.clear_overflow();
            }
            Step::Break if !self.log.queue_error => {
                self.put(self.tail, 0);
                self.tail = (self.tail + 16) % 4096;
                self.rig.write64(IQT, self.tail);
                self.log.fail_queue();
            }
            Step::Repair if self.log.queue_error => {
                // A wait that only waits.
                self.put(self.tail.checked_sub(16).unwrap_or(4096 - 16), 5 | 1 << 6);
                self.rig.write32(FSTS, 1 << 4);
                self.log.clear_queue_error();
            }
            Step::Break | Step::Repair => {}
            Step::Mask(masked) => {
                self.rig.write32(FECTL, u32::from(masked) << 31);
                self.log.event.mask(masked);
            }
        }
        Ok(())
    }

    fn clear(&mut self, index: usize) {
        self.rig.write64(self.rig.caps.fault_records() + 16 * index as u64 + 8, 1 << 63);
        self.log.clear_record(index);
    }

    /// Everything that software sees of faults.
    fn check(&self) -> Result<(), TestCaseError> {
        let (status, control) = (self.rig.read32(FSTS), self.rig.read32(FECTL));
        let mut seen = self.log.clone();
        for (index, record) in seen.records.iter_mut().enumerate() {
            let at = self.rig.caps.fault_records() + 16 * index as u64;
            *record = Record::decode(self.rig.read64(at), self.rig.read64(at + 8));
        }
        seen.first = (status & 2 != 0).then_some(field(status.into(), 15, 8) as usize);
        (seen.overflow, seen.queue_error) = (status & 1 != 0, status & 1 << 4 != 0);
        (seen.event.masked, seen.event.pending) = (control >> 31 != 0, control >> 30 & 1 != 0);
        seen.event.sent = self.messages.count(MESSAGE);
        prop_assert_eq!(&seen, &self.log);
        prop_assert_eq!(status & !0xFF13, 0);
        Ok(())
    }
}

proptest! {
    #![proptest_config(config())]

    /// Faults are recorded in turn until there is no room, and tell of themselves once.
    #[test]
    fn faults_are_recorded_in_turn(
        profile in prop_oneof![Just(Profile::Legacy), Just(Profile::SecondStage)],
        steps in steps(),
    ) {
        let mut sequence = Sequence::new(profile);
        for step in &steps {
            sequence.take(step)?;
            sequence.check()?;
        }
    }
}

/// The property above means something: records run out, and come round again.
#[test]
fn fault_cases_come_to_every_end() {
    let mut runner = TestRunner::deterministic();
    let mut seen = [0; 4];
    for _ in 0..200 {
        let mut sequence = Sequence::new(Profile::Legacy);
        let steps = steps().new_tree(&mut runner).unwrap().current();
        for step in &steps {
            let before = sequence.log.clone();
            sequence.take(step).unwrap();
            let log = &sequence.log;
            seen[0] += usize::from(log.overflow && !before.overflow);
            seen[1] += usize::from(log.overflow && log.records.iter().any(Option::is_none));
            seen[2] += usize::from(log.first.is_some_and(|first| first > 0) && before.first.is_none());
            seen[3] += usize::from(log.queue_error && log.is_pending());
        }
    }
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}
