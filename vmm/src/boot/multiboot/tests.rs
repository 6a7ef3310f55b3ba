use super::*;
use crate::boot::testing::{ELF_START, ElfParts, MIB, TestMachine, multiboot_elf, put};

#[test]
fn the_information_has_memory_and_command_line_with_the_file_name_first() {
    let test = TestMachine::new(16);
    let entry = test.boot(&multiboot_elf(&[0xf4; 8]), "console=com1 noreboot").unwrap();
    assert_eq!((entry.protocol, entry.rip, entry.rax), (Protocol::Multiboot, ELF_START, 0x2bad_b002));
    let info = entry.rbx;
    assert_eq!(test.u32(info), 0b10_0100_1101);
    assert_eq!((test.u32(info + 4), test.u32(info + 8)), (639, 15 * 1024));
    let line = test.text(test.u32(info + 16).into());
    let (name, rest) = line.split_once(' ').unwrap();
    assert!(!name.is_empty());
    assert_eq!(rest, "console=com1 noreboot");
    assert_eq!(test.u32(info + 20), 0, "no modules");
    assert_eq!(test.text(test.u32(info + 64).into()), "portcullis");
}

#[test]
fn the_memory_map_has_sizes_before_its_entries() {
    let test = TestMachine::new(16);
    let info = test.boot(&multiboot_elf(&[0xf4; 8]), "").unwrap().rbx;
    assert_eq!(test.u32(info + 44), 3 * 24);
    let map = u64::from(test.u32(info + 48));
    let entry = |index: u64| {
        let at = map + 24 * index;
        (test.u32(at), test.u64(at + 4), test.u64(at + 12), test.u32(at + 20))
    };
    assert_eq!(entry(0), (20, 0, 0x9_fc00, 1));
    assert_eq!(entry(1), (20, 0xe_0000, 0x2_0000, 2));
    assert_eq!(entry(2), (20, MIB, 15 * MIB, 1));
}

#[test]
fn modules_follow_the_kernel_on_pages_of_their_own_and_the_initrd_comes_last() {
    let test = TestMachine::new(16);
    let modules: [(&[u8], &str); 2] = [(&[1; 5000], "console=hvc0 rdinit=/init"), (&[2; 10], "")];
    let info = test.boot_with(&multiboot_elf(&[0xf4; 8]), "", Some(&[3; 20]), &modules).unwrap().rbx;
    assert_eq!(test.u32(info + 20), 3);
    let list = u64::from(test.u32(info + 24));
    let module = |index: u64| {
        let [start, end, string] = [0, 4, 8].map(|field| u64::from(test.u32(list + 16 * index + field)));
        (start, test.bytes(start, (end - start) as usize), test.text(string))
    };
    let (start, bytes, line) = module(0);
    // The kernel ends in the fourth page.
    assert_eq!((start, bytes), (ELF_START + 0x4000, vec![1; 5000]));
    assert!(line.ends_with(" console=hvc0 rdinit=/init"), "{line}");
    let (start, bytes, line) = module(1);
    assert_eq!((start, bytes), (ELF_START + 0x6000, vec![2; 10]));
    assert!(!line.is_empty() && !line.contains(' '), "the file name alone: {line}");
    let (start, bytes, _) = module(2);
    assert_eq!((start, bytes), (ELF_START + 0x7000, vec![3; 20]));
}

#[test]
fn a_module_without_room_is_named_and_says_how_much_memory_is_needed() {
    let large = vec![2; 14 << 20];
    let modules: [(&[u8], &str); 2] = [(&[1; 10], ""), (&large, "")];
    let error =
        TestMachine::new(16).boot_with(&multiboot_elf(&[0xf4]), "", None, &modules).unwrap_err().to_string();
    assert!(error.starts_with("The module "), "{error}");
    assert!(error.ends_with("give the guest at least 17 MiB (--memory)"), "{error}");
}

#[test]
fn a_bios_that_refuses_every_service_is_in_place() {
    let test = TestMachine::new(16);
    test.boot(&multiboot_elf(&[0xf4]), "").unwrap();
    assert_eq!(test.bytes(0x413, 2), 639_u16.to_le_bytes());
    assert_eq!(test.bytes(4 * 0x15, 4), [0, 5, 0, 0], "interrupt 0x15 goes to 0000:0500");
    assert_eq!(test.bytes(0x508, 1), [0xcf], "and returns");
}

#[test]
fn a_32_bit_kernel_with_both_ways_in_is_booted_by_multiboot_and_a_64_bit_one_by_pvh() {
    let test = TestMachine::new(16);
    let boot = |bits| {
        let pvh_entry = Some(ELF_START as u32);
        let parts = ElfParts { bits, code: &[0xf4; 8], pvh_entry, multiboot_flags: Some(3) };
        test.boot(&parts.build(), "").unwrap().protocol
    };
    assert_eq!([boot(32), boot(64)], [Protocol::Multiboot, Protocol::Pvh]);
}

#[test]
fn a_64_bit_kernel_with_only_a_multiboot_header_is_entered_in_32_bit_mode() {
    let parts = ElfParts { bits: 64, code: &[0xf4; 8], pvh_entry: None, multiboot_flags: Some(3) };
    let entry = TestMachine::new(16).boot(&parts.build(), "").unwrap();
    assert_eq!((entry.protocol, entry.cr0, entry.efer), (Protocol::Multiboot, 0x11, 0));
}

#[test]
fn address_fields_go_before_elf_headers() {
    let flags = 1 << 16;
    let mut file =
        ElfParts { bits: 32, code: &[0xf4; 8], pvh_entry: None, multiboot_flags: Some(flags) }.build();
    // Load all of the file to 3 MiB; the header stands at 0x180.
    let addresses = [3 * MIB as u32 + 0x180, 3 * MIB as u32, 0, 0, 3 * MIB as u32 + 0x200];
    put(&mut file, 0x180 + 12, &addresses.map(u32::to_le_bytes).concat());
    let test = TestMachine::new(16);
    let entry = test.boot(&file, "").unwrap();
    assert_eq!(entry.rip, 3 * MIB + 0x200);
    assert_eq!(test.bytes(3 * MIB, 4), b"\x7fELF");
}
