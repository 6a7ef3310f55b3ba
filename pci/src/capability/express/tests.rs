use super::*;

fn added(kind: ExpressKind, can_reset: bool) -> (ConfigSpace, Express, u16) {
    let mut config = ConfigSpace::new();
    let express = Express::add(&mut config, kind, can_reset).unwrap();
    (config, express, express.at)
}

#[test]
fn the_registers_are_where_the_specification_has_them() {
    let (config, _, at) = added(ExpressKind::RootPort { slot: 5 }, false);
    assert_eq!(config.u16(at + 0x02), 0x0142);
    assert_eq!(config.u32(at + 0x04), 0x8000);
    assert_eq!(config.u16(at + 0x08), 0x2810);
    assert_eq!(config.u32(at + 0x0C), 0x0550_0102);
    assert_eq!(config.u16(at + 0x12), 0x1102);
    assert_eq!(config.u32(at + 0x14), 5 << 19);
    assert_eq!(config.u32(at + 0x2C), 0x06);
    assert_eq!(config.u16(at + 0x30), 2);
    assert_eq!(config.u32(at + 0x38), 0);
}

#[test]
fn an_integrated_endpoint_has_no_link() {
    let (mut config, _, at) = added(ExpressKind::IntegratedEndpoint, false);
    assert_eq!(config.u16(at + 0x02), 0x0092);
    config.write(at + 0x0C, &[0xFF; 8]);
    assert_eq!((config.u32(at + 0x0C), config.u32(at + 0x10), config.u32(at + 0x2C)), (0, 0, 0));
}

#[test]
fn a_function_level_reset_is_asked_for_once_and_reads_zero() {
    let (mut config, express, at) = added(ExpressKind::Endpoint, true);
    assert_eq!(config.u32(at + 4) & CAN_RESET_FUNCTION, CAN_RESET_FUNCTION);
    config.write(at + 0x08, &0xA810u16.to_le_bytes());
    assert!(express.take_reset_request(&mut config));
    assert_eq!(config.u16(at + 0x08), 0x2810);
    assert!(!express.take_reset_request(&mut config));
}

#[test]
fn without_the_capability_nothing_asks_for_a_reset() {
    let (mut config, express, at) = added(ExpressKind::Endpoint, false);
    config.write(at + 0x08, &[0xFF, 0xFF]);
    assert!(!express.take_reset_request(&mut config));
}

#[test]
fn a_port_shows_presence_and_the_state_of_its_link() {
    let (mut config, express, at) = added(ExpressKind::RootPort { slot: 1 }, false);
    let shown = |config: &ConfigSpace| (config.u16(at + 0x12) >> 13 & 1, config.u16(at + 0x1A) >> 6 & 1);
    assert_eq!(shown(&config), (0, 0));
    express.show_link(&mut config, true, true);
    assert_eq!(shown(&config), (1, 1));
    express.show_link(&mut config, true, false);
    assert_eq!(shown(&config), (0, 1));
    express.show_link(&mut config, false, true);
    assert_eq!(shown(&config), (0, 0));
}

#[test]
fn only_a_port_can_disable_its_link() {
    for (kind, works) in [(ExpressKind::RootPort { slot: 1 }, true), (ExpressKind::Endpoint, false)] {
        let (mut config, express, at) = added(kind, false);
        config.write(at + 0x10, &[0x10]);
        assert_eq!(express.link_disabled(&config), works);
    }
}
