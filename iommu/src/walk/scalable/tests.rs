use super::*;
use crate::spec::context::RootPointer;
use crate::spec::pasid::FirstStageOptions;
use crate::testing::scalable::{
    DEVICE_TLB, EXECUTE, EXTENDED_ENABLE, FIRST_STAGE, FPD, NESTED, PAGE_REQUESTS, PASID_MODE_5, PASIDS,
    PASS_THROUGH, SECOND_STAGE, SECOND_STAGE_DIRTY, SUPERVISOR, WALK_SNOOP, WIDTH_48, WRITE_PROTECT,
};
use crate::testing::{DATA, Machine, SOURCE};
use crate::{DomainId, Profile};

/// Everything there is.
const EVERYTHING: Capabilities = Capabilities::new(Profile::Full, 48)
    .with(Feature::DeviceTlb)
    .with(Feature::PageRequests)
    .with(Feature::FirstStage5Levels);

/// Device-TLBs, and before them what needs them; the first three are what page requests are.
const DEVICE_TLBS: [Feature; 5] = [
    Feature::StopMarker,
    Feature::PageRequestDrain,
    Feature::PageRequests,
    Feature::Throttling,
    Feature::DeviceTlb,
];

/// Everything but `features`, each of which comes after those that need it.
fn without(features: &[Feature]) -> Capabilities {
    features.iter().fold(EVERYTHING, |capabilities, feature| capabilities.without(*feature))
}

fn view(machine: &Machine, capabilities: Capabilities) -> View {
    View { translating: true, root: RootPointer(machine.root | 1 << 10), capabilities }
}

/// What [`SOURCE`] gets, and whether a fault would be recorded.
fn look_up(machine: &Machine, capabilities: Capabilities) -> Result<Context, (FaultReason, bool)> {
    context(&view(machine, capabilities), &machine.memory, SOURCE)
        .map_err(|fault| (fault.reason, fault.recorded))
}

/// A context entry of [`SOURCE`] and what is made of it.
fn context_of(entry: [u64; 4], capabilities: Capabilities) -> Result<Context, (FaultReason, bool)> {
    let machine = Machine::new();
    machine.scalable_context(SOURCE, entry);
    look_up(&machine, capabilities)
}

/// The PASID table entry of PASID 0x4_1 in a directory of 128 entries, and what is made of it.
fn space_of(entry: [u64; 8], capabilities: Capabilities) -> Result<AddressSpace, (FaultReason, bool)> {
    let machine = Machine::new();
    let directory = machine.table();
    machine.pasid_entry(directory, 0x41, entry);
    space_in(&machine, directory, 0, capabilities)
}

fn space_in(
    machine: &Machine,
    directory: u64,
    flags: u64,
    capabilities: Capabilities,
) -> Result<AddressSpace, (FaultReason, bool)> {
    machine.scalable_context(SOURCE, [directory | flags | 1, 0, 0, 0]);
    let context = look_up(machine, capabilities).unwrap();
    address_space(&view(machine, capabilities), &machine.memory, &context, Pasid(0x41))
        .map_err(|fault| (fault.reason, fault.recorded))
}

#[test]
fn a_root_entry_is_checked_before_it_is_used() {
    for source in [SourceId(0x0213), SourceId(0x0280)] {
        let machine = Machine::new();
        let look_up = |view: &View| context(view, &machine.memory, source).map_err(|fault| fault.reason);
        let view = view(&machine, EVERYTHING);
        let entry = machine.scalable_root_entry(source);
        // Only its own half counts.
        machine.write_memory(entry ^ 8, u64::MAX);
        machine.write_memory(entry, !1);
        assert_eq!(look_up(&view), Err(FaultReason::ScalableRootNotPresent));
        let context_table = machine.table();
        for bit in (1..12).chain(48..64) {
            machine.write_memory(entry, context_table | 1 | 1 << bit);
            assert_eq!(look_up(&view), Err(FaultReason::ScalableRootReserved), "{bit}");
        }
        machine.write_memory(entry, 1 << 40 | 1);
        assert_eq!(look_up(&view), Err(FaultReason::ScalableContextUnreadable));
        machine.write_memory(entry, context_table | 1);
        assert_eq!(look_up(&view), Err(FaultReason::ScalableContextNotPresent));
        let outside = View { root: RootPointer(1 << 40 | 1 << 10), ..view };
        assert_eq!(look_up(&outside), Err(FaultReason::ScalableRootUnreadable));
    }
}

