//! Chapter 6: caches and their invalidation.

use std::rc::Rc;

use iommu::{MsiMessage, SourceId};

use super::support::{Bench, Tables, context, descriptor, level, reg};

const IOVA: u64 = 0x4000_0000;
const RW: u64 = 3;

/// A second function in a domain of its own, with one page.
const OTHER: SourceId = SourceId(0x0208);
const OTHER_DOMAIN: u64 = 6;

/// Two functions, each with a page at [`IOVA`] that the unit has seen.
fn two_domains() -> (Rc<Bench>, Tables, Tables) {
    let (bench, tables) = Bench::translating();
    let others = Tables::second_stage(&bench, 4);
    bench.set_context(OTHER, context::translated(&others, OTHER_DOMAIN));
    tables.map(IOVA, 0x5000 | RW);
    others.map(IOVA, 0x6000 | RW);
    assert_eq!(bench.read(IOVA), Ok(0x5000));
    assert_eq!(bench.read_as(OTHER, IOVA), Ok(0x6000));
    (bench, tables, others)
}

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

// By registers.

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

// By the queue.

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

/// Submits a bad descriptor: the queue stops at it, says why, and goes on once software has replaced it.
#[track_caller]
fn refused(bench: &Bench, bad: [u64; 4], information: u64) {
    let (at, word) = (bench.get64(reg::IQT), bench.page());
    bench.submit(&[bad, descriptor::wait_status(word, 1)]);
    assert_eq!(bench.get(reg::FSTS) & reg::IQE, reg::IQE, "{bad:x?}");
    assert_eq!(bench.get64(reg::IQH), at, "the head stays at {bad:x?}");
    assert_eq!(bench.get64(reg::IQERCD) & 0xF, information, "{bad:x?}");
    assert_eq!(bench.load(word), 0);
    for (index, value) in descriptor::wait_fence()[..bench.stride() as usize / 8].iter().enumerate() {
        bench.store(bench.queue + at + 8 * index as u64, *value);
    }
    bench.set(reg::FSTS, reg::IQE);
    assert_eq!(bench.load(word), 1, "the queue goes on behind {bad:x?}");
}

#[test]
fn s6_5_2_10_descriptors_that_there_are_not() {
    let (bench, _) = Bench::translating();
    for bad in [0, 0xA, 0xF, 2 | 1 << 9, 6 | 3 << 4, 7 | 3 << 4, 3, 8, 9] {
        refused(&bench, [bad, 0, 0, 0], 3);
    }
}

#[test]
fn s6_5_2_10_every_reserved_bit_is_refused() {
    let (bench, _) = Bench::translating();
    // Type, a valid descriptor of it, and its reserved bits, low and high.
    let bits = |high: u32, low: u32| (u64::MAX >> (63 - high)) & (u64::MAX << low);
    let cases = [
        (descriptor::context_global(), bits(8, 6) | bits(15, 12) | bits(63, 50), u64::MAX),
        (descriptor::iotlb_global(), 1 << 8 | bits(15, 12) | bits(63, 32), bits(11, 7)),
        (descriptor::interrupts_global(), bits(8, 5) | bits(26, 12) | bits(63, 48), u64::MAX),
        (descriptor::wait_fence(), bits(8, 7) | bits(31, 12), bits(1, 0)),
    ];
    for (valid, low, high) in cases {
        for bit in 0..64 {
            if low >> bit & 1 == 1 {
                refused(&bench, [valid[0] | 1 << bit, valid[1], 0, 0], 4);
            }
            if high >> bit & 1 == 1 {
                refused(&bench, [valid[0], valid[1] | 1 << bit, 0, 0], 4);
            }
        }
    }
}

#[test]
fn s6_5_2_10_granularities_and_masks_without_meaning() {
    let (bench, _) = Bench::translating();
    refused(&bench, [1, 0, 0, 0], 4);
    refused(&bench, [2, 0, 0, 0], 4);
    let too_wide = (bench.get64(reg::CAP) >> 48 & 0x3F) + 1;
    refused(&bench, descriptor::iotlb_pages(Bench::DOMAIN, IOVA, too_wide), 4);
    let too_many = (bench.get64(reg::ECAP) >> 20 & 0xF) + 1;
    if too_many < 32 {
        refused(&bench, descriptor::interrupts(0, too_many), 4);
    }
}

#[test]
fn s6_5_2_10_a_tail_beyond_the_queue_stops_it_at_once() {
    let (bench, _) = Bench::translating();
    bench.set(reg::IQT, 0x1000);
    assert_eq!(bench.get(reg::FSTS) & reg::IQE, reg::IQE);
    assert_eq!(bench.get64(reg::IQERCD) & 0xF, 1);
    assert_eq!(bench.get64(reg::IQH), 0);
}

#[test]
fn s6_5_2_10_a_queue_that_is_no_memory() {
    let bench = Bench::legacy();
    bench.set64(reg::IQA, Bench::NOWHERE);
    bench.command(reg::QIE, true);
    bench.set(reg::IQT, 16);
    assert_eq!(bench.get(reg::FSTS) & reg::IQE, reg::IQE);
    assert_eq!(bench.get64(reg::IQERCD) & 0xF, 2);
}

#[test]
fn s6_5_2_11_a_wait_tells_of_everything_before_it() {
    let (bench, tables, others) = two_domains();
    let words = bench.page();
    tables.map(IOVA, 0x7000 | RW);
    others.map(IOVA, 0x8000 | RW);
    bench.submit(&[
        descriptor::iotlb_domain(Bench::DOMAIN),
        descriptor::iotlb_domain(OTHER_DOMAIN),
        descriptor::wait_status(words, 1),
        descriptor::wait_status(words + 4, 2),
    ]);
    assert_eq!(bench.load(words), 2 << 32 | 1);
    assert_eq!(bench.read(IOVA), Ok(0x7000));
    assert_eq!(bench.read_as(OTHER, IOVA), Ok(0x8000));
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
