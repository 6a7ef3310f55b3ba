//! Chapter 9: structures of scalable mode, and their reserved bits.

use iommu::{Capabilities, Feature, Profile};

use super::support::scalable::{self, PasidEntry, SSADE, with};
use super::support::stages::{DOMAIN, IOVA, RW, USER_RW, first_stage, nested, second_stage};
use super::support::{Bench, Scalable, Tables, descriptor, level};

/// Address bits that a machine of 48 bits does not have.
fn beyond() -> impl Iterator<Item = u64> {
    bits(63, 48)
}

fn bits(high: u32, low: u32) -> impl Iterator<Item = u64> {
    (low..=high).map(|bit| 1 << bit)
}

fn forget(setup: &Scalable) {
    for what in [descriptor::context_global(), descriptor::pasid_global(), descriptor::iotlb_global()] {
        setup.bench.invalidate(what);
    }
}

/// Sets each of `reserved` in the word at `at`, and expects this fault.
#[track_caller]
fn refused(setup: &Scalable, at: u64, reserved: impl Iterator<Item = u64>, reason: u8) {
    let valid = setup.bench.load(at);
    for bit in reserved {
        setup.bench.store(at, valid | bit);
        forget(setup);
        assert_eq!(setup.bench.read(IOVA), Err(reason), "{bit:#x} at {at:#x}");
    }
    setup.bench.store(at, valid);
    forget(setup);
}

#[test]
fn s9_2_each_half_of_a_root_entry_has_reserved_bits() {
    let (setup, tables) = second_stage();
    tables.map(IOVA, 0x5000 | RW);
    let root = setup.bench.root + 16;
    refused(&setup, root, bits(11, 1).chain(beyond()), 0x3A);
    setup.bench.store(root + 8, u64::MAX);
    forget(&setup);
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000), "the other half does not matter");
    setup.bench.store(root, u64::MAX - 1);
    forget(&setup);
    assert_eq!(setup.bench.read(IOVA), Err(0x39), "nor does anything without P");
}

#[test]
fn s9_4_context_entries_have_reserved_bits() {
    let (setup, tables) = second_stage();
    tables.map(IOVA, 0x5000 | RW);
    let at = setup.bench.scalable_context_of(Bench::DEVICE);
    refused(&setup, at, bits(8, 5).chain(beyond()), 0x42);
    refused(&setup, at + 8, bits(63, 21), 0x42);
    refused(&setup, at + 16, bits(63, 0), 0x42);
    refused(&setup, at + 24, bits(63, 0), 0x42);
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000));
}

#[test]
fn s9_4_bits_of_what_the_unit_cannot_do_are_reserved() {
    let builder = Capabilities::builder(Profile::Full, 48);
    let lacking = [
        Feature::StopMarker,
        Feature::PageRequestDrain,
        Feature::PageRequests,
        Feature::Throttling,
        Feature::DeviceTlb,
        Feature::Pasid,
        Feature::RidPasid,
        Feature::RidPrivilege,
    ];
    let capabilities = lacking.into_iter().fold(builder, iommu::CapabilitiesBuilder::without).build();
    let setup = Bench::scalable_with(capabilities.unwrap());
    let tables = Tables::second_stage(&setup.bench, 4);
    tables.map(IOVA, 0x5000 | RW);
    setup.set(scalable::second_stage(&tables, DOMAIN));
    let at = setup.bench.scalable_context_of(Bench::DEVICE);
    refused(&setup, at, [scalable::DTE, scalable::PASIDE, scalable::PRE].into_iter(), 0x42);
    refused(&setup, at + 8, bits(20, 0), 0x42);
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000));
}

#[test]
fn s9_4_the_pasid_of_requests_without_one_has_a_place_in_the_directory() {
    let (setup, _) = second_stage();
    let at = setup.bench.scalable_context_of(Bench::DEVICE);
    setup.bench.store(at + 8, 0x8000);
    forget(&setup);
    assert!(matches!(setup.bench.read(IOVA), Err(0x43 | 0x48)));
    // A larger directory has it.
    setup.bench.store(at, setup.bench.load(at) + (1 << 9));
    forget(&setup);
    assert_eq!(setup.bench.read(IOVA), Err(0x51));
}

#[test]
fn s9_5_directory_entries_have_reserved_bits() {
    let (setup, tables) = second_stage();
    tables.map(IOVA, 0x5000 | RW);
    refused(&setup, setup.directory, bits(11, 2).chain(beyond()), 0x52);
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000));
}

#[test]
fn s9_6_pasid_entries_have_reserved_bits() {
    let (setup, tables) = first_stage();
    tables.map(IOVA, 0x5000 | USER_RW);
    let at = setup.bench.pasid_entry_of(setup.directory, 0);
    refused(&setup, at, bits(5, 5).chain(bits(11, 10)).chain(beyond()), 0x5A);
    // Memory types need ECAP.MTS.
    refused(&setup, at + 8, bits(22, 16).chain(bits(63, 25)), 0x5A);
    refused(&setup, at + 16, bits(11, 8).chain(beyond()), 0x5A);
    for word in 3..8 {
        refused(&setup, at + 8 * word, bits(63, 0), 0x5A);
    }
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000));
}

