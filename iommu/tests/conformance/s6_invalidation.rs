//! Chapter 6: invalidation by registers and by the queue.

use iommu::MsiMessage;

use super::support::stages::{IOVA, OTHER, OTHER_DOMAIN, RW, two_domains};
use super::support::{Bench, context, descriptor, level, reg};

/// Runs CCMD; gives CAIG.
fn by_ccmd(bench: &Bench, command: u64) -> u64 {
    bench.set64(reg::CCMD, 1 << 63 | command);
    let done = bench.get64(reg::CCMD);
    assert_eq!(done >> 63, 0, "ICC is clear");
    done >> 59 & 3
}

/// Runs IVA and IOTLB; gives IAIG.
fn by_iotlb(bench: &Bench, address: u64, command: u64) -> u64 {
    let iva = (bench.get64(reg::ECAP) >> 8 & 0x3FF) * 16;
    bench.set64(iva, address);
    bench.set64(iva + 8, 1 << 63 | command);
    let done = bench.get64(iva + 8);
    assert_eq!(done >> 63, 0, "IVT is clear");
    done >> 57 & 3
}

#[test]
fn s6_5_1_1_the_context_command_invalidates_by_every_granularity() {
    for (command, granularity) in [
        (1 << 61, 1),
        (2 << 61 | Bench::DOMAIN, 2),
        (3 << 61 | Bench::DOMAIN | (Bench::DEVICE.0 as u64) << 16, 3),
    ] {
        let (bench, _, others) = two_domains();
        bench.command(reg::QIE, false);
        bench.set_context(Bench::DEVICE, context::translated(&others, OTHER_DOMAIN));
        let done = by_ccmd(&bench, command);
        assert!(done != 0 && done <= granularity, "coarser is allowed, finer is not: {done}");
        assert_eq!(bench.read(IOVA), Ok(0x6000), "granularity {granularity}");
    }
}

#[test]
fn s6_5_1_1_a_granularity_without_meaning_does_nothing() {
    let (bench, _, _) = two_domains();
    bench.command(reg::QIE, false);
    assert_eq!(by_ccmd(&bench, 0), 0);
}

#[test]
fn s6_5_1_2_the_iotlb_registers_invalidate_by_every_granularity() {
    for (command, granularity) in
        [(1 << 60, 1), (2 << 60 | Bench::DOMAIN << 32, 2), (3 << 60 | Bench::DOMAIN << 32, 3)]
    {
        let (bench, tables, _) = two_domains();
        bench.command(reg::QIE, false);
        tables.map(IOVA, 0x7000 | RW);
        let done = by_iotlb(&bench, IOVA, command | 3 << 48);
        assert!(done != 0 && done <= granularity, "coarser is allowed, finer is not: {done}");
        assert_eq!(bench.read(IOVA), Ok(0x7000), "granularity {granularity}");
    }
}

#[test]
fn s6_5_1_2_what_cannot_be_done_is_told() {
    let (bench, _, _) = two_domains();
    bench.command(reg::QIE, false);
    assert_eq!(by_iotlb(&bench, IOVA, Bench::DOMAIN << 32), 0, "granularity 0");
    let too_wide = (bench.get64(reg::CAP) >> 48 & 0x3F) + 1;
    assert_eq!(by_iotlb(&bench, IOVA | too_wide, 3 << 60 | Bench::DOMAIN << 32), 0, "AM beyond MAMV");
}

#[test]
fn s6_5_2_descriptors_are_done_in_order_and_the_head_follows() {
    let (bench, tables, _) = two_domains();
    let word = bench.page();
    tables.map(IOVA, 0x7000 | RW);
    bench.submit(&[descriptor::iotlb_global(), descriptor::wait_status(word, 1)]);
    assert_eq!(bench.get64(reg::IQH), bench.get64(reg::IQT));
    assert_eq!(bench.load(word), 1);
    assert_eq!(bench.read(IOVA), Ok(0x7000));
}

#[test]
fn s6_5_2_the_ring_goes_round() {
    let (bench, _) = Bench::translating();
    let word = bench.page();
    for round in 1..=600 {
        bench.submit(&[descriptor::wait_status(word, round)]);
        assert_eq!(bench.load(word), round);
    }
    assert_eq!(bench.get64(reg::IQH), 600 % 256 * 16);
}

