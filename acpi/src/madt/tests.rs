use super::*;
use crate::sample;

/// The entries, without the table's 44 bytes before them.
fn entries(machine: &Machine) -> Vec<Vec<u8>> {
    let table = madt(machine);
    let mut rest = &table[44..];
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (entry, after) = rest.split_at(rest[1].into());
        entries.push(entry.to_vec());
        rest = after;
    }
    entries
}

#[test]
fn processors_ioapic_overrides_and_nmi_are_listed() {
    let machine = Machine { cpus: vec![0, 2], ..sample::machine() };
    let expected: [&[u8]; 6] = [
        &[0, 8, 0, 0, 1, 0, 0, 0],
        &[0, 8, 1, 2, 1, 0, 0, 0],
        &[1, 12, 4, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
        &[2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
        &[2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0],
        &[4, 6, 0xff, 0, 0, 1],
    ];
    assert_eq!(entries(&machine), expected);
}

#[test]
fn processors_beyond_254_have_x2apic_entries_and_their_nmi() {
    let machine = Machine { cpus: vec![254, 255, 0x1234_5678], ..sample::machine() };
    let entries = entries(&machine);
    assert_eq!(entries[0], [0, 8, 0, 254, 1, 0, 0, 0]);
    assert_eq!(entries[1], [9, 16, 0, 0, 255, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(entries[2], [9, 16, 0, 0, 0x78, 0x56, 0x34, 0x12, 1, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(entries[6..], [vec![4, 6, 0xff, 0, 0, 1], vec![10, 12, 0, 0, 255, 255, 255, 255, 1, 0, 0, 0]]);
}

#[test]
fn a_small_id_with_a_large_uid_needs_an_x2apic_entry() {
    let machine = Machine { cpus: (0..=255).rev().collect(), ..sample::machine() };
    let entries = entries(&machine);
    assert_eq!(entries[0][..2], [9, 16], "ID 255");
    assert_eq!(entries[255][..2], [9, 16], "UID 255");
    assert!(entries[1..255].iter().all(|entry| entry[0] == 0));
}

#[test]
fn an_ioapic_with_another_base_moves_the_overrides() {
    let mut machine = sample::machine();
    machine.ioapic.gsi_base = 24;
    let entries = entries(&machine);
    assert!(entries.contains(&vec![2, 10, 0, 0, 26, 0, 0, 0, 0, 0]));
    assert!(entries.contains(&vec![2, 10, 0, 9, 33, 0, 0, 0, 0x0d, 0]));
}
