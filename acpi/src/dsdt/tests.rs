use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::*;
use crate::{Windows, intx_gsi, sample};

/// Whether the table has these bytes.
fn has(machine: &Machine, bytes: &[u8]) -> bool {
    dsdt(machine).windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn pins_of_root_bus_devices_are_spread_over_eight_interrupts() {
    assert_eq!([0, 1, 2, 3].map(|pin| intx_gsi(0, pin)), [16, 17, 18, 19]);
    assert_eq!([0, 1, 2, 3].map(|pin| intx_gsi(6, pin)), [22, 23, 16, 17]);
    assert!((0..32).flat_map(|d| (0..4).map(move |p| intx_gsi(d, p))).all(|gsi| (16..24).contains(&gsi)));
}

#[test]
fn the_routing_table_gives_every_pin_a_fixed_interrupt() {
    let machine = Machine { root_devices: vec![6, 6], ..sample::machine() };
    let entry = |pin: &[u8], gsi| [&[0x0c, 0xff, 0xff, 6, 0][..], pin, &[0, 0x0a, gsi]].concat();
    assert!(has(&machine, &entry(&[0], 22)));
    assert!(has(&machine, &entry(&[1], 23)));
    assert!(has(&machine, &entry(&[0x0a, 2], 16)));
    assert!(has(&machine, &entry(&[0x0a, 3], 17)));
    // A package of 4 entries: the device is listed once, and no other.
    assert!(has(&machine, &[b"_PRT".as_slice(), &[0x12, 0x34, 4]].concat()));
}

#[test]
fn the_root_passes_on_its_windows() {
    let windows = Windows {
        memory_32: vec![0xc000_0000..=0xdfff_ffff],
        memory_64: vec![0x8_0000_0000..=0x8_ffff_ffff],
        ports: vec![0xc000..=0xffff],
    };
    let machine = Machine { windows, ..sample::machine() };
    let ports = [0x88, 13, 0, 1, 0x0c, 3, 0, 0, 0, 0xc0, 0xff, 0xff, 0, 0, 0, 0x40];
    assert!(has(&machine, &ports));
    let memory_32 = [
        0x87, 23, 0, 0, 0x0c, 1, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff, 0xff, 0xdf, 0, 0, 0, 0, 0, 0, 0, 0x20,
    ];
    assert!(has(&machine, &memory_32));
    let memory_64 = [
        &[0x8a, 43, 0, 0, 0x0c, 1, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &0x8_0000_0000_u64.to_le_bytes(),
        &0x8_ffff_ffff_u64.to_le_bytes(),
        &[0; 8],
        &0x1_0000_0000_u64.to_le_bytes(),
    ]
    .concat();
    assert!(has(&machine, &memory_64));
}

#[test]
fn the_motherboard_keeps_ecam_below_and_above_4_gib() {
    let mut machine = sample::machine();
    assert!(has(&machine, &[0x86, 9, 0, 1, 0, 0, 0, 0xe0, 0, 0, 0, 0x10]));
    machine.ecam.base = 0x10_0000_0000;
    assert!(has(&machine, &0x10_0fff_ffff_u64.to_le_bytes()));
}

#[test]
fn com1_has_its_ports_and_interrupt() {
    let machine = sample::machine();
    let resources = [0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, 0x22, 0x10, 0, 0x79];
    assert!(has(&machine, &[b"COM1".as_slice()].concat()));
    assert!(has(&machine, &resources));
}

#[test]
fn the_sleep_type_is_the_one_the_hardware_wants() {
    let mut machine = sample::machine();
    machine.power.s5_sleep_type = 7;
    assert!(has(&machine, &[b"_S5_".as_slice(), &[0x12, 8, 4, 0x0a, 7, 0x0a, 7, 0, 0]].concat()));
}

#[test]
fn a_keyboard_controller_is_declared_only_when_there_is_one() {
    let mut machine = sample::machine();
    assert!(has(&machine, b"KBD_"));
    machine.keyboard_controller = false;
    assert!(!has(&machine, b"KBD_"));
}

/// Runs `_OSC` in an interpreter once per call: revision, last byte of the UUID, and the three words.
fn evaluate_osc(calls: &[(u8, u8, [u8; 3])]) -> Option<Vec<String>> {
    let folder = std::env::temp_dir().join(format!("portcullis-osc-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("DSDT.dat"), dsdt(&sample::machine())).unwrap();
    let interpreter = Command::new("acpiexec")
        .arg("DSDT.dat")
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let output = interpreter.ok().map(|mut interpreter| {
        let mut commands = interpreter.stdin.take().unwrap();
        for (revision, last, [status, support, control]) in calls {
            writeln!(
                commands,
                "evaluate \\_SB.PCI0._OSC (5B4DDB33F71F1C4096577441C03DD7{last:02X}) {revision} 3 \
                 ({status:02X}000000{support:02X}000000{control:02X}000000)"
            )
            .unwrap();
        }
        writeln!(commands, "quit").unwrap();
        drop(commands);
        interpreter.wait_with_output().unwrap()
    });
    fs::remove_dir_all(folder).unwrap();
    let output = String::from_utf8_lossy(&output?.stdout).into_owned();
    let answers = output.split("0000: ").skip(1);
    Some(answers.map(|answer| answer.split("//").next().unwrap().trim().to_owned()).collect())
}

#[test]
fn control_of_pci_express_is_granted_and_no_more() {
    let query = (1, 0x66, [1, 0x1f, 0x11]);
    let too_much = (1, 0x66, [0, 0x1f, 0x1f]);
    let unknown_revision = (2, 0x66, [0, 0x1f, 0x1d]);
    let unknown_uuid = (1, 0x67, [0, 0x1f, 0x1f]);
    let Some(answers) = evaluate_osc(&[query, too_much, unknown_revision, unknown_uuid]) else {
        eprintln!("SKIPPED: acpiexec is not installed (package acpica-tools), so _OSC was not run");
        return;
    };
    let expected = [
        "01 00 00 00 1F 00 00 00 11 00 00 00",
        "10 00 00 00 1F 00 00 00 1D 00 00 00",
        "08 00 00 00 1F 00 00 00 1D 00 00 00",
        "04 00 00 00 1F 00 00 00 1F 00 00 00",
    ];
    assert_eq!(answers, expected);
}
