use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::*;
use crate::dmar::{Andd, Atsr, Drhd, Rhsa, Scope};
use crate::sample;

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

#[test]
fn every_table_adds_up_to_zero_and_knows_its_length() {
    let tables = sample::machine().tables(0xe_0000).unwrap();
    for signature in [b"FACP", b"APIC", b"MCFG", b"DMAR", b"DSDT", b"XSDT"] {
        let table = tables.get(signature).unwrap();
        assert_eq!(&table[..4], signature);
        assert_eq!(u32_at(table, 4) as usize, table.len());
        assert_eq!(sum(table), 0, "{}", String::from_utf8_lossy(signature));
    }
}

#[test]
fn the_rsdp_leads_to_every_table_from_the_place_the_tables_are_put() {
    let tables = sample::machine().tables(0xe_0000).unwrap();
    let rsdp = tables.get(b"RSDP").unwrap();
    assert_eq!(tables.rsdp(), 0xe_0000);
    assert_eq!(&rsdp[..8], b"RSD PTR ");
    assert_eq!((sum(&rsdp[..20]), sum(rsdp), rsdp[15]), (0, 0, 2));

    let at = |address: u64| &tables.bytes[(address - tables.address) as usize..];
    let xsdt = at(u64_at(rsdp, 24));
    assert_eq!(&xsdt[..4], b"XSDT");
    let entries = (u32_at(xsdt, 4) as usize - 36) / 8;
    let pointed: Vec<&[u8]> = (0..entries).map(|i| &at(u64_at(xsdt, 36 + 8 * i))[..4]).collect();
    assert_eq!(pointed, [b"FACP", b"APIC", b"MCFG", b"DMAR"]);

    let fadt = tables.get(b"FACP").unwrap();
    assert_eq!(&at(u32_at(fadt, 40).into())[..4], b"DSDT");
    assert_eq!(u64_at(fadt, 140), u64::from(u32_at(fadt, 40)));
    let facs = u32_at(fadt, 36);
    assert_eq!(u64_at(fadt, 132), u64::from(facs));
    assert_eq!(&at(facs.into())[..4], b"FACS");
    assert!(facs.is_multiple_of(64));
}

#[test]
fn the_mcfg_tells_base_and_last_bus() {
    let mut machine = sample::machine();
    machine.ecam.last_bus = 0x3f;
    let tables = machine.tables(0xe_0000).unwrap();
    let mcfg = tables.get(b"MCFG").unwrap();
    assert_eq!(mcfg.len(), 60);
    assert_eq!(u64_at(mcfg, 44), 0xe000_0000);
    assert_eq!(mcfg[52..], [0, 0, 0, 0x3f, 0, 0, 0, 0]);
}

#[test]
fn without_an_iommu_there_is_no_dmar() {
    let machine = Machine { dmar: None, ..sample::machine() };
    assert_eq!(machine.tables(0xe_0000).unwrap().get(b"DMAR"), None);
}

#[test]
fn the_largest_machine_fits_below_1_mib() {
    let machine = Machine { cpus: (0..64).collect(), ..sample::machine() };
    assert!(machine.tables(0xe_0000).unwrap().bytes.len() <= 0x2_0000);
}

#[test]
fn what_no_table_can_say_is_refused() {
    let refused = |change: fn(&mut Machine)| {
        let mut machine = sample::machine();
        change(&mut machine);
        machine.tables(0xe_0000).unwrap_err()
    };
    assert_eq!(refused(|m| m.cpus.clear()), Error::Processors(0));
    assert_eq!(refused(|m| m.root_devices.push(32)), Error::DeviceNumber(32));
    assert_eq!(refused(|m| m.power.sci = 16), Error::IsaInterrupt(16));
    assert_eq!(refused(|m| m.serial_ports[0].irq = 200), Error::IsaInterrupt(200));
    assert_eq!(refused(|m| m.serial_ports = vec![m.serial_ports[0]; 5]), Error::SerialPorts(5));
    let width = |m: &mut Machine| m.dmar.as_mut().unwrap().host_address_width = 11;
    assert_eq!(refused(width), Error::Dmar(crate::dmar::Error::AddressWidth(11)));
}

