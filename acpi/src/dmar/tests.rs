use super::*;
use crate::sample;

/// The structures, without the table's 48 bytes before them.
fn body(dmar: &Dmar) -> Vec<u8> {
    dmar.table().unwrap()[48..].to_vec()
}

fn unit(base: u64, include_all: bool, scopes: Vec<Scope>) -> Drhd {
    Drhd { segment: 0, base, window_order: 0, include_all, scopes }
}

#[test]
fn the_header_has_the_width_less_one_and_the_flags() {
    let mut dmar = Dmar::new(48, vec![]);
    let header = |dmar: &Dmar| dmar.table().unwrap()[36..48].to_vec();
    assert_eq!(header(&dmar), [47, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    dmar.x2apic_opt_out = true;
    dmar.dma_protection_opt_in = true;
    assert_eq!(header(&dmar)[1], 7);
    dmar.interrupt_remapping = false;
    assert_eq!(header(&dmar)[1], 6);
    assert_eq!(dmar.table().unwrap()[8], 1, "revision");
}

#[test]
fn a_unit_has_flags_size_segment_base_and_scopes() {
    let mut unit = unit(0xfed9_0000, true, vec![Scope::ioapic(4, 0xf0f8)]);
    unit.window_order = 1;
    unit.segment = 2;
    let expected = [
        &[0, 0, 24, 0, 1, 1, 2, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0][..],
        // IOAPIC 4 sends as f0:1f.0.
        &[3, 8, 0, 0, 4, 0xf0, 0x1f, 0],
    ];
    assert_eq!(body(&Dmar::new(39, vec![unit])), expected.concat());
}

#[test]
fn scopes_name_endpoints_bridges_and_paths_through_bridges() {
    let steps = [PathStep { device: 2, function: 0 }, PathStep { device: 5, function: 3 }];
    let scopes = vec![
        Scope::endpoint(0, 4, 1),
        Scope::sub_hierarchy(0, 3, 0),
        Scope::pci(ScopeKind::Endpoint, 0x40, &steps),
        Scope::hpet(1, 0x00f0),
        Scope::namespace(9, 0xf109),
    ];
    let expected: [&[u8]; 5] = [
        &[1, 8, 0, 0, 0, 0, 4, 1],
        &[2, 8, 0, 0, 0, 0, 3, 0],
        &[1, 10, 0, 0, 0, 0x40, 2, 0, 5, 3],
        &[4, 8, 0, 0, 1, 0, 0x1e, 0],
        &[5, 8, 0, 0, 9, 0xf1, 1, 1],
    ];
    assert_eq!(body(&Dmar::new(39, vec![unit(0x1000, false, scopes)]))[16..], expected.concat());
}

#[test]
fn the_unit_for_all_remaining_devices_goes_last() {
    let units = vec![
        unit(0x1000, true, vec![]),
        unit(0x2000, false, vec![Scope::endpoint(0, 1, 0)]),
        unit(0x3000, false, vec![Scope::endpoint(0, 2, 0)]),
    ];
    let body = body(&Dmar::new(39, units));
    let bases: Vec<u8> = [9, 24 + 9, 48 + 9].map(|at| body[at]).to_vec();
    assert_eq!(bases, [0x20, 0x30, 0x10]);
}

#[test]
fn the_other_structures_follow_in_the_order_of_their_types() {
    let mut dmar = Dmar::new(39, vec![]);
    let endpoint = || vec![Scope::endpoint(0, 2, 0)];
    let flags = SidpFlags(SidpFlags::ATC_HARDENED.0 | SidpFlags::NO_NESTED_WITHOUT_PASID.0);
    dmar.integrated_properties
        .push(Sidp { segment: 1, scopes: vec![Scope::endpoint(0, 2, 0).with_flags(flags)] });
    dmar.integrated_ats.push(Satc { segment: 1, atc_required: true, scopes: endpoint() });
    dmar.namespace_devices.push(Andd { number: 3, name: "\\_SB.I2C0".into() });
    dmar.affinities.push(Rhsa { base: 0xfed9_0000, proximity_domain: 2 });
    dmar.root_port_ats.push(Atsr { segment: 1, all_ports: true, scopes: vec![] });
    dmar.root_port_ats.push(Atsr {
        segment: 1,
        all_ports: false,
        scopes: vec![Scope::sub_hierarchy(0, 1, 0)],
    });
    dmar.reserved_memory.push(Rmrr { segment: 1, base: 0x1000, limit: 0x1fff, scopes: endpoint() });

    let expected: [&[u8]; 10] = [
        &[1, 0, 32, 0, 0, 0, 1, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0xff, 0x1f, 0, 0, 0, 0, 0, 0],
        &[1, 8, 0, 0, 0, 0, 2, 0],
        &[2, 0, 8, 0, 1, 0, 1, 0],
        &[2, 0, 16, 0, 0, 0, 1, 0, 2, 8, 0, 0, 0, 0, 1, 0],
        &[3, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0, 2, 0, 0, 0],
        b"\x04\0\x12\0\0\0\0\x03\\_SB.I2C0\0",
        &[5, 0, 16, 0, 1, 0, 1, 0],
        &[1, 8, 0, 0, 0, 0, 2, 0],
        &[6, 0, 16, 0, 0, 0, 1, 0],
        &[1, 8, 9, 0, 0, 0, 2, 0],
    ];
    assert_eq!(body(&dmar), expected.concat());
}

#[test]
fn what_a_field_cannot_hold_is_refused() {
    let refused = |dmar: Dmar| dmar.table().unwrap_err();
    assert_eq!(refused(Dmar::new(65, vec![])), Error::AddressWidth(65));
    let wide = Drhd { window_order: 16, ..unit(0x1000, true, vec![]) };
    assert_eq!(refused(Dmar::new(39, vec![wide])), Error::WindowSize(16));

    let path = |steps: usize| {
        let path = vec![PathStep { device: 0, function: 0 }; steps];
        Dmar::new(39, vec![unit(0x1000, false, vec![Scope::pci(ScopeKind::Endpoint, 0, &path)])])
    };
    assert!(path(124).table().is_ok());
    assert_eq!(refused(path(125)), Error::PathLength(125));
    assert_eq!(refused(path(0)), Error::PathLength(0));

    let many = unit(0x1000, false, vec![Scope::endpoint(0, 1, 0); 8190]);
    assert_eq!(refused(Dmar::new(39, vec![many])), Error::TooLong { name: "DRHD", length: 65536 });

    for name in ["_SB.DEV0", "\\_SB\0", "\\Gerät", ""] {
        let mut dmar = sample::dmar();
        dmar.namespace_devices.push(Andd { number: 1, name: name.into() });
        assert_eq!(refused(dmar), Error::NamespaceName(name.into()));
    }
}
