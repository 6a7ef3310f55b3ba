use super::*;
use crate::boot::testing::TestMachine;

fn entry(make: impl FnOnce(&mut Arena<'_>) -> Result<Entry, Problem>) -> (TestMachine, Entry) {
    let test = TestMachine::new(16);
    let entry = make(&mut Arena::new(&test.ram, &test.map)).unwrap();
    (test, entry)
}

#[test]
fn long_mode_has_64_bit_code_paging_and_linux_selectors() {
    let (test, entry) = entry(|arena| Entry::long(Protocol::Linux, 0x100_0200, arena));
    assert_eq!((entry.rip, entry.rflags), (0x100_0200, 2));
    assert_eq!(entry.cr0 & 0x8000_0001, 0x8000_0001, "PG and PE");
    assert_eq!((entry.cr4, entry.efer), (0x20, 0x500), "PAE; LME and LMA");
    assert_eq!((entry.code.selector, entry.data.selector), (0x10, 0x18));
    assert!(entry.code.long && !entry.code.default_32);
    // Access byte 9b, flags a: 64-bit code. Access byte 93, flags c: data.
    assert_eq!(test.u64(entry.gdt.base + 0x10), 0x00af_9b00_0000_ffff);
    assert_eq!(test.u64(entry.gdt.base + 0x18), 0x00cf_9300_0000_ffff);
    assert_eq!(test.u64(entry.gdt.base + 0x20), 0x0000_8b00_0000_0067);
    assert_eq!(entry.gdt.limit, 47);
}

#[test]
fn protected_mode_has_32_bit_flat_segments_and_no_paging() {
    let (test, entry) = entry(|arena| Entry::protected(Protocol::Pvh, 0x20_0000, arena));
    assert_eq!(entry.rip, 0x20_0000);
    assert_eq!((entry.cr0, entry.cr3, entry.cr4, entry.efer), (0x11, 0, 0, 0));
    assert!(!entry.code.long && entry.code.default_32);
    assert_eq!((entry.code.base, entry.code.limit, entry.data.limit), (0, u32::MAX, u32::MAX));
    assert_eq!((entry.task.limit, entry.task.kind), (0x67, 0xb));
    assert_eq!(test.u64(entry.gdt.base + 0x10), 0x00cf_9b00_0000_ffff);
}

/// What a processor finds for `address` in the tables at `root`.
fn walk(test: &TestMachine, root: u64, address: u64) -> Option<u64> {
    let mut table = root;
    for shift in [39, 30, 21] {
        let entry = test.u64(table + 8 * (address >> shift & 511));
        if entry & 1 == 0 {
            return None;
        }
        let next = entry & 0x000f_ffff_ffff_f000;
        if entry & 1 << 7 != 0 {
            return Some(next + (address & ((1 << shift) - 1)));
        }
        table = next;
    }
    None
}

#[test]
fn the_lowest_4_gib_are_mapped_to_themselves_and_nothing_else_is() {
    let (test, entry) = entry(|arena| Entry::long(Protocol::Linux, 0, arena));
    assert_eq!(entry.cr3 % 4096, 0);
    for address in [0, 0x1f_ffff, 0x20_0000, 0x3fff_ffff, 0x4000_0000, 0xc012_3456, 0xffff_ffff] {
        assert_eq!(walk(&test, entry.cr3, address), Some(address));
    }
    for address in [1 << 32, 1 << 39, u64::MAX >> 17] {
        assert_eq!(walk(&test, entry.cr3, address), None);
    }
}
