use std::sync::Arc;

use acpi::dmar::{PciFunction, PciKind, Topology, check};
use devices::{BusMaster, Edu, InterruptLine, MsiSink, Remapping};
use iommu::MsiMessage;
use pci::{Bus, Windows};

use super::*;
use crate::config::{Config, Options};
use crate::machine::{firmware, memory_map};
use crate::{layout, memory};

struct Nowhere;

impl MsiSink for Nowhere {
    fn deliver(&self, _message: MsiMessage) {}
}

impl InterruptLine for Nowhere {
    fn set(&self, _asserted: bool) {}
}

fn plug_edu(pci: &RootComplex, bus: Bus, device: u8) {
    let slot = pci.slot(bus, device, 0).unwrap();
    let kind = slot.express();
    let ram = memory::allocate(4 << 20, memory::PageSize::Normal).unwrap();
    let master = BusMaster::new(slot.location(), ram, Remapping::Absent, Arc::new(Nowhere));
    pci.plug(slot, Arc::new(Edu::new(master, Arc::new(Nowhere), kind, Edu::DMA_MASK).unwrap()));
}

/// A machine with a device on the root bus, one behind each of two ports, and one on a conventional bus.
fn machine() -> RootComplex {
    let pci = RootComplex::new(Windows {
        memory32: layout::PCI_WINDOW,
        memory64: layout::high_window(1 << 30, 40).unwrap(),
        ports: u64::from(layout::PORT_WINDOW_FIRST)..u64::from(layout::PORT_WINDOW_LAST) + 1,
    });
    plug_edu(&pci, pci.root_bus(), 4);
    for function in 0..2 {
        let bus = pci.add_root_port(1, function).unwrap();
        plug_edu(&pci, bus, 0);
    }
    let link = pci.add_root_port(1, 2).unwrap();
    let conventional = pci.add_pci_bridge(link, 0, 0).unwrap();
    plug_edu(&pci, conventional, 3);
    pci.assign_resources(|_| 0).unwrap();
    pci
}

fn config(rmrr: &[&str]) -> Config {
    let rmrr = rmrr.iter().map(|text| text.parse().unwrap()).collect();
    Options { kernel: Some("k".into()), memory: Some("1G".parse().unwrap()), rmrr, ..Options::default() }
        .check()
        .unwrap()
}

/// The tree as the guest reads it from configuration space.
fn topology(pci: &RootComplex) -> Topology {
    let functions = pci
        .functions()
        .iter()
        .map(|placed| {
            let kind = match placed.kind {
                FunctionKind::Endpoint => PciKind::Endpoint,
                FunctionKind::Bridge => {
                    let mut buses = [0; 4];
                    pci.ecam_read(u64::from(placed.bdf.0) << 12 | 0x18, &mut buses);
                    let [_, secondary, subordinate, _] = buses;
                    PciKind::Bridge { secondary, subordinate, root_port: placed.path.len() == 1 }
                }
            };
            let (bus, device, function) = (placed.bdf.bus(), placed.bdf.device(), placed.bdf.function());
            PciFunction { segment: 0, bus, device, function, kind }
        })
        .collect();
    Topology { functions, ioapics: vec![firmware::IOAPIC_ID] }
}

#[test]
fn the_dmar_of_a_machine_with_ports_and_reserved_memory_has_no_fault() {
    let pci = machine();
    // One for a device on the root bus, one for a device behind a port, one behind a port and a bridge.
    let config = config(&["0x3e000000,64K,00:04.0", "0x3f000000,4K,02:00.0", "0x3f800000,4K,04:03.0"]);
    let host = FromHost::none();
    let reserved = reserved_memory(&config, &pci, &host, &[]).unwrap();
    let steps: Vec<_> = reserved.iter().map(|(_, _, scope)| scope.path.len()).collect();
    assert_eq!(steps, [1, 2, 3], "a device behind bridges is named by its way");
    let ranges: Vec<_> = reserved.iter().map(|(start, length, _)| (*start, *length)).collect();
    let map = memory_map::memory_map(config.memory, &ranges).unwrap();
    let tables = firmware::tables(firmware::Description {
        cpus: 2,
        high_window: layout::high_window(config.memory, 40),
        root_devices: root_devices(&pci),
        remapping: Some(firmware::Unit {
            address_bits: 40,
            window_size: 0x2000,
            interrupt_remapping: true,
            scopes: scopes(&pci),
            ioapic: config.ioapic_id,
            reserved,
        }),
    })
    .unwrap();
    assert_eq!(check(tables.get(b"DMAR").unwrap(), &topology(&pci), &map), Vec::<String>::new());
}

#[test]
fn memory_reserved_for_a_function_that_is_not_there_is_refused_with_those_that_are() {
    let host = FromHost::none();
    let error = reserved_memory(&config(&["0x3e000000,64K,00:09.0"]), &machine(), &host, &[]).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("00:09.0") && message.contains("02:00.0"), "{message}");
}
