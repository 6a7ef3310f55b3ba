//! Chapter 3: first-stage translation, its access rights and marks.

use iommu::Access;

use super::support::scalable::{self, EAFE, ERE, SRE, WPE, with};
use super::support::stages::{A, D, DOMAIN, EA, IOVA, P, USER, USER_RW, WRITABLE, first_stage, with_pasid};
use super::support::{Bench, Tables, level};

#[test]
fn s3_6_pages_of_all_sizes() {
    let (setup, tables) = first_stage();
    tables.map(IOVA, 0x5000 | USER_RW);
    tables.map_at(IOVA + (1 << 30), 0x20_0000 | USER_RW, level::PAGE_2M);
    tables.map_at(IOVA + (2 << 30), 0x8000_0000 | USER_RW, level::PAGE_1G);
    assert_eq!(setup.bench.read(IOVA + 0x123), Ok(0x5123));
    assert_eq!(setup.bench.read(IOVA + (1 << 30) + 0x12_3456), Ok(0x32_3456));
    assert_eq!(setup.bench.read(IOVA + (2 << 30) + 0x1234_5678), Ok(0x9234_5678));
}

#[test]
fn s3_6_addresses_are_canonical() {
    let (setup, tables) = first_stage();
    tables.map((1 << 47) - 0x1000, 0x5000 | USER_RW);
    assert_eq!(setup.bench.read((1 << 47) - 1), Ok(0x5FFF));
    assert_eq!(setup.bench.read(1 << 47), Err(0x80));
    assert_eq!(setup.bench.one_fault(0x80).address(), 1 << 47);
}

#[test]
fn s3_6_five_levels() {
    let setup = Bench::scalable_with(Bench::everything(57));
    let tables = Tables::first_stage(&setup.bench, 5);
    tables.map(1 << 50, 0x5000 | USER_RW);
    setup.set(scalable::first_stage(&tables, DOMAIN));
    assert_eq!(setup.bench.read(1 << 50), Ok(0x5000));
}

#[test]
fn s3_6_entries_that_are_not_present_or_not_readable() {
    let (setup, tables) = first_stage();
    assert_eq!(setup.bench.read(IOVA), Err(0x71));
    setup.bench.store(tables.entry(IOVA, level::PAGE_1G), Bench::NOWHERE | USER_RW);
    assert_eq!(setup.bench.read(IOVA), Err(0x70));
    let mut nowhere = scalable::first_stage(&tables, DOMAIN);
    nowhere[2] = Bench::NOWHERE;
    setup.set(nowhere);
    assert_eq!(setup.bench.read(IOVA), Err(0x73));
}

#[test]
fn s3_6_1_every_level_has_to_let_users_and_writes_through() {
    for at in [level::PAGE, level::PAGE_2M, level::PAGE_1G, 4] {
        for (bit, read, write) in [(USER, Err(0x81), Err(0x81)), (WRITABLE, Ok(0x5000), Err(0x85))] {
            let (setup, tables) = first_stage();
            tables.map(IOVA, 0x5000 | USER_RW);
            let entry = tables.entry(IOVA, at);
            setup.bench.store(entry, setup.bench.load(entry) & !bit);
            assert_eq!((setup.bench.read(IOVA), setup.bench.write(IOVA)), (read, write), "level {at}");
        }
    }
}

#[test]
fn s3_6_1_supervisors_need_permission_to_be_so_and_may_write_unless_protected() {
    let (setup, tables) = first_stage();
    tables.map(IOVA, 0x5000 | P);
    let write = with_pasid(Access::Write).privileged();
    assert_eq!(setup.bench.request(&write, IOVA), Err(0x5D), "SRE = 0");
    setup.set(with(scalable::first_stage(&tables, DOMAIN), 2, SRE));
    assert_eq!(setup.bench.request(&write, IOVA), Ok(0x5000));
    setup.set(with(scalable::first_stage(&tables, DOMAIN), 2, SRE | WPE));
    assert_eq!(setup.bench.request(&write, IOVA), Err(0x85));
}

#[test]
fn s3_6_1_requests_to_execute_need_permission_to_be_so() {
    let (setup, tables) = first_stage();
    tables.map(IOVA, 0x5000 | USER_RW);
    tables.map(IOVA + 0x1000, 0x6000 | USER_RW | 1 << 63);
    let execute = with_pasid(Access::Read).executing();
    assert_eq!(setup.bench.request(&execute, IOVA), Err(0x5C), "ERE = 0");
    setup.set(with(scalable::first_stage(&tables, DOMAIN), 2, ERE));
    assert_eq!(setup.bench.request(&execute, IOVA), Ok(0x5000));
    assert_eq!(setup.bench.request(&execute, IOVA + 0x1000), Err(0x82));
    assert_eq!(setup.bench.request(&with_pasid(Access::Read), IOVA + 0x1000), Ok(0x6000));
}

#[test]
fn s3_6_2_accessed_in_every_entry_used_and_dirty_in_the_leaf_written() {
    let (setup, tables) = first_stage();
    tables.map(IOVA, 0x5000 | USER_RW);
    let entry = |at| setup.bench.load(tables.entry(IOVA, at)) & (A | D | EA);
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000));
    for at in [level::PAGE, level::PAGE_2M, level::PAGE_1G, 4] {
        assert_eq!(entry(at), A, "level {at}");
    }
    assert_eq!(setup.bench.write(IOVA), Ok(0x5000));
    assert_eq!(entry(level::PAGE), A | D);
    assert_eq!(entry(level::PAGE_2M), A);
}

#[test]
fn s3_6_2_a_denied_access_makes_nothing_dirty() {
    let (setup, tables) = first_stage();
    tables.map(IOVA, 0x5000 | P | USER);
    assert_eq!(setup.bench.write(IOVA), Err(0x85));
    assert_eq!(setup.bench.load(tables.entry(IOVA, level::PAGE)) & D, 0);
    tables.map(IOVA + 0x1000, 0xFEE0_0000 | USER_RW);
    assert_eq!(setup.bench.write(IOVA + 0x1000), Err(0x87));
    assert_eq!(
        setup.bench.load(tables.entry(IOVA + 0x1000, level::PAGE)) & D,
        0,
        "nor one that leads to interrupts"
    );
}

#[test]
fn s3_6_2_extended_accessed_where_it_is_enabled() {
    let (setup, tables) = first_stage();
    tables.map(IOVA, 0x5000 | USER_RW);
    setup.set(with(scalable::first_stage(&tables, DOMAIN), 2, EAFE));
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000));
    assert_eq!(setup.bench.load(tables.entry(IOVA, level::PAGE)) & (A | EA), A | EA);
}

#[test]
fn s3_6_2_a_walk_that_does_not_snoop_cannot_mark() {
    let (setup, tables) = first_stage();
    tables.map(IOVA, 0x5000 | USER_RW);
    let mut entry = scalable::first_stage(&tables, DOMAIN);
    entry[1] &= !(1 << 23);
    setup.set(entry);
    assert_eq!(setup.bench.read(IOVA), Err(0x90));
    for at in [level::PAGE, level::PAGE_2M, level::PAGE_1G, 4] {
        let place = tables.entry(IOVA, at);
        setup.bench.store(place, setup.bench.load(place) | A);
    }
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000), "nor has to, where the bit stands already");
}
