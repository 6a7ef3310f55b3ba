use proptest::prelude::*;

use super::*;

fn sample() -> ConfigSpace {
    let mut config = ConfigSpace::new();
    config.define(0x10, Register::u32(0x1234_5678).writable(0x00FF_FF00));
    config.define(0x14, Register::u16(0xF0F0).cleared_by_one(0xFF00));
    config
}

#[test]
fn writes_change_only_writable_bits() {
    let mut config = sample();
    config.write(0x10, &[0xFF; 4]);
    assert_eq!(config.u32(0x10), 0x12FF_FF78);
    config.write(0x10, &[0; 4]);
    assert_eq!(config.u32(0x10), 0x1200_0078);
}

#[test]
fn writing_one_clears_that_bit_and_not_its_neighbours() {
    let mut config = sample();
    config.write(0x15, &[0x10]);
    assert_eq!(config.u16(0x14), 0xE0F0);
    config.write(0x14, &[0, 0]);
    assert_eq!(config.u16(0x14), 0xE0F0);
    config.write(0x14, &[0xFF, 0xFF]);
    assert_eq!(config.u16(0x14), 0x00F0);
}

#[test]
fn reset_restores_power_on_values() {
    let mut config = sample();
    config.write(0x10, &[0xFF; 8]);
    config.set_u16(0x40, 7);
    config.reset();
    assert_eq!((config.u32(0x10), config.u16(0x14), config.u16(0x40)), (0x1234_5678, 0xF0F0, 0));
}

#[test]
fn standard_capabilities_form_a_terminated_list() {
    let mut config = ConfigSpace::new();
    assert_eq!(config.u16(register::STATUS) & STATUS_CAPABILITIES, 0);
    let first = config.add_capability(9, &[Register::u8(1), Register::u32(2), Register::u8(3)]).unwrap();
    let second = config.add_capability(5, &[Register::u16(4)]).unwrap();
    assert_eq!((first, second), (0x40, 0x48));
    assert_eq!(config.u8(register::CAPABILITIES), 0x40);
    assert_eq!(config.u16(0x40), 0x4809);
    assert_eq!(config.u16(0x48), 0x0005);
    assert_eq!(config.u16(0x4A), 4);
    config.reset();
    assert_eq!(config.u16(register::STATUS) & STATUS_CAPABILITIES, STATUS_CAPABILITIES);
}

#[test]
fn extended_capabilities_form_a_terminated_list() {
    let mut config = ConfigSpace::new();
    config.add_extended_capability(0x0D, 1, &[Register::u32(7)]).unwrap();
    config.add_extended_capability(0x0F, 2, &[]).unwrap();
    assert_eq!(config.u32(0x100), 0x1081_000D);
    assert_eq!(config.u32(0x104), 7);
    assert_eq!(config.u32(0x108), 0x0002_000F);
}

#[test]
fn a_capability_without_room_is_refused_and_leaves_the_list_whole() {
    let mut config = ConfigSpace::new();
    config.add_capability(9, &[Register::u32(0); 47]).unwrap();
    let refused = config.add_capability(5, &[Register::u8(0)]);
    assert_eq!(refused, Err(NoRoom { id: 5, length: 3 }));
    assert_eq!(config.u8(0x41), 0);
    assert_eq!(config.u32(0x100), 0);
}

#[test]
fn outside_of_the_space_are_ones_and_writes_go_nowhere() {
    let mut config = ConfigSpace::new();
    config.define(4094, Register::u32(0).writable(!0));
    config.write(4094, &[1, 2, 3, 4]);
    assert_eq!(config.u32(4094), 0xFFFF_0201);
}

proptest! {
    #[test]
    fn any_write_respects_the_masks(at in 0u16..4200, data in proptest::collection::vec(any::<u8>(), 0..9)) {
        let mut config = sample();
        config.write(at, &data);
        prop_assert_eq!(config.u32(0x10) & !0x00FF_FF00, 0x1234_5678 & !0x00FF_FF00);
        prop_assert_eq!(config.u16(0x14) & !0xF0F0, 0);
        prop_assert_eq!(config.u8(0x14), 0xF0);
    }
}
