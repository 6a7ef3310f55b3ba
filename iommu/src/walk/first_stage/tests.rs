use super::*;
use crate::testing::scalable::{ACCESSED, DIRTY, EXTENDED, NO_EXECUTE, P, PWU, USER, WRITABLE};
use crate::testing::{DATA, Interposed, LARGE, Machine};
use crate::{Access, Feature, Pasid, Profile, Request, SourceId};

const CAPABILITIES: Capabilities = Capabilities::new(Profile::Full, 48);
const USER_READ: Demand = Demand::new(Access::Read);
const USER_WRITE: Demand = Demand::new(Access::Write);

fn table(root: u64, levels: u8) -> Table {
    Table {
        root: GuestAddress(root),
        top: Level::from_number(levels).unwrap(),
        width: 57,
        options: FirstStageOptions::empty(),
        marks: Marks::Kept,
    }
}

fn walk(machine: &Machine, table: &Table, iova: u64, demand: Demand) -> Result<Leaf, FaultReason> {
    let found = table.walk(&machine.memory, &Memory, &CAPABILITIES, Iova(iova), demand, None);
    found.map(|found| found.leaf)
}

fn request(request: Request, privileged: bool) -> Demand {
    Demand::of(&request.with_pasid(Pasid(1)), privileged, 1, &CAPABILITIES)
}

fn supervisor(access: Access) -> Demand {
    request(Request::new(SourceId(0), access), true)
}

fn execute() -> Demand {
    request(Request::new(SourceId(0), Access::Read).executing(), false)
}

/// A table of four levels with a page at 0x1000.
fn one_page(entry: u64) -> (Machine, Table, u64) {
    let machine = Machine::new();
    let root = machine.table();
    let at = machine.first_stage_entry(root, 4, 0x1000, Level::PAGE);
    machine.write_memory(at, entry);
    (machine, table(root, 4), at)
}

/// The entries on the way to a page, top first.
fn way(machine: &Machine, table: &Table, iova: u64) -> Vec<u64> {
    let levels = table.top.number();
    let entry =
        |level| machine.first_stage_entry(table.root.0, levels, iova, Level::from_number(level).unwrap());
    (1..=levels).rev().map(entry).collect()
}

#[test]
fn four_and_five_levels_lead_to_pages_of_every_size() {
    for levels in [4, 5] {
        for (level, page) in [(Level::PAGE, DATA), (Level::PAGE_2M, DATA), (Level::PAGE_1G, 1 << 30)] {
            let machine = Machine::new();
            let root = machine.table();
            // Once in either half.
            let bits = u32::from(levels) * 9 + 12;
            let lower = 0x005A_5A5A_5A5A_5000 & ((1 << (bits - 1)) - 1);
            for iova in [lower, lower | u64::MAX << (bits - 1)] {
                let iova = iova & !(level.span() - 1);
                let large = if level > Level::PAGE { LARGE } else { 0 };
                machine
                    .write_memory(machine.first_stage_entry(root, levels, iova, level), page | PWU | large);
                let leaf = walk(&machine, &table(root, levels), iova + 0x123, USER_WRITE).unwrap();
                assert_eq!((leaf.guest.0, leaf.level), (page, level), "{levels} {iova:#x}");
                assert_eq!(leaf.rights, Rights::ALL);
            }
        }
    }
}

#[test]
fn an_address_must_be_canonical() {
    for (levels, bits) in [(4, 48), (5, 57)] {
        let machine = Machine::new();
        let table = table(machine.table(), levels);
        let lowest_upper = u64::MAX << (bits - 1);
        for canonical in [0, (1 << (bits - 1)) - 1, lowest_upper, u64::MAX] {
            let found = walk(&machine, &table, canonical, USER_READ);
            assert_eq!(found, Err(FaultReason::FirstStageNotPresent), "{canonical:#x}");
        }
        for not in [1 << (bits - 1), lowest_upper - 1, 1 << 63, 1 << (bits + 1), lowest_upper ^ 1 << 60] {
            assert_eq!(walk(&machine, &table, not, USER_READ), Err(FaultReason::NotCanonical), "{not:#x}");
        }
    }
}

