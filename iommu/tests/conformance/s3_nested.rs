//! Chapter 3: second-stage translation in scalable mode, and nested translation.

use super::support::scalable::{self, SSADE, with};
use super::support::stages::{DOMAIN, IOVA, P, RW, SS_A, SS_D, USER, USER_RW, nested, second_stage};
use super::support::{Bench, Tables, descriptor, level};

#[test]
fn s3_7_scalable_mode_has_fault_reasons_of_its_own() {
    let (setup, tables) = second_stage();
    let bench = &setup.bench;
    assert_eq!(bench.read(IOVA), Err(0x79));
    tables.map(IOVA, 0x5000 | 1);
    assert_eq!((bench.read(IOVA), bench.write(IOVA)), (Ok(0x5000), Err(0x85)));
    tables.map(IOVA, 0x5000 | 2);
    bench.invalidate(descriptor::iotlb_global());
    assert_eq!((bench.read(IOVA), bench.write(IOVA)), (Err(0x86), Ok(0x5000)));
    assert_eq!(bench.read(1 << 48), Err(0x84));
    tables.map(IOVA + 0x1000, 0xFEE0_0000 | RW);
    assert_eq!(bench.read(IOVA + 0x1000), Err(0x87));
    bench.store(tables.entry(IOVA, level::PAGE_1G), Bench::NOWHERE | RW);
    bench.invalidate(descriptor::iotlb_global());
    assert_eq!(bench.read(IOVA), Err(0x78));
    let mut nowhere = scalable::second_stage(&tables, DOMAIN);
    nowhere[0] = Bench::NOWHERE | nowhere[0] & 0xFFF;
    setup.set(nowhere);
    assert_eq!(bench.read(IOVA), Err(0x7B));
}

#[test]
fn s3_7_2_second_stage_marks_where_it_is_enabled() {
    let (setup, tables) = second_stage();
    let bench = &setup.bench;
    tables.map(IOVA, 0x5000 | RW);
    let entry = |at| bench.load(tables.entry(IOVA, at)) & (SS_A | SS_D);
    assert_eq!(bench.write(IOVA), Ok(0x5000));
    assert_eq!(entry(level::PAGE), 0, "SSADE = 0");
    setup.set(with(scalable::second_stage(&tables, DOMAIN), 0, SSADE));
    assert_eq!(bench.read(IOVA), Ok(0x5000));
    assert_eq!([1, 2, 3, 4].map(entry), [SS_A; 4]);
    assert_eq!(bench.write(IOVA), Ok(0x5000));
    assert_eq!([1, 2, 3, 4].map(entry), [SS_A | SS_D, SS_A, SS_A, SS_A]);
}

#[test]
fn s3_8_first_stage_tables_lie_behind_the_second_stage() {
    let (setup, first, second) = nested();
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000));
    // The page moves by the second stage alone.
    second.map(0x5000, 0x9000 | RW);
    setup.bench.invalidate(descriptor::iotlb_pages(DOMAIN, 0x5000, 0));
    assert_eq!(setup.bench.read(IOVA), Ok(0x9000));
    // So does the top table.
    let copy = setup.bench.page();
    for index in 0..512 {
        setup.bench.store(copy + index * 8, setup.bench.load(first.root + index * 8));
    }
    setup.bench.store(first.root + (IOVA >> 39 & 511) * 8, 0);
    second.map(first.root, copy | RW);
    setup.bench.invalidate(descriptor::iotlb_global());
    assert_eq!(setup.bench.read(IOVA), Ok(0x9000));
}

#[test]
fn s3_8_the_smaller_page_of_both_stages_counts() {
    let (setup, first, second) = nested();
    first.map_at(IOVA + (1 << 30), 0x4000_0000 | USER_RW, level::PAGE_2M);
    let table = first.entry(IOVA + (1 << 30), level::PAGE_2M) & !0xFFF;
    second.map(table, table | RW);
    second.map(0x4000_0000, 0x6000 | RW);
    second.map(0x4000_1000, 0x3000 | RW);
    assert_eq!(setup.bench.read(IOVA + (1 << 30) + 0x10), Ok(0x6010));
    assert_eq!(setup.bench.read(IOVA + (1 << 30) + 0x1010), Ok(0x3010));
}

#[test]
fn s3_8_1_faults_of_either_stage() {
    let (setup, first, second) = nested();
    let bench = &setup.bench;
    assert_eq!(bench.read(IOVA + 0x1000), Err(0x71), "first stage not present");
    first.map(IOVA + 0x1000, 0x7000 | USER_RW);
    assert_eq!(bench.read(IOVA + 0x1000), Err(0x79), "second stage not present for the page");
    let table = first.entry(IOVA, level::PAGE) & !0xFFF;
    second.map(table, table | 2);
    bench.invalidate(descriptor::iotlb_global());
    assert_eq!(bench.read(IOVA), Err(0x76), "no permission to read a first-stage entry");
    second.map(first.root, first.root | 2);
    bench.invalidate(descriptor::iotlb_global());
    assert_eq!(bench.read(IOVA), Err(0x75), "nor the first one");
}

#[test]
fn s3_8_1_marks_need_permission_to_write() {
    let (setup, first, second) = nested();
    let table = first.entry(IOVA, level::PAGE) & !0xFFF;
    second.map(table, table | 1);
    setup.bench.invalidate(descriptor::iotlb_global());
    assert_eq!(setup.bench.read(IOVA), Err(0x77));
}

#[test]
fn s3_8_1_first_stage_tables_beyond_the_second_stage() {
    let (setup, first, _) = nested();
    // Three levels of second stage, and a first-stage table above them.
    let narrow = Tables::second_stage(&setup.bench, 3);
    setup.set(scalable::nested(&first, &narrow, DOMAIN));
    assert_eq!(setup.bench.read(IOVA), Err(0x79));
    let mut entry = scalable::nested(&first, &narrow, DOMAIN);
    entry[2] = 1 << 40;
    setup.set(entry);
    assert_eq!(setup.bench.read(IOVA), Err(0x74));
}

#[test]
fn s3_8_2_both_stages_have_to_allow_the_access() {
    let (setup, first, second) = nested();
    let bench = &setup.bench;
    assert_eq!(bench.write(IOVA), Ok(0x5000));
    second.map(0x5000, 0x5000 | 1);
    bench.invalidate(descriptor::iotlb_global());
    assert_eq!((bench.read(IOVA), bench.write(IOVA)), (Ok(0x5000), Err(0x85)));
    second.map(0x5000, 0x5000 | RW);
    first.map(IOVA, 0x5000 | P | USER);
    bench.invalidate(descriptor::iotlb_global());
    assert_eq!((bench.read(IOVA), bench.write(IOVA)), (Ok(0x5000), Err(0x85)));
}
