//! Second-stage tables of scalable mode: other names for faults, and marks.

use super::*;
use crate::Profile;
use crate::testing::Interposed;
use crate::testing::scalable::{SECOND_ACCESSED, SECOND_DIRTY};

const CAPABILITIES: Capabilities = Capabilities::new(Profile::Full, 57);
const READ: Demand = Demand::new(Access::Read);
const WRITE: Demand = Demand::new(Access::Write);

fn table(root: u64, levels: u8, marks: Marks) -> Table {
    Table::scalable(GuestAddress(root), Level::from_number(levels).unwrap(), &CAPABILITIES, marks)
}

fn walk(machine: &Machine, table: &Table, iova: u64, demand: Demand) -> Result<Leaf, FaultReason> {
    table.walk(&machine.memory, &CAPABILITIES, Iova(iova), demand, None).map(|found| found.leaf)
}

/// A table of four levels with a page at 0x1000, and the entries on the way to it, top first.
fn one_page(entry: u64, marks: Marks) -> (Machine, Table, [u64; 4]) {
    let machine = Machine::new();
    let root = machine.table();
    machine.map(root, 0x1000, entry);
    let way = [4, 3, 2, 1].map(|level| machine.entry(root, 4, 0x1000, Level::from_number(level).unwrap()));
    (machine, table(root, 4, marks), way)
}

#[test]
fn tables_have_three_to_five_levels() {
    for levels in [3, 4, 5] {
        let machine = Machine::new();
        let root = machine.table();
        let iova = (1 << (levels * 9 + 11)) | 0x5A_5000;
        machine.write_memory(machine.entry(root, levels, iova, Level::PAGE), DATA | RW);
        let table = table(root, levels, Marks::Absent);
        assert_eq!(walk(&machine, &table, iova, WRITE).unwrap().guest.0, DATA);
        let beyond = iova | 1 << (levels * 9 + 12);
        assert_eq!(walk(&machine, &table, beyond, WRITE), Err(FaultReason::ScalableBeyondWidth));
    }
}

#[test]
fn faults_have_names_of_their_own() {
    for (entry, read, write) in [
        (0, FaultReason::ScalableSecondStageNotPresent, FaultReason::ScalableSecondStageNotPresent),
        // Reserved bits of an entry that is not present do not count.
        (1 << 62, FaultReason::ScalableSecondStageNotPresent, FaultReason::ScalableSecondStageNotPresent),
        (
            DATA | RW | 1 << 62,
            FaultReason::ScalableSecondStageReserved,
            FaultReason::ScalableSecondStageReserved,
        ),
        (DATA | R | 1 << 62, FaultReason::ScalableSecondStageReserved, FaultReason::ScalableWriteDenied),
        (DATA | W | 1 << 62, FaultReason::ScalableReadDenied, FaultReason::ScalableSecondStageReserved),
        (0xFEE0_0000 | RW, FaultReason::ScalableInterruptRange, FaultReason::ScalableInterruptRange),
        (0xFEEF_F000 | RW, FaultReason::ScalableInterruptRange, FaultReason::ScalableInterruptRange),
    ] {
        let (machine, table, _) = one_page(entry, Marks::Absent);
        assert_eq!(walk(&machine, &table, 0x1000, READ), Err(read), "{entry:#x}");
        assert_eq!(walk(&machine, &table, 0x1000, WRITE), Err(write), "{entry:#x}");
    }
    let (machine, table, way) = one_page(DATA | W, Marks::Absent);
    // Permissions that no two levels share are none.
    machine.write_memory(way[0], machine.read_memory(way[0]) & !W);
    assert_eq!(walk(&machine, &table, 0x1000, READ), Err(FaultReason::ScalableSecondStageNotPresent));
    machine.write_memory(way[2], 1 << 40 | RW);
    assert_eq!(walk(&machine, &table, 0x1000, READ), Err(FaultReason::ScalableSecondStageUnreadable));
    let outside = super::scalable::table(1 << 40, 4, Marks::Absent);
    let found = walk(&machine, &outside, 0x1000, READ);
    assert_eq!(found, Err(FaultReason::ScalableSecondStageTopUnreadable));
}

#[test]
fn entries_are_marked_as_they_are_used() {
    for (demand, dirty) in [(READ, 0), (WRITE, SECOND_DIRTY), (Demand::new(Access::Atomic), SECOND_DIRTY)] {
        let (machine, table, way) = one_page(DATA | RW, Marks::Kept);
        let before = way.map(|at| machine.read_memory(at));
        let leaf = walk(&machine, &table, 0x1000, demand).unwrap();
        assert_eq!(leaf.rights.contains(Rights::CLEAN), dirty == 0);
        let after = way.map(|at| machine.read_memory(at));
        let marked = [0, 0, 0, dirty].map(|dirty| SECOND_ACCESSED | dirty);
        assert_eq!(after, std::array::from_fn(|index| before[index] | marked[index]));
    }
}

