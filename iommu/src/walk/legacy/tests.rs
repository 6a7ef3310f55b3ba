use super::*;
use crate::spec::context::RootPointer;
use crate::testing::{DATA, Machine, SOURCE};
use crate::{Capabilities, DomainId};

/// What [`SOURCE`] gets, and whether a fault would be recorded.
fn look_up(machine: &Machine) -> Result<Context, (FaultReason, bool)> {
    look_up_by(machine, machine.root, Capabilities::legacy(48))
}

fn look_up_by(
    machine: &Machine,
    root: u64,
    capabilities: Capabilities,
) -> Result<Context, (FaultReason, bool)> {
    let view = View { translating: true, root: RootPointer(root), capabilities };
    view.mode()
        .and_then(|_| context(&view, &machine.memory, SOURCE))
        .map_err(|fault| (fault.reason, fault.recorded))
}

#[test]
fn a_context_names_domain_and_table() {
    let machine = Machine::new();
    machine.context(SOURCE, [DATA | 1, 2 | 0xABCD << 8]);
    let found = look_up(&machine).unwrap();
    assert_eq!(found.space.domain, DomainId(0xABCD));
    let Mapping::SecondStage(table) = found.space.mapping else { panic!("{found:?}") };
    assert_eq!((table.root.0, table.top.number(), table.width), (DATA, 4, 48));
}

#[test]
fn a_table_translates_no_more_than_the_unit_supports() {
    let machine = Machine::new();
    machine.context(SOURCE, [DATA | 1, 1]);
    let Mapping::SecondStage(table) = look_up(&machine).unwrap().space.mapping else { panic!() };
    assert_eq!((table.top.number(), table.width), (3, 39));
}

#[test]
fn a_root_entry_is_checked_before_it_is_used() {
    let machine = Machine::new();
    let entry = machine.root + u64::from(SOURCE.bus()) * 16;
    assert_eq!(look_up(&machine), Err((FaultReason::RootNotPresent, true)));
    let context_table = machine.table();
    for (low, high) in [(1 | 1 << 1, 0), (1 | 1 << 11, 0), (1 | 1 << 48, 0), (1, 1), (1, 1 << 63)] {
        machine.write_memory(entry, context_table | low);
        machine.write_memory(entry + 8, high);
        assert_eq!(look_up(&machine), Err((FaultReason::RootReserved, true)), "{low:#x} {high:#x}");
    }
    machine.write_memory(entry + 8, 0);
    machine.write_memory(entry, 1 << 40 | 1);
    assert_eq!(look_up(&machine), Err((FaultReason::ContextUnreadable, true)));
    let outside = look_up_by(&machine, 1 << 40, Capabilities::legacy(48));
    assert_eq!(outside, Err((FaultReason::RootUnreadable, true)));
}

#[test]
fn a_context_entry_is_checked_before_it_is_used() {
    let machine = Machine::new();
    let not_present = FaultReason::ContextNotPresent;
    let reserved = FaultReason::ContextReserved;
    let invalid = FaultReason::ContextInvalid;
    for (low, high, reason) in [
        (0, 2, not_present),
        // An entry that is not present has no reserved bits.
        (!3, u64::MAX, not_present),
        (1 | 1 << 4, 2, reserved),
        (1 | 1 << 11, 2, reserved),
        (1 | 1 << 48, 2, reserved),
        (1, 2 | 1 << 7, reserved),
        (1, 2 | 1 << 24, reserved),
        (1, 2 | 1 << 63, reserved),
        // Widths of 30 and 57 bits, and what is no width at all.
        (1, 0, invalid),
        (1, 3, invalid),
        (1, 4, invalid),
        (1, 7, invalid),
        // Types: device-TLBs, which there are none of, and the one without a meaning.
        (1 | 1 << 2, 2, invalid),
        (1 | 3 << 2, 2, invalid),
        // Pass-through has a width too.
        (1 | 2 << 2, 3, invalid),
    ] {
        machine.context(SOURCE, [low, high]);
        assert_eq!(look_up(&machine), Err((reason, true)), "{low:#x} {high:#x}");
    }
}

#[test]
fn pass_through_has_no_table() {
    let machine = Machine::new();
    // What would be the table's address may hold anything, also beyond what guest memory can be.
    machine.context(SOURCE, [1 << 50 | 2 << 2 | 1, 2 | 7 << 8]);
    let space = AddressSpace {
        domain: DomainId(7),
        pasid: None,
        fault_processing_disabled: false,
        mapping: Mapping::PassThrough,
    };
    assert_eq!(look_up(&machine), Ok(Context { space, device_tlb: false }));
}

#[test]
fn bits_that_software_may_use_do_not_matter() {
    let machine = Machine::new();
    machine.context(SOURCE, [DATA | 1, 2 | 0xF << 3]);
    assert!(look_up(&machine).is_ok());
}

#[test]
fn fault_processing_disable_silences_only_what_it_qualifies() {
    let machine = Machine::new();
    machine.context(SOURCE, [2, 2]);
    assert_eq!(look_up(&machine), Err((FaultReason::ContextNotPresent, false)));
    machine.context(SOURCE, [3 | 1 << 4, 2]);
    assert_eq!(look_up(&machine), Err((FaultReason::ContextReserved, false)));
    machine.context(SOURCE, [3, 7]);
    assert_eq!(look_up(&machine), Err((FaultReason::ContextInvalid, false)));
    machine.context(SOURCE, [DATA | 3, 2]);
    assert!(look_up(&machine).unwrap().space.fault_processing_disabled);
}

#[test]
fn a_root_table_of_another_mode_is_refused() {
    let machine = Machine::new();
    machine.context(SOURCE, [DATA | 1, 2]);
    for mode in 1..4 {
        let found = look_up_by(&machine, machine.root | mode << 10, Capabilities::legacy(48));
        assert_eq!(found, Err((FaultReason::TableModeInvalid, true)));
    }
}

#[test]
fn a_unit_of_39_bits_has_no_tables_of_48() {
    let machine = Machine::new();
    machine.context(SOURCE, [DATA | 1, 2]);
    let found = look_up_by(&machine, machine.root, Capabilities::legacy(39));
    assert_eq!(found, Err((FaultReason::ContextInvalid, true)));
}
