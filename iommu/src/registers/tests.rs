mod map;

use super::*;
use crate::spec::registers::{FRCD, FSTS, GCMD, GSTS, ICS, IQERCD, IQH};

const CAPABILITIES: Capabilities = Capabilities::legacy(48);

fn read(registers: &Registers, offset: u64, length: usize) -> Vec<u8> {
    let mut data = vec![0xAA; length];
    registers.read(offset, &mut data);
    data
}

/// Writes `value` to a 64-bit register and gives what reads back.
fn write_u64(registers: &Registers, offset: u64, value: u64) -> u64 {
    for (offset, value) in registers.words_of(offset, &value.to_le_bytes()) {
        registers.write(offset, value);
    }
    u64::from_le_bytes(read(registers, offset, 8).try_into().unwrap())
}

#[test]
fn after_power_on_events_are_masked_and_nothing_else_is_set() {
    let registers = Registers::new(&CAPABILITIES);
    for offset in (0..CAPABILITIES.window_size()).step_by(4) {
        let expected = match offset {
            VER => 0x10,
            CAP | ECAP | 0xC | 0x14 => continue,
            FECTL | IECTL => 0x8000_0000,
            _ => 0_u32,
        };
        assert_eq!(read(&registers, offset, 4), expected.to_le_bytes(), "{offset:#x}");
    }
    assert_eq!(read(&registers, CAP, 8), CAPABILITIES.cap().to_le_bytes());
    assert_eq!(read(&registers, ECAP + 4, 4), (CAPABILITIES.ecap() >> 32).to_le_bytes()[..4]);
}

#[test]
fn accesses_of_odd_size_or_place_read_0_and_write_nothing() {
    const WINDOW: u64 = CAPABILITIES.window_size();
    let registers = Registers::new(&CAPABILITIES);
    for length in [0, 1, 2, 3, 5, 6, 7, 9, 16] {
        assert_eq!(read(&registers, CAP, length), vec![0; length]);
        assert_eq!(registers.words_of(RTADDR, &vec![0xFF; length]).count(), 0, "{length}");
    }
    for (offset, length) in
        [(CAP + 1, 4), (CAP + 2, 4), (CAP + 4, 8), (WINDOW, 4), (WINDOW, 8), (u64::MAX, 4), (u64::MAX - 7, 8)]
    {
        assert_eq!(read(&registers, offset, length), vec![0; length]);
        assert_eq!(registers.words_of(offset, &vec![0xFF; length]).count(), 0, "{offset:#x}");
    }
}

#[test]
fn halves_of_a_register_are_read_and_written_apart() {
    let registers = Registers::new(&CAPABILITIES);
    registers.write(RTADDR + 4, 0x1234_5678);
    registers.write(RTADDR, 0x9ABC_D000);
    assert_eq!(read(&registers, RTADDR, 8), 0x1234_5678_9ABC_D000_u64.to_le_bytes());
    assert_eq!(read(&registers, RTADDR + 4, 4), 0x1234_5678_u32.to_le_bytes());
    let words: Vec<_> = registers.words_of(RTADDR, &0x1234_5678_9ABC_DEF0_u64.to_le_bytes()).collect();
    assert_eq!(words, [(RTADDR, 0x9ABC_DEF0), (RTADDR + 4, 0x1234_5678)]);
}

#[test]
fn a_write_changes_only_the_bits_that_software_owns() {
    for (register, owned) in [
        (RTADDR, 0xFFFF_FFFF_FFFF_FC00),
        (IQT, 0x7_FFF0),
        (IQA, 0xFFFF_FFFF_FFFF_F007),
        (IRTA, 0xFFFF_FFFF_FFFF_F80F),
        (IOTLB, 0xB003_FFFF_0000_0000),
        // The source and the function mask cannot be read back, the address not at all.
        (CCMD, 0xE000_0000_0000_FFFF),
        (IVA, 0),
    ] {
        let registers = Registers::new(&CAPABILITIES);
        assert_eq!(write_u64(&registers, register, u64::MAX), owned, "{register:#x}");
        assert_eq!(write_u64(&registers, register, 0), 0, "{register:#x}");
    }
    for event in [FECTL, IECTL] {
        let registers = Registers::new(&CAPABILITIES);
        for (offset, owned) in [(4, 0xFFFF), (8, 0xFFFF_FFFC), (12, 0xFFFF_FF00)] {
            registers.write(event + offset, u32::MAX);
            assert_eq!(registers.get(event + offset), owned);
        }
    }
}

#[test]
fn write_only_fields_are_kept_all_the_same() {
    let registers = Registers::new(&CAPABILITIES);
    registers.write(CCMD, 0x0113_0005);
    registers.write(CCMD + 4, 3);
    assert_eq!(registers.get_u64(CCMD), 0x3_0113_0005);
    registers.write(IVA, 0x1_2345);
    assert_eq!(registers.get_u64(IVA), 0x1_2045);
}

#[test]
fn registers_that_are_not_storage_do_not_change_by_storing() {
    let registers = Registers::new(&CAPABILITIES);
    let storage = |offset: &u64| {
        let quad = offset & !7;
        [RTADDR, CCMD, IQT, IQA, IRTA, IVA, IOTLB].contains(&quad)
            || (FECTL + 4..FECTL + 16).contains(offset)
            || (IECTL + 4..IECTL + 16).contains(offset)
    };
    for offset in (0..CAPABILITIES.window_size()).step_by(4).filter(|offset| !storage(offset)) {
        let before = registers.get(offset);
        registers.write(offset, !before);
        assert_eq!(registers.get(offset), before, "{offset:#x}");
    }
    for offset in [GCMD, GSTS, FSTS, ICS, IQH, IQERCD, FRCD] {
        assert!(!storage(&offset));
    }
}

#[test]
fn extended_interrupt_mode_is_to_be_had_only_where_it_is_offered() {
    for (capabilities, stored) in
        [(CAPABILITIES, 0x5807), (CAPABILITIES.without(Feature::ExtendedInterruptMode), 0x5007)]
    {
        let registers = Registers::new(&capabilities);
        registers.write(IRTA, 0x5807);
        assert_eq!(registers.get(IRTA), stored);
    }
}
