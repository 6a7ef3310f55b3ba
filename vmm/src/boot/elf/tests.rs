use proptest::prelude::*;

use super::*;
use crate::boot::testing::{ELF_BSS, ELF_CODE, ELF_START, ElfParts, TestFile, TestMachine, put, pvh_elf};

fn read(file: &[u8]) -> Result<Elf, Problem> {
    Elf::read(&mut TestFile::new(file).open())
}

fn refusal(file: &[u8]) -> String {
    read(file).unwrap_err().to_string()
}

/// A 64-bit file with other bytes at `offset`.
fn changed(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = pvh_elf(&[0xf4; 16]);
    put(&mut file, offset, bytes);
    file
}

#[test]
fn both_classes_give_the_same_program() {
    let segment =
        Segment { offset: ELF_CODE as u64, file_size: 16, address: ELF_START, memory_size: 16 + ELF_BSS };
    for (bits, class) in [(32, Class::Bits32), (64, Class::Bits64)] {
        let parts = ElfParts { bits, code: &[0xf4; 16], pvh_entry: Some(0x20_0004), multiboot_flags: None };
        let elf = read(&parts.build()).unwrap();
        assert_eq!(elf.class, class);
        assert_eq!(elf.program, Program { entry: ELF_START, segments: vec![segment] });
        assert_eq!(elf.pvh_entry, Some(0x20_0004), "found after another note");
    }
}

#[test]
fn without_the_note_there_is_no_pvh_entry() {
    let parts = ElfParts { bits: 64, code: &[0xf4], pvh_entry: None, multiboot_flags: None };
    assert_eq!(read(&parts.build()).unwrap().pvh_entry, None);
    // The note's name is another's.
    let mut file = pvh_elf(&[0xf4]);
    let name = file.windows(4).position(|window| window == b"Xen\0").unwrap();
    put(&mut file, name, b"Zen\0");
    assert_eq!(read(&file).unwrap().pvh_entry, None);
}

#[test]
fn a_note_entry_of_8_bytes_is_read() {
    let mut file = pvh_elf(&[0xf4]);
    let name = file.windows(4).position(|window| window == b"Xen\0").unwrap();
    put(&mut file, name - 8, &[8]);
    assert_eq!(read(&file).unwrap().pvh_entry, Some(ELF_START as u32));
    put(&mut file, name - 8, &[2]);
    assert!(refusal(&file).contains("PVH note"));
}

#[test]
fn files_for_other_processors_or_no_executables_are_refused() {
    assert_eq!(refusal(&changed(18, &[183, 0])), "is a kernel for 64-bit Arm: take one built for x86-64");
    assert_eq!(refusal(&changed(18, &[40, 0])), "is a kernel for 32-bit Arm: take one built for x86-64");
    assert!(refusal(&changed(18, &[0x39, 0x30])).contains("machine type 12345"));
    assert!(refusal(&changed(5, &[2])).contains("big-endian"));
    assert!(refusal(&changed(4, &[3])).contains("ELF class"));
    assert!(refusal(&changed(16, &[1])).contains("no executable"));
}

#[test]
fn headers_that_lie_are_refused() {
    assert!(refusal(&changed(54, &[55])).contains("odd size"));
    assert!(refusal(&changed(32, &[0xff; 8])).contains("out of range"));
    assert!(refusal(&changed(56, &[0xff; 2])).contains("cut off"));
    assert!(refusal(&changed(56, &[0; 2])).contains("nothing to load"));
    assert!(refusal(&pvh_elf(&[0xf4; 16])[..40]).contains("cut off"));
}

#[test]
fn segments_must_be_in_the_file_and_in_ram() {
    let test = TestMachine::new(8);
    let header = 64;
    assert!(test.refusal(&changed(header + 8, &u64::MAX.to_le_bytes())).contains("out of range"));
    assert!(test.refusal(&changed(header + 32, &0x1000_u64.to_le_bytes())).contains("cut off"));
    assert!(test.refusal(&changed(header + 32, &u64::MAX.to_le_bytes())).contains("longer in the file"));
    let far = "must be loaded to 0x8000000–0x8003010, which is not RAM here: give the guest at least 129 MiB (--memory)";
    assert_eq!(test.refusal(&changed(header + 24, &0x800_0000_u64.to_le_bytes())), far);
    let device = test.refusal(&changed(header + 24, &0xd000_0000_u64.to_le_bytes()));
    assert!(device.ends_with("nothing can be loaded above 3072 MiB"), "{device}");
    assert!(test.refusal(&changed(header + 24, &u64::MAX.to_le_bytes())).contains("out of range"));
    assert!(test.refusal(&changed(header + 40, &0x4000_0000_u64.to_le_bytes())).contains("1026 MiB"));
}

proptest! {
    #[test]
    fn any_header_is_survived(
        wide in any::<bool>(),
        changes in prop::collection::vec((0_usize..ELF_CODE, any::<u8>()), 1..12),
        length in 1_usize..0x300,
    ) {
        let bits = if wide { 64 } else { 32 };
        let parts = ElfParts { bits, code: &[0xf4; 64], pvh_entry: Some(ELF_START as u32), multiboot_flags: Some(3) };
        let mut file = parts.build();
        // The magic number stays, or the file would be something else.
        for (offset, value) in changes.into_iter().filter(|(offset, _)| *offset > 3) {
            file[offset] = value;
        }
        file.truncate(length);
        let _ = TestMachine::new(8).boot(&file, "x");
    }
}
