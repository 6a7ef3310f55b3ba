use proptest::prelude::*;

use super::*;
use crate::boot::testing::{MIB, RSDP, TestFile, TestMachine, bzimage, put};

/// A bzImage with other bytes at `offset`.
fn changed(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = bzimage(&[]);
    put(&mut file, offset, bytes);
    file
}

#[test]
fn the_kernel_goes_where_it_prefers_and_is_entered_0x200_later() {
    let test = TestMachine::new(64);
    let mut file = bzimage(&[0xf4, 1, 2, 3]);
    put(&mut file, 2048, b"start");
    let entry = test.boot(&file, "").unwrap();
    assert_eq!(entry.protocol, Protocol::Linux);
    assert_eq!(entry.rip, 16 * MIB + 0x200);
    assert_eq!(test.bytes(16 * MIB, 5), b"start");
    assert_eq!(test.bytes(entry.rip, 4), [0xf4, 1, 2, 3]);
}

#[test]
fn the_zero_page_has_header_command_line_memory_map_and_rsdp() {
    let test = TestMachine::new(64);
    let zero = test.boot(&bzimage(&[]), "console=ttyS0 quiet").unwrap().rsi;
    assert_eq!(test.bytes(zero + 0x202, 4), b"HdrS");
    assert_eq!(test.bytes(zero + 0x210, 1), [0xff], "type_of_loader");
    assert_eq!(test.u32(zero + 0x214), 16 * MIB as u32, "code32_start");
    assert_eq!(test.text(test.u32(zero + 0x228).into()), "console=ttyS0 quiet");
    assert_eq!(test.u64(zero + 0x70), RSDP);
    assert_eq!(test.bytes(zero + 0x1e8, 1), [3], "e820_entries");
    let entry = |index: u64| (test.u64(zero + 0x2d0 + 20 * index), test.u32(zero + 0x2d0 + 20 * index + 16));
    assert_eq!([entry(0), entry(1), entry(2)], [(0, 1), (0xe_0000, 2), (MIB, 1)]);
    assert_eq!(test.u64(zero + 0x2d8), 0x9_fc00);
    assert_eq!((test.u32(zero + 0x218), test.u32(zero + 0x21c)), (0, 0), "no initrd");
}

#[test]
fn what_lies_after_the_headers_own_end_is_not_copied() {
    let test = TestMachine::new(64);
    let mut file = changed(0x201, &[0x62]);
    put(&mut file, 0x264, &[0xff; 16]);
    let zero = test.boot(&file, "").unwrap().rsi;
    assert_eq!(test.bytes(zero + 0x264, 16), [0; 16]);
    assert_eq!(test.u32(zero + 0x260), 4 * MIB as u32, "init_size comes before it");
}

#[test]
fn the_initrd_goes_as_high_as_memory_and_kernel_allow() {
    let initrd = vec![0xab; 0x1800];
    let place = |test: &TestMachine, kernel: &[u8]| {
        let zero = test.boot_with(kernel, "", Some(&initrd), &[]).unwrap().rsi;
        let address = u64::from(test.u32(zero + 0x218));
        assert_eq!(test.u32(zero + 0x21c), 0x1800);
        assert_eq!(test.bytes(address, initrd.len()), initrd);
        address
    };
    let test = TestMachine::new(64);
    assert_eq!(place(&test, &bzimage(&[])), 64 * MIB - 0x2000);
    assert_eq!(place(&test, &changed(0x22c, &0x2ff_ffff_u32.to_le_bytes())), 48 * MIB - 0x2000);
    // Directly below the kernel, which takes 16 to 20 MiB.
    assert_eq!(place(&test, &changed(0x22c, &0x10f_ffff_u32.to_le_bytes())), 16 * MIB - 0x2000);
}

#[test]
fn an_initrd_without_room_says_how_much_memory_is_needed() {
    let test = TestMachine::new(21);
    let large = vec![1; 20 * MIB as usize];
    let error = test.boot_with(&bzimage(&[]), "", Some(&large), &[]).unwrap_err().to_string();
    assert!(error.starts_with("The initrd /proc/self/fd/"), "{error}");
    assert!(
        error.ends_with(
            "takes 20 MiB of memory, more than is free: give the guest at least 40 MiB (--memory)"
        )
    );

    let low = changed(0x22c, &0x1ff_u32.to_le_bytes());
    let error = TestMachine::new(64).boot_with(&low, "", Some(&[1]), &[]).unwrap_err().problem;
    assert!(matches!(error, Problem::AboveLimit { length: 1, limit: 0x200 }));
}

