//! Bus numbers: the guest gives them, and may change its mind.

use super::*;
use crate::testing::{Config, Event};

/// Gives a root port new bus numbers in one write, as Linux does.
fn renumber(complex: &RootComplex, port: Bdf, secondary: u8, subordinate: u8) {
    let value = u32::from(secondary) << 8 | u32::from(subordinate) << 16;
    complex.write32(port, 0x18, value);
}

#[test]
fn a_renumbered_bus_answers_at_its_new_number_and_its_functions_are_told() {
    let machine = machine();
    renumber(&machine.complex, FIRST_PORT, 9, 9);
    assert_eq!(machine.complex.read32(FIRST, 0), !0);
    assert_eq!(machine.complex.read16(Bdf::new(9, 0, 0), 2), 2);
    assert_eq!(machine.first.location.bdf(), Bdf::new(9, 0, 0));
    assert_eq!(machine.first.events(), [Event::Renumbered(Bdf::new(9, 0, 0))]);
    assert_eq!(machine.second.events(), []);
    assert_eq!(machine.root.events(), []);
}

#[test]
fn the_same_number_again_is_no_news() {
    let machine = machine();
    renumber(&machine.complex, FIRST_PORT, 1, 1);
    renumber(&machine.complex, FIRST_PORT, 1, 7);
    assert_eq!(machine.first.events(), []);
}

#[test]
fn a_number_that_two_bridges_claim_belongs_to_the_lower_one() {
    let machine = machine();
    renumber(&machine.complex, SECOND_PORT, 1, 1);
    assert_eq!(machine.complex.read16(FIRST, 2), 2);
    // Even where the lower one has nothing at the number it passes on.
    renumber(&machine.complex, SECOND_PORT, 2, 2);
    renumber(&machine.complex, FIRST_PORT, 1, 0xFF);
    assert_eq!(machine.complex.read32(SECOND, 0), !0);
    renumber(&machine.complex, FIRST_PORT, 1, 1);
    assert_eq!(machine.complex.read16(SECOND, 2), 3);
}

#[test]
fn a_bridge_cannot_take_the_root_bus() {
    let machine = machine();
    renumber(&machine.complex, FIRST_PORT, 0, 0xFF);
    assert_eq!(machine.complex.read16(HOST_BRIDGE, 0), 0x8086);
    assert_eq!(machine.complex.read32(FIRST, 0), !0);
    assert_eq!(machine.first.location.bdf(), Bdf::new(0, 0, 0));
}

#[test]
fn numbers_the_wrong_way_round_reach_nothing() {
    let machine = machine();
    renumber(&machine.complex, FIRST_PORT, 9, 8);
    assert_eq!(machine.complex.read32(Bdf::new(9, 0, 0), 0), !0);
    assert_eq!(machine.complex.read32(Bdf::new(8, 0, 0), 0), !0);
}

#[test]
fn a_secondary_bus_reset_resets_what_is_below_and_holds_it() {
    let machine = machine();
    let ours = machine.first.endpoint.bars()[0].unwrap().base;
    machine.complex.write16(FIRST_PORT, 0x3E, 0x40);
    assert!(machine.first.events().contains(&Event::Reset));
    assert_eq!(machine.second.events(), []);
    assert_eq!(machine.complex.read32(FIRST, 0), !0, "held in reset");
    machine.complex.write16(FIRST_PORT, 0x3E, 0);
    assert_eq!(machine.complex.read16(FIRST, 2), 2);
    assert_eq!(machine.complex.read16(FIRST, 4), 0, "nothing is enabled after a reset");
    assert!(!machine.complex.mmio_read(ours, &mut [0]));
    assert_eq!(machine.first.events(), [Event::Upstream(true)], "reset once");
}

#[test]
fn taking_the_link_down_resets_what_is_below_and_shows() {
    let machine = machine();
    // The port's capabilities are power management, then PCI Express.
    let express = 0x48;
    assert_eq!(machine.complex.read8(FIRST_PORT, express), 0x10);
    let active = || machine.complex.read16(FIRST_PORT, express + 0x12) >> 13 & 1;
    assert_eq!(active(), 1);
    machine.complex.write16(FIRST_PORT, express + 0x10, 0x10);
    assert!(machine.first.events().contains(&Event::Reset));
    assert_eq!((active(), machine.complex.read32(FIRST, 0)), (0, !0));
    machine.complex.write16(FIRST_PORT, express + 0x10, 0);
    assert_eq!((active(), machine.complex.read16(FIRST, 2)), (1, 2));
}

#[test]
fn nothing_goes_through_a_port_that_is_off() {
    let machine = machine();
    let bar = machine.first.endpoint.bars()[0].unwrap();
    machine.complex.write16(FIRST_PORT, 0x44, 3);
    assert_eq!(machine.complex.read32(FIRST, 0), !0);
    assert!(!machine.complex.mmio_read(bar.base, &mut [0]));
    machine.complex.write16(FIRST_PORT, 0x44, 0);
    assert_eq!(machine.complex.read16(FIRST, 2), 2);
    assert!(machine.complex.mmio_read(bar.base, &mut [0]));
    assert!(!machine.first.events().contains(&Event::Reset));
}

#[test]
fn a_reset_of_everything_can_be_assigned_again() {
    let machine = machine();
    let before = machine.complex.functions();
    let bars = machine.second.endpoint.bars();
    machine.complex.port_write(0xCF8, &[0, 0, 0, 0x80]);
    machine.complex.reset();
    assert_eq!(machine.complex.read32(SECOND, 0), !0);
    assert!(machine.root.events().contains(&Event::Reset));
    let mut address = [1; 4];
    machine.complex.port_read(0xCF8, &mut address);
    assert_eq!(address, [0; 4]);
    machine.complex.assign_resources(|_| 0).unwrap();
    assert_eq!(machine.complex.functions(), before);
    assert_eq!(machine.second.endpoint.bars(), bars);
    let told = Event::Renumbered(SECOND);
    assert_eq!(machine.second.events().iter().filter(|event| **event == told).count(), 1);
}
