//! Chapter 3: DMA remapping.

use iommu::{Access, Iova, Pasid, Request, SourceId};

use super::support::{Bench, Tables, context, descriptor, level, reg};

const IOVA: u64 = 0x4000_0000;
const RW: u64 = 3;

#[test]
fn s3_2_domains_are_address_spaces_of_their_own() {
    let (bench, tables) = Bench::translating();
    let other = SourceId(0x0200);
    let others = Tables::second_stage(&bench, 4);
    bench.set_context(other, context::translated(&others, 6));
    tables.map(IOVA, 0x5000 | RW);
    others.map(IOVA, 0x6000 | RW);
    assert_eq!(bench.read(IOVA), Ok(0x5000));
    assert_eq!(bench.read_as(other, IOVA), Ok(0x6000));
}

#[test]
fn s3_3_translation_off_leaves_addresses_as_they_are() {
    let bench = Bench::legacy();
    assert_eq!(bench.write(0x1234), Ok(0x1234));
    assert_eq!(bench.write(u64::MAX), Ok(u64::MAX));
    assert_eq!(bench.get(reg::FSTS), 0);
}

#[test]
fn s3_3_translation_switched_off_again_leaves_addresses_as_they_are() {
    let (bench, tables) = Bench::translating();
    tables.map(IOVA, 0x5000 | RW);
    assert_eq!(bench.read(IOVA), Ok(0x5000));
    bench.command(reg::TE, false);
    assert_eq!(bench.read(IOVA), Ok(IOVA));
}

#[test]
fn s3_4_1_bus_selects_the_root_entry_and_function_the_context_entry() {
    let (bench, _) = Bench::translating();
    for source in [0x0000, 0x0007, 0x00FF, 0xFF00, 0xFFFF, 0x8A5C] {
        let tables = Tables::second_stage(&bench, 4);
        tables.map(IOVA, source << 12 | RW);
        // By hand: the bus is the index into the root table, device and function that into the context table.
        let contexts = bench.page();
        bench.store(bench.root + (source >> 8) * 16, contexts | 1);
        bench.store(contexts + (source & 0xFF) * 16 + 8, 2 | source << 8);
        bench.store(contexts + (source & 0xFF) * 16, tables.root | 1);
        bench.invalidate(descriptor::context_global());
        assert_eq!(bench.read_as(SourceId(source as u16), IOVA), Ok(source << 12), "{source:#x}");
    }
}

#[test]
fn s3_4_2_no_root_entry_blocks() {
    let (bench, _) = Bench::translating();
    assert_eq!(bench.read_as(SourceId(0x7F00), IOVA), Err(0x01));
    let record = bench.one_fault(0x01);
    assert_eq!((record.source(), record.address()), (SourceId(0x7F00), IOVA));
}

#[test]
fn s3_4_2_no_context_entry_blocks() {
    let (bench, _) = Bench::translating();
    assert_eq!(bench.read_as(SourceId(0x0114), IOVA), Err(0x02));
    bench.one_fault(0x02);
}

#[test]
fn s3_4_2_tables_that_are_no_memory_block() {
    let (bench, tables) = Bench::translating();
    let device = Bench::DEVICE;
    bench.set_context(device, [Bench::NOWHERE | 1, 2 | Bench::DOMAIN << 8]);
    assert_eq!(bench.read(IOVA), Err(0x03), "the top table");
    bench.set_context(device, context::translated(&tables, Bench::DOMAIN));
    bench.store(tables.entry(IOVA, level::PAGE_1G), Bench::NOWHERE | RW);
    bench.invalidate(descriptor::context_global());
    assert_eq!(bench.read(IOVA), Err(0x07), "a deeper one");
    bench.store(bench.root + 16, Bench::NOWHERE | 1);
    bench.invalidate(descriptor::context_global());
    assert_eq!(bench.read(IOVA), Err(0x09), "the context table");
    bench.set64(reg::RTADDR, Bench::NOWHERE);
    bench.command(reg::SRTP, true);
    bench.invalidate(descriptor::context_global());
    assert_eq!(bench.read(IOVA), Err(0x08), "the root table");
}