#[test]
fn the_lower_half_ends_where_devices_addresses_do() {
    let machine = Machine::new();
    let table = Table { width: 39, ..table(machine.table(), 4) };
    let found = |iova| walk(&machine, &table, iova, USER_READ);
    assert_eq!(found((1 << 39) - 1), Err(FaultReason::FirstStageNotPresent));
    assert_eq!(found(1 << 39), Err(FaultReason::NotCanonical));
    assert_eq!(found(u64::MAX), Err(FaultReason::FirstStageNotPresent));
}

#[test]
fn a_level_that_is_not_present_ends_the_walk() {
    let (machine, table, _) = one_page(DATA | PWU);
    assert!(walk(&machine, &table, 0x1000, USER_READ).is_ok());
    for entry in way(&machine, &table, 0x1000) {
        let value = machine.read_memory(entry);
        // Nothing else in it counts.
        machine.write_memory(entry, !P);
        assert_eq!(walk(&machine, &table, 0x1000, USER_READ), Err(FaultReason::FirstStageNotPresent));
        machine.write_memory(entry, value);
    }
}

#[test]
fn permissions_are_those_that_every_level_gives() {
    let (machine, table, _) = one_page(DATA | PWU);
    let protected = Table { options: FirstStageOptions::WRITE_PROTECT, ..table };
    let supervisor_write = supervisor(Access::Write);
    for entry in way(&machine, &table, 0x1000) {
        let value = machine.read_memory(entry);
        machine.write_memory(entry, value & !USER);
        assert_eq!(walk(&machine, &table, 0x1000, USER_READ), Err(FaultReason::UserDenied));
        assert_eq!(walk(&machine, &table, 0x1000, USER_WRITE), Err(FaultReason::UserDenied));
        assert!(walk(&machine, &protected, 0x1000, supervisor_write).is_ok());

        machine.write_memory(entry, value & !WRITABLE);
        assert!(walk(&machine, &table, 0x1000, USER_READ).is_ok());
        assert_eq!(walk(&machine, &table, 0x1000, USER_WRITE), Err(FaultReason::ScalableWriteDenied));
        let atomic = Demand::new(Access::Atomic);
        assert_eq!(walk(&machine, &table, 0x1000, atomic), Err(FaultReason::ScalableWriteDenied));
        // A supervisor is stopped by write protection only.
        assert!(walk(&machine, &table, 0x1000, supervisor_write).is_ok());
        let found = walk(&machine, &protected, 0x1000, supervisor_write);
        assert_eq!(found, Err(FaultReason::ScalableWriteDenied));

        machine.write_memory(entry, value | NO_EXECUTE);
        assert!(walk(&machine, &table, 0x1000, USER_WRITE).is_ok());
        assert_eq!(walk(&machine, &table, 0x1000, execute()), Err(FaultReason::ExecuteDenied));
        machine.write_memory(entry, value);
        assert!(walk(&machine, &table, 0x1000, execute()).is_ok());
    }
}

#[test]
fn supervisors_and_executing_must_be_enabled() {
    let table = table(0, 4);
    assert_eq!(table.admits(USER_WRITE), Ok(()));
    assert_eq!(table.admits(supervisor(Access::Read)), Err(FaultReason::SupervisorDisabled));
    assert_eq!(table.admits(execute()), Err(FaultReason::ExecuteDisabled));
    let both = FirstStageOptions::SUPERVISOR | FirstStageOptions::EXECUTE;
    let enabled = Table { options: both, ..table };
    assert_eq!(enabled.admits(supervisor(Access::Read)), Ok(()));
    assert_eq!(enabled.admits(execute()), Ok(()));
}

#[test]
fn reserved_bits_are_refused() {
    let refused = |level: u8, bit: u32| {
        let (machine, table, _) = one_page(DATA | PWU);
        let entry = way(&machine, &table, 0x1000)[4 - usize::from(level)];
        machine.write_memory(entry, machine.read_memory(entry) | 1 << bit);
        walk(&machine, &table, 0x1000, USER_READ) == Err(FaultReason::FirstStageReserved)
    };
    for level in 1..=4 {
        // Address bits that no memory has; what means nothing here, or is the guest's own.
        for bit in 48..52 {
            assert!(refused(level, bit), "{level} {bit}");
        }
        for bit in [3, 4, 8, 9, 10, 11].into_iter().chain(52..64) {
            assert!(!refused(level, bit), "{level} {bit}");
        }
    }
    // A page of 512 GiB.
    assert!(refused(4, 7));
    assert!(!refused(1, 7));
}

