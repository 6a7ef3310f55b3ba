//! Configuration accesses: who answers, and both ways to get there.

use super::*;
use crate::testing::{Config, ecam};
use crate::{FunctionKind, PlaceError, PlacedFunction};

/// Points the address register at a function's register, low bits and all.
fn point(complex: &RootComplex, bdf: Bdf, register: u8) {
    let address = 1 << 31 | u32::from(bdf.0) << 8 | u32::from(register);
    assert!(complex.port_write(0xCF8, &address.to_le_bytes()));
}

fn port_read(complex: &RootComplex, port: u16, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    assert!(complex.port_read(port, &mut data));
    data
}

#[test]
fn the_chipset_is_where_guests_look_for_it() {
    let complex = RootComplex::new(WINDOWS);
    assert_eq!(complex.read32(HOST_BRIDGE, 0), 0x29C0_8086);
    assert_eq!(complex.read16(HOST_BRIDGE, 0x0A), 0x0600);
    assert_eq!(complex.read32(ISA_BRIDGE, 0), 0x2918_8086);
    assert_eq!(complex.read16(ISA_BRIDGE, 0x0A), 0x0601);
}

#[test]
fn where_nothing_is_reads_give_ones_and_writes_are_lost() {
    let machine = machine();
    for absent in [Bdf::new(0, 9, 0), Bdf::new(0, 0, 1), Bdf::new(1, 1, 0), Bdf::new(200, 0, 0)] {
        assert_eq!(machine.complex.read32(absent, 0), !0, "{absent}");
        machine.complex.write32(absent, 4, !0);
    }
    let mut data = [0; 8];
    machine.complex.ecam_read(1 << 28, &mut data);
    assert_eq!(data, [0xFF; 8]);
    machine.complex.ecam_read(u64::MAX - 2, &mut data);
    assert_eq!(data, [0xFF; 8]);
    machine.complex.ecam_write(u64::MAX - 2, &data);
}

#[test]
fn functions_answer_at_the_numbers_of_their_bridges() {
    let machine = machine();
    assert_eq!(machine.complex.read16(ROOT, 2), 1);
    assert_eq!(machine.complex.read16(FIRST, 2), 2);
    assert_eq!(machine.complex.read16(SECOND, 2), 3);
}

#[test]
fn root_ports_are_bridges_with_isolation_of_their_own() {
    let machine = machine();
    assert_eq!(machine.complex.read32(FIRST_PORT, 0x08), 0x0604_0002);
    assert_eq!(machine.complex.read8(FIRST_PORT, 0x0E), 1);
    assert_eq!(machine.complex.read32(FIRST_PORT, 0x18), 0x0001_0100);
    // Access control services: validation, redirection and upstream forwarding can all be enabled.
    assert_eq!(machine.complex.read32(FIRST_PORT, 0x100), 0x0001_000D);
    machine.complex.write16(FIRST_PORT, 0x106, 0x1D);
    assert_eq!(machine.complex.read32(FIRST_PORT, 0x104), 0x001D_005F);
}

#[test]
fn whether_a_device_has_several_functions_is_told_of_this_machine() {
    let complex = RootComplex::new(WINDOWS);
    plug(&complex, complex.root_bus(), 3, 1, &[]);
    assert_eq!(complex.read8(Bdf::new(0, 3, 0), 0x0E), 0);
    let slot = complex.slot(complex.root_bus(), 3, 5).unwrap();
    let probe = Probe::new(slot.location(), 2, &[]);
    complex.plug(slot, probe);
    assert_eq!(complex.read8(Bdf::new(0, 3, 0), 0x0E), 0x80);
    assert_eq!(complex.read32(Bdf::new(0, 3, 0), 0x0C), 0x0080_0000);
    assert_eq!(complex.read8(Bdf::new(0, 3, 5), 0x0E), 0x80);
    assert_eq!(complex.read8(Bdf::new(0, 4, 0), 0x0E), 0xFF);
}