#[test]
fn tables_go_to_a_page_below_4_gib() {
    let machine = sample::machine();
    assert_eq!(machine.tables(0xe_0010), Err(Error::Misaligned(0xe_0010)));
    let large = Machine { cpus: (0..400).collect(), ..machine.clone() };
    assert!(matches!(large.tables(0xffff_f000), Err(Error::TooHigh { .. })));
    assert!(matches!(machine.tables(u64::MAX - 4095), Err(Error::TooHigh { .. })));
}

/// The judge of ACPI tables everyone uses must take them apart and put them together again without a remark.
#[test]
fn iasl_has_nothing_to_say() {
    if Command::new("iasl").arg("-v").output().is_err() {
        eprintln!("SKIPPED: iasl is not installed (package acpica-tools), so no table was judged by it");
        return;
    }
    let folder = std::env::temp_dir().join(format!("portcullis-iasl-{}", std::process::id()));
    for (name, machine) in judged_machines() {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        let tables = machine.tables(0xe_0000).unwrap();
        // iasl knows no file with a root pointer; a test above follows it.
        for table in tables.tables.iter().filter(|table| table.signature != *b"RSDP") {
            let bytes = tables.get(&table.signature).unwrap();
            judge(&folder, &String::from_utf8_lossy(&table.signature), bytes);
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

/// The usual machine, a bare one, and one with all that iasl knows of.
fn judged_machines() -> [(&'static str, Machine); 3] {
    let mut bare = sample::machine();
    bare.cpus = vec![0];
    bare.dmar = None;
    bare.serial_ports.clear();
    bare.keyboard_controller = false;
    bare.power.gpe0 = None;
    bare.windows.memory_64.clear();

    let mut full = sample::machine();
    full.cpus = (0..62).chain([254, 255, 300]).collect();
    full.ecam.base = 0x10_0000_0000;
    let dmar = full.dmar.as_mut().unwrap();
    dmar.units.push(Drhd {
        segment: 0,
        base: 0xfed9_1000,
        window_order: 0,
        include_all: false,
        scopes: vec![Scope::sub_hierarchy(0, 3, 0), Scope::namespace(1, 0xf100)],
    });
    dmar.root_port_ats.push(Atsr {
        segment: 0,
        all_ports: false,
        scopes: vec![Scope::sub_hierarchy(0, 2, 0)],
    });
    dmar.affinities.push(Rhsa { base: sample::UNIT, proximity_domain: 0 });
    dmar.namespace_devices.push(Andd { number: 1, name: "\\_SB.PCI0.UAR0".into() });
    [("usual", sample::machine()), ("bare", bare), ("full", full)]
}

fn judge(folder: &Path, name: &str, bytes: &[u8]) {
    let binary = folder.join(name).with_extension("dat");
    fs::write(&binary, bytes).unwrap();
    silent(name, &iasl(&["-d"], &binary));
    let source: PathBuf = binary.with_extension("dsl");
    assert!(source.exists(), "iasl could not take {name} apart");
    silent(name, &iasl(&["-oa", "-p", "again"], &source));
    let again = fs::read(folder.join("again.aml")).unwrap();
    // The compiler signs as the creator and so changes the checksum; all else must come back as it was.
    let signed = |i: usize| name != "FACS" && (i == 9 || (28..36).contains(&i));
    let same = |i: usize| signed(i) || again.get(i) == bytes.get(i);
    assert_eq!(again.len(), bytes.len(), "{name} comes back with another length");
    for i in 0..bytes.len() {
        assert!(same(i), "byte {i} of {name} comes back different");
    }
}

fn iasl(options: &[&str], file: &Path) -> Output {
    let folder = file.parent().unwrap();
    Command::new("iasl").args(options).arg(file.file_name().unwrap()).current_dir(folder).output().unwrap()
}

fn silent(name: &str, output: &Output) {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{name}: {said}");
    for line in said.lines() {
        let complaint = ["Warning", "Error", "Remark", "Invalid", "Unknown", "incorrect"]
            .into_iter()
            .any(|word| line.contains(word) && !line.contains(&format!("0 {word}s")));
        assert!(!complaint, "{name}: {said}");
    }
}