#[test]
fn without_marks_nothing_is_written() {
    let (machine, table, way) = one_page(DATA | RW, Marks::Absent);
    let before = way.map(|at| machine.read_memory(at));
    assert!(!walk(&machine, &table, 0x1000, WRITE).unwrap().rights.contains(Rights::CLEAN));
    assert_eq!(way.map(|at| machine.read_memory(at)), before);
}

#[test]
fn a_walk_that_fails_marks_what_it_used_and_no_more() {
    for entry in [DATA | R, 0xFEE0_0000 | RW, DATA | RW | 1 << 62] {
        let (machine, table, way) = one_page(entry, Marks::Kept);
        assert!(walk(&machine, &table, 0x1000, WRITE).is_err());
        let marks = way.map(|at| machine.read_memory(at) & (SECOND_ACCESSED | SECOND_DIRTY));
        assert_eq!(marks, [SECOND_ACCESSED, SECOND_ACCESSED, SECOND_ACCESSED, 0], "{entry:#x}");
    }
}

#[test]
fn a_walk_that_does_not_snoop_must_not_need_to_mark() {
    let (machine, table, way) = one_page(DATA | RW | SECOND_ACCESSED, Marks::Forbidden);
    for entry in &way[..3] {
        let found = walk(&machine, &table, 0x1000, READ);
        assert_eq!(found, Err(FaultReason::SecondStageMarkNotSnooped));
        machine.write_memory(*entry, machine.read_memory(*entry) | SECOND_ACCESSED);
    }
    assert!(walk(&machine, &table, 0x1000, READ).unwrap().rights.contains(Rights::CLEAN));
    assert_eq!(walk(&machine, &table, 0x1000, WRITE), Err(FaultReason::SecondStageMarkNotSnooped));
}

#[test]
fn an_entry_that_changes_before_it_is_marked_is_judged_anew() {
    let (machine, table, way) = one_page(DATA | RW, Marks::Kept);
    let memory = Interposed::new(machine.memory.clone());
    let writer = machine.memory.clone();
    memory.after_read(way[3], move || {
        vm_memory::Bytes::write_obj(&*writer, (DATA + 0x1000) | R, GuestAddress(way[3])).unwrap();
    });
    let found = table.walk(&memory, &CAPABILITIES, Iova(0x1000), WRITE, None);
    assert_eq!(found, Err(FaultReason::ScalableWriteDenied));
    assert_eq!(machine.read_memory(way[3]), (DATA + 0x1000) | R);
}

/// Memory that lets itself be read only.
struct ReadOnly<'a>(&'a Machine);

impl TableMemory for ReadOnly<'_> {
    fn read_u64(&self, address: GuestAddress) -> Result<u64, crate::MemoryError> {
        self.0.memory.read_u64(address)
    }

    fn write_u32(&self, address: GuestAddress, _: u32) -> Result<(), crate::MemoryError> {
        Err(crate::MemoryError(address.0))
    }

    fn compare_exchange_u64(
        &self,
        address: GuestAddress,
        _: u64,
        _: u64,
    ) -> Result<Result<u64, u64>, crate::MemoryError> {
        Err(crate::MemoryError(address.0))
    }

    fn fetch_or_u64(&self, address: GuestAddress, _: u64) -> Result<u64, crate::MemoryError> {
        Err(crate::MemoryError(address.0))
    }
}

#[test]
fn tables_that_cannot_be_marked_are_a_fault() {
    let (machine, table, _) = one_page(DATA | RW, Marks::Kept);
    let found = table.walk(&ReadOnly(&machine), &CAPABILITIES, Iova(0x1000), READ, None);
    assert_eq!(found, Err(FaultReason::SecondStageMarkFailed));
}

#[test]
fn a_walk_may_begin_where_another_ended() {
    let (machine, table, way) = one_page(DATA | RW, Marks::Absent);
    machine.write_memory(way[0], machine.read_memory(way[0]) & !W);
    let first = table.walk(&machine.memory, &CAPABILITIES, Iova(0x1000), READ, None).unwrap();
    assert_eq!((first.inner.table.0, first.inner.level), (way[3] & !0xFFF, Level::PAGE));
    machine.map(table.root.0, 0x2000, (DATA + 0x1000) | RW);
    // The top table is not looked at.
    machine.write_memory(way[0], 0);
    let again = |demand| table.walk(&machine.memory, &CAPABILITIES, Iova(0x2000), demand, Some(first.inner));
    assert_eq!(again(READ).unwrap().leaf.guest.0, DATA + 0x1000);
    // What it did not allow is looked for from the top, so that the fault is the first one on the way.
    assert_eq!(again(WRITE), Err(FaultReason::ScalableSecondStageNotPresent));
}