#[test]
fn s3_4_2_a_request_with_pasid_is_blocked() {
    let (bench, tables) = Bench::translating();
    tables.map(IOVA, 0x5000 | RW);
    let request = Request::new(Bench::DEVICE, Access::Read).with_pasid(Pasid(1));
    assert_eq!(bench.request(&request, IOVA), Err(0x31));
    bench.one_fault(0x31);
}

#[test]
fn s3_4_2_pass_through_reaches_memory_untranslated() {
    let (bench, _) = Bench::translating();
    bench.set_context(Bench::DEVICE, context::pass_through(9));
    bench.invalidate(descriptor::context_global());
    assert_eq!(bench.write(0x5678), Ok(0x5678));
    assert_eq!(bench.read(1 << 48), Err(0x04), "but no further than guest memory can reach");
}

#[test]
fn s3_5_every_level_of_tables_is_an_index_of_nine_bits() {
    let (bench, tables) = Bench::translating();
    let mut table = tables.root;
    for shift in [39, 30, 21] {
        let below = bench.page();
        bench.store(table + (0x1A5 + shift) * 8, below | RW);
        table = below;
    }
    bench.store(table + 0x0F0 * 8, 0x7000 | RW);
    let iova = (0x1A5 + 39) << 39 | (0x1A5 + 30) << 30 | (0x1A5 + 21) << 21 | 0x0F0 << 12 | 0xABC;
    assert_eq!(bench.read(iova), Ok(0x7ABC));
}

#[test]
fn s3_7_tables_of_three_levels_translate_39_bits() {
    let (bench, _) = Bench::translating();
    let narrow = Tables::second_stage(&bench, 3);
    bench.set_context(Bench::DEVICE, context::translated(&narrow, 6));
    bench.invalidate(descriptor::context_global());
    narrow.map((1 << 39) - 0x1000, 0x5000 | RW);
    narrow.map(0, 0x6000 | RW);
    assert_eq!(bench.read((1 << 39) - 1), Ok(0x5FFF));
    assert_eq!(bench.read(1 << 39), Err(0x04), "and do not alias what lies above");
    assert_eq!(bench.one_fault(0x04).address(), 1 << 39);
}

#[test]
fn s3_7_tables_of_five_levels_translate_57_bits() {
    let bench = Bench::new(iommu::Capabilities::legacy(57));
    let tables = Tables::second_stage(&bench, 5);
    bench.set_context(Bench::DEVICE, context::translated(&tables, Bench::DOMAIN));
    bench.translate(0);
    tables.map((1 << 57) - 0x1000, 0x5000 | RW);
    assert_eq!(bench.read((1 << 57) - 1), Ok(0x5FFF));
    assert_eq!(bench.read(1 << 57), Err(0x04));
}

#[test]
fn s3_7_pages_of_2_mib_and_1_gib() {
    let (bench, tables) = Bench::translating();
    tables.map_at(IOVA, 0x20_0000 | RW, level::PAGE_2M);
    tables.map_at(IOVA + (1 << 30), 0x4000_0000 | RW, level::PAGE_1G);
    assert_eq!(bench.read(IOVA + 0x12_3456), Ok(0x32_3456));
    assert_eq!(bench.read(IOVA + (1 << 30) + 0x1234_5678), Ok(0x5234_5678));
}

#[test]
fn s3_7_an_entry_that_allows_nothing_is_not_present() {
    let (bench, tables) = Bench::translating();
    // Bit 11 is reserved in a table's entry, but nothing of an entry without R and W counts.
    bench.store(tables.entry(IOVA, level::PAGE_2M), 1 << 11);
    assert_eq!(bench.read(IOVA), Err(0x06));
    assert_eq!(bench.write(IOVA), Err(0x05));
}

#[test]
fn s3_7_1_every_level_has_to_allow_the_access() {
    for denied in [level::PAGE, level::PAGE_2M, level::PAGE_1G, 4] {
        for (kept, read, write) in [(1, Ok(0x5000), Err(0x05)), (2, Err(0x06), Ok(0x5000))] {
            let (bench, tables) = Bench::translating();
            tables.map(IOVA, 0x5000 | RW);
            let entry = tables.entry(IOVA, denied);
            bench.store(entry, bench.load(entry) & !RW | kept);
            assert_eq!((bench.read(IOVA), bench.write(IOVA)), (read, write), "level {denied}, bits {kept}");
            assert_eq!(bench.faults().len(), 1);
        }
    }
}

