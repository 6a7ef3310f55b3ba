//! Chapter 6: what is cached, and how long.

use super::support::stages::{IOVA, OTHER, OTHER_DOMAIN, RW, two_domains};
use super::support::{Bench, Tables, context, descriptor, level, reg};

#[test]
fn s6_1_what_was_not_present_is_seen_after_its_invalidation() {
    let (bench, tables) = Bench::translating();
    assert_eq!(bench.get64(reg::CAP) >> 7 & 1, 1, "caching mode");
    assert_eq!(bench.read(IOVA), Err(0x06));
    tables.map(IOVA, 0x5000 | RW);
    bench.invalidate(descriptor::iotlb_pages(Bench::DOMAIN, IOVA, 0));
    assert_eq!(bench.read(IOVA), Ok(0x5000));
}

#[test]
fn s6_1_contexts_that_were_not_present_are_flushed_by_domain_0() {
    let (bench, _) = Bench::translating();
    assert_eq!(bench.read_as(OTHER, IOVA), Err(0x01));
    let tables = Tables::second_stage(&bench, 4);
    tables.map(IOVA, 0x5000 | RW);
    bench.set_context(OTHER, context::translated(&tables, OTHER_DOMAIN));
    bench.invalidate(descriptor::context_device(0, OTHER.0, 0));
    bench.invalidate(descriptor::iotlb_domain(0));
    assert_eq!(bench.read_as(OTHER, IOVA), Ok(0x5000));
}

#[test]
fn s6_2_1_functions_of_one_domain_see_one_invalidation() {
    let (bench, tables) = Bench::translating();
    bench.set_context(OTHER, context::translated(&tables, Bench::DOMAIN));
    tables.map(IOVA, 0x5000 | RW);
    assert_eq!(bench.read(IOVA), Ok(0x5000));
    assert_eq!(bench.read_as(OTHER, IOVA), Ok(0x5000));
    tables.map(IOVA, 0x7000 | RW);
    bench.invalidate(descriptor::iotlb_pages(Bench::DOMAIN, IOVA, 0));
    assert_eq!(bench.read(IOVA), Ok(0x7000));
    assert_eq!(bench.read_as(OTHER, IOVA), Ok(0x7000));
}

#[test]
fn s6_2_2_a_context_entry_may_stay_until_it_is_invalidated() {
    let (bench, _, others) = two_domains();
    bench.set_context(Bench::DEVICE, context::translated(&others, OTHER_DOMAIN));
    let seen = bench.read(IOVA);
    assert!(seen == Ok(0x5000) || seen == Ok(0x6000), "{seen:?}");
    bench.invalidate(descriptor::context_device(Bench::DOMAIN, Bench::DEVICE.0, 0));
    assert_eq!(bench.read(IOVA), Ok(0x6000));
}

#[test]
fn s6_2_4_a_translation_may_stay_until_it_is_invalidated() {
    let (bench, tables, _) = two_domains();
    tables.map(IOVA, 0x7000 | RW);
    let seen = bench.read(IOVA);
    assert!(seen == Ok(0x5000) || seen == Ok(0x7000), "{seen:?}");
    bench.invalidate(descriptor::iotlb_pages(Bench::DOMAIN, IOVA, 0));
    assert_eq!(bench.read(IOVA), Ok(0x7000));
}

#[test]
fn s6_2_4_a_cached_translation_allows_no_more_than_its_page() {
    let (bench, tables) = Bench::translating();
    tables.map(IOVA, 0x5000 | 1);
    assert_eq!(bench.read(IOVA), Ok(0x5000));
    assert_eq!(bench.write(IOVA), Err(0x05));
}

#[test]
fn s6_2_5_an_inner_table_is_gone_after_its_invalidation() {
    let (bench, tables, _) = two_domains();
    // Another table in the middle of the path, which a hint of leaves only would not announce.
    let inner = bench.page();
    bench.store(inner + (IOVA >> 12 & 511) * 8, 0x8000 | RW);
    bench.store(tables.entry(IOVA, level::PAGE_2M), inner | RW);
    bench.invalidate(descriptor::iotlb_pages(Bench::DOMAIN, IOVA, 0));
    assert_eq!(bench.read(IOVA), Ok(0x8000));
}

#[test]
fn s6_4_an_interrupt_entry_may_stay_until_it_is_invalidated() {
    let bench = Bench::legacy();
    bench.start_queue(false);
    bench.remap_interrupts(false);
    bench.set_interrupt(2, [1 | 0x31 << 16, 0]);
    let vector = || bench.interrupt(0xFEE0_0050, 0).map(|message| message.data);
    assert_eq!(vector(), Ok(0x31));
    bench.set_interrupt(2, [1 | 0x32 << 16, 0]);
    assert!(matches!(vector(), Ok(0x31 | 0x32)));
    bench.invalidate(descriptor::interrupts(2, 0));
    assert_eq!(vector(), Ok(0x32));
}

#[test]
fn s6_6_a_root_pointer_counts_once_it_is_set() {
    let (bench, _, _) = two_domains();
    let root = bench.page();
    bench.set64(reg::RTADDR, root);
    bench.invalidate(descriptor::context_global());
    bench.invalidate(descriptor::iotlb_global());
    assert_eq!(bench.read(IOVA), Ok(0x5000), "not by the register alone");
    bench.command(reg::SRTP, true);
    assert!(bench.status(reg::SRTP));
    bench.invalidate(descriptor::context_global());
    bench.invalidate(descriptor::iotlb_global());
    assert_eq!(bench.read(IOVA), Err(0x01));
}

#[test]
fn s6_7_an_interrupt_table_pointer_counts_once_it_is_set() {
    let bench = Bench::legacy();
    bench.start_queue(false);
    bench.remap_interrupts(false);
    bench.set_interrupt(2, [1 | 0x31 << 16, 0]);
    let vector = || bench.interrupt(0xFEE0_0050, 0).map(|message| message.data);
    assert_eq!(vector(), Ok(0x31));
    bench.set64(reg::IRTA, bench.page() | 7);
    bench.invalidate(descriptor::interrupts_global());
    assert_eq!(vector(), Ok(0x31), "not by the register alone");
    bench.command(reg::SIRTP, true);
    assert!(bench.status(reg::SIRTP));
    bench.invalidate(descriptor::interrupts_global());
    assert_eq!(vector(), Err(0x22));
}

#[test]
fn s6_8_there_is_no_write_buffer_to_flush() {
    let bench = Bench::legacy();
    assert_eq!(bench.get64(reg::CAP) >> 4 & 1, 0, "RWBF");
    bench.command(reg::WBF, true);
    assert!(!bench.status(reg::WBF), "done at once");
}
