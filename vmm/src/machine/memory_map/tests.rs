use super::*;

fn entry(base: u64, end: u64, kind: RangeKind) -> AddressRange {
    AddressRange { base, length: end - base, kind }
}

#[test]
fn a_reserved_region_is_one_entry_inside_ram() {
    let map = memory_map(512 << 20, &[(0x1E00_0000, 0x1_0000)]).unwrap();
    for expected in [
        entry(0x10_0000, 0x1E00_0000, RangeKind::Memory),
        entry(0x1E00_0000, 0x1E01_0000, RangeKind::Reserved),
        entry(0x1E01_0000, 0x2000_0000, RangeKind::Memory),
    ] {
        assert!(map.contains(&expected), "{map:x?}");
    }
}

#[test]
fn memory_above_four_gibibytes_is_listed_and_nothing_overlaps() {
    let map = memory_map(6 << 30, &[(layout::HIGH_RAM_START, 0x1000)]).unwrap();
    assert!(map.contains(&entry(
        layout::HIGH_RAM_START,
        layout::HIGH_RAM_START + 0x1000,
        RangeKind::Reserved
    )));
    for pair in map.windows(2) {
        assert!(pair[0].base + pair[0].length <= pair[1].base, "{pair:x?}");
    }
    let usable: u64 =
        map.iter().filter(|range| range.kind == RangeKind::Memory).map(|range| range.length).sum();
    assert!(usable > (6 << 30) - (1 << 20));
}

#[test]
fn a_region_outside_ram_is_refused_with_what_to_do() {
    for (reserved, hint) in [
        (vec![(0x9000_0000, 0x1000)], "is not in RAM"),
        (vec![(0x8_0000, 0x1000)], "not in RAM that can be reserved"),
        (vec![(0x1FFF_F000, 0x2000)], "does not end in RAM"),
        (vec![(0x1000_0000, 0x2000), (0x1000_1000, 0x1000)], "overlaps"),
    ] {
        let error = memory_map(512 << 20, &reserved).unwrap_err().to_string();
        assert!(error.contains(hint) && error.contains("--rmrr"), "{error}");
    }
}
