use std::cell::Cell;

use super::*;
use crate::spec::pasid::FirstStageOptions;
use crate::spec::second_stage::Level;
use crate::testing::scalable::{ACCESSED, DIRTY, PWU, SECOND_ACCESSED, SECOND_DIRTY};
use crate::testing::{DATA, LARGE, Machine, R, RW, W};
use crate::walk::{Marks, Rights, second_stage};
use crate::{Permissions, Profile};

const CAPABILITIES: Capabilities = Capabilities::new(Profile::Full, 48);
const READ: Demand = Demand::new(Access::Read);
const WRITE: Demand = Demand::new(Access::Write);
/// Addresses that the first stage gives are this far above those of guest memory.
const SHIFT: u64 = 1 << 30;

/// A first stage that maps one page, and a second stage that it is behind.
struct Stages {
    machine: Machine,
    first: Table,
    second: second_stage::Table,
    /// The first-stage entries on the way, top first, by their place in guest memory.
    way: [u64; 4],
}

const IOVA: u64 = 0x12_3456_7000;

impl Stages {
    /// Both stages map with everything allowed; every page of the second is of 4 KiB and marks are kept.
    fn new() -> Self {
        let machine = Machine::new();
        let second = machine.table();
        let root = machine.table();
        let mut way = [0; 4];
        let mut table = root;
        for (index, level) in [4, 3, 2, 1].into_iter().enumerate() {
            way[index] = table + Level::from_number(level).unwrap().offset(Iova(IOVA));
            let next = if level == 1 { DATA } else { machine.table() };
            machine.write_memory(way[index], (next + SHIFT) | PWU);
            machine.map(second, table + SHIFT, table | RW);
            table = next;
        }
        machine.map(second, DATA + SHIFT, DATA | RW);
        let level = Level::from_number(4).unwrap();
        let first = Table {
            root: GuestAddress(root + SHIFT),
            top: level,
            width: 48,
            options: FirstStageOptions::empty(),
            marks: Marks::Kept,
        };
        let second = second_stage::Table::scalable(GuestAddress(second), level, &CAPABILITIES, Marks::Kept);
        Self { machine, first, second, way }
    }

    fn walk(&self, demand: Demand) -> Result<Leaf, FaultReason> {
        let memory = &self.machine.memory;
        let second = |iova, demand| {
            self.second.walk(memory, &CAPABILITIES, iova, demand, None).map(|found| found.leaf)
        };
        walk(&self.first, second, memory, &CAPABILITIES, Iova(IOVA), demand, None).map(|found| found.leaf)
    }

    /// Where the second stage's entry for the page at `guest` lies.
    fn second_entry(&self, guest: u64) -> u64 {
        self.machine.entry(self.second.root.0, 4, (guest & !0xFFF) + SHIFT, Level::PAGE)
    }

    fn set_second(&self, guest: u64, permissions: u64) {
        self.machine.write_memory(self.second_entry(guest), guest & !0xFFF | permissions);
    }

    fn get(&self, address: u64) -> u64 {
        self.machine.read_memory(address)
    }
}

#[test]
fn tables_and_pages_go_through_the_second_stage() {
    let stages = Stages::new();
    let leaf = stages.walk(WRITE).unwrap();
    assert_eq!(leaf, Leaf { guest: GuestAddress(DATA), level: Level::PAGE, rights: Rights::ALL });
    for (index, entry) in stages.way.into_iter().enumerate() {
        let dirty = if index == 3 { DIRTY } else { 0 };
        assert_eq!(stages.get(entry) & (ACCESSED | DIRTY), ACCESSED | dirty, "{index}");
        // Marking has made the page of the table dirty.
        let marks = SECOND_ACCESSED | SECOND_DIRTY;
        assert_eq!(stages.get(stages.second_entry(entry)) & marks, marks, "{index}");
    }
    let marks = SECOND_ACCESSED | SECOND_DIRTY;
    assert_eq!(stages.get(stages.second_entry(DATA)) & marks, marks);
}

