use proptest::prelude::*;

use super::*;
use crate::RangeKind;
use crate::dmar::{Andd, Atsr, Dmar, Drhd, PathStep, Rhsa, Rmrr, Satc, Scope, ScopeKind, Sidp, SidpFlags};
use crate::sample;

/// What the check says of the sample table after `change`.
pub(super) fn problems(change: impl FnOnce(&mut Dmar)) -> Vec<String> {
    let mut dmar = sample::dmar();
    change(&mut dmar);
    check(&dmar.table().unwrap(), &sample::topology(), &sample::memory_map())
}

/// What the check says of the sample table after its bytes were changed and the checksum put right.
pub(super) fn problems_of_bytes(change: impl FnOnce(&mut Vec<u8>)) -> Vec<String> {
    let mut bytes = sample::dmar().table().unwrap();
    change(&mut bytes);
    let length = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[9] = 0;
    bytes[9] = bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_sub(*byte));
    check(&bytes, &sample::topology(), &sample::memory_map())
}

#[track_caller]
pub(super) fn only(problems: impl AsRef<[String]>, expected: &str) {
    assert_eq!(problems.as_ref(), [expected]);
}

#[track_caller]
pub(super) fn among(problems: &[String], expected: &str) {
    assert!(
        problems.iter().any(|problem| problem.contains(expected)),
        "{expected:?} is not in {problems:#?}"
    );
}

/// A unit for the second root port, to stand before the one for all.
fn port_unit() -> Drhd {
    Drhd {
        segment: 0,
        base: 0xfed9_1000,
        window_order: 0,
        include_all: false,
        scopes: vec![Scope::sub_hierarchy(0, 3, 0)],
    }
}

const DRHD: usize = 48;
const SCOPE: usize = DRHD + 16;
const RMRR: usize = SCOPE + 8;

#[test]
fn a_good_table_has_no_problem() {
    assert_eq!(problems(|_| {}), [""; 0]);
}

#[test]
fn a_table_with_everything_in_it_has_no_problem() {
    let all = problems(|dmar| {
        let mut unit = port_unit();
        unit.scopes.push(Scope::namespace(1, 0xf108));
        dmar.units.push(unit);
        dmar.root_port_ats.push(Atsr {
            segment: 0,
            all_ports: false,
            scopes: vec![Scope::sub_hierarchy(0, 2, 0)],
        });
        dmar.affinities.push(Rhsa { base: sample::UNIT, proximity_domain: 0 });
        dmar.namespace_devices.push(Andd { number: 1, name: "\\_SB.PCI0.UAR0".into() });
        let nic = Scope::pci(
            ScopeKind::Endpoint,
            0,
            &[PathStep { device: 2, function: 0 }, PathStep { device: 0, function: 0 }],
        );
        dmar.integrated_ats.push(Satc { segment: 0, atc_required: false, scopes: vec![nic.clone()] });
        let scopes = vec![nic.with_flags(SidpFlags::ATC_HARDENED)];
        dmar.integrated_properties.push(Sidp { segment: 0, scopes });
    });
    assert_eq!(all, [""; 0]);
}

#[test]
fn the_header_is_checked() {
    let check = |bytes: &[u8]| check(bytes, &sample::topology(), &sample::memory_map());
    only(check(&[0; 35]), "The table has 35 bytes, less than an ACPI header.");
    among(&check(&[0; 47]), "less than the 48");
    let mut bytes = sample::dmar().table().unwrap();
    bytes[9] ^= 1;
    only(check(&bytes), "The table's bytes do not add up to zero: the checksum is wrong.");
    bytes[9] ^= 1;
    bytes.push(0);
    among(&check(&bytes), "The table says it has 104 bytes, but has 105.");

    only(problems_of_bytes(|bytes| bytes[0] = b'X'), "The table's signature is not DMAR.");
    only(problems_of_bytes(|bytes| bytes[8] = 2), "The table's revision is not 1.");
    only(problems_of_bytes(|bytes| bytes[37] = 9), "The table's flags 0x09 have reserved bits set.");
    only(
        problems_of_bytes(|bytes| bytes[47] = 1),
        "The reserved bytes after the table's flags are not zero.",
    );
    only(problems_of_bytes(|bytes| bytes[36] = 64), "The host address width is 65 bits.");
    let opt_out = problems(|dmar| {
        dmar.x2apic_opt_out = true;
        dmar.interrupt_remapping = false;
    });
    only(opt_out, "X2APIC_OPT_OUT is set without INTR_REMAP, which alone gives it a meaning.");
}

