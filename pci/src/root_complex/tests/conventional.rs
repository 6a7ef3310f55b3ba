//! Conventional PCI behind a root port and a PCIe-to-PCI bridge: one requester ID for all.

use super::slots::Nobody;
use super::*;
use crate::testing::{Config, Event};
use crate::{BridgeError, ExpressKind, FunctionKind, InterruptPin, InterruptWire, PlaceError, Reserve};

const PORT: Bdf = Bdf::new(0, 5, 0);
const BRIDGE: Bdf = Bdf::new(1, 0, 0);
const ALIAS: Bdf = Bdf::new(2, 0, 0);

/// A root port at 00:05.0, a bridge behind it, and probes at devices 0, 3 and 31 of the bus behind that.
struct Conventional {
    complex: RootComplex,
    bus: Bus,
    probes: [Arc<Probe>; 3],
}

fn conventional() -> Conventional {
    let complex = RootComplex::new(WINDOWS);
    let link = complex.add_root_port(5, 0).unwrap();
    let bus = complex.add_pci_bridge(link, 0, 0).unwrap();
    let probes = [(0, 1), (3, 2), (31, 3)].map(|(device, mark)| plug(&complex, bus, device, mark, &BARS));
    complex.assign_resources(|wire| 16 + (wire.device + wire.pin.index()) % 8).unwrap();
    for probe in &probes {
        probe.events();
    }
    Conventional { complex, bus, probes }
}

#[test]
fn what_functions_send_bears_the_bridges_alias_and_not_their_own_numbers() {
    let machine = conventional();
    let own = machine.probes.each_ref().map(|probe| probe.location.bdf());
    assert_eq!(own, [Bdf::new(2, 0, 0), Bdf::new(2, 3, 0), Bdf::new(2, 31, 0)]);
    for probe in &machine.probes {
        assert_eq!(probe.location.requester_id(), ALIAS);
    }
    let on_link = Location::new(BusNumber::new(2), 3, 1);
    assert_eq!(on_link.requester_id(), on_link.bdf(), "PCI Express functions have identities");
}

#[test]
fn the_alias_follows_the_number_of_the_bus() {
    let machine = conventional();
    machine.complex.write32(BRIDGE, 0x18, 0x0009_0901);
    machine.complex.write32(PORT, 0x18, 0x0009_0100);
    for probe in &machine.probes {
        assert_eq!(probe.location.requester_id(), Bdf::new(9, 0, 0));
        assert!(probe.events().contains(&Event::Renumbered(probe.location.bdf())));
    }
    assert_eq!(machine.complex.read16(Bdf::new(9, 31, 0), 2), 3);
}

#[test]
fn accesses_reach_what_is_two_bridges_down() {
    let machine = conventional();
    for (probe, mark) in machine.probes.iter().zip(1..) {
        let [memory, ports] = [0, 2].map(|bar| probe.endpoint.bars()[bar].unwrap().base);
        let mut data = [0];
        assert!(machine.complex.mmio_read(memory, &mut data));
        assert_eq!(data, [mark]);
        assert!(machine.complex.pio_read(ports as u16, &mut data));
        assert_eq!(data, [mark]);
    }
    // Each of the two bridges has to let them through.
    for bridge in [PORT, BRIDGE] {
        let base = machine.probes[1].endpoint.bars()[0].unwrap().base;
        machine.complex.write16(bridge, 4, 1);
        assert!(!machine.complex.mmio_read(base, &mut [0]), "{bridge}");
        machine.complex.write16(bridge, 4, 7);
        assert!(machine.complex.mmio_read(base, &mut [0]), "{bridge}");
    }
}

#[test]
fn what_functions_send_goes_up_where_both_bridges_are_masters() {
    let machine = conventional();
    let told = |open| vec![Event::Upstream(open)];
    for bridge in [PORT, BRIDGE] {
        for (command, open) in [(3, false), (7, true)] {
            machine.complex.write16(bridge, 4, command);
            assert!(machine.probes.iter().all(|probe| probe.events() == told(open)), "{bridge} {command}");
        }
    }
}