#[test]
fn s6_5_2_1_global_drops_every_context() {
    let (bench, tables, others) = two_domains();
    bench.set_context(Bench::DEVICE, context::translated(&others, OTHER_DOMAIN));
    bench.set_context(OTHER, context::translated(&tables, Bench::DOMAIN));
    bench.invalidate(descriptor::context_global());
    assert_eq!(bench.read(IOVA), Ok(0x6000));
    assert_eq!(bench.read_as(OTHER, IOVA), Ok(0x5000));
}

#[test]
fn s6_5_2_1_domain_selective_drops_the_contexts_of_its_domain() {
    let (bench, _, others) = two_domains();
    bench.set_context(Bench::DEVICE, context::translated(&others, OTHER_DOMAIN));
    bench.invalidate(descriptor::context_domain(Bench::DOMAIN));
    assert_eq!(bench.read(IOVA), Ok(0x6000));
}

#[test]
fn s6_5_2_1_device_selective_leaves_out_function_bits() {
    // FM 0 to 3 leave out no bit, bit 2, bits 2:1, bits 2:0.
    for (mask, bits) in [(0, 0), (1, 4), (2, 6), (3, 7)] {
        let (bench, _, others) = two_domains();
        bench.set_context(Bench::DEVICE, context::translated(&others, OTHER_DOMAIN));
        bench.invalidate(descriptor::context_device(Bench::DOMAIN, Bench::DEVICE.0 ^ bits, mask));
        assert_eq!(bench.read(IOVA), Ok(0x6000), "FM {mask}");
    }
}

#[test]
fn s6_5_2_3_global_drops_every_translation() {
    let (bench, tables, others) = two_domains();
    tables.map(IOVA, 0x7000 | RW);
    others.map(IOVA, 0x8000 | RW);
    bench.invalidate(descriptor::iotlb_global());
    assert_eq!(bench.read(IOVA), Ok(0x7000));
    assert_eq!(bench.read_as(OTHER, IOVA), Ok(0x8000));
}

#[test]
fn s6_5_2_3_domain_selective_drops_its_domain() {
    let (bench, tables, _) = two_domains();
    tables.map(IOVA, 0x7000 | RW);
    bench.invalidate(descriptor::iotlb_domain(Bench::DOMAIN));
    assert_eq!(bench.read(IOVA), Ok(0x7000));
    assert_eq!(bench.read_as(OTHER, IOVA), Ok(0x6000));
}

#[test]
fn s6_5_2_3_page_selective_drops_every_page_under_its_mask() {
    let (bench, tables) = Bench::translating();
    for page in 0..16 {
        tables.map(IOVA + page * 0x1000, (0x10_0000 + page * 0x1000) | RW);
        assert!(bench.read(IOVA + page * 0x1000).is_ok());
    }
    for page in 0..16 {
        tables.map(IOVA + page * 0x1000, (0x20_0000 + page * 0x1000) | RW);
    }
    // The low bits of the address that the mask leaves open do not count.
    bench.invalidate(descriptor::iotlb_pages(Bench::DOMAIN, IOVA + 6 * 0x1000, 3));
    for page in 0..8 {
        assert_eq!(bench.read(IOVA + page * 0x1000), Ok(0x20_0000 + page * 0x1000), "page {page}");
    }
}

#[test]
fn s6_5_2_3_page_selective_drops_a_large_page_it_falls_into() {
    let (bench, tables) = Bench::translating();
    tables.map_at(IOVA, 0x20_0000 | RW, level::PAGE_2M);
    assert_eq!(bench.read(IOVA + 0x5000), Ok(0x20_5000));
    tables.map_at(IOVA, 0x40_0000 | RW, level::PAGE_2M);
    bench.invalidate(descriptor::iotlb_pages(Bench::DOMAIN, IOVA + 0x9000, 0));
    assert_eq!(bench.read(IOVA + 0x5000), Ok(0x40_5000));
}

