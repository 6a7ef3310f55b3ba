//! The PCI root: its windows, how its interrupt pins are wired, and what the guest may drive itself.

use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Arg, CreateDWordField, Device, EISAName, Else, Equal, IO, If,
    Local, Method, Name, NotEqual, Or, Package, PackageBuilder, Path, ResourceTemplate, Return, Store, Uuid,
    ZERO,
};

use super::{Encoded, platform};
use crate::tables::bytes_of;
use crate::{Machine, Windows, intx_gsi};

/// The UUID by which `_OSC` knows a PCI root (PCI firmware specification, section 4.5.1).
const PCI_ROOT_UUID: &str = "33db4d5b-1ff7-401c-9657-7441c03dd766";

/// What the guest may take from the firmware, which does nothing with it: native hot-plug, power management
/// events, error reporting, and the PCI Express capability (PCI firmware specification, table 4-6).
const GRANTED: u32 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4;

/// Status bits `_OSC` returns in its first word.
const UNKNOWN_UUID: u32 = 1 << 2;
const UNKNOWN_REVISION: u32 = 1 << 3;
const CONTROL_MASKED: u32 = 1 << 4;

/// The root bridge and, below it, the LPC bridge.
pub(super) fn root(machine: &Machine) -> Encoded {
    let express = Name::new("_HID".into(), &EISAName::new("PNP0A08"));
    let conventional = Name::new("_CID".into(), &EISAName::new("PNP0A03"));
    let uid = Name::new("_UID".into(), &0u8);
    let segment = Name::new("_SEG".into(), &0u8);
    let bus = Name::new("_BBN".into(), &0u8);
    let resources = resources(&machine.windows, machine.ecam.last_bus);
    let settings = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&resources]));
    let routing = Name::new("_PRT".into(), &interrupt_routing(&machine.root_devices));
    let control = operating_system_capabilities();
    let lpc = platform::lpc_bridge(machine);
    Encoded(bytes_of(&Device::new(
        "PCI0".into(),
        vec![&express, &conventional, &uid, &segment, &bus, &settings, &routing, &control, &lpc],
    )))
}

/// Bus numbers and windows passed on, and the configuration ports kept.
fn resources(windows: &Windows, last_bus: u8) -> Encoded {
    let mut bytes = bytes_of(&AddressSpace::<u16>::new_bus_number(0, u16::from(last_bus)));
    IO::new(0xcf8, 0xcf8, 1, 8).to_aml_bytes(&mut bytes);
    for window in &windows.ports {
        AddressSpace::new_io(*window.start(), *window.end(), None).to_aml_bytes(&mut bytes);
    }
    let cache = AddressSpaceCacheable::NotCacheable;
    for window in &windows.memory_32 {
        AddressSpace::new_memory(cache, true, *window.start(), *window.end(), None).to_aml_bytes(&mut bytes);
    }
    for window in &windows.memory_64 {
        AddressSpace::new_memory(cache, true, *window.start(), *window.end(), None).to_aml_bytes(&mut bytes);
    }
    Encoded(bytes)
}

/// Which interrupt each pin of each root-bus device raises (section 6.2.13).
fn interrupt_routing(devices: &[u8]) -> PackageBuilder {
    let mut table = PackageBuilder::new();
    // One entry per pin, each device once: the count of entries is a byte.
    for device in (0..32).filter(|device| devices.contains(device)) {
        let all_functions = u32::from(device) << 16 | 0xffff;
        for pin in 0..4 {
            let gsi = intx_gsi(device, pin);
            table.add_element(&Package::new(vec![&all_functions, &pin, &ZERO, &gsi]));
        }
    }
    table
}

/// `_OSC` (section 6.2.11): grants what it can, whether asked or only queried.
fn operating_system_capabilities() -> Encoded {
    let buffer = Arg(3);
    let status = Path::new("CDW1");
    let control = Path::new("CDW3");
    let granted = Local(0);

    let name_status = CreateDWordField::new(&status, &buffer, &ZERO);
    let name_control = CreateDWordField::new(&control, &buffer, &8u8);
    let grant = And::new(&granted, &control, &GRANTED);
    let flag_revision = Or::new(&status, &status, &UNKNOWN_REVISION);
    let other_revision = NotEqual::new(&Arg(1), &1u8);
    let check_revision = If::new(&other_revision, vec![&flag_revision]);
    let flag_masked = Or::new(&status, &status, &CONTROL_MASKED);
    let not_all = NotEqual::new(&granted, &control);
    let check_masked = If::new(&not_all, vec![&flag_masked]);
    let answer = Store::new(&control, &granted);

    let uuid = Uuid::new(PCI_ROOT_UUID);
    let about_pci = Equal::new(&Arg(0), &uuid);
    let negotiate = If::new(&about_pci, vec![&name_control, &grant, &check_revision, &check_masked, &answer]);
    let flag_uuid = Or::new(&status, &status, &UNKNOWN_UUID);
    let refuse = Else::new(vec![&flag_uuid]);
    let done = Return::new(&buffer);
    Encoded(bytes_of(&Method::new("_OSC".into(), 4, true, vec![&name_status, &negotiate, &refuse, &done])))
}