#[test]
fn extended_configuration_space_ends_at_the_bridge() {
    let machine = conventional();
    assert_eq!(machine.complex.read32(ALIAS, 0xFC), 0);
    assert_eq!(machine.complex.read32(ALIAS, 0x100), !0);
    assert_ne!(machine.complex.read32(BRIDGE, 0x100), !0, "the bridge is PCI Express");
    // An access that begins below ends there too.
    let mut data = [0x55; 8];
    machine.complex.ecam_read(u64::from(ALIAS.0) << 12 | 0xFC, &mut data);
    assert_eq!(data, [0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
}

#[test]
fn pins_are_turned_by_the_device_on_the_conventional_bus() {
    let machine = conventional();
    let pin = |device| machine.complex.slot(machine.bus, device, 1).unwrap().interrupt_wire(InterruptPin::A);
    for (device, expected) in
        [(0, InterruptPin::A), (3, InterruptPin::D), (4, InterruptPin::A), (30, InterruptPin::C)]
    {
        assert_eq!(pin(device), InterruptWire { device: 5, pin: expected }, "device {device}");
    }
    // The firmware notes the same.
    let line = |device| machine.complex.read8(Bdf::new(2, device, 0), 0x3C);
    assert_eq!([0, 3, 31].map(line), [16 + 5, 16, 16]);
}

#[test]
fn a_reset_of_the_conventional_bus_reaches_all_of_it_and_nothing_else() {
    let machine = conventional();
    machine.complex.write16(BRIDGE, 0x3E, 0x40);
    for probe in &machine.probes {
        assert_eq!(probe.events().iter().filter(|event| **event == Event::Reset).count(), 1);
    }
    assert_eq!(machine.complex.read32(ALIAS, 0), !0, "held in reset");
    assert_eq!(machine.complex.read16(BRIDGE, 0), 0x1B36);
    machine.complex.write16(BRIDGE, 0x3E, 0);
    assert_eq!(machine.complex.read16(ALIAS, 2), 1);
    // A reset of the link above takes the bridge's numbers, too.
    machine.complex.write16(PORT, 0x3E, 0x40);
    machine.complex.write16(PORT, 0x3E, 0);
    assert_eq!(machine.complex.read32(BRIDGE, 0x18), 0);
    assert_eq!(machine.complex.read32(ALIAS, 0), !0);
}

#[test]
fn a_slot_knows_what_kind_of_function_belongs_there() {
    let machine = conventional();
    let complex = &machine.complex;
    assert_eq!(complex.slot(machine.bus, 7, 0).unwrap().express(), None);
    assert_eq!(complex.free_device(machine.bus), Some(1));
    assert_eq!(
        complex.slot(complex.root_bus(), 7, 0).unwrap().express(),
        Some(ExpressKind::IntegratedEndpoint)
    );
    let link = complex.add_root_port(6, 0).unwrap();
    assert_eq!(complex.slot(link, 0, 0).unwrap().express(), Some(ExpressKind::Endpoint));
}

#[test]
fn a_bridge_to_conventional_pci_belongs_on_pci_express() {
    let machine = conventional();
    let refused = machine.complex.add_pci_bridge(machine.bus, 8, 0);
    assert_eq!(refused, Err(BridgeError::Place(PlaceError::NoSuchPlace { device: 8, function: 0 })));
    // What a hot-plug slot holds may go at any time, and a bus cannot.
    let slot = machine.complex.add_hot_plug_port(9, 0, Reserve::default(), Arc::new(Nobody)).unwrap();
    let refused = machine.complex.add_pci_bridge(slot, 0, 0);
    assert_eq!(refused, Err(BridgeError::Place(PlaceError::NoSuchPlace { device: 0, function: 0 })));
    // On the root bus it is as good as behind a port.
    let bus = machine.complex.add_pci_bridge(machine.complex.root_bus(), 8, 0).unwrap();
    let probe = plug(&machine.complex, bus, 2, 9, &BARS);
    machine.complex.assign_resources(|_| 0).unwrap();
    assert_eq!(probe.location.requester_id(), Bdf::new(3, 0, 0), "after the bridge's bus");
}

#[test]
fn the_bridge_and_what_is_behind_it_are_described_by_their_path() {
    let machine = conventional();
    let described: Vec<_> =
        machine.complex.functions().into_iter().map(|function| (function.kind, function.path)).collect();
    assert!(described.contains(&(FunctionKind::Bridge, vec![(5, 0), (0, 0)])));
    assert!(described.contains(&(FunctionKind::Endpoint, vec![(5, 0), (0, 0), (31, 0)])));
}
