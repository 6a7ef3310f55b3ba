//! A machine like the ones the program builds, for tests: a host bridge, a device and two root ports on bus 0,
//! an endpoint behind the first port, and the LPC bridge.

use crate::dmar::{Dmar, Drhd, PciFunction, PciKind, Rmrr, Scope, Topology};
use crate::{AddressRange, Ecam, IoApic, Machine, PowerManagement, RangeKind, SerialPort, Windows};

pub(crate) const UNIT: u64 = 0xfed9_0000;
pub(crate) const IOAPIC_REQUESTER: u16 = 0xf0f8;

pub(crate) fn machine() -> Machine {
    Machine {
        cpus: vec![0, 1, 2, 3],
        ioapic: IoApic { id: 4, address: 0xfec0_0000, gsi_base: 0 },
        ecam: Ecam { base: 0xe000_0000, last_bus: 255 },
        windows: Windows {
            memory_32: vec![0xc000_0000..=0xdfff_ffff, 0xf000_0000..=0xfebf_ffff],
            memory_64: vec![0x8_0000_0000..=0xf_ffff_ffff],
            ports: vec![0..=0xcf7, 0xd00..=0xffff],
        },
        root_devices: (0..32).collect(),
        serial_ports: vec![SerialPort::COM1],
        keyboard_controller: true,
        power: PowerManagement { gpe0: Some(0x620), ..PowerManagement::default() },
        dmar: Some(dmar()),
    }
}

pub(crate) fn dmar() -> Dmar {
    let unit = Drhd {
        segment: 0,
        base: UNIT,
        window_order: 0,
        include_all: true,
        scopes: vec![Scope::ioapic(4, IOAPIC_REQUESTER)],
    };
    let mut dmar = Dmar::new(39, vec![unit]);
    dmar.reserved_memory.push(Rmrr {
        segment: 0,
        base: 0x7000_0000,
        limit: 0x7000_ffff,
        scopes: vec![Scope::endpoint(0, 4, 0)],
    });
    dmar
}

pub(crate) fn memory_map() -> Vec<AddressRange> {
    let range = |base, length, kind| AddressRange { base, length, kind };
    vec![
        range(0, 0x9_fc00, RangeKind::Memory),
        range(0xe_0000, 0x2_0000, RangeKind::Reserved),
        range(0x10_0000, 0x6ff0_0000, RangeKind::Memory),
        range(0x7000_0000, 0x1_0000, RangeKind::Reserved),
        range(0x7001_0000, 0x1fff_0000, RangeKind::Memory),
        range(0x1_0000_0000, 0x4000_0000, RangeKind::Memory),
    ]
}

pub(crate) fn topology() -> Topology {
    let at = |bus, device, function, kind| PciFunction { segment: 0, bus, device, function, kind };
    let port = |secondary| PciKind::Bridge { secondary, subordinate: secondary, root_port: true };
    Topology {
        functions: vec![
            at(0, 0, 0, PciKind::Endpoint),
            at(0, 2, 0, port(1)),
            at(0, 3, 0, port(2)),
            at(0, 4, 0, PciKind::Endpoint),
            at(1, 0, 0, PciKind::Endpoint),
            at(0, 31, 0, PciKind::Endpoint),
        ],
        ioapics: vec![4],
    }
}