#[test]
fn a_kernel_that_cannot_be_where_it_prefers_is_moved_if_it_can_be() {
    let test = TestMachine::new(12);
    assert_eq!(test.boot(&bzimage(&[]), "").unwrap().rip, 2 * MIB + 0x200);
    let high = changed(0x258, &u64::MAX.to_le_bytes());
    assert_eq!(test.boot(&high, "").unwrap().rip, 2 * MIB + 0x200);
    let fixed = changed(0x234, &[0]);
    let expected = "must be loaded to 0x1000000–0x1400000, which is not RAM here: give the guest at least 20 MiB (--memory)";
    assert_eq!(test.refusal(&fixed), expected);
}

#[test]
fn too_little_memory_is_refused_with_the_amount_needed() {
    let expected = "takes 4 MiB of memory, more than is free: give the guest at least 6 MiB (--memory)";
    assert_eq!(TestMachine::new(5).refusal(&bzimage(&[])), expected);
    assert!(TestMachine::new(6).boot(&bzimage(&[]), "").is_ok());
}

#[test]
fn memory_reserved_in_the_middle_is_avoided() {
    let mut test = TestMachine::new(64);
    test.map[2].length = 16 * MIB;
    let rest =
        acpi::AddressRange { base: 17 * MIB + 0x1000, length: 46 * MIB, kind: acpi::RangeKind::Memory };
    test.map.push(rest);
    assert_eq!(test.boot(&bzimage(&[]), "").unwrap().rip, 2 * MIB + 0x200);
}

#[test]
fn kernels_without_a_64_bit_entry_are_refused() {
    let test = TestMachine::new(64);
    assert_eq!(test.refusal(&changed(0x236, &[2])), "is a 32-bit Linux kernel: take one built for x86-64");
    assert_eq!(
        test.refusal(&changed(0x206, &[0x0b, 2])),
        "speaks version 2.11 of Linux's boot protocol, but 2.12 is needed: take Linux 3.8 or newer"
    );
    assert_eq!(test.refusal(&changed(0x211, &[0])), "is a zImage: build it as bzImage");
}

#[test]
fn cut_off_kernels_are_refused_with_the_length_they_should_have() {
    let test = TestMachine::new(64);
    let file = bzimage(&[]);
    let expected = "is cut off: it has 66000 bytes of at least 67569; copy it again";
    assert_eq!(test.refusal(&file[..66000]), expected);
    for length in [0x206, 0x210, 0x268, 2047, 2048 + 0x200] {
        let refusal = test.refusal(&file[..length]);
        assert!(refusal.contains("cut off") || refusal.contains("boot protocol"), "{length}: {refusal}");
    }
}

#[test]
fn the_command_line_has_the_length_the_kernel_takes() {
    let test = TestMachine::new(64);
    assert!(test.boot(&bzimage(&[]), &"x".repeat(2047)).is_ok());
    let error = test.boot(&bzimage(&[]), &"x".repeat(2048)).unwrap_err().problem.to_string();
    assert_eq!(error, "takes a command line of at most 2047 bytes, not 2048: shorten it");
    assert!(matches!(test.boot(&bzimage(&[]), "a\0b").unwrap_err().problem, Problem::CommandLineNul));
}

#[test]
fn modules_are_not_for_linux() {
    let error = TestMachine::new(64).boot_with(&bzimage(&[]), "", None, &[(b"x", "")]).unwrap_err();
    assert!(matches!(error.problem, Problem::Modules));
}

#[test]
fn a_map_too_long_for_the_zero_page_is_refused() {
    let mut test = TestMachine::new(64);
    test.map.resize(129, test.map[1]);
    assert!(matches!(test.boot(&bzimage(&[]), "").unwrap_err().problem, Problem::MemoryMap(129)));
}

proptest! {
    /// Kernel files are not trusted: whatever their header says, loading ends with an entry or a sentence.
    #[test]
    fn any_header_is_survived(
        changes in prop::collection::vec((0x1f1_usize..0x270, any::<u8>()), 1..12),
        length in 0_usize..70_000,
    ) {
        let mut file = bzimage(&[]);
        for (offset, value) in changes {
            file[offset] = value;
        }
        file.truncate(length.max(1));
        let test = TestMachine::new(24);
        let file = TestFile::new(&file);
        let modules = &mut [super::super::OpenModule { image: TestFile::new(&[1; 5000]).open(), arguments: String::new() }];
        let _ = load(&mut file.open(), modules, "x", test.machine());
    }
}