#[test]
fn a_context_entry_says_what_its_function_may_do() {
    let flags = DEVICE_TLB | PASIDS | PAGE_REQUESTS | 7 << 9;
    let found = context_of([DATA | flags | 1, 0xA_BCDE | 1 << 20, 0, 0], EVERYTHING).unwrap();
    let expected = Context {
        pasid_directory: GuestAddress(DATA),
        last_pasid: Pasid(0xF_FFFF),
        rid_pasid: Pasid(0xA_BCDE),
        rid_privileged: true,
        device_tlb: true,
        pasid_enabled: true,
        page_requests: true,
        fault_processing_disabled: false,
    };
    assert_eq!(found, expected);
    let found = context_of([DATA | FPD | 1, 0, 0, 0], EVERYTHING).unwrap();
    let expected = Context {
        last_pasid: Pasid(0x1FFF),
        rid_pasid: Pasid(0),
        rid_privileged: false,
        device_tlb: false,
        pasid_enabled: false,
        page_requests: false,
        fault_processing_disabled: true,
        ..expected
    };
    assert_eq!(found, expected);
}

#[test]
fn entries_of_neighbours_are_kept_apart() {
    let machine = Machine::new();
    for source in [0x0100, 0x017F, 0x0180, 0x01FF] {
        machine.scalable_context(SourceId(source), [DATA | 1, u64::from(source) & 0xFF, 0, 0]);
    }
    for source in [0x0100, 0x017F, 0x0180, 0x01FF] {
        let found = context(&view(&machine, EVERYTHING), &machine.memory, SourceId(source)).unwrap();
        assert_eq!(found.rid_pasid.0, u32::from(source) & 0xFF);
    }
}

#[test]
fn a_context_entry_is_checked_before_it_is_used() {
    let reserved = |word: usize, bit: u32, capabilities| {
        let mut entry = [DATA | 1 | 7 << 9, 0, 0, 0];
        entry[word] |= 1 << bit;
        context_of(entry, capabilities) == Err((FaultReason::ScalableContextReserved, true))
    };
    for (word, bits) in [(0, 5..9), (0, 48..64), (1, 21..64), (2, 0..64), (3, 0..64)] {
        for bit in bits {
            assert!(reserved(word, bit, EVERYTHING), "{word} {bit}");
        }
    }
    // What asks for something that a unit may lack.
    for (word, bit, features) in [
        (0, 2, &DEVICE_TLBS[..]),
        (0, 3, &[Feature::Pasid]),
        (0, 4, &DEVICE_TLBS[..3]),
        (1, 0, &[Feature::RidPasid]),
        (1, 19, &[Feature::RidPasid]),
        (1, 20, &[Feature::RidPrivilege]),
    ] {
        assert!(!reserved(word, bit, EVERYTHING), "{word} {bit}");
        assert!(reserved(word, bit, without(features)), "{word} {bit}");
    }
    // An entry that is not present has no reserved bits, but FPD.
    let absent = Err((FaultReason::ScalableContextNotPresent, true));
    assert_eq!(context_of([!3, u64::MAX, u64::MAX, u64::MAX], EVERYTHING), absent);
    let absent = Err((FaultReason::ScalableContextNotPresent, false));
    assert_eq!(context_of([2, 0, 0, 0], EVERYTHING), absent);
    assert_eq!(
        context_of([DATA | FPD | 1 | 1 << 5, 0, 0, 0], EVERYTHING),
        Err((FaultReason::ScalableContextReserved, false))
    );
}

