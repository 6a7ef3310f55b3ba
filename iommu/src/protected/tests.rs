use super::*;
use crate::spec::registers::Global;
use crate::testing::{DATA, Machine, RW, SOURCE};
use crate::{Access, Iova, Profile, Request};

const BOTH: Capabilities =
    Capabilities::legacy(48).with(Feature::ProtectedLowMemory).with(Feature::ProtectedHighMemory);
const MIB: u64 = 1 << 20;

fn reach(machine: &Machine, iova: u64, length: u64) -> Result<u64, u8> {
    let request = Request::new(SOURCE, Access::Read);
    machine.unit.access(&request, Iova(iova), length, |_, length| length).map_err(|blocked| blocked.reason)
}

/// Protects 3 and 4 MiB, and 8 MiB.
fn protected() -> Machine {
    let machine = Machine::with(BOTH);
    machine.write(PLMBASE, 3 * MIB as u32);
    machine.write(PLMLIMIT, 4 * MIB as u32);
    machine.write_u64(PHMBASE, 8 * MIB);
    machine.write_u64(PHMLIMIT, 8 * MIB);
    machine.write(PMEN, ENABLE);
    assert_eq!(machine.read(PMEN), ENABLE | STATUS);
    machine
}

#[test]
fn software_finds_the_granule_by_writing_ones() {
    let machine = Machine::with(BOTH);
    for low in [PLMBASE, PLMLIMIT] {
        machine.write(low, u32::MAX);
        assert_eq!(machine.read(low), 0xFFF0_0000);
    }
    for high in [PHMBASE, PHMLIMIT] {
        machine.write_u64(high, u64::MAX);
        assert_eq!(machine.read_u64(high), 0xFFFF_FFF0_0000);
    }
}

#[test]
fn registers_of_what_there_is_not_stay_0() {
    let machine = Machine::new();
    machine.write(PMEN, u32::MAX);
    for offset in (PMEN..PHMLIMIT + 8).step_by(4) {
        machine.write(offset, u32::MAX);
        assert_eq!(machine.read(offset), 0, "{offset:#x}");
    }
    let low = Machine::with(Capabilities::legacy(48).with(Feature::ProtectedLowMemory));
    low.write_u64(PHMLIMIT, u64::MAX);
    assert_eq!(low.read_u64(PHMLIMIT), 0);
    // A region that there is not protects nothing, although its registers would say the first granule.
    low.write(PLMBASE, MIB as u32);
    low.write(PLMLIMIT, MIB as u32);
    low.write(PMEN, ENABLE);
    assert_eq!(reach(&low, 0, 1), Ok(1));
    assert!(reach(&low, MIB, 1).is_err());
}

#[test]
fn without_translation_nothing_in_a_region_is_reached() {
    let machine = protected();
    for (iova, expected) in [
        (3 * MIB - 1, true),
        (3 * MIB, false),
        (5 * MIB - 1, false),
        (5 * MIB, true),
        (8 * MIB, false),
        (9 * MIB - 1, false),
        (9 * MIB, true),
    ] {
        assert_eq!(reach(&machine, iova, 1).is_ok(), expected, "{iova:#x}");
    }
    // What begins before a region ends there.
    assert_eq!(reach(&machine, 3 * MIB - 16, 64), Ok(16));
    assert_eq!(reach(&machine, 8 * MIB - 16, 64), Ok(16));
    assert_eq!(reach(&machine, 0, 16 * MIB), Ok(3 * MIB));
    assert!(machine.take_faults().is_empty());

    machine.write(PMEN, 0);
    assert_eq!((machine.read(PMEN), reach(&machine, 3 * MIB, 16 * MIB)), (0, Ok(16 * MIB)));
}

#[test]
fn with_translation_what_passes_through_is_held_back_and_what_tables_map_is_not() {
    let machine = protected();
    let other = crate::SourceId(0x0114);
    let table = machine.table();
    machine.map(table, 0x1000, (3 * MIB) | RW);
    machine.context(SOURCE, [table | 1, 2 | 5 << 8]);
    machine.context(other, [2 << 2 | 1, 2 | 6 << 8]);
    machine.enable_translation();
    assert_eq!(machine.translate(0x1000, Access::Read), Ok(3 * MIB));
    for access in [Access::Read, Access::Write] {
        assert!(machine.translate_as(other, 3 * MIB, access).is_err());
        assert_eq!(machine.translate_as(other, DATA, access), Ok(DATA));
    }
    assert!(machine.take_faults().is_empty());
    machine.write(PMEN, 0);
    assert_eq!(machine.translate_as(other, 3 * MIB, Access::Write), Ok(3 * MIB));
}

#[test]
fn a_limit_below_the_base_protects_nothing() {
    let machine = Machine::with(BOTH);
    machine.write(PLMBASE, 4 * MIB as u32);
    machine.write(PLMLIMIT, 3 * MIB as u32);
    machine.write_u64(PHMBASE, 1 << 40);
    machine.write(PMEN, ENABLE);
    assert_eq!(reach(&machine, 0, 64 * MIB), Ok(64 * MIB));
}

#[test]
fn regions_in_force_stay_as_they_are_until_switched_off_or_reset() {
    let machine = protected();
    machine.write(PLMBASE, 16 * MIB as u32);
    machine.write(PLMLIMIT, 16 * MIB as u32);
    machine.write(PMEN, ENABLE);
    assert!(reach(&machine, 3 * MIB, 1).is_err() && reach(&machine, 16 * MIB, 1).is_ok());
    machine.write(PMEN, 0);
    machine.write(PMEN, ENABLE);
    assert!(reach(&machine, 3 * MIB, 1).is_ok() && reach(&machine, 16 * MIB, 1).is_err());
    machine.unit.reset();
    assert_eq!((machine.read(PMEN), reach(&machine, 16 * MIB, 1)), (0, Ok(1)));
    assert!(!machine.status().contains(Global::TRANSLATION));
}

#[test]
fn the_last_granule_of_all_can_be_protected() {
    let machine = Machine::with(Capabilities::new(Profile::Full, 57).with(Feature::ProtectedHighMemory));
    machine.write_u64(PHMBASE, u64::MAX);
    machine.write_u64(PHMLIMIT, u64::MAX);
    machine.write(PMEN, ENABLE);
    assert!(reach(&machine, (1 << 52) - 1, 1).is_err());
    assert_eq!(reach(&machine, (1 << 52) - MIB - 1, 8), Ok(1));
}
