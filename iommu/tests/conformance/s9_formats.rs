//! Chapter 9: structures in memory, and their reserved bits.

use iommu::SourceId;

use super::support::{Bench, Tables, context, descriptor, level};

const IOVA: u64 = 0x4000_0000;
const RW: u64 = 3;

/// Address bits that a machine of 48 bits does not have.
const BEYOND: std::ops::RangeInclusive<u32> = 48..=63;

fn bits(high: u32, low: u32) -> impl Iterator<Item = u64> {
    (low..=high).map(|bit| 1 << bit)
}

#[test]
fn s9_1_root_entries_have_reserved_bits() {
    let (bench, _) = Bench::translating();
    let at = bench.root + 16;
    let valid = bench.load(at);
    let lows = bits(11, 1).chain(BEYOND.map(|bit| 1 << bit)).map(|bit| (bit, 0));
    for (low, high) in lows.chain(bits(63, 0).map(|bit| (0, bit))) {
        bench.store(at, valid | low);
        bench.store(at + 8, high);
        bench.invalidate(descriptor::context_global());
        assert_eq!(bench.read(IOVA), Err(0x0A), "{high:x} {low:x}");
    }
    // Without P nothing else counts.
    bench.store(at, u64::MAX - 1);
    bench.store(at + 8, u64::MAX);
    bench.invalidate(descriptor::context_global());
    assert_eq!(bench.read(IOVA), Err(0x01));
}

#[test]
fn s9_3_context_entries_have_reserved_bits() {
    let (bench, tables) = Bench::translating();
    let valid = context::translated(&tables, Bench::DOMAIN);
    let lows = bits(11, 4).chain(BEYOND.map(|bit| 1 << bit)).map(|bit| (bit, 0));
    let highs = bits(7, 7).chain(bits(63, 24)).map(|bit| (0, bit));
    for (low, high) in lows.chain(highs) {
        bench.set_context(Bench::DEVICE, [valid[0] | low, valid[1] | high]);
        bench.invalidate(descriptor::context_global());
        assert_eq!(bench.read(IOVA), Err(0x0B), "{high:x} {low:x}");
    }
    tables.map(IOVA, 0x5000 | RW);
    for ignored in bits(6, 3) {
        bench.set_context(Bench::DEVICE, [valid[0], valid[1] | ignored]);
        bench.invalidate(descriptor::context_global());
        assert_eq!(bench.read(IOVA), Ok(0x5000), "{ignored:x} is ignored");
    }
}

#[test]
fn s9_3_types_and_widths_that_there_are_not() {
    let (bench, tables) = Bench::translating();
    let [low, high] = context::translated(&tables, Bench::DOMAIN);
    for (kind, width) in [(1, 2), (3, 2), (0, 0), (0, 3), (0, 4), (0, 7)] {
        bench.set_context(Bench::DEVICE, [low | kind << 2, high & !7 | width]);
        bench.invalidate(descriptor::context_global());
        assert_eq!(bench.read(IOVA), Err(0x03), "TT {kind}, AW {width}");
    }
}

#[test]
fn s9_3_domains_have_16_bits() {
    let (bench, _) = Bench::translating();
    for (source, domain) in [(0x0300, 0x0001), (0x0301, 0x8001), (0x0302, 0xFFFF)] {
        let tables = Tables::second_stage(&bench, 4);
        tables.map(IOVA, domain << 12 | RW);
        bench.set_context(SourceId(source), context::translated(&tables, domain));
        assert_eq!(bench.read_as(SourceId(source), IOVA), Ok(domain << 12));
    }
}

#[test]
fn s9_8_second_stage_entries_have_reserved_bits() {
    let (bench, tables) = Bench::translating();
    // (level, reserved bits): bit 11 leads no way in a table's entry, addresses end at bit 47, bit 62 is reserved.
    let address: Vec<_> = bits(51, 48).collect();
    tables.map(IOVA, 0x5000 | RW);
    for (level, more) in [
        (4, vec![1 << 7, 1 << 11]),
        (level::PAGE_1G, vec![1 << 11]),
        (level::PAGE_2M, vec![1 << 11]),
        (level::PAGE, vec![]),
    ] {
        let at = tables.entry(IOVA, level);
        let valid = bench.load(at);
        for bit in more.iter().chain(&address) {
            bench.store(at, valid | bit);
            bench.invalidate(descriptor::iotlb_global());
            assert_eq!(bench.read(IOVA), Err(0x0C), "level {level}, {bit:x}");
        }
        bench.store(at, valid);
    }
}

#[test]
fn s9_8_large_pages_have_reserved_address_bits() {
    let (bench, tables) = Bench::translating();
    for (size, highest) in [(level::PAGE_2M, 20), (level::PAGE_1G, 29)] {
        let iova = IOVA * u64::from(size);
        for bit in bits(highest, 12) {
            tables.map_at(iova, 0x4000_0000 | bit | RW, size);
            bench.invalidate(descriptor::iotlb_global());
            assert_eq!(bench.read(iova), Err(0x0C), "level {size}, {bit:x}");
        }
    }
}

#[test]
fn s9_8_some_bits_are_softwares() {
    let (bench, tables) = Bench::translating();
    // Bit 2 and those of memory types, and accessed and dirty, which legacy mode does not have.
    let free: u64 = bits(6, 2).chain(bits(10, 8)).chain(bits(61, 52)).chain(bits(63, 63)).sum();
    tables.map(IOVA, 0x5000 | RW | free);
    for level in [level::PAGE_2M, level::PAGE_1G, 4] {
        let at = tables.entry(IOVA, level);
        bench.store(at, bench.load(at) | free);
    }
    assert_eq!(bench.read(IOVA), Ok(0x5000));
}

#[test]
fn s9_9_interrupt_entries_have_reserved_bits() {
    let bench = Bench::legacy();
    bench.start_queue(false);
    bench.remap_interrupts(false);
    let valid = [1 | 0x33 << 16, 0];
    let lows = bits(14, 12).chain(bits(31, 24)).chain(bits(39, 32)).chain(bits(63, 48)).map(|bit| (bit, 0));
    for (low, high) in lows.chain(bits(63, 20).map(|bit| (0, bit))) {
        bench.set_interrupt(3, [valid[0] | low, valid[1] | high]);
        bench.invalidate(descriptor::interrupts_global());
        assert_eq!(bench.interrupt(0xFEE0_0070, 0), Err(0x24), "{high:x} {low:x}");
    }
    for bit in bits(11, 8) {
        bench.set_interrupt(3, [valid[0] | bit, 0]);
        bench.invalidate(descriptor::interrupts_global());
        assert!(bench.interrupt(0xFEE0_0070, 0).is_ok(), "{bit:x} is software's");
    }
}

#[test]
fn s9_9_fields_with_values_that_mean_nothing() {
    let bench = Bench::legacy();
    bench.start_queue(false);
    bench.remap_interrupts(false);
    // Delivery modes 011 and 110, source validation 11, and the posted format of a unit that cannot post.
    for [low, high] in [[3 << 5, 0], [6 << 5, 0], [0, 3 << 18], [1 << 15, 0]] {
        bench.set_interrupt(3, [1 | 0x33 << 16 | low, high]);
        bench.invalidate(descriptor::interrupts_global());
        assert_eq!(bench.interrupt(0xFEE0_0070, 0), Err(0x24), "{high:x} {low:x}");
    }
}
