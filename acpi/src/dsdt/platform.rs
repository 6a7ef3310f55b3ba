//! Processors, what the motherboard keeps for itself, and the devices behind the LPC bridge.

use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Memory32Fixed, Name, ResourceTemplate,
};

use super::{Encoded, IsaInterrupt};
use crate::tables::bytes_of;
use crate::{Machine, PowerManagement, SerialPort};

/// The processor devices the MADT's UIDs refer to, below 4096 of them.
pub(super) fn processors(count: usize) -> Encoded {
    let mut devices = Vec::new();
    for uid in 0..count {
        let id = Name::new("_HID".into(), &"ACPI0007");
        let uid_object = Name::new("_UID".into(), &uid);
        let path = format!("C{uid:03X}");
        Device::new(path.as_str().into(), vec![&id, &uid_object]).to_aml_bytes(&mut devices);
    }
    Encoded(devices)
}

/// A device that claims what no driver claims, so that nothing is put there: ECAM, without which Linux does
/// not trust the MCFG, and the ports of the fixed hardware.
pub(super) fn motherboard(machine: &Machine) -> Encoded {
    let mut resources = ecam(machine);
    for (port, length) in fixed_ports(&machine.power) {
        IO::new(port, port, 1, length).to_aml_bytes(&mut resources);
    }
    let resources = Encoded(resources);
    let id = Name::new("_HID".into(), &EISAName::new("PNP0C02"));
    let uid = Name::new("_UID".into(), &0u8);
    let settings = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&resources]));
    Encoded(bytes_of(&Device::new("MBRD".into(), vec![&id, &uid, &settings])))
}

fn ecam(machine: &Machine) -> Vec<u8> {
    let (base, length) = (machine.ecam.base, machine.ecam.length());
    match (u32::try_from(base), u32::try_from(length)) {
        (Ok(base), Ok(length)) => bytes_of(&Memory32Fixed::new(true, base, length)),
        _ => bytes_of(&AddressSpace::new_memory(
            AddressSpaceCacheable::NotCacheable,
            true,
            base,
            base.saturating_add(length - 1),
            None,
        )),
    }
}

fn fixed_ports(power: &PowerManagement) -> impl Iterator<Item = (u16, u8)> {
    [(power.pm1a_event, 4), (power.pm1a_control, 2), (power.timer, 4)]
        .into_iter()
        .chain(power.gpe0.map(|port| (port, 8)))
}

/// The LPC bridge at 00:1f.0 and what every PC has behind it.
pub(super) fn lpc_bridge(machine: &Machine) -> Encoded {
    let mut devices = Vec::new();
    for (index, port) in machine.serial_ports.iter().enumerate() {
        devices.extend(serial_port(index + 1, *port));
    }
    devices.extend(isa_device("RTC_", "PNP0B00", &[(0x70, 2)], 8));
    if machine.keyboard_controller {
        devices.extend(isa_device("KBD_", "PNP0303", &[(0x60, 1), (0x64, 1)], 1));
    }
    let devices = Encoded(devices);
    let address = Name::new("_ADR".into(), &0x001f_0000_u32);
    Encoded(bytes_of(&Device::new("LPC_".into(), vec![&address, &devices])))
}

fn isa_device(name: &str, hardware_id: &str, ports: &[(u16, u8)], irq: u8) -> Vec<u8> {
    let mut resources = Vec::new();
    for &(port, length) in ports {
        IO::new(port, port, 1, length).to_aml_bytes(&mut resources);
    }
    IsaInterrupt(irq).to_aml_bytes(&mut resources);
    let resources = Encoded(resources);
    let id = Name::new("_HID".into(), &EISAName::new(hardware_id));
    let settings = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&resources]));
    bytes_of(&Device::new(name.into(), vec![&id, &settings]))
}

fn serial_port(number: usize, serial: SerialPort) -> Vec<u8> {
    let id = Name::new("_HID".into(), &EISAName::new("PNP0501"));
    let uid = Name::new("_UID".into(), &number);
    let range = IO::new(serial.port, serial.port, 1, 8);
    let irq = IsaInterrupt(serial.irq);
    let settings = Name::new("_CRS".into(), &ResourceTemplate::new(vec![&range, &irq]));
    let path = format!("COM{number}");
    bytes_of(&Device::new(path.as_str().into(), vec![&id, &uid, &settings]))
}
