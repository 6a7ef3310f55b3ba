//! The IOAPIC behind a unit that remaps interrupts.

use iommu::{Capabilities, GuestAddress};
use vm_memory::Bytes;

use super::*;
use crate::{GuestRam, VtdUnit};

/// An IOAPIC behind a remapping unit that remaps, with a table of two entries, both absent.
struct RemappedBench {
    memory: Arc<GuestRam>,
    unit: Arc<VtdUnit>,
    bench: Bench,
}

const TABLE: u64 = 0x1000;

impl RemappedBench {
    fn new() -> Self {
        let memory = Arc::new(GuestRam::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap());
        let unit = Arc::new(VtdUnit::new(memory.clone(), Capabilities::legacy(48)));
        // The table's address with 32-bit destinations, then SIRTP, then IRE as well.
        unit.write(0xB8, &(TABLE | 1 << 11).to_le_bytes());
        for command in [1_u32 << 24, 1 << 25] {
            unit.write(0x18, &command.to_le_bytes());
        }
        let bench = Bench::behind(Remapping::Unit(unit.clone()));
        Self { memory, unit, bench }
    }

    /// Makes entry 1 present: edge, vector 0x61, processor 2, for `source` alone.
    fn make_present(&self, source: u64) {
        self.memory.write_obj(1 << 18 | source, GuestAddress(TABLE + 24)).unwrap();
        self.memory.write_obj(2_u64 << 32 | 0x61 << 16 | 1, GuestAddress(TABLE + 16)).unwrap();
    }

    /// The reason of the first fault record, which is cleared.
    fn fault(&self) -> Option<u8> {
        let record = 0x228;
        let mut data = [0; 8];
        self.unit.read(record, &mut data);
        let high = u64::from_le_bytes(data);
        self.unit.write(record, &data);
        (high >> 63 != 0).then_some((high >> 32) as u8)
    }
}

#[test]
fn a_remapped_pin_arrives_as_its_table_entry_says() {
    let remapped = RemappedBench::new();
    remapped.make_present(0xF8);
    let bench = &remapped.bench;
    bench.program(16, 1 << 17 | 1 << 16, LEVEL | 16);
    let line = bench.line(16);
    line.set(true);
    let message = MsiMessage { address: 0xFEE0_2000, data: 0x61 };
    assert_eq!(bench.sent.taken(), [message]);
    bench.ioapic.write(offset::EOI, &[16]);
    assert_eq!(bench.sent.taken(), [message]);
}

#[test]
fn a_level_that_is_refused_fills_no_fault_records_and_recovers() {
    let remapped = RemappedBench::new();
    let bench = &remapped.bench;
    bench.program(16, 1 << 17 | 1 << 16, LEVEL | 16);
    let line = bench.line(16);
    line.set(true);
    assert_eq!(remapped.fault(), Some(0x22));
    for _ in 0..10 {
        line.set(true);
        bench.ioapic.eoi(16);
        bench.ioapic.eoi(0x61);
    }
    assert_eq!(remapped.fault(), None);
    assert_eq!(bench.read(0x30) & REMOTE_IRR, 0, "nobody will end it");

    remapped.make_present(0xF8);
    bench.program(16, 1 << 17 | 1 << 16, LEVEL | 16);
    assert_eq!(bench.vectors(), [0x61]);
    assert_eq!(remapped.fault(), None);
}

#[test]
fn the_entry_is_checked_against_the_ioapics_requester_id() {
    let remapped = RemappedBench::new();
    remapped.make_present(0xF9);
    remapped.bench.program(4, 1 << 17 | 1 << 16, 4);
    remapped.bench.line(4).set(true);
    assert_eq!(remapped.fault(), Some(0x26));
    assert!(remapped.bench.sent.taken().is_empty());
}

#[test]
fn a_compatibility_entry_is_refused_behind_a_unit_that_remaps() {
    let remapped = RemappedBench::new();
    remapped.bench.program(4, 0, 0x31);
    remapped.bench.line(4).set(true);
    assert_eq!(remapped.fault(), Some(0x25));
    assert!(remapped.bench.sent.taken().is_empty());
}
