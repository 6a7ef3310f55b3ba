use super::*;
use crate::span::Span;

fn port() -> RootPort {
    RootPort::new(0x28).unwrap()
}

fn write(port: &RootPort, offset: u16, value: u32) {
    port.config_write(offset, &value.to_le_bytes());
}

fn read(port: &RootPort, offset: u16) -> u32 {
    let mut data = [0; 4];
    port.config_read(offset, &mut data);
    u32::from_le_bytes(data)
}

#[test]
fn windows_are_read_with_the_granularity_they_have() {
    let port = port();
    port.config_write(0x04, &[3]);
    port.config_write(0x1C, &[0xC0, 0xD0]);
    write(&port, 0x20, 0xC01F_C000);
    write(&port, 0x24, 0xFFF1_0001);
    write(&port, 0x28, 0x8);
    write(&port, 0x2C, 0x8);
    let forwarding = port.forwarding();
    assert_eq!(forwarding.ports, Span::new(0xC000, 0xDFFF));
    assert_eq!(
        forwarding.memory,
        [Span::new(0xC000_0000, 0xC01F_FFFF), Span::new(0x8_0000_0000, 0x8_FFFF_FFFF),]
    );
}

#[test]
fn only_the_address_bits_of_windows_can_be_written() {
    let port = port();
    write(&port, 0x1C, 0x0000_FFFF);
    write(&port, 0x20, !0);
    write(&port, 0x24, !0);
    assert_eq!(read(&port, 0x1C) & 0xFFFF, 0xF0F0);
    assert_eq!(read(&port, 0x20), 0xFFF0_FFF0);
    assert_eq!(read(&port, 0x24), 0xFFF1_FFF1);
}

#[test]
fn a_fresh_port_forwards_nothing() {
    let forwarding = port().forwarding();
    assert_eq!((forwarding.memory, forwarding.ports), ([None, None], None));
    assert_eq!((forwarding.secondary, forwarding.subordinate), (0, 0));
    assert!(forwarding.open && forwarding.link_up);
}

#[test]
fn bridge_control_has_no_ranges_of_the_isa_days() {
    let port = port();
    write(&port, 0x3C, 0xFFFF_0000);
    assert_eq!(read(&port, 0x3C) >> 16, 0x0043);
    assert!(!port.forwarding().link_up);
}

#[test]
fn reset_keeps_what_is_in_the_slot() {
    let port = port();
    port.occupy();
    let status = read(&port, 0x58);
    assert_eq!(status >> 29 & 1, 1, "link active");
    write(&port, 0x18, !0);
    port.reset();
    assert_eq!(read(&port, 0x18), 0);
    assert_eq!(read(&port, 0x58), status);
}

#[test]
fn the_capability_lists_end() {
    let port = port();
    let (mut at, mut ids) = (read(&port, 0x34) as u16 & 0xFF, Vec::new());
    while at != 0 {
        let header = read(&port, at);
        ids.push(header & 0xFF);
        at = (header >> 8) as u16 & 0xFF;
    }
    assert_eq!(ids, [0x01, 0x10, 0x05]);
    assert_eq!(read(&port, 0x100), 0x0001_000D);
}
