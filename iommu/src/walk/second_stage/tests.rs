use super::*;
use crate::testing::{DATA, LARGE, Machine, R, RW, SOURCE, W};
use crate::{Access, Permissions, Request};

const CAPABILITIES: Capabilities = Capabilities::legacy(48);

fn table(root: u64, levels: u8) -> Table {
    Table::new(GuestAddress(root), Level::from_number(levels).unwrap(), &CAPABILITIES)
}

fn walk(machine: &Machine, root: u64, iova: u64, access: Access) -> Result<Leaf, FaultReason> {
    walk_from(machine, &table(root, 4), iova, Demand::new(access))
}

fn walk_from(machine: &Machine, table: &Table, iova: u64, demand: Demand) -> Result<Leaf, FaultReason> {
    table.walk(&machine.memory, &CAPABILITIES, Iova(iova), demand, None).map(|found| found.leaf)
}

/// A demand for `length` bytes.
fn demand(access: Access, length: u64) -> Demand {
    Demand::of(&Request::new(SOURCE, access), false, length, &CAPABILITIES)
}

#[test]
fn three_and_four_levels_lead_to_small_and_large_pages() {
    for levels in [3, 4] {
        for (level, page) in [(Level::PAGE, DATA), (Level::PAGE_2M, DATA), (Level::PAGE_1G, 1 << 30)] {
            let machine = Machine::new();
            let root = machine.table();
            let iova = 0x5A_5A5A_5000 & !(level.span() - 1);
            let large = if level > Level::PAGE { LARGE } else { 0 };
            machine.write_memory(machine.entry(root, levels, iova, level), page | RW | large);
            let request = Demand::new(Access::Write);
            let found = walk_from(&machine, &table(root, levels), iova + 0x123, request);
            let leaf = Leaf { guest: GuestAddress(page), level, rights: Rights::ALL };
            assert_eq!(found, Ok(leaf), "{levels} {level:?}");
        }
    }
}

#[test]
fn an_address_beyond_the_width_does_not_alias_one_within() {
    let machine = Machine::new();
    let root = machine.table();
    machine.write_memory(machine.entry(root, 3, 0, Level::PAGE), DATA | RW);
    let walk = |iova| walk_from(&machine, &table(root, 3), iova, Demand::new(Access::Read));
    assert_eq!(walk(0).unwrap().guest.0, DATA);
    for iova in [1 << 39, 1 << 48, 1 << 63, u64::MAX] {
        assert_eq!(walk(iova), Err(FaultReason::AddressBeyondWidth), "{iova:#x}");
    }
}

#[test]
fn permissions_are_those_that_every_level_gives() {
    for (upper, lower, allowed) in [(RW, RW, RW), (R, RW, R), (RW, W, W), (R, W, 0), (W, 0, 0)] {
        let machine = Machine::new();
        let root = machine.table();
        machine.map(root, 0x1000, DATA | lower);
        let entry = machine.entry(root, 4, 0x1000, Level::PAGE_2M);
        machine.write_memory(entry, machine.read_memory(entry) & !RW | upper);
        let read = walk(&machine, root, 0x1000, Access::Read);
        let write = walk(&machine, root, 0x1000, Access::Write);
        assert_eq!(read.is_ok(), allowed & R != 0);
        assert_eq!(write.is_ok(), allowed & W != 0);
        for leaf in read.iter().chain(&write) {
            let permissions = leaf.rights.permissions(false) & Permissions::READ_WRITE;
            assert_eq!(u64::from(permissions.bits()), allowed);
        }
        if allowed & R == 0 {
            assert_eq!(read, Err(FaultReason::ReadDenied));
        }
        if allowed & W == 0 {
            assert_eq!(write, Err(FaultReason::WriteDenied));
        }
    }
}

#[test]
fn a_read_of_nothing_needs_some_permission_only() {
    let machine = Machine::new();
    let root = machine.table();
    machine.map(root, 0x1000, DATA | W);
    machine.map(root, 0x2000, DATA);
    let request = demand(Access::Read, 0);
    let walk = |iova, request| walk_from(&machine, &table(root, 4), iova, request);
    assert!(walk(0x1000, request).is_ok());
    assert_eq!(walk(0x2000, request), Err(FaultReason::ReadDenied));
    let one_byte = demand(Access::Read, 1);
    assert_eq!(walk(0x1000, one_byte), Err(FaultReason::ReadDenied));
}

#[test]
fn reserved_bits_are_refused() {
    let reserved = |level: Level, bit: u64| {
        let machine = Machine::new();
        let root = machine.table();
        machine.map(root, 0x1000, DATA | RW);
        let entry = machine.entry(root, 4, 0x1000, level);
        machine.write_memory(entry, machine.read_memory(entry) | 1 << bit);
        walk(&machine, root, 0x1000, Access::Read) == Err(FaultReason::SecondStageReserved)
    };
    let levels = |number| Level::from_number(number).unwrap();
    // Address bits that no memory has, at every level.
    for level in 1..=4 {
        for bit in 48..52 {
            assert!(reserved(levels(level), bit), "{level} {bit}");
        }
    }
    // A page of 512 GiB.
    assert!(reserved(levels(4), 7));
    // SNP in an entry that leads to a table, TM in a leaf.
    for level in 2..=4 {
        assert!(reserved(levels(level), 11), "{level}");
    }
    assert!(reserved(levels(1), 62));
    // What software may use, or what means nothing here.
    for level in 1..=4 {
        for bit in [2, 3, 6, 8, 9, 10, 52, 61, 63] {
            assert!(!reserved(levels(level), bit), "{level} {bit}");
        }
    }
    // SNP of a leaf, as ECAP.SC promises; bit 7 of a small page is no page size.
    assert!(!reserved(levels(1), 11));
    assert!(!reserved(levels(1), 7));
}

#[test]
fn a_large_page_must_be_aligned() {
    for (level, bits) in [(Level::PAGE_2M, 12..21), (Level::PAGE_1G, 12..30)] {
        for bit in bits {
            let machine = Machine::new();
            let root = machine.table();
            machine.write_memory(machine.entry(root, 4, 0, level), 1 << 40 | 1 << bit | LARGE | RW);
            let found = walk(&machine, root, 0, Access::Read);
            assert_eq!(found, Err(FaultReason::SecondStageReserved), "{level:?} {bit}");
        }
    }
}

#[test]
fn a_denied_request_is_told_so_even_if_the_entry_has_reserved_bits() {
    let machine = Machine::new();
    let root = machine.table();
    machine.map(root, 0x1000, DATA | R | 1 << 51);
    assert_eq!(walk(&machine, root, 0x1000, Access::Write), Err(FaultReason::WriteDenied));
}

#[test]
fn a_table_outside_memory_is_the_fault_of_what_points_to_it() {
    let machine = Machine::new();
    let outside = 1 << 40;
    assert_eq!(walk(&machine, outside, 0, Access::Read), Err(FaultReason::ContextInvalid));
    let root = machine.table();
    machine.write_memory(root, outside | RW);
    assert_eq!(walk(&machine, root, 0, Access::Read), Err(FaultReason::SecondStageUnreadable));
}

#[test]
fn a_table_that_points_to_itself_ends_at_the_lowest_level() {
    let machine = Machine::new();
    let root = machine.table();
    machine.write_memory(root, root | RW);
    let leaf = Leaf { guest: GuestAddress(root), level: Level::PAGE, rights: Rights::ALL };
    assert_eq!(walk(&machine, root, 0, Access::Read), Ok(leaf));
}

mod scalable;