#[test]
fn lengths_that_lead_nowhere_end_the_walk() {
    let zero = problems_of_bytes(|bytes| bytes[RMRR + 2] = 0);
    only(zero, "The structure at offset 72 says it has 0 bytes; 32 are left.");
    let long = problems_of_bytes(|bytes| bytes[RMRR + 2] = 33);
    only(long, "The structure at offset 72 says it has 33 bytes; 32 are left.");
    among(&problems_of_bytes(|bytes| bytes.extend([0, 0])), "The 2 bytes at offset 104 are no structure.");
    among(&problems_of_bytes(|bytes| bytes.extend([7, 0, 4, 0])), "has the unknown type 7.");
    among(
        &problems_of_bytes(|bytes| bytes.extend([3, 0, 4, 0])),
        "RHSA at offset 104 has 4 bytes, less than the 20",
    );
}

#[test]
fn structures_out_of_order_are_found() {
    let swapped = problems_of_bytes(|bytes| bytes[DRHD..].rotate_left(24));
    among(&swapped, "The structure at offset 80 has type 0 but follows one of type 1.");
}

#[test]
fn scope_lengths_are_checked() {
    let says = |length| problems_of_bytes(|bytes| bytes[SCOPE + 1] = length);
    for length in [0, 6, 7, 9, 10] {
        among(&says(length), &format!("Scope 1 of the DRHD at offset 48 says it has {length} bytes"));
    }
    let cut = problems_of_bytes(|bytes| {
        bytes[RMRR + 2] = 27;
        bytes.truncate(RMRR + 27);
    });
    among(&cut, "Scope 1 of the RMRR at offset 72 is cut off after 3 bytes.");
}

#[test]
fn scope_fields_are_checked() {
    let changed = |offset: usize, value| problems_of_bytes(|bytes| bytes[RMRR + 24 + offset] = value);
    let scope = "Scope 1 of the RMRR at offset 72";
    among(&changed(0, 6), &format!("{scope} has the unknown type 6."));
    among(&changed(0, 3), &format!("{scope} has type 3, which does not belong there."));
    only(changed(2, 1), &format!("{scope} has reserved flags set: 0x01."));
    only(changed(3, 1), &format!("{scope} has a reserved byte that is not zero."));
    only(changed(4, 1), &format!("{scope} names a PCI device but has the enumeration ID 1."));
    among(&changed(7, 8), &format!("{scope} has a step with a device above 31 or a function above 7."));
}

#[test]
fn scopes_are_followed_through_the_pci_tree() {
    let named = |scope: Scope| problems(|dmar| dmar.reserved_memory[0].scopes = vec![scope]);
    let scope = "Scope 1 of the RMRR at offset 72";
    only(named(Scope::endpoint(0, 9, 0)), &format!("{scope} leads to no PCI function."));
    only(named(Scope::endpoint(0, 2, 0)), &format!("{scope} is for an endpoint but leads to a bridge."));
    only(named(Scope::sub_hierarchy(0, 4, 0)), &format!("{scope} is for a bridge but leads to an endpoint."));
    let path = |first| {
        let steps = [PathStep { device: first, function: 0 }, PathStep { device: 0, function: 0 }];
        named(Scope::pci(ScopeKind::Endpoint, 0, &steps))
    };
    assert_eq!(path(2), [""; 0]);
    only(path(3), &format!("{scope} leads to no PCI function."));
    only(path(4), &format!("{scope} leads to no PCI function."));
}

