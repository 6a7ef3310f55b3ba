//! What the guest shall find, as plain data.

use std::ops::RangeInclusive;

use crate::dmar::Dmar;

/// The whole description. Addresses are guest physical addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The x2APIC ID of each processor. A processor's place in the list is its ACPI processor UID.
    pub cpus: Vec<u32>,
    /// The one IOAPIC.
    pub ioapic: IoApic,
    /// Where configuration space is mapped.
    pub ecam: Ecam,
    /// What the PCI root bus may hand out.
    pub windows: Windows,
    /// Device numbers on the root bus whose INTx pins are wired, as [`intx_gsi`] says.
    pub root_devices: Vec<u8>,
    /// COM1 and up, in order.
    pub serial_ports: Vec<SerialPort>,
    /// Whether to show a keyboard controller (ports 0x60 and 0x64). A guest that sees one probes it and waits
    /// for its answers, so a controller that only knows how to reset the machine is better not shown.
    pub keyboard_controller: bool,
    /// Fixed ACPI hardware.
    pub power: PowerManagement,
    /// DMA remapping; none without an IOMMU.
    pub dmar: Option<Dmar>,
}

/// An IOAPIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its APIC ID.
    pub id: u8,
    /// Address of its register page.
    pub address: u32,
    /// The global system interrupt of its pin 0.
    pub gsi_base: u32,
}

/// The enhanced configuration access mechanism of segment 0: 1 MiB of memory per bus, from bus 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecam {
    /// Where bus 0 begins.
    pub base: u64,
    /// The highest bus number.
    pub last_bus: u8,
}

impl Ecam {
    /// Length in bytes.
    pub const fn length(&self) -> u64 {
        (self.last_bus as u64 + 1) << 20
    }
}

/// What the host bridge passes on to PCI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Memory below 4 GiB.
    pub memory_32: Vec<RangeInclusive<u32>>,
    /// Memory above 4 GiB.
    pub memory_64: Vec<RangeInclusive<u64>>,
    /// Ports. The configuration ports 0xCF8–0xCFF stay out.
    pub ports: Vec<RangeInclusive<u16>>,
}

/// A 16550.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialPort {
    /// The first of its 8 ports.
    pub port: u16,
    /// Its ISA interrupt.
    pub irq: u8,
}

impl SerialPort {
    /// COM1 of every PC.
    pub const COM1: Self = Self { port: 0x3f8, irq: 4 };
}

/// Fixed hardware (section 4.8). The machine is always in ACPI mode: there is no SMI command port, and SCI_EN
/// reads as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerManagement {
    /// The ISA interrupt of the SCI: level-triggered, active high.
    pub sci: u8,
    /// PM1a status and enable, 4 ports.
    pub pm1a_event: u16,
    /// PM1a control, 2 ports.
    pub pm1a_control: u16,
    /// The 32-bit timer of 3.579545 MHz, 4 ports.
    pub timer: u16,
    /// GPE0 status and enable, 8 ports, if there is such a block.
    pub gpe0: Option<u16>,
    /// How to reset the machine.
    pub reset: ResetRegister,
    /// The SLP_TYP value that switches the machine off.
    pub s5_sleep_type: u8,
}

impl Default for PowerManagement {
    /// The ports q35 firmware programs into the LPC bridge.
    fn default() -> Self {
        Self {
            sci: 9,
            pm1a_event: 0x600,
            pm1a_control: 0x604,
            timer: 0x608,
            gpe0: None,
            reset: ResetRegister { port: 0xcf9, value: 6 },
            s5_sleep_type: 5,
        }
    }
}

/// A write of `value` to `port` resets the machine (section 4.8.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetRegister {
    /// The port, one byte wide.
    pub port: u16,
    /// What to write.
    pub value: u8,
}

/// The global system interrupt that pin `pin` (0 for INTA to 3 for INTD) of root-bus device `device` is wired
/// to: one of the eight after the ISA ones, spread over the devices. Pins behind bridges arrive at a root-bus
/// device by the usual rotation. Level-triggered; the `_PRT` says so by naming no link device.
pub const fn intx_gsi(device: u8, pin: u8) -> u32 {
    16 + (device as u32 + pin as u32) % 8
}
