use super::*;
use crate::boot::testing::{MIB, TestMachine};

#[test]
fn what_is_claimed_is_free_ram_and_then_taken() {
    let test = TestMachine::new(16);
    let mut arena = Arena::new(&test.ram, &test.map);
    arena.claim(2 * MIB, MIB).unwrap();
    assert!(arena.claim(3 * MIB - 1, 1).is_err(), "taken");
    assert!(arena.claim(0x9_f000, 0x1000).is_err(), "reaches over the end of conventional memory");
    assert!(arena.claim(15 * MIB, MIB + 1).is_err(), "beyond the end");
    assert!(arena.claim(u64::MAX, 2).is_err(), "wraps");
    arena.claim(3 * MIB, 13 * MIB).unwrap();
    assert_eq!(arena.taken_end(), 16 * MIB);
}

#[test]
fn the_lowest_place_is_aligned_and_goes_around_what_is_taken() {
    let test = TestMachine::new(16);
    let mut arena = Arena::new(&test.ram, &test.map);
    arena.claim(2 * MIB, 0x1001).unwrap();
    assert_eq!(arena.lowest(0x1000, 0x1000, 2 * MIB, 16 * MIB), Some(2 * MIB + 0x2000));
    assert_eq!(arena.lowest(0x8_0000, 1, 0x8_0000, 16 * MIB), Some(MIB), "skips the hole below 1 MiB");
    assert_eq!(arena.lowest(2 * MIB, 0x1000, 0, 4 * MIB), None, "stays below the limit");
    assert_eq!(arena.lowest(1, 1 << 63, 1, u64::MAX), None);
}

#[test]
fn the_highest_place_is_aligned_and_goes_around_what_is_taken() {
    let test = TestMachine::new(16);
    let mut arena = Arena::new(&test.ram, &test.map);
    arena.claim(15 * MIB, MIB).unwrap();
    assert_eq!(arena.highest(0x1001, 0x1000, 0, 16 * MIB), Some(15 * MIB - 0x2000));
    assert_eq!(arena.highest(MIB, 0x1000, 0, 8 * MIB + 1), Some(7 * MIB));
    assert_eq!(arena.highest(16 * MIB, 1, 0, 16 * MIB), None);
    assert_eq!(arena.highest(0x1_0000, 1, 0, 0x9_0000), Some(0x8_0000), "the limit is in another range");
    assert_eq!(arena.highest(0x1_0000, 1, MIB, 0x9_0000), None, "stays above the floor");
}

#[test]
fn boot_data_stays_clear_of_the_first_page_and_of_the_upper_conventional_memory() {
    let test = TestMachine::new(16);
    let mut arena = Arena::new(&test.ram, &test.map);
    assert_eq!(arena.write_low(&[1; 16], 8).unwrap(), 0x1000);
    assert_eq!(arena.write_low(&[2; 16], 4096).unwrap(), 0x2000);
    assert_eq!(test.bytes(0x2000, 16), [2; 16]);
    assert!(matches!(arena.write_low(&vec![0; 0x7_f000], 1), Err(Problem::TooMuchToTell)));
}

#[test]
fn memory_above_4_gib_and_ranges_that_wrap_are_not_used() {
    let test = TestMachine::new(16);
    let range = |base, length| AddressRange { base, length, kind: RangeKind::Memory };
    let map = [range(1 << 32, MIB), range(0xfff0_0000, u64::MAX)];
    let arena = Arena::new(&test.ram, &map);
    assert_eq!(arena.free, [(0xfff0_0000, 1 << 32)]);
}