#[test]
fn a_page_is_as_large_as_the_smaller_of_both_stages() {
    for (first, second, expected) in [
        (Level::PAGE_2M, Level::PAGE_1G, Level::PAGE_2M),
        (Level::PAGE_1G, Level::PAGE_2M, Level::PAGE_2M),
        (Level::PAGE_1G, Level::PAGE, Level::PAGE),
        (Level::PAGE, Level::PAGE_1G, Level::PAGE),
        (Level::PAGE_2M, Level::PAGE_2M, Level::PAGE_2M),
    ] {
        let stages = Stages::new();
        let (middle, target) = (64 << 30, 128_u64 << 30);
        let entry = stages.way[4 - usize::from(first.number())];
        let large = |level| if level > Level::PAGE { LARGE } else { 0 };
        stages.machine.write_memory(entry, middle | PWU | large(first));
        let output = middle | IOVA & (first.span() - 1);
        let at = stages.machine.entry(stages.second.root.0, 4, output, second);
        stages.machine.write_memory(at, target | RW | large(second));
        let leaf = stages.walk(READ).unwrap();
        assert_eq!(leaf.level, expected, "{first:?} {second:?}");
        let within = IOVA & (first.span() - 1) & (second.span() - 1) & !(expected.span() - 1);
        assert_eq!(leaf.guest.0, target | within, "{first:?} {second:?}");
    }
}

#[test]
fn the_second_stage_must_allow_to_read_tables() {
    for (index, denied) in [
        (0, FaultReason::NestedTopReadDenied),
        (1, FaultReason::NestedEntryReadDenied),
        (3, FaultReason::NestedEntryReadDenied),
    ] {
        let stages = Stages::new();
        stages.set_second(stages.way[index], W);
        assert_eq!(stages.walk(READ), Err(denied), "{index}");
        stages.set_second(stages.way[index], 0);
        assert_eq!(stages.walk(READ), Err(FaultReason::ScalableSecondStageNotPresent), "{index}");
        stages.set_second(stages.way[index], RW | 1 << 62);
        assert_eq!(stages.walk(READ), Err(FaultReason::ScalableSecondStageReserved), "{index}");
    }
}

#[test]
fn the_second_stage_must_allow_to_mark_tables() {
    for index in 0..4 {
        let stages = Stages::new();
        stages.set_second(stages.way[index], R);
        assert_eq!(stages.walk(READ), Err(FaultReason::NestedEntryWriteDenied), "{index}");
        stages.machine.write_memory(stages.way[index], stages.get(stages.way[index]) | ACCESSED);
        assert!(stages.walk(READ).is_ok(), "{index}");
        assert_eq!(stages.walk(WRITE).is_ok(), index != 3, "{index}");
    }
    // A write that is refused for that leaves its page clean.
    let stages = Stages::new();
    stages.set_second(stages.way[3], R);
    assert!(stages.walk(WRITE).is_err());
    assert_eq!(stages.get(stages.second_entry(DATA)) & SECOND_DIRTY, 0);
}

#[test]
fn a_table_beyond_what_the_second_stage_translates() {
    for index in 0..3 {
        let stages = Stages::new();
        let second = second_stage::Table { width: 39, ..stages.second };
        let first = Table { root: GuestAddress(1 << 40), ..stages.first };
        let stages = if index == 0 {
            Stages { first, second, ..stages }
        } else {
            stages.machine.write_memory(stages.way[index - 1], 1 << 40 | PWU);
            Stages { second, ..stages }
        };
        assert_eq!(stages.walk(READ), Err(FaultReason::NestedTableBeyondWidth), "{index}");
    }
    let stages = Stages::new();
    stages.machine.write_memory(stages.way[3], 1 << 40 | PWU);
    let second = second_stage::Table { width: 39, ..stages.second };
    let stages = Stages { second, ..stages };
    assert_eq!(stages.walk(READ), Err(FaultReason::ScalableBeyondWidth));
}

