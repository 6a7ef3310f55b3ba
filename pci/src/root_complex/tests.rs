mod config;
mod conventional;
mod decoding;
mod hostile;
mod numbering;
mod slots;

use std::sync::Arc;

use crate::testing::{Probe, WINDOWS};
use crate::{Bar, BarKind, Bdf, Bus, BusNumber, Location, RootComplex};

const HOST_BRIDGE: Bdf = Bdf::new(0, 0, 0);
const ISA_BRIDGE: Bdf = Bdf::new(0, 0x1F, 0);

/// 16 KiB of registers, and 32 ports.
const BARS: [(usize, Bar); 2] =
    [(0, Bar { kind: BarKind::Memory32, size: 0x4000 }), (2, Bar { kind: BarKind::Port, size: 32 })];

fn plug(complex: &RootComplex, bus: Bus, device: u8, mark: u8, bars: &[(usize, Bar)]) -> Arc<Probe> {
    let slot = complex.slot(bus, device, 0).unwrap();
    let probe = Probe::new(slot.location(), mark, bars);
    complex.plug(slot, probe.clone());
    probe
}

/// A probe at 00:04.0, and one behind each of the root ports 00:05.0 and 00:06.0, all assigned.
struct Machine {
    complex: RootComplex,
    root: Arc<Probe>,
    first: Arc<Probe>,
    second: Arc<Probe>,
}

const ROOT: Bdf = Bdf::new(0, 4, 0);
const FIRST_PORT: Bdf = Bdf::new(0, 5, 0);
const SECOND_PORT: Bdf = Bdf::new(0, 6, 0);
const FIRST: Bdf = Bdf::new(1, 0, 0);
const SECOND: Bdf = Bdf::new(2, 0, 0);

fn machine() -> Machine {
    machine_of(&BARS, false)
}

/// With `conventional` a bridge to conventional PCI stands in place of the second root port.
fn machine_of(bars: &[(usize, Bar)], conventional: bool) -> Machine {
    let complex = RootComplex::new(WINDOWS);
    let root = plug(&complex, complex.root_bus(), 4, 1, bars);
    let first = plug(&complex, complex.add_root_port(5, 0).unwrap(), 0, 2, bars);
    let bus = if conventional {
        complex.add_pci_bridge(complex.root_bus(), 6, 0)
    } else {
        complex.add_root_port(6, 0)
    };
    let second = plug(&complex, bus.unwrap(), 0, 3, bars);
    complex.assign_resources(|wire| 16 + (wire.device + wire.pin.index()) % 8).unwrap();
    for probe in [&root, &first, &second] {
        probe.events();
    }
    Machine { complex, root, first, second }
}