#[test]
fn s9_6_fields_with_values_that_mean_nothing() {
    let (setup, _) = second_stage();
    let first = Tables::first_stage(&setup.bench, 4);
    let second = Tables::second_stage(&setup.bench, 4);
    let kind = |entry: PasidEntry, kind: u64| {
        with([entry[0] & !(7 << 6), entry[1], entry[2], 0, 0, 0, 0, 0], 0, kind << 6)
    };
    let width = |entry: PasidEntry, width: u64| {
        with([entry[0] & !(7 << 2), entry[1], entry[2], 0, 0, 0, 0, 0], 0, width << 2)
    };
    let nested = scalable::nested(&first, &second, DOMAIN);
    let mut bad: Vec<_> = [0, 5, 6, 7].map(|value| kind(nested, value)).to_vec();
    for value in [0, 3, 4, 5, 6, 7] {
        bad.push(width(scalable::second_stage(&second, DOMAIN), value));
        bad.push(width(nested, value));
    }
    // FSPM: five levels, where the unit has four, and what has no meaning.
    for value in 1..4 {
        bad.push(with(scalable::first_stage(&first, DOMAIN), 2, value << 2));
        bad.push(with(nested, 2, value << 2));
    }
    for entry in bad {
        setup.set(entry);
        assert_eq!(setup.bench.read(IOVA), Err(0x5B), "{entry:x?}");
    }
}

#[test]
fn s9_6_fields_that_are_not_used_do_not_matter() {
    let (setup, tables) = first_stage();
    tables.map(IOVA, 0x5000 | USER_RW);
    let ignored = 7 << 2 | SSADE | 0x1234_5000;
    setup.set(with(scalable::first_stage(&tables, DOMAIN), 0, ignored));
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000));
    setup.set(with(with(scalable::pass_through(DOMAIN), 0, ignored), 2, 0x5000 | 3 << 2));
    assert_eq!(setup.bench.read(IOVA), Ok(IOVA));
}

#[test]
fn s9_7_first_stage_entries_have_reserved_bits() {
    let (setup, tables) = first_stage();
    tables.map(IOVA, 0x5000 | USER_RW);
    for (level, more) in [(4, 1 << 7), (level::PAGE_1G, 0), (level::PAGE_2M, 0), (level::PAGE, 0)] {
        let reserved = bits(51, 48).chain([more].into_iter().filter(|more| *more != 0));
        refused(&setup, tables.entry(IOVA, level), reserved, 0x72);
    }
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000));
}

#[test]
fn s9_7_large_pages_have_reserved_address_bits() {
    let (setup, tables) = first_stage();
    for (size, highest) in [(level::PAGE_2M, 20), (level::PAGE_1G, 29)] {
        tables.map_at(IOVA, 0x4000_0000 | USER_RW, size);
        refused(&setup, tables.entry(IOVA, size), bits(highest, 13), 0x72);
        // Bit 12 is part of the memory type.
        tables.map_at(IOVA, 0x4000_0000 | 1 << 12 | USER_RW, size);
        forget(&setup);
        assert_eq!(setup.bench.read(IOVA + 0x123), Ok(0x4000_0123), "level {size}");
    }
}

#[test]
fn s9_7_pages_of_1_gib_where_there_are_none() {
    let capabilities = Capabilities::builder(Profile::Full, 48).without(Feature::FirstStage1G).build();
    let setup = Bench::scalable_with(capabilities.unwrap());
    let tables = Tables::first_stage(&setup.bench, 4);
    tables.map_at(IOVA, 0x4000_0000 | USER_RW, level::PAGE_1G);
    setup.set(scalable::first_stage(&tables, DOMAIN));
    assert_eq!(setup.bench.read(IOVA), Err(0x72));
}

#[test]
fn s9_7_some_bits_are_softwares() {
    let (setup, tables) = first_stage();
    let free: u64 = bits(4, 3).chain(bits(9, 8)).chain(bits(11, 11)).chain(bits(62, 52)).sum();
    tables.map(IOVA, 0x5000 | USER_RW | 1 << 7 | free);
    for level in [level::PAGE_2M, level::PAGE_1G, 4] {
        let at = tables.entry(IOVA, level);
        setup.bench.store(at, setup.bench.load(at) | free);
    }
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000));
}

#[test]
fn s9_8_scalable_mode_has_the_same_reserved_bits() {
    let (setup, tables) = second_stage();
    tables.map(IOVA, 0x5000 | RW);
    for (level, more) in
        [(4, 1 << 7 | 1 << 11), (level::PAGE_1G, 1 << 11), (level::PAGE_2M, 1 << 11), (level::PAGE, 1 << 62)]
    {
        let reserved = bits(51, 48).chain(bits(63, 0).filter(move |bit| bit & more != 0));
        refused(&setup, tables.entry(IOVA, level), reserved, 0x7A);
    }
    let (setup, first, second) = nested();
    let table = first.entry(IOVA, level::PAGE) & !0xFFF;
    refused(&setup, second.entry(table, level::PAGE), bits(51, 48), 0x7A);
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000));
}