#[test]
fn a_table_that_is_no_memory_is_the_first_stages_fault() {
    for (index, reason) in [(0, FaultReason::FirstStageTopUnreadable), (2, FaultReason::FirstStageUnreadable)]
    {
        let stages = Stages::new();
        let entry = stages.second_entry(stages.way[index]);
        stages.machine.write_memory(entry, 1 << 40 | RW);
        assert_eq!(stages.walk(READ), Err(reason));
    }
    let stages = Stages::new();
    let second = second_stage::Table { root: GuestAddress(1 << 40), ..stages.second };
    let stages = Stages { second, ..stages };
    assert_eq!(stages.walk(READ), Err(FaultReason::ScalableSecondStageTopUnreadable));
}

#[test]
fn both_stages_must_allow_a_request() {
    for (permissions, read, write) in [
        (RW, None, None),
        (R, None, Some(FaultReason::ScalableWriteDenied)),
        (W, Some(FaultReason::ScalableReadDenied), None),
    ] {
        let stages = Stages::new();
        stages.set_second(DATA, permissions);
        assert_eq!(stages.walk(READ).err(), read);
        assert_eq!(stages.walk(WRITE).err(), write);
        for leaf in stages.walk(READ).iter().chain(&stages.walk(WRITE)) {
            let found = leaf.rights.permissions(false) & Permissions::READ_WRITE;
            assert_eq!(u64::from(found.bits()), permissions);
        }
    }
}

#[test]
fn a_write_that_the_second_stage_denies_dirties_nothing() {
    let stages = Stages::new();
    stages.set_second(DATA, R);
    assert!(stages.walk(WRITE).is_err());
    // The entry of the first stage has been used, though.
    assert_eq!(stages.get(stages.way[3]) & (ACCESSED | DIRTY), ACCESSED);
    assert_eq!(stages.get(stages.second_entry(DATA)) & (SECOND_ACCESSED | SECOND_DIRTY), 0);

    let stages = Stages::new();
    stages.machine.write_memory(stages.second_entry(DATA), 0xFEE0_0000 | RW);
    assert_eq!(stages.walk(WRITE), Err(FaultReason::ScalableInterruptRange));
    assert_eq!(stages.get(stages.way[3]) & (ACCESSED | DIRTY), 0);
    assert_eq!(stages.get(stages.second_entry(DATA)), 0xFEE0_0000 | RW);
}

#[test]
fn a_page_that_is_clean_in_either_stage_needs_a_walk_to_be_written() {
    let stages = Stages::new();
    assert!(stages.walk(READ).unwrap().rights.contains(Rights::CLEAN));
    assert!(!stages.walk(WRITE).unwrap().rights.contains(Rights::CLEAN));
    assert!(!stages.walk(READ).unwrap().rights.contains(Rights::CLEAN));
    stages.set_second(DATA, RW);
    assert!(stages.walk(READ).unwrap().rights.contains(Rights::CLEAN));
    assert!(!stages.walk(WRITE).unwrap().rights.contains(Rights::CLEAN));
    stages.machine.write_memory(stages.way[3], stages.get(stages.way[3]) & !DIRTY);
    assert!(stages.walk(READ).unwrap().rights.contains(Rights::CLEAN));
}

#[test]
fn once_everything_is_marked_the_second_stage_is_asked_once_a_level() {
    let stages = Stages::new();
    stages.walk(WRITE).unwrap();
    let memory = &stages.machine.memory;
    let asked = Cell::new(0);
    let second = |iova, demand| {
        asked.set(asked.get() + 1);
        stages.second.walk(memory, &CAPABILITIES, iova, demand, None).map(|found| found.leaf)
    };
    let found = walk(&stages.first, second, memory, &CAPABILITIES, Iova(IOVA), WRITE, None).unwrap();
    assert_eq!(asked.get(), 5);
    // From the last table on it is two.
    asked.set(0);
    let inner = Some(found.inner);
    walk(&stages.first, second, memory, &CAPABILITIES, Iova(IOVA), WRITE, inner).unwrap();
    assert_eq!(asked.get(), 2);
}
