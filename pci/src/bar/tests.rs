use super::*;
use crate::Identity;

const IDENTITY: Identity =
    Identity { vendor: 1, device: 2, revision: 0, class: 0x088000, subsystem_vendor: 0, subsystem: 0 };

fn with(index: usize, kind: BarKind, size: u64) -> (ConfigSpace, Bars) {
    let mut config = ConfigSpace::endpoint(&IDENTITY);
    let mut bars = Bars::new();
    bars.add(&mut config, index, Bar { kind, size }).unwrap();
    (config, bars)
}

#[test]
fn writing_ones_shows_size_and_kind() {
    let sized = |kind, size| {
        let (mut config, _) = with(0, kind, size);
        config.write(0x10, &[0xFF; 8]);
        (config.u32(0x10), config.u32(0x14))
    };
    assert_eq!(sized(BarKind::Memory32, 1 << 20), (0xFFF0_0000, 0));
    assert_eq!(sized(BarKind::Memory64, 0x4000), (0xFFFF_C004, 0xFFFF_FFFF));
    assert_eq!(sized(BarKind::Prefetchable64, 8 << 30), (0x0000_000C, 0xFFFF_FFFE));
    assert_eq!(sized(BarKind::Port, 32), (0xFFFF_FFE1, 0));
}

#[test]
fn a_rom_is_sized_with_its_enable_bit_apart() {
    let (mut config, _) = with(ROM_BAR, BarKind::Rom, 64 << 10);
    config.write(0x30, &0xFFFF_F800u32.to_le_bytes());
    assert_eq!(config.u32(0x30), 0xFFFF_0000);
}

#[test]
fn nothing_is_decoded_until_its_space_is_enabled() {
    let (mut config, bars) = with(2, BarKind::Memory64, 0x1000);
    config.write(0x18, &0x8000_0000_u32.to_le_bytes());
    config.write(0x1C, &1u32.to_le_bytes());
    assert_eq!(bars.decoded(&config), [None; BAR_COUNT]);
    config.write(0x04, &[1]);
    assert_eq!(bars.decoded(&config), [None; BAR_COUNT]);
    config.write(0x04, &[2]);
    let range = BarRange { space: BarSpace::Memory, base: 0x1_8000_0000, length: 0x1000 };
    assert_eq!(bars.decoded(&config)[2], Some(range));
}

#[test]
fn a_rom_needs_its_own_enable_bit_too() {
    let (mut config, bars) = with(ROM_BAR, BarKind::Rom, 2048);
    config.write(0x04, &[2]);
    config.write(0x30, &0xC000_0000u32.to_le_bytes());
    assert_eq!(bars.decoded(&config)[ROM_BAR], None);
    config.write(0x30, &0xC000_0001u32.to_le_bytes());
    assert_eq!(bars.decoded(&config)[ROM_BAR].unwrap().base, 0xC000_0000);
}

#[test]
fn ports_follow_the_port_enable_bit() {
    let (mut config, bars) = with(5, BarKind::Port, 16);
    config.write(0x24, &0xC010u32.to_le_bytes());
    config.write(0x04, &[2]);
    assert_eq!(bars.decoded(&config)[5], None);
    config.write(0x04, &[1]);
    let range = BarRange { space: BarSpace::Port, base: 0xC010, length: 16 };
    assert_eq!(bars.decoded(&config)[5], Some(range));
}

#[test]
fn impossible_bars_are_refused() {
    let mut config = ConfigSpace::endpoint(&IDENTITY);
    let mut bars = Bars::new();
    let mut add = |index, kind, size| bars.add(&mut config, index, Bar { kind, size });
    assert!(add(0, BarKind::Memory32, 3000).is_err());
    assert!(add(0, BarKind::Memory32, 0).is_err());
    assert!(add(0, BarKind::Memory32, 1 << 32).is_err());
    assert!(add(0, BarKind::Port, 512).is_err());
    assert!(add(5, BarKind::Memory64, 4096).is_err());
    assert!(add(6, BarKind::Memory32, 4096).is_err());
    assert!(add(9, BarKind::Memory32, 4096).is_err());
    assert!(add(0, BarKind::Rom, 4096).is_err());
    assert!(add(0, BarKind::Memory64, 4096).is_ok());
    assert!(add(1, BarKind::Memory32, 4096).is_err());
    assert!(add(3, BarKind::Memory32, 4096).is_ok());
    assert!(add(2, BarKind::Memory64, 4096).is_err());
    assert!(add(4, BarKind::Memory64, 4096).is_ok());
    assert!(add(ROM_BAR, BarKind::Rom, 4096).is_ok());
}