#[test]
fn an_ioapic_needs_a_requester_id_of_its_own() {
    let with = |id| problems(|dmar| dmar.units[0].scopes = vec![Scope::ioapic(4, id)]);
    only(with(0), "Scope 1 of the DRHD at offset 48 has the requester ID 0, which operating systems refuse.");
    only(
        with(0x00f8),
        "Scope 1 of the DRHD at offset 48 has the requester ID of the PCI function 0000:00:1f.0.",
    );
}

#[test]
fn every_ioapic_is_behind_one_unit() {
    let scopes = |scopes: Vec<Scope>| problems(|dmar| dmar.units[0].scopes = scopes);
    only(scopes(vec![]), "IOAPIC 4 is behind no unit, so its interrupts cannot be remapped.");
    only(scopes(vec![Scope::ioapic(4, 0xf0f8), Scope::ioapic(4, 0xf0f0)]), "IOAPIC 4 is named by 2 scopes.");
    let stranger = scopes(vec![Scope::ioapic(4, 0xf0f8), Scope::ioapic(5, 0xf0f0)]);
    only(stranger, "Scope 2 of the DRHD at offset 48 names IOAPIC 5, which the MADT does not have.");
    let without_remapping = problems(|dmar| {
        dmar.interrupt_remapping = false;
        dmar.units[0].scopes.clear();
    });
    assert_eq!(without_remapping, [""; 0]);
}

#[test]
fn the_unit_for_all_is_one_and_last() {
    let second =
        problems(|dmar| dmar.units.push(Drhd { base: 0xfed9_1000, scopes: vec![], ..dmar.units[0].clone() }));
    among(&second, "The DRHD at offset 72 is the second with INCLUDE_PCI_ALL");
    // The builder sorts, so the order has to be broken in the bytes.
    let mut bytes = Dmar { reserved_memory: vec![], ..sample::dmar() };
    bytes.units.push(port_unit());
    let mut bytes = bytes.table().unwrap();
    bytes[DRHD..].rotate_left(24);
    let late = check(&bytes, &sample::topology(), &sample::memory_map());
    only(
        late,
        "The DRHD at offset 72 comes late: the DRHD at offset 48 has INCLUDE_PCI_ALL for segment 0 already.",
    );
    among(&problems(|dmar| dmar.units.clear()), "There is no DRHD.");
}

#[test]
fn the_unit_for_all_names_no_pci_devices() {
    let named = problems(|dmar| dmar.units[0].scopes.push(Scope::endpoint(0, 4, 0)));
    only(named, "Scope 2 of the DRHD at offset 48 has type 1, which does not belong there.");
}

#[test]
fn every_function_is_behind_one_unit() {
    let uncovered = problems(|dmar| {
        let mut unit = port_unit();
        unit.scopes = vec![Scope::sub_hierarchy(0, 2, 0), Scope::ioapic(4, 0xf0f8)];
        dmar.units = vec![unit];
    });
    let expected = ["00:00.0", "00:03.0", "00:04.0", "00:1f.0"]
        .map(|function| format!("The PCI function 0000:{function} is behind no unit."));
    assert_eq!(uncovered, expected);

    let twice = problems(|dmar| {
        dmar.units.push(Drhd { scopes: vec![Scope::sub_hierarchy(0, 2, 0)], ..port_unit() });
        let nic = [PathStep { device: 2, function: 0 }, PathStep { device: 0, function: 0 }];
        let scopes = vec![Scope::pci(ScopeKind::Endpoint, 0, &nic)];
        dmar.units.push(Drhd { base: 0xfed9_2000, scopes, ..port_unit() });
    });
    only(twice, "The PCI function 0000:01:00.0 is behind the DRHD at offset 48 and the DRHD at offset 72.");
    let none = problems(|dmar| dmar.units.push(Drhd { scopes: vec![], ..port_unit() }));
    only(none, "The DRHD at offset 48 has no devices behind it.");
}