#[test]
fn the_pasid_of_requests_without_one_must_be_in_the_directory() {
    for size in 0..8_u64 {
        let last = (1 << (size + 13)) - 1;
        assert!(context_of([DATA | 1 | size << 9, last, 0, 0], EVERYTHING).is_ok());
        if size < 7 {
            let found = context_of([DATA | 1 | size << 9, last + 1, 0, 0], EVERYTHING);
            assert_eq!(found, Err((FaultReason::ScalableContextInvalid, true)), "{size}");
        }
    }
}

#[test]
fn a_request_must_be_of_a_kind_that_the_context_allows() {
    let all = context_of([DATA | DEVICE_TLB | PASIDS | PAGE_REQUESTS | 1, 7 | 1 << 20, 0, 0], EVERYTHING);
    let all = all.unwrap();
    let select = |context: &Context, kind, pasid| {
        context.select(kind, pasid, false).map_err(|fault| (fault.reason, fault.recorded))
    };
    for kind in [Kind::Untranslated, Kind::DeviceTlb, Kind::PageRequest] {
        assert_eq!(select(&all, kind, None), Ok((Pasid(7), true)));
        assert_eq!(select(&all, kind, Some(Pasid(9))), Ok((Pasid(9), false)));
        assert_eq!(select(&all, kind, Some(Pasid(0x1FFF))), Ok((Pasid(0x1FFF), false)));
        let beyond = select(&all, kind, Some(Pasid(0x2000)));
        assert_eq!(beyond, Err((FaultReason::PasidBeyondDirectory, true)));
        let without = Context { pasid_enabled: false, fault_processing_disabled: true, ..all };
        assert_eq!(select(&without, kind, Some(Pasid(9))), Err((FaultReason::PasidDisabled, false)));
        assert!(select(&without, kind, None).is_ok());

        let without = Context { device_tlb: false, ..all };
        let found = select(&without, kind, None);
        let expected = Err((FaultReason::DeviceTlbDisabled, true));
        assert_eq!(found == expected, kind == Kind::DeviceTlb);
        let without = Context { page_requests: false, ..all };
        let found = select(&without, kind, None);
        let expected = Err((FaultReason::PageRequestDisabled, true));
        assert_eq!(found == expected, kind == Kind::PageRequest);
    }
}

#[test]
fn a_directory_entry_is_checked_before_it_is_used() {
    let machine = Machine::new();
    let directory = machine.table();
    let look_up = |flags| space_in(&machine, directory, flags, EVERYTHING);
    let entry = directory + 8;
    machine.write_memory(entry, !3);
    assert_eq!(look_up(0), Err((FaultReason::PasidDirectoryNotPresent, true)));
    // Either FPD will do, the entry's own even if it is not present.
    assert_eq!(look_up(FPD), Err((FaultReason::PasidDirectoryNotPresent, false)));
    machine.write_memory(entry, FPD);
    assert_eq!(look_up(0), Err((FaultReason::PasidDirectoryNotPresent, false)));
    for bit in (2..12).chain(48..64) {
        machine.write_memory(entry, machine.queue | 1 | 1 << bit);
        assert_eq!(look_up(0), Err((FaultReason::PasidDirectoryReserved, true)), "{bit}");
    }
    machine.write_memory(entry, 1 << 40 | 1 | FPD);
    assert_eq!(look_up(0), Err((FaultReason::PasidEntryUnreadable, true)));
    let outside = space_in(&machine, 1 << 40, FPD, EVERYTHING);
    assert_eq!(outside, Err((FaultReason::PasidDirectoryUnreadable, true)));
}