#[test]
fn a_large_page_must_be_aligned_and_of_a_size_there_is() {
    for (level, bits) in [(Level::PAGE_2M, 13..21), (Level::PAGE_1G, 13..30)] {
        let machine = Machine::new();
        let root = machine.table();
        let entry = machine.first_stage_entry(root, 4, 0, level);
        for bit in bits {
            machine.write_memory(entry, 1 << 40 | 1 << bit | LARGE | PWU);
            let found = walk(&machine, &table(root, 4), 0, USER_READ);
            assert_eq!(found, Err(FaultReason::FirstStageReserved), "{level:?} {bit}");
        }
        // Bit 12 is a memory type and no part of the address.
        machine.write_memory(entry, 1 << 40 | 1 << 12 | LARGE | PWU);
        assert_eq!(walk(&machine, &table(root, 4), 0, USER_READ).unwrap().guest.0, 1 << 40);

        let without = CAPABILITIES.without(Feature::FirstStage1G);
        let found = table(root, 4).walk(&machine.memory, &Memory, &without, Iova(0), USER_READ, None);
        assert_eq!(found.is_ok(), level == Level::PAGE_2M);
    }
}

#[test]
fn a_table_outside_memory_is_no_table() {
    let machine = Machine::new();
    let outside = 1 << 40;
    let found = walk(&machine, &table(outside, 4), 0, USER_READ);
    assert_eq!(found, Err(FaultReason::FirstStageTopUnreadable));
    let root = machine.table();
    machine.write_memory(root, outside | PWU);
    let found = walk(&machine, &table(root, 4), 0, USER_READ);
    assert_eq!(found, Err(FaultReason::FirstStageUnreadable));
}

#[test]
fn entries_are_marked_as_they_are_used() {
    for (demand, dirty) in [(USER_READ, 0), (USER_WRITE, DIRTY), (Demand::new(Access::Atomic), DIRTY)] {
        for (options, marks) in [
            (FirstStageOptions::empty(), ACCESSED),
            (FirstStageOptions::EXTENDED_ACCESSED, ACCESSED | EXTENDED),
        ] {
            let (machine, table, _) = one_page(DATA | PWU);
            let table = Table { options, ..table };
            let before: Vec<_> =
                way(&machine, &table, 0x1000).into_iter().map(|at| (at, machine.read_memory(at))).collect();
            let leaf = walk(&machine, &table, 0x1000, demand).unwrap();
            assert_eq!(leaf.rights.contains(Rights::CLEAN), dirty == 0);
            for (index, (at, value)) in before.iter().enumerate() {
                let dirty = if index == 3 { dirty } else { 0 };
                assert_eq!(machine.read_memory(*at), value | marks | dirty, "{index}");
            }
        }
    }
}

#[test]
fn a_page_that_is_dirty_already_needs_no_further_walk() {
    let (machine, table, _) = one_page(DATA | PWU | DIRTY | ACCESSED);
    assert!(!walk(&machine, &table, 0x1000, USER_READ).unwrap().rights.contains(Rights::CLEAN));
}

#[test]
fn a_walk_that_fails_marks_what_it_used_and_no_more() {
    let (machine, table, at) = one_page(DATA | P | USER);
    assert!(walk(&machine, &table, 0x1000, USER_WRITE).is_err());
    let values: Vec<_> = way(&machine, &table, 0x1000).iter().map(|at| machine.read_memory(*at)).collect();
    assert!(values[..3].iter().all(|value| value & (ACCESSED | DIRTY) == ACCESSED));
    assert_eq!(machine.read_memory(at), DATA | P | USER);
}

#[test]
fn a_page_in_the_interrupt_range_is_not_marked() {
    let (machine, table, at) = one_page(0xFEE0_0000 | PWU);
    assert_eq!(walk(&machine, &table, 0x1000, USER_WRITE), Err(FaultReason::ScalableInterruptRange));
    assert_eq!(machine.read_memory(at), 0xFEE0_0000 | PWU);
}

