use super::*;

fn bridge() -> PciBridge {
    PciBridge::new().unwrap()
}

fn write(bridge: &PciBridge, offset: u16, value: u32) {
    bridge.config_write(offset, &value.to_le_bytes());
}

fn read(bridge: &PciBridge, offset: u16) -> u32 {
    let mut data = [0; 4];
    bridge.config_read(offset, &mut data);
    u32::from_le_bytes(data)
}

#[test]
fn it_is_what_guests_take_for_a_bridge_to_conventional_pci() {
    let bridge = bridge();
    assert_eq!(read(&bridge, 0x08) >> 8, 0x06_0400);
    assert_eq!(read(&bridge, 0x0C) >> 16 & 0xFF, 1, "type 1 header");
    let (mut at, mut ids) = (read(&bridge, 0x34) as u16 & 0xFF, Vec::new());
    while at != 0 {
        let header = read(&bridge, at);
        ids.push(header & 0xFF);
        if header & 0xFF == 0x10 {
            assert_eq!(header >> 20 & 0xF, 7, "the type that makes an IOMMU's driver look for the alias");
        }
        at = (header >> 8) as u16 & 0xFF;
    }
    assert_eq!(ids, [0x01, 0x10]);
    assert_eq!(read(&bridge, 0x100), 0, "no extended capability");
}

#[test]
fn it_offers_no_function_level_reset() {
    let bridge = bridge();
    write(&bridge, 0x18, 0x0002_0100);
    // Device Control: the top bit is another one here, and stays.
    write(&bridge, 0x50, 0x0000_8000);
    assert_eq!(read(&bridge, 0x50) & 0xFFFF, 0x8000);
    assert_eq!(read(&bridge, 0x4C) >> 28 & 1, 0);
    assert_eq!(read(&bridge, 0x18), 0x0002_0100);
}

#[test]
fn bridge_control_has_what_conventional_pci_needs() {
    let bridge = bridge();
    write(&bridge, 0x3C, 0xFFFF_0000);
    assert_eq!(read(&bridge, 0x3C) >> 16, 0x0A63);
    assert!(!bridge.forwarding().link_up, "held in reset");
    write(&bridge, 0x3C, 0);
    assert!(bridge.forwarding().link_up);
}

#[test]
fn nothing_goes_through_a_bridge_that_is_off() {
    let bridge = bridge();
    write(&bridge, 0x04, 7);
    write(&bridge, 0x20, 0xC010_C000);
    assert!(bridge.forwarding().open && bridge.forwarding().upstream);
    assert!(bridge.forwarding().memory[0].is_some());
    write(&bridge, 0x44, 3);
    let forwarding = bridge.forwarding();
    assert!(forwarding.link_up && !forwarding.open && !forwarding.upstream);
    assert_eq!(forwarding.memory, [None, None]);
}

#[test]
fn reset_takes_everything_back() {
    let bridge = bridge();
    write(&bridge, 0x04, 7);
    write(&bridge, 0x18, !0);
    bridge.reset();
    assert_eq!((read(&bridge, 0x04) & 0xFFFF, read(&bridge, 0x18)), (0, 0));
}
