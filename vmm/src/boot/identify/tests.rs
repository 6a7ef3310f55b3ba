use super::*;
use crate::boot::testing::{bzimage, put, pvh_elf};

fn refusal(start: &[u8]) -> String {
    identify(start).unwrap_err().to_string()
}

#[test]
fn kernels_are_told_apart() {
    assert_eq!(identify(&bzimage(&[])).unwrap(), Format::BzImage);
    assert_eq!(identify(&pvh_elf(&[0])).unwrap(), Format::Elf);
    let flat = [0x1bad_b002_u32, 0, 0x1bad_b002_u32.wrapping_neg()].map(u32::to_le_bytes).concat();
    assert!(matches!(identify(&flat).unwrap(), Format::Multiboot(_)));
}

#[test]
fn a_kernel_with_an_efi_stub_is_still_a_bzimage() {
    let mut file = bzimage(&[]);
    put(&mut file, 0, b"MZ");
    assert_eq!(identify(&file).unwrap(), Format::BzImage);
}

#[test]
fn compressed_files_name_the_tool_that_unpacks_them() {
    let said = |magic: &[u8]| refusal(&[magic, &[0; 100]].concat());
    assert_eq!(said(&[0x1f, 0x8b]), "is compressed: unpack it first with gunzip");
    assert_eq!(said(b"\xfd7zXZ\0"), "is compressed: unpack it first with unxz");
    assert_eq!(said(&[0x28, 0xb5, 0x2f, 0xfd]), "is compressed: unpack it first with unzstd");
}

#[test]
fn kernels_for_other_processors_are_named() {
    let with = |offset: usize, magic: &[u8]| {
        let mut file = vec![0; 100];
        put(&mut file, offset, magic);
        refusal(&file)
    };
    assert_eq!(with(56, b"ARMd"), "is a kernel for 64-bit Arm: take one built for x86-64");
    assert_eq!(
        with(0x24, &[0x18, 0x28, 0x6f, 0x01]),
        "is a kernel for 32-bit Arm: take one built for x86-64"
    );
    assert_eq!(with(56, b"RSC\x05"), "is a kernel for RISC-V: take one built for x86-64");
    assert!(with(0, b"MZ").starts_with("is an EFI program"));
}

#[test]
fn an_arm_kernel_with_an_efi_stub_is_called_arm() {
    let mut file = vec![0; 100];
    put(&mut file, 0, b"MZ");
    put(&mut file, 56, b"ARMd");
    assert!(refusal(&file).contains("64-bit Arm"));
}

#[test]
fn anything_else_is_unknown() {
    for start in [&b""[..], b"#!/bin/sh\n", &[0; 8192]] {
        assert!(refusal(start).starts_with("is no kernel known here"));
    }
}
