mod several;

use super::*;
use crate::Access;
use crate::spec::registers::{FECTL, FSTS, GSTS, Global, IECTL, IQH, IQT, RTADDR};
use crate::testing::{DATA, Machine, RW, SOURCE, Sent, descriptor};

#[test]
fn reset_brings_back_the_power_on_state() {
    let (machine, table) = Machine::translating();
    machine.enable_interrupts(true);
    machine.map(table, 0x1000, DATA | RW);
    machine.write(FECTL, 0);
    machine.write(IECTL, 0);
    machine.submit(&[descriptor::iotlb_global(), [3, 0]]);
    for iova in 2..5 {
        let _ = machine.translate(iova << 12, Access::Read);
    }
    let request = MsiMessage { address: 0xFEE0_1000, data: 0x41 };
    assert!(machine.remap(SOURCE, request).is_err());
    machine.platform.take();
    machine.unit.reset();
    assert_eq!(machine.platform.take(), [Sent::EntriesChanged(EntryRange::All)]);
    let fresh = Machine::new();
    for offset in (0..0x1000).step_by(4) {
        assert_eq!(machine.read(offset), fresh.read(offset), "{offset:#x}");
    }
    assert_eq!(machine.translate(0x1000, Access::Read), Ok(0x1000));
    assert_eq!(machine.remap(SOURCE, request), Ok(Some(request)));
    // The queue is off, and the ring of records begins at its beginning.
    machine.write(IQT, 16);
    assert_eq!((machine.read(FSTS), machine.read(IQH)), (0, 0));
    machine.enable_translation();
    let _ = machine.translate_as(SourceId(0xFF00), 0, Access::Read);
    assert_eq!(machine.read(FSTS), 2);
}

#[test]
fn after_a_reset_nothing_old_is_remembered() {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, DATA | RW);
    assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
    machine.unit.reset();
    machine.map(table, 0x1000, 0);
    machine.enable_translation();
    assert_eq!(machine.translate(0x1000, Access::Read), Err(0x06));
}

#[test]
fn a_fault_sends_its_event_with_no_lock_held() {
    let (machine, _) = Machine::translating();
    machine.write(FECTL + 4, 0x41);
    machine.write(FECTL + 8, 0xFEE0_1000);
    machine.write(FECTL, 0);
    let unit = Arc::downgrade(&machine.unit);
    machine.platform.on_send(move |_| {
        // All of these would wait for ever.
        let unit = unit.upgrade().unwrap();
        drop(unit.lock_queue());
        unit.dma.drain();
        unit.write(FSTS, &1_u32.to_le_bytes());
    });
    assert_eq!(machine.translate(0x1000, Access::Read), Err(0x06));
    assert_eq!(machine.platform.signals(), [MsiMessage { address: 0xFEE0_1000, data: 0x41 }]);
    machine.submit(&[[3, 0]]);
}

#[test]
fn without_surroundings_events_go_nowhere() {
    let memory = Machine::new().memory;
    let unit = Unit::new(memory, Capabilities::legacy(48));
    unit.write(FECTL, &0_u32.to_le_bytes());
    unit.write(GSTS - 4, &Global::TRANSLATION.bits().to_le_bytes());
    assert!(unit.access(&Request::new(SOURCE, Access::Read), Iova(0), 1, |_, _| ()).is_err());
    assert!(unit.remap(SOURCE, MsiMessage { address: 0xFEE0_0000, data: 0 }, |message| message).is_ok());
}

#[test]
fn an_odd_sized_write_does_nothing() {
    let machine = Machine::new();
    for length in [1, 2, 3, 5, 6, 7, 9, 16] {
        machine.unit.write(RTADDR, &vec![0xFF; length]);
        machine.unit.write(GSTS - 4, &vec![0xFF; length]);
    }
    assert_eq!((machine.read_u64(RTADDR), machine.read(GSTS)), (0, 0));
}

#[test]
fn a_flood_of_faults_fills_the_records_and_no_more() {
    let (machine, _) = Machine::translating();
    machine.write(FECTL, 0);
    for page in 0..100_000 {
        assert!(machine.translate(page << 12, Access::Write).is_err());
    }
    assert_eq!(machine.platform.signals().len(), 1);
    assert_eq!(machine.take_faults().len(), 8);
}

mod effects;
mod properties;
