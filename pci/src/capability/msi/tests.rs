use super::*;

/// Four vectors, enabled, all granted, vector base 0x40 at 0xFEE0_1000.
fn enabled() -> (ConfigSpace, Msi) {
    let mut config = ConfigSpace::new();
    let msi = Msi::add(&mut config, 3, true).unwrap();
    config.write(msi.at + ADDRESS, &0xFEE0_1003u32.to_le_bytes());
    config.write(msi.at + ADDRESS_UPPER, &0x100u32.to_le_bytes());
    config.write(msi.at + DATA, &0x43u16.to_le_bytes());
    config.write(msi.at + CONTROL, &0x0021u16.to_le_bytes());
    (config, msi)
}

fn message(data: u32) -> Message {
    Message { address: 0x100_FEE0_1000, data }
}

#[test]
fn off_until_enabled() {
    let mut config = ConfigSpace::new();
    let msi = Msi::add(&mut config, 1, false).unwrap();
    assert_eq!(msi.raise(&mut config, 0), Delivery::Off);
}

#[test]
fn each_vector_has_its_own_low_data_bits() {
    let (mut config, msi) = enabled();
    for vector in 0..4 {
        assert_eq!(msi.raise(&mut config, vector), Delivery::Send(message(0x40 + u32::from(vector))));
    }
}

#[test]
fn vectors_beyond_those_granted_share_the_last() {
    let (mut config, msi) = enabled();
    assert_eq!(msi.raise(&mut config, 9), Delivery::Send(message(0x43)));
    config.write(msi.at + CONTROL, &0x0011u16.to_le_bytes());
    assert_eq!(msi.raise(&mut config, 3), Delivery::Send(message(0x43)));
    config.write(msi.at + CONTROL, &0x0001u16.to_le_bytes());
    assert_eq!(msi.raise(&mut config, 3), Delivery::Send(message(0x43)));
}

#[test]
fn a_guest_cannot_take_more_vectors_than_there_are() {
    let (mut config, msi) = enabled();
    config.write(msi.at + CONTROL, &0x0071u16.to_le_bytes());
    assert_eq!(msi.granted(&config), 4);
    assert_eq!(msi.raise(&mut config, 31), Delivery::Send(message(0x43)));
}

#[test]
fn a_masked_vector_is_held_until_unmasked() {
    let (mut config, msi) = enabled();
    config.write(msi.at + MASK, &[0b0110]);
    assert_eq!(msi.raise(&mut config, 1), Delivery::Pending);
    assert_eq!(msi.raise(&mut config, 2), Delivery::Pending);
    assert_eq!(config.u32(msi.at + PENDING), 0b0110);
    assert_eq!(msi.take_unmasked(&mut config), []);
    config.write(msi.at + MASK, &[0b0100]);
    assert_eq!(msi.take_unmasked(&mut config), [message(0x41)]);
    assert_eq!(config.u32(msi.at + PENDING), 0b0100);
    assert_eq!(msi.take_unmasked(&mut config), []);
}

#[test]
fn pending_bits_are_read_only_and_go_with_msi() {
    let (mut config, msi) = enabled();
    config.write(msi.at + MASK, &[0xFF; 8]);
    assert_eq!(config.u32(msi.at + MASK), 0b1111);
    assert_eq!(config.u32(msi.at + PENDING), 0);
    assert_eq!(msi.raise(&mut config, 0), Delivery::Pending);
    config.write(msi.at + CONTROL, &[0, 0]);
    assert_eq!(msi.take_unmasked(&mut config), []);
    assert_eq!(config.u32(msi.at + PENDING), 0);
}