#[test]
fn bytes_are_named_by_the_address_register_or_by_the_port() {
    let machine = machine();
    let expected = [0x34, 0x12, 0x01, 0x00];
    for (byte, expected) in (0..).zip(expected) {
        point(&machine.complex, ROOT, byte);
        assert_eq!(port_read(&machine.complex, 0xCFC, 1), [expected]);
        point(&machine.complex, ROOT, 0);
        assert_eq!(port_read(&machine.complex, 0xCFC + u16::from(byte), 1), [expected]);
    }
    point(&machine.complex, ROOT, 1);
    assert_eq!(port_read(&machine.complex, 0xCFD, 1), [expected[2]]);
    point(&machine.complex, ROOT, 2);
    assert_eq!(port_read(&machine.complex, 0xCFC, 2), expected[2..]);
    point(&machine.complex, ROOT, 1);
    let unaligned = port_read(&machine.complex, 0xCFC, 4);
    assert_eq!(unaligned[..3], expected[1..]);
}

#[test]
fn bytes_are_written_the_same_two_ways() {
    let machine = machine();
    point(&machine.complex, ROOT, 0x3C);
    assert!(machine.complex.port_write(0xCFC, &[0xA1]));
    assert_eq!(machine.complex.read8(ROOT, 0x3C), 0xA1);
    point(&machine.complex, ROOT, 0x0C);
    assert!(machine.complex.port_write(0xCFC, &[0x10]));
    assert_eq!(machine.complex.read32(ROOT, 0x0C), 0x10);
    point(&machine.complex, ROOT, 0x10);
    assert!(machine.complex.port_write(0xCFE, &[0xC1, 0xC2]));
    assert_eq!(machine.complex.read16(ROOT, 0x12), 0xC2C1);
    point(&machine.complex, ROOT, 0x13);
    assert!(machine.complex.port_write(0xCFC, &[0xC3]));
    assert_eq!(machine.complex.read16(ROOT, 0x12), 0xC3C1);
}

#[test]
fn only_a_whole_write_reaches_the_address_register() {
    let complex = RootComplex::new(WINDOWS);
    let address = || u32::from_le_bytes(port_read(&complex, 0xCF8, 4).try_into().unwrap());
    point(&complex, ISA_BRIDGE, 8);
    assert_eq!(address(), 0x8000_F808);
    // 0xCF9 is the reset register of the platform.
    assert!(!complex.port_write(0xCF9, &[6]));
    assert!(!complex.port_write(0xCF8, &[1]));
    assert!(!complex.port_write(0xCFB, &[1]));
    assert!(!complex.port_write(0xCF8, &[1, 2]));
    assert!(!complex.port_write(0xCF9, &[1, 2, 3, 4]));
    assert!(!complex.port_read(0xCF9, &mut [0]));
    assert!(!complex.port_read(0xCF8, &mut [0; 2]));
    assert!(!complex.port_read(0xCF7, &mut [0; 4]));
    assert!(!complex.port_read(0xD00, &mut [0; 4]));
    assert!(!complex.port_read(0xCFE, &mut [0; 4]));
    assert_eq!(address(), 0x8000_F808);
}

#[test]
fn data_ports_do_nothing_while_the_address_is_not_enabled() {
    let machine = machine();
    let before = machine.complex.read32(ROOT, 0x3C);
    assert!(machine.complex.port_write(0xCF8, &(u32::from(ROOT.0) << 8 | 0x3C).to_le_bytes()));
    assert_eq!(port_read(&machine.complex, 0xCFC, 4), [0xFF; 4]);
    assert!(machine.complex.port_write(0xCFC, &[0x5A]));
    assert_eq!(machine.complex.read32(ROOT, 0x3C), before);
}

#[test]
fn ports_reach_the_first_256_bytes_only() {
    let machine = machine();
    assert_ne!(machine.complex.read32(FIRST_PORT, 0x100), 0);
    point(&machine.complex, FIRST_PORT, 0xFF);
    assert_eq!(port_read(&machine.complex, 0xCFC, 4), [0, 0xFF, 0xFF, 0xFF]);
    assert_eq!(port_read(&machine.complex, 0xCFF, 1), [0xFF]);
    assert!(machine.complex.port_write(0xCFF, &[0]));
}

