use crate::dmar::check::tests::{among, only, problems, problems_of_bytes};
use crate::dmar::{Andd, Atsr, Dmar, PciKind, Rhsa, Satc, Scope, Sidp, SidpFlags, check};
use crate::sample;

#[test]
fn root_ports_with_ats_are_root_ports() {
    let atsr =
        |all_ports, scopes| problems(|dmar| dmar.root_port_ats.push(Atsr { segment: 0, all_ports, scopes }));
    assert_eq!(atsr(true, vec![]), [""; 0]);
    only(atsr(false, vec![]), "The ATSR at offset 104 names no root port.");
    only(
        atsr(true, vec![Scope::sub_hierarchy(0, 2, 0)]),
        "The ATSR at offset 104 is for all root ports and names some.",
    );
    among(&atsr(false, vec![Scope::endpoint(0, 4, 0)]), "has type 1, which does not belong there.");
    let twice = problems(|dmar| {
        dmar.root_port_ats = vec![Atsr { segment: 0, all_ports: true, scopes: vec![] }; 2];
    });
    only(twice, "The ATSR at offset 112 is the second for all root ports of segment 0.");

    let mut topology = sample::topology();
    topology.functions[1].kind = PciKind::Bridge { secondary: 1, subordinate: 1, root_port: false };
    let mut dmar = sample::dmar();
    dmar.root_port_ats.push(Atsr {
        segment: 0,
        all_ports: false,
        scopes: vec![Scope::sub_hierarchy(0, 2, 0)],
    });
    let bridge = check(&dmar.table().unwrap(), &topology, &sample::memory_map());
    only(bridge, "Scope 1 of the ATSR at offset 104 leads to a bridge that is no root port.");
}

#[test]
fn affinities_are_about_units_that_exist_once() {
    let rhsa = |bases: &[u64]| {
        problems(|dmar| {
            dmar.affinities = bases.iter().map(|&base| Rhsa { base, proximity_domain: 0 }).collect();
        })
    };
    only(rhsa(&[0x1000]), "An RHSA is about a unit at 0x1000, where no DRHD has one.");
    only(rhsa(&[sample::UNIT; 2]), "The RHSA at offset 124 is the second for the unit at 0xfed90000.");
    let mut long = [3, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    long.extend([0; 4]);
    only(problems_of_bytes(|bytes| bytes.extend(long)), "The RHSA at offset 104 is 4 bytes too long.");
}

#[test]
fn namespace_devices_have_a_name_that_ends_and_a_unit() {
    let scope = |dmar: &mut Dmar| dmar.units[0].scopes.push(Scope::namespace(7, 0xf108));
    only(problems(scope), "Scope 2 of the DRHD at offset 48 names device 7, which no ANDD describes.");
    let unused = problems(|dmar| dmar.namespace_devices.push(Andd { number: 7, name: "\\_SB.DEV0".into() }));
    only(unused, "The ANDD of device 7 describes a device that is behind no unit.");
    let twice = problems(|dmar| {
        scope(dmar);
        dmar.namespace_devices = vec![Andd { number: 7, name: "\\_SB.DEV0".into() }; 2];
    });
    only(twice, "The ANDD at offset 130 gives the device number 7 a second time.");

    let named = |name: &[u8]| {
        let mut dmar = sample::dmar();
        scope(&mut dmar);
        let mut bytes = dmar.table().unwrap();
        bytes.extend([4, 0, 8 + name.len() as u8, 0, 0, 0, 0, 7]);
        bytes.extend(name);
        let all = check(&bytes, &sample::topology(), &sample::memory_map());
        // Length and checksum are not what is tested.
        all.into_iter().filter(|problem| problem.contains("ANDD")).collect::<Vec<_>>()
    };
    assert_eq!(named(b"\\_SB.DEV0\0"), [""; 0]);
    assert_eq!(named(b"\\_SB.DEV0\0\0\0"), [""; 0]);
    only(named(b"\\_SB.DEV0"), "The ANDD at offset 112 has a name without a NUL at its end.");
    only(named(b"\\_SB.DEV0\0X"), "The ANDD at offset 112 has bytes after the end of its name.");
    only(named(b"_SB\0"), "The ANDD at offset 112 has a name that is no full ACPI path: \"_SB\".");
    only(named(b"\\\0"), "The ANDD at offset 112 has a name that is no full ACPI path: \"\\\\\".");
}

#[test]
fn integrated_devices_are_endpoints_with_known_properties() {
    let satc =
        |scopes| problems(|dmar| dmar.integrated_ats.push(Satc { segment: 0, atc_required: true, scopes }));
    only(satc(vec![]), "The SATC at offset 104 names no device.");
    among(&satc(vec![Scope::sub_hierarchy(0, 2, 0)]), "has type 2, which does not belong there.");
    let flags = |bits| {
        let scopes = vec![Scope::endpoint(0, 4, 0).with_flags(SidpFlags(bits))];
        problems(|dmar| dmar.integrated_properties.push(Sidp { segment: 0, scopes }))
    };
    assert_eq!(flags(0x1f), [""; 0]);
    only(flags(0x20), "Scope 1 of the SIDP at offset 104 has reserved flags set: 0x20.");
    let none = problems(|dmar| dmar.integrated_properties.push(Sidp { segment: 0, scopes: vec![] }));
    only(none, "The SIDP at offset 104 names no device.");
}
