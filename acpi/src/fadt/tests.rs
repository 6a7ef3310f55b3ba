use super::*;

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(bytes[offset..offset + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

/// Offsets are those of table 5.9.
#[test]
fn the_fixed_hardware_stands_where_the_description_puts_it() {
    let power = PowerManagement { gpe0: Some(0x620), ..PowerManagement::default() };
    let table = fadt(&power, false, 0x1000, 0x2000);
    assert_eq!(table.len(), 276);
    assert_eq!(u16_at(&table, 46), 9, "SCI");
    assert_eq!(u32_at(&table, 48), 0, "no SMI command port: ACPI mode is on already");
    assert_eq!((u32_at(&table, 56), table[88]), (0x600, 4), "PM1a event");
    assert_eq!((u32_at(&table, 64), table[89]), (0x604, 2), "PM1a control");
    assert_eq!((u32_at(&table, 76), table[91]), (0x608, 4), "timer");
    assert_eq!((u32_at(&table, 80), table[92]), (0x620, 8), "GPE0");
    assert_eq!(table[116..129], [1, 8, 0, 1, 0xf9, 0x0c, 0, 0, 0, 0, 0, 0, 6], "reset");
    assert_eq!(table[148..160], [1, 32, 0, 2, 0, 6, 0, 0, 0, 0, 0, 0], "PM1a event, extended");
    assert_eq!(table[172..184], [1, 16, 0, 2, 4, 6, 0, 0, 0, 0, 0, 0], "PM1a control, extended");
    assert_eq!(table[208..220], [1, 32, 0, 3, 8, 6, 0, 0, 0, 0, 0, 0], "timer, extended");
    assert_eq!(table[220..232], [1, 64, 0, 1, 0x20, 6, 0, 0, 0, 0, 0, 0], "GPE0, extended");
}

#[test]
fn flags_tell_of_a_32_bit_timer_a_reset_register_and_a_power_button_and_not_of_reduced_hardware() {
    let flags = u32_at(&fadt(&PowerManagement::default(), false, 0, 0), 112);
    assert_ne!(flags & 1 << 8, 0, "TMR_VAL_EXT");
    assert_ne!(flags & 1 << 10, 0, "RESET_REG_SUP");
    assert_eq!(flags & 1 << 4, 0, "PWR_BUTTON: clear means there is one");
    assert_eq!(flags & 1 << 20, 0, "HW_REDUCED_ACPI");
}

#[test]
fn the_keyboard_controller_is_shown_only_when_there_is_one() {
    let boot = |keyboard| u16_at(&fadt(&PowerManagement::default(), keyboard, 0, 0), 109);
    assert_eq!(boot(true), 0b10111);
    assert_eq!(boot(false), 0b10101);
}

#[test]
fn without_gpe0_its_block_is_absent() {
    let table = fadt(&PowerManagement::default(), false, 0, 0);
    assert_eq!((u32_at(&table, 80), table[92]), (0, 0));
    assert_eq!(table[220..232], [0; 12]);
}
