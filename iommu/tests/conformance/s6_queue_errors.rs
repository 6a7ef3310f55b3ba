//! Chapter 6: what the queue refuses, and in which order it works.

use super::support::stages::{IOVA, OTHER, OTHER_DOMAIN, RW, two_domains};
use super::support::{Bench, descriptor, reg};

#[test]
fn s6_5_2_10_descriptors_that_there_are_not() {
    let (bench, _) = Bench::translating();
    for bad in [0, 0xA, 0xF, 2 | 1 << 9, 6 | 3 << 4, 7 | 3 << 4, 3, 8, 9] {
        bench.refused([bad, 0, 0, 0], 3);
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
                bench.refused([valid[0] | 1 << bit, valid[1], 0, 0], 4);
            }
            if high >> bit & 1 == 1 {
                bench.refused([valid[0], valid[1] | 1 << bit, 0, 0], 4);
            }
        }
    }
}

#[test]
fn s6_5_2_10_granularities_and_masks_without_meaning() {
    let (bench, _) = Bench::translating();
    bench.refused([1, 0, 0, 0], 4);
    bench.refused([2, 0, 0, 0], 4);
    let too_wide = (bench.get64(reg::CAP) >> 48 & 0x3F) + 1;
    bench.refused(descriptor::iotlb_pages(Bench::DOMAIN, IOVA, too_wide), 4);
    let too_many = (bench.get64(reg::ECAP) >> 20 & 0xF) + 1;
    if too_many < 32 {
        bench.refused(descriptor::interrupts(0, too_many), 4);
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
