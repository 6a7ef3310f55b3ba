use vm_memory::Bytes;

use super::*;
use crate::boot::testing::{ELF_BSS, ELF_START, ElfParts, MIB, RSDP, TestMachine, pvh_elf};

#[test]
fn the_start_information_has_command_line_memory_map_and_rsdp() {
    let test = TestMachine::new(16);
    let entry = test.boot(&pvh_elf(&[0xf4; 8]), "quiet").unwrap();
    assert_eq!((entry.protocol, entry.rip), (Protocol::Pvh, ELF_START));
    let info = entry.rbx;
    assert_eq!((test.u32(info), test.u32(info + 4)), (0x336e_c578, 1));
    assert_eq!((test.u32(info + 12), test.u64(info + 16)), (0, 0), "no modules");
    assert_eq!(test.text(test.u64(info + 24)), "quiet");
    assert_eq!(test.u64(info + 32), RSDP);
    assert_eq!(test.u32(info + 48), 3);
    let map = test.u64(info + 40);
    let range = |index: u64| {
        (test.u64(map + 24 * index), test.u64(map + 24 * index + 8), test.u32(map + 24 * index + 16))
    };
    assert_eq!(
        [range(0), range(1), range(2)],
        [(0, 0x9_fc00, 1), (0xe_0000, 0x2_0000, 2), (MIB, 15 * MIB, 1)]
    );
}

#[test]
fn the_program_is_loaded_and_what_the_file_lacks_is_cleared() {
    let test = TestMachine::new(16);
    // A machine that starts anew has old bytes in its memory.
    test.ram.write_slice(&[0xaa; 0x4000], vm_memory::GuestAddress(ELF_START)).unwrap();
    test.boot(&pvh_elf(&[0xf4; 8]), "").unwrap();
    assert_eq!(test.bytes(ELF_START, 8), [0xf4; 8]);
    assert_eq!(test.bytes(ELF_START + 8, ELF_BSS as usize), [0; ELF_BSS as usize]);
    assert_eq!(test.bytes(ELF_START + 8 + ELF_BSS, 1), [0xaa]);
}

#[test]
fn the_initrd_is_the_first_module() {
    let test = TestMachine::new(16);
    let modules: [(&[u8], &str); 2] = [(b"one", "a=1"), (b"two", "")];
    let info = test.boot_with(&pvh_elf(&[0xf4; 8]), "", Some(b"initrd"), &modules).unwrap().rbx;
    assert_eq!(test.u32(info + 12), 3);
    let list = test.u64(info + 16);
    let module = |index: u64| {
        let entry = list + 32 * index;
        String::from_utf8(test.bytes(test.u64(entry), test.u64(entry + 8) as usize)).unwrap()
    };
    assert_eq!([module(0), module(1), module(2)], ["initrd", "one", "two"]);
    assert_eq!(test.u64(list), 16 * MIB - 3 * 4096, "after the others, and so below them");
    assert_eq!(test.text(test.u64(list + 32 + 16)), "a=1");
    assert_eq!(test.u64(list + 16), 0, "nothing told to the initrd");
}

#[test]
fn an_entry_outside_of_the_program_is_refused() {
    let parts = |entry| {
        ElfParts { bits: 64, code: &[0xf4; 8], pvh_entry: Some(entry), multiboot_flags: None }.build()
    };
    let test = TestMachine::new(16);
    for entry in [0, ELF_START as u32 - 1, (ELF_START + ELF_BSS) as u32 + 8, u32::MAX] {
        assert!(test.refusal(&parts(entry)).contains("its entry is not in what is loaded"));
    }
}

#[test]
fn an_elf_file_without_a_way_in_is_refused() {
    let parts = ElfParts { bits: 64, code: &[0xf4; 8], pvh_entry: None, multiboot_flags: None };
    let refusal = TestMachine::new(16).refusal(&parts.build());
    assert!(refusal.contains("neither a PVH entry nor a multiboot 1 header"), "{refusal}");
}

#[test]
fn a_module_without_room_says_how_much_memory_is_needed() {
    let large = vec![1; 14 * MIB as usize];
    let error = TestMachine::new(16).boot_with(&pvh_elf(&[0xf4; 8]), "", Some(&large), &[]).unwrap_err();
    assert!(error.to_string().ends_with("give the guest at least 17 MiB (--memory)"), "{error}");
}