#[test]
fn a_walk_that_does_not_snoop_must_not_need_to_mark() {
    let (machine, table, at) = one_page(DATA | PWU | ACCESSED);
    let table = Table { marks: Marks::Forbidden, ..table };
    let entries = way(&machine, &table, 0x1000);
    for entry in &entries[..3] {
        assert_eq!(walk(&machine, &table, 0x1000, USER_READ), Err(FaultReason::FirstStageMarkNotSnooped));
        machine.write_memory(*entry, machine.read_memory(*entry) | ACCESSED);
    }
    let leaf = walk(&machine, &table, 0x1000, USER_READ).unwrap();
    assert!(leaf.rights.contains(Rights::CLEAN));
    assert_eq!(walk(&machine, &table, 0x1000, USER_WRITE), Err(FaultReason::FirstStageMarkNotSnooped));
    assert_eq!(machine.read_memory(at), DATA | PWU | ACCESSED);
}

#[test]
fn an_entry_that_changes_before_it_is_marked_is_judged_anew() {
    let (machine, table, at) = one_page(DATA | PWU);
    for (new, expected) in [
        (0, Err(FaultReason::FirstStageNotPresent)),
        ((DATA + 0x5000) | PWU, Ok(DATA + 0x5000)),
        (DATA | PWU | 1 << 48, Err(FaultReason::FirstStageReserved)),
    ] {
        machine.write_memory(at, DATA | PWU);
        let memory = Interposed::new(machine.memory.clone());
        let writer = machine.memory.clone();
        memory.after_read(at, move || {
            vm_memory::Bytes::write_obj(&*writer, new, GuestAddress(at)).unwrap();
        });
        let found = table.walk(&memory, &Memory, &CAPABILITIES, Iova(0x1000), USER_READ, None);
        assert_eq!(found.map(|found| found.leaf.guest.0), expected);
        // What was read first is not written back.
        let marks = if expected.is_ok() { ACCESSED } else { 0 };
        assert_eq!(machine.read_memory(at), new | marks);
    }
}

/// Memory whose entries are never the same when they are to be marked.
struct Restless<'a>(&'a Machine);

impl TableMemory for Restless<'_> {
    fn read_u64(&self, address: GuestAddress) -> Result<u64, crate::MemoryError> {
        self.0.memory.read_u64(address)
    }

    fn write_u32(&self, address: GuestAddress, _: u32) -> Result<(), crate::MemoryError> {
        Err(crate::MemoryError(address.0))
    }

    fn compare_exchange_u64(
        &self,
        _: GuestAddress,
        current: u64,
        _: u64,
    ) -> Result<Result<u64, u64>, crate::MemoryError> {
        Ok(Err(current ^ 1 << 9))
    }

    fn fetch_or_u64(&self, address: GuestAddress, _: u64) -> Result<u64, crate::MemoryError> {
        Err(crate::MemoryError(address.0))
    }
}

#[test]
fn a_guest_that_keeps_changing_an_entry_gets_a_fault_in_the_end() {
    let (machine, table, _) = one_page(DATA | PWU);
    let found = table.walk(&Restless(&machine), &Memory, &CAPABILITIES, Iova(0x1000), USER_READ, None);
    assert_eq!(found, Err(FaultReason::FirstStageMarkFailed));
}

#[test]
fn a_walk_may_begin_where_another_ended() {
    let (machine, table, _) = one_page(DATA | PWU);
    let upper = way(&machine, &table, 0x1000)[0];
    machine.write_memory(upper, machine.read_memory(upper) & !WRITABLE);
    let first = table.walk(&machine.memory, &Memory, &CAPABILITIES, Iova(0x1000), USER_READ, None).unwrap();
    assert_eq!(first.inner.level, Level::PAGE);
    assert_eq!(first.inner.table.0, machine.read_memory(way(&machine, &table, 0x1000)[2]) & !0xFFF);

    machine.map_first_stage(table.root.0, 0x2000, (DATA + 0x1000) | PWU);
    // The top table is not looked at.
    machine.write_memory(upper, 0);
    let again =
        |demand| table.walk(&machine.memory, &Memory, &CAPABILITIES, Iova(0x2000), demand, Some(first.inner));
    assert_eq!(again(USER_READ).unwrap().leaf.guest.0, DATA + 0x1000);
    // What it did not allow is looked for from the top, so that the fault is the first one on the way.
    assert_eq!(again(USER_WRITE), Err(FaultReason::FirstStageNotPresent));
}