#[test]
fn s3_7_1_an_atomic_needs_both_permissions() {
    let (bench, tables) = Bench::translating();
    tables.map(IOVA, 0x5000 | RW);
    tables.map(IOVA + 0x1000, 0x6000 | 1);
    let atomic = Request::new(Bench::DEVICE, Access::Atomic);
    assert_eq!(bench.request(&atomic, IOVA), Ok(0x5000));
    assert_eq!(bench.request(&atomic, IOVA + 0x1000), Err(0x05));
    assert_eq!(bench.one_fault(0x05).kind(), (1, 1));
}

#[test]
fn s3_7_2_second_stage_flags_are_left_alone_in_legacy_mode() {
    let (bench, tables) = Bench::translating();
    tables.map(IOVA, 0x5000 | RW);
    assert_eq!(bench.write(IOVA), Ok(0x5000));
    assert_eq!(bench.load(tables.entry(IOVA, level::PAGE)), 0x5000 | RW);
}

#[test]
fn s3_13_a_request_over_pages_is_translated_page_by_page() {
    let (bench, tables) = Bench::translating();
    tables.map(IOVA, 0x9000 | RW);
    tables.map(IOVA + 0x1000, 0x5000 | RW);
    let request = Request::new(Bench::DEVICE, Access::Write);
    let part = bench.unit.access(&request, Iova(IOVA + 0xF00), 0x400, |address, length| (address.0, length));
    assert_eq!(part, Ok((0x9F00, 0x100)));
    let rest = bench.unit.access(&request, Iova(IOVA + 0x1000), 0x300, |address, length| (address.0, length));
    assert_eq!(rest, Ok((0x5000, 0x300)));
}

#[test]
fn s3_14_a_read_of_nothing_is_allowed_where_writes_are() {
    let (bench, tables) = Bench::translating();
    tables.map(IOVA, 0x5000 | 2);
    let read = Request::new(Bench::DEVICE, Access::Read);
    assert_eq!(bench.unit.access(&read, Iova(IOVA), 0, |_, length| length), Ok(0));
    assert_eq!(bench.read(IOVA), Err(0x06));
    tables.map(IOVA + 0x1000, 0x5000);
    let absent = bench.unit.access(&read, Iova(IOVA + 0x1000), 0, |_, length| length);
    assert_eq!(absent.map_err(|blocked| blocked.reason), Err(0x06));
}

#[test]
fn s3_15_the_interrupt_range_is_not_translated() {
    let (bench, tables) = Bench::translating();
    for iova in [0xFEE0_0000, 0xFEEF_F000] {
        tables.map(iova, 0x5000 | RW);
        assert!(bench.read(iova).is_err(), "{iova:#x}");
        assert!(bench.write(iova).is_err(), "{iova:#x}");
    }
    for iova in [0xFEDF_F000, 0xFEF0_0000] {
        tables.map(iova, 0x6000 | RW);
        assert_eq!(bench.read(iova), Ok(0x6000), "{iova:#x}");
    }
}

#[test]
fn s3_15_no_translation_leads_into_the_interrupt_range() {
    let (bench, tables) = Bench::translating();
    tables.map(IOVA, 0xFEE0_0000 | RW);
    assert_eq!(bench.write(IOVA), Err(0x0E));
    bench.one_fault(0x0E);
    tables.map_at(0x8000_0000, 0xC000_0000 | RW, level::PAGE_1G);
    assert_eq!(
        bench.write(0x8000_0000 + 0x3EE0_0000),
        Err(0x0E),
        "not from the middle of a large page either"
    );
    assert_eq!(bench.write(0x8000_0000 + 0x3EF0_0000), Ok(0xFEF0_0000));
}

#[test]
fn s3_15_the_interrupt_range_is_no_memory_while_translation_is_off() {
    let bench = Bench::legacy();
    for request in [
        Request::new(Bench::DEVICE, Access::Read),
        Request::new(Bench::DEVICE, Access::Write),
        Request::new(Bench::DEVICE, Access::Read).with_pasid(Pasid(1)),
    ] {
        assert!(bench.request(&request, 0xFEE4_0000).is_err(), "{request:?}");
    }
    assert_eq!(bench.get(reg::FSTS), 0);
}