#[test]
fn odd_sizes_and_alignments_are_the_bytes_they_are_made_of() {
    let machine = machine();
    let mut bytes = [0; 64];
    for (byte, register) in bytes.iter_mut().zip(0..) {
        *byte = machine.complex.read8(FIRST_PORT, register);
    }
    for start in 0..40 {
        for length in 0..16 {
            let mut data = vec![0; length];
            machine.complex.ecam_read(ecam(FIRST_PORT, start as u16), &mut data);
            assert_eq!(data, bytes[start..start + length], "{length} bytes at {start}");
        }
    }
    // 7 bytes across both prefetchable upper registers.
    machine.complex.ecam_write(ecam(FIRST_PORT, 0x29), &[1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(machine.complex.read32(FIRST_PORT, 0x28) >> 8, 0x03_0201);
    assert_eq!(machine.complex.read32(FIRST_PORT, 0x2C), 0x0706_0504);
}

#[test]
fn an_access_may_go_on_in_the_next_function() {
    let complex = RootComplex::new(WINDOWS);
    let mut data = [0; 8];
    complex.ecam_read(ecam(ISA_BRIDGE, 0) - 4, &mut data);
    assert_eq!(data, [0xFF, 0xFF, 0xFF, 0xFF, 0x86, 0x80, 0x18, 0x29]);
}

#[test]
fn places_are_given_out_once_and_only_where_they_are() {
    let complex = RootComplex::new(WINDOWS);
    let root = complex.root_bus();
    assert_eq!(complex.slot(root, 0, 0).unwrap_err(), PlaceError::Taken { device: 0, function: 0 });
    assert!(complex.slot(root, 0, 1).is_ok());
    assert!(complex.slot(root, 0, 1).is_err());
    assert!(complex.slot(root, 32, 0).is_err());
    assert!(complex.slot(root, 1, 8).is_err());
    assert_eq!(complex.free_device(root), Some(1));
    let bus = complex.add_root_port(1, 0).unwrap();
    assert!(complex.add_root_port(1, 0).is_err());
    assert_eq!(complex.free_device(root), Some(2));
    assert_eq!(complex.slot(bus, 1, 0).unwrap_err(), PlaceError::NoSuchPlace { device: 1, function: 0 });
    assert_eq!(complex.free_device(bus), Some(0));
    complex.slot(bus, 0, 0).unwrap();
    assert_eq!(complex.free_device(bus), None);
}

#[test]
fn a_reserved_place_is_absent_until_it_is_filled() {
    let complex = RootComplex::new(WINDOWS);
    let slot = complex.slot(complex.root_bus(), 4, 0).unwrap();
    assert_eq!(complex.read32(ROOT, 0), !0);
    let probe = Probe::new(slot.location(), 9, &[]);
    complex.plug(slot, probe);
    assert_eq!(complex.read16(ROOT, 2), 9);
}

#[test]
fn functions_are_listed_with_the_path_to_them() {
    let endpoint =
        |bdf, path: &[_]| PlacedFunction { bdf, kind: FunctionKind::Endpoint, path: path.to_vec() };
    let bridge = |bdf, path: &[_]| PlacedFunction { bdf, kind: FunctionKind::Bridge, path: path.to_vec() };
    let expected = [
        endpoint(HOST_BRIDGE, &[(0, 0)]),
        endpoint(ROOT, &[(4, 0)]),
        bridge(FIRST_PORT, &[(5, 0)]),
        endpoint(FIRST, &[(5, 0), (0, 0)]),
        bridge(SECOND_PORT, &[(6, 0)]),
        endpoint(SECOND, &[(6, 0), (0, 0)]),
        endpoint(ISA_BRIDGE, &[(0x1F, 0)]),
    ];
    assert_eq!(machine().complex.functions(), expected);
}