#[test]
fn every_translation_type_leads_to_its_mapping() {
    let second = |marks| second_stage::Table {
        root: GuestAddress(DATA),
        top: crate::spec::second_stage::Level::from_number(4).unwrap(),
        width: 48,
        marks,
        scalable: true,
    };
    let first = |top, options, marks| first_stage::Table {
        root: GuestAddress(DATA + 0x1000),
        top: crate::spec::second_stage::Level::from_number(top).unwrap(),
        width: 48,
        options,
        marks,
    };
    let low = DATA | WIDTH_48 | 1;
    let options = SUPERVISOR | EXECUTE | WRITE_PROTECT | EXTENDED_ENABLE;
    let all_options = FirstStageOptions::all();
    let no_options = FirstStageOptions::empty();
    let pointer = DATA + 0x1000;
    for (low, middle, high, pasid, mapping) in [
        (low | SECOND_STAGE, 5, 0, None, Mapping::SecondStage(second(Marks::Absent))),
        (low | SECOND_STAGE | SECOND_STAGE_DIRTY, 5, 0, None, Mapping::SecondStage(second(Marks::Forbidden))),
        (
            low | SECOND_STAGE | SECOND_STAGE_DIRTY,
            5 | WALK_SNOOP,
            // The first stage's fields mean nothing, its mode included.
            pointer | options | 3 << 2,
            None,
            Mapping::SecondStage(second(Marks::Kept)),
        ),
        (
            // Nor do the second stage's, its width included.
            FIRST_STAGE | SECOND_STAGE_DIRTY | 7 << 2 | DATA | 1,
            5 | WALK_SNOOP,
            pointer | options,
            Some(Pasid(0x41)),
            Mapping::FirstStage(first(4, all_options, Marks::Kept)),
        ),
        (
            FIRST_STAGE | 1,
            5,
            pointer | PASID_MODE_5,
            Some(Pasid(0x41)),
            Mapping::FirstStage(first(5, no_options, Marks::Forbidden)),
        ),
        (
            low | NESTED | SECOND_STAGE_DIRTY,
            5 | WALK_SNOOP,
            pointer,
            Some(Pasid(0x41)),
            Mapping::Nested(first(4, no_options, Marks::Kept), second(Marks::Kept)),
        ),
        (PASS_THROUGH | DATA | 7 << 2 | 1, 5, 3 << 2, Some(Pasid(0x41)), Mapping::PassThrough),
    ] {
        let found = space_of([low, middle, high, 0, 0, 0, 0, 0], EVERYTHING);
        let space = AddressSpace { domain: DomainId(5), pasid, fault_processing_disabled: false, mapping };
        assert_eq!(found, Ok(space), "{low:#x}");
    }
}

#[test]
fn a_pasid_entry_is_checked_before_it_is_used() {
    let entry = [DATA | WIDTH_48 | NESTED | 1, 5, DATA, 0, 0, 0, 0, 0];
    let reserved = |word: usize, bit: u32, capabilities| {
        let mut entry = entry;
        entry[word] |= 1 << bit;
        space_of(entry, capabilities) == Err((FaultReason::PasidEntryReserved, true))
    };
    for (word, bits) in [
        (0, 5..6),
        (0, 10..12),
        (0, 48..64),
        (1, 16..23),
        // Memory types too.
        (1, 25..64),
        (2, 8..12),
        (2, 48..64),
        (3, 0..64),
        (4, 0..64),
        (5, 0..64),
        (6, 0..64),
        (7, 0..64),
    ] {
        for bit in bits {
            assert!(reserved(word, bit, EVERYTHING), "{word} {bit}");
        }
    }
    for (word, bit, feature) in [
        (0, 9, Feature::SecondStageDirty),
        (1, 23, Feature::WalkSnoop),
        (1, 24, Feature::SnoopControl),
        (2, 0, Feature::Supervisor),
        (2, 1, Feature::Execute),
        (2, 7, Feature::ExtendedAccessed),
    ] {
        assert!(!reserved(word, bit, EVERYTHING), "{word} {bit}");
        assert!(reserved(word, bit, EVERYTHING.without(feature)), "{word} {bit}");
    }
    // WPE, and bits that have lost their meaning.
    for bit in [4, 5, 6] {
        assert!(!reserved(2, bit, EVERYTHING), "{bit}");
    }
}