#[test]
fn s6_5_2_3_a_hint_keeps_no_leaf() {
    let (bench, tables, _) = two_domains();
    tables.map(IOVA, 0x7000 | RW);
    let mut hinted = descriptor::iotlb_pages(Bench::DOMAIN, IOVA, 0);
    hinted[1] |= 1 << 6;
    bench.invalidate(hinted);
    assert_eq!(bench.read(IOVA), Ok(0x7000));
}

#[test]
fn s6_5_2_7_global_and_indices_under_a_mask() {
    for descriptor in [descriptor::interrupts_global(), descriptor::interrupts(0x15, 3)] {
        let bench = Bench::legacy();
        bench.start_queue(false);
        bench.remap_interrupts(false);
        let vector = |index: u64| bench.interrupt(0xFEE0_0010 | index << 5, 0).map(|message| message.data);
        for index in 0x10..0x18 {
            bench.set_interrupt(index, [1 | 0x31 << 16, 0]);
            assert_eq!(vector(index), Ok(0x31));
            bench.set_interrupt(index, [1 | 0x32 << 16, 0]);
        }
        bench.invalidate(descriptor);
        for index in 0x10..0x18 {
            assert_eq!(vector(index), Ok(0x32), "{index:#x}");
        }
    }
}

#[test]
fn s6_5_2_8_a_wait_writes_its_status_word_and_no_more() {
    let (bench, _) = Bench::translating();
    let word = bench.page();
    bench.store(word, 0x1111_1111_2222_2222);
    bench.submit(&[descriptor::wait_status(word + 4, 0xCAFE_F00D)]);
    assert_eq!(bench.load(word), 0xCAFE_F00D_2222_2222);
}

#[test]
fn s6_5_2_8_a_fence_alone_is_legal() {
    let (bench, _) = Bench::translating();
    bench.invalidate(descriptor::wait_fence());
    assert_eq!(bench.get(reg::FSTS), 0);
}

#[test]
fn s6_5_2_9_a_completion_event_is_sent_once_until_it_is_looked_at() {
    let (bench, _) = Bench::translating();
    bench.set(reg::IEADDR, 0xFEE0_2000);
    bench.set(reg::IEDATA, 0x44);
    bench.set(reg::IECTL, 0);
    let message = MsiMessage { address: 0xFEE0_2000, data: 0x44 };
    bench.submit(&[descriptor::wait_interrupt()]);
    assert_eq!(bench.get(reg::ICS), 1);
    assert_eq!(bench.messages(), [message]);
    bench.submit(&[descriptor::wait_interrupt()]);
    assert_eq!(bench.messages(), []);
    bench.set(reg::ICS, 1);
    bench.submit(&[descriptor::wait_interrupt()]);
    assert_eq!(bench.messages(), [message]);
}

#[test]
fn s6_5_2_9_a_masked_completion_event_waits() {
    let (bench, _) = Bench::translating();
    bench.set(reg::IEADDR, 0xFEE0_2000);
    bench.submit(&[descriptor::wait_interrupt()]);
    assert_eq!(bench.get(reg::IECTL), reg::IM | reg::IP);
    assert_eq!(bench.messages(), []);
    bench.set(reg::IECTL, 0);
    assert_eq!(bench.messages().len(), 1);
    assert_eq!(bench.get(reg::IECTL), 0);
    // One that has been looked at while it was masked is not sent any more.
    bench.set(reg::ICS, 1);
    bench.set(reg::IECTL, reg::IM);
    bench.submit(&[descriptor::wait_interrupt()]);
    bench.set(reg::ICS, 1);
    assert_eq!(bench.get(reg::IECTL), reg::IM);
    bench.set(reg::IECTL, 0);
    assert_eq!(bench.messages(), []);
}

#[test]
fn s6_5_3_3_what_linux_flushes_after_a_context_change_suffices() {
    let (bench, tables, others) = two_domains();
    bench.set_context(Bench::DEVICE, context::translated(&others, Bench::DOMAIN));
    tables.map(IOVA, 0x7000 | RW);
    bench.invalidate(descriptor::context_device(Bench::DOMAIN, Bench::DEVICE.0, 0));
    bench.invalidate(descriptor::iotlb_domain(Bench::DOMAIN));
    assert_eq!(bench.read(IOVA), Ok(0x6000));
}