#[test]
fn registers_of_units_are_pages_apart_from_ram_and_from_each_other() {
    let at = |base| problems(|dmar| dmar.units[0].base = base);
    among(&at(0), "has its registers at 0x0, not at a page other than 0.");
    only(
        at(0xfed9_0800),
        "The DRHD at offset 48 has its registers at 0xfed90800, not at a page other than 0.",
    );
    only(at(0x20_0000), "The DRHD at offset 48 has its registers (0x200000–0x200fff) in RAM.");
    only(
        at(1 << 39),
        "The DRHD at offset 48 ends at 0x8000000fff, beyond the host address width of 39 bits.",
    );
    only(at(0x7000_f000), "The RMRR at offset 72 covers registers of the DRHD at offset 48.");
    let shared = problems(|dmar| {
        dmar.units.push(Drhd { base: sample::UNIT - 0x1000, window_order: 1, ..port_unit() });
    });
    only(shared, "The DRHD at offset 48 and the DRHD at offset 72 have registers at the same addresses.");
    only(
        problems_of_bytes(|bytes| bytes[DRHD + 5] = 0x10),
        "The DRHD at offset 48 has reserved bytes that are not zero.",
    );
    only(
        problems_of_bytes(|bytes| bytes[DRHD + 4] = 3),
        "The DRHD at offset 48 has reserved flags set: 0x03.",
    );
}

#[test]
fn all_ram_is_within_the_host_address_width() {
    let narrow = problems(|dmar| dmar.host_address_width = 32);
    only(narrow, "RAM ends at 0x13fffffff, beyond the host address width of 32 bits.");
}

#[test]
fn reserved_memory_is_whole_pages_inside_one_reserved_entry() {
    let region = |base, limit| {
        problems(|dmar| (dmar.reserved_memory[0].base, dmar.reserved_memory[0].limit) = (base, limit))
    };
    let rmrr = "The RMRR at offset 72";
    assert_eq!(region(0x7000_1000, 0x7000_1fff), [""; 0]);
    only(
        region(0x7000_0800, 0x7000_ffff),
        &format!("{rmrr} (0x70000800–0x7000ffff) is not made of whole pages."),
    );
    only(
        region(0x7000_0000, 0x7000_f000),
        &format!("{rmrr} (0x70000000–0x7000f000) is not made of whole pages."),
    );
    only(
        region(0x7000_1000, 0x7000_0fff),
        &format!("{rmrr} ends at 0x70000fff, before it begins at 0x70001000."),
    );
    let outside = "does not lie inside one reserved entry of the memory map.";
    among(&region(0x7000_0000, 0x7001_0fff), outside);
    among(&region(0x20_0000, 0x20_0fff), outside);
    among(&region(0xffff_ffff_ffff_f000, u64::MAX), outside);

    let mut two = sample::memory_map();
    let halves = |base| AddressRange { base, length: 0x8000, kind: RangeKind::Reserved };
    two[3] = halves(0x7000_0000);
    two.push(halves(0x7000_8000));
    let split = check(&sample::dmar().table().unwrap(), &sample::topology(), &two);
    among(&split, outside);
    two[3] = AddressRange { kind: RangeKind::AcpiNvs, ..sample::memory_map()[3] };
    assert_eq!(check(&sample::dmar().table().unwrap(), &sample::topology(), &two), [""; 0]);

    only(problems(|dmar| dmar.reserved_memory[0].scopes.clear()), "The RMRR at offset 72 names no device.");
    let second = Rmrr { base: 0x7000_4000, limit: 0x7000_4fff, ..sample::dmar().reserved_memory[0].clone() };
    assert_eq!(problems(|dmar| dmar.reserved_memory.push(second)), [""; 0]);
}

proptest! {
    /// Tables of any origin are judged: whatever the bytes, the check ends and does not panic.
    #[test]
    fn any_change_of_a_good_table_is_survived(changes in prop::collection::vec((0usize..104, any::<u8>()), 1..8)) {
        problems_of_bytes(|bytes| { for (at, value) in changes { bytes[at] = value; } });
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes, &sample::topology(), &sample::memory_map());
    }
}