#[test]
fn a_pasid_entry_must_not_ask_for_what_there_is_not() {
    let invalid = Err((FaultReason::PasidEntryInvalid, true));
    let of = |low, high, capabilities| space_of([low, 5, high, 0, 0, 0, 0, 0], capabilities);
    for reserved in [0, 5, 6, 7] {
        assert_eq!(of(reserved << 6 | WIDTH_48 | 1, 0, EVERYTHING), invalid, "{reserved}");
    }
    let no_first_stage = [
        Feature::Nested,
        Feature::ExtendedAccessed,
        Feature::FirstStage5Levels,
        Feature::FirstStage1G,
        Feature::FirstStage,
    ];
    for (kind, features) in [
        (FIRST_STAGE, &no_first_stage[..]),
        (SECOND_STAGE, &[Feature::Nested, Feature::SecondStageDirty, Feature::SecondStage]),
        (NESTED, &[Feature::Nested]),
        (PASS_THROUGH, &[Feature::PassThrough]),
    ] {
        assert!(of(kind | WIDTH_48 | 1, 0, EVERYTHING).is_ok());
        assert_eq!(of(kind | WIDTH_48 | 1, 0, without(features)), invalid, "{features:?}");
    }
    for kind in [SECOND_STAGE, NESTED] {
        for width in [0, 3, 4, 7] {
            assert_eq!(of(kind | width << 2 | 1, 0, EVERYTHING), invalid, "{width}");
        }
    }
    for kind in [FIRST_STAGE, NESTED] {
        for mode in [2, 3] {
            assert_eq!(of(kind | WIDTH_48 | 1, mode << 2, EVERYTHING), invalid, "{mode}");
        }
        let without = EVERYTHING.without(Feature::FirstStage5Levels);
        assert_eq!(of(kind | WIDTH_48 | 1, PASID_MODE_5, without), invalid);
    }
    // Reserved bits come first.
    assert_eq!(of(1 | 1 << 5, 0, EVERYTHING), Err((FaultReason::PasidEntryReserved, true)));
}

#[test]
fn without_a_second_stage_a_width_may_stand_in_every_entry() {
    let capabilities = Capabilities::new(Profile::FirstStage, 48);
    let low = FIRST_STAGE | WIDTH_48 | 1;
    assert!(space_of([low, 1, DATA, 0, 0, 0, 0, 0], capabilities).is_ok());
    let with_table = space_of([low | DATA, 1, DATA, 0, 0, 0, 0, 0], capabilities);
    assert_eq!(with_table, Err((FaultReason::PasidEntryReserved, true)));
}

#[test]
fn fault_processing_disable_counts_wherever_it_stands() {
    let machine = Machine::new();
    let directory = machine.table();
    let entry = |flags| [DATA | WIDTH_48 | SECOND_STAGE | flags, 5, 0, 0, 0, 0, 0, 0];
    let disabled =
        |flags| space_in(&machine, directory, flags, EVERYTHING).unwrap().fault_processing_disabled;
    machine.pasid_entry(directory, 0x41, entry(1));
    assert!(!disabled(0));
    assert!(disabled(FPD));
    machine.pasid_entry(directory, 0x41, entry(1 | FPD));
    assert!(disabled(0));
    machine.pasid_entry(directory, 0x41, entry(1));
    machine.write_memory(directory + 8, machine.read_memory(directory + 8) | FPD);
    assert!(disabled(0));
    machine.pasid_entry(directory, 0x41, entry(0));
    let found = space_in(&machine, directory, 0, EVERYTHING);
    assert_eq!(found, Err((FaultReason::PasidEntryNotPresent, false)));
    machine.write_memory(directory + 8, machine.read_memory(directory + 8) & !FPD);
    let found = space_in(&machine, directory, 0, EVERYTHING);
    assert_eq!(found, Err((FaultReason::PasidEntryNotPresent, true)));
    machine.pasid_entry(directory, 0x41, entry(FPD));
    let found = space_in(&machine, directory, 0, EVERYTHING);
    assert_eq!(found, Err((FaultReason::PasidEntryNotPresent, false)));
}
