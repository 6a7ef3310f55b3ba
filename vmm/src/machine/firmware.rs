//! What firmware would have told the guest: the ACPI tables of the machine that was built.

use std::path::Path;

use acpi::dmar::{Dmar, Drhd, Rmrr, Scope};
use acpi::{Ecam, IoApic, Machine, PowerManagement, SerialPort, Tables, Windows};

use crate::layout;

/// The IOAPIC's ID in the MADT and in the remapping unit's scope.
pub(super) const IOAPIC_ID: u8 = 0;

/// What the tables say beyond what never changes.
pub(super) struct Description {
    /// How many processors there are; APIC IDs count from 0.
    pub(super) cpus: u32,
    /// The window for BARs above 4 GiB.
    pub(super) high_window: Option<std::ops::Range<u64>>,
    /// Device numbers on the root bus that have an interrupt pin, or a bridge with one below.
    pub(super) root_devices: Vec<u8>,
    /// The remapping unit, if there is one.
    pub(super) remapping: Option<Unit>,
}

/// The remapping unit, as firmware describes it.
pub(super) struct Unit {
    /// Address bits of the machine.
    pub(super) address_bits: u8,
    /// How many bytes its registers take: a power of two, 4096 at least.
    pub(super) window_size: u64,
    /// Everything behind it: PCI functions and bridges.
    pub(super) scopes: Vec<Scope>,
    /// Whether it remaps interrupts.
    pub(super) interrupt_remapping: bool,
    /// Requester ID of the IOAPIC.
    pub(super) ioapic: pci::Bdf,
    /// Memory that must stay mapped one to one for a device: first address, length, the device.
    pub(super) reserved: Vec<(u64, u64, Scope)>,
}

impl Unit {
    fn dmar(self) -> Dmar {
        let mut scopes = self.scopes;
        scopes.push(Scope::ioapic(IOAPIC_ID, self.ioapic.0));
        let unit = Drhd {
            segment: 0,
            base: layout::VTD_START,
            window_order: (self.window_size / 0x1000).ilog2() as u8,
            include_all: false,
            scopes,
        };
        let mut dmar = Dmar::new(self.address_bits, vec![unit]);
        dmar.interrupt_remapping = self.interrupt_remapping;
        dmar.reserved_memory = self
            .reserved
            .into_iter()
            .map(|(base, length, scope)| Rmrr {
                segment: 0,
                base,
                limit: base + (length - 1),
                scopes: vec![scope],
            })
            .collect();
        dmar
    }
}

/// Builds the tables for their place in the BIOS area.
pub(super) fn tables(description: Description) -> Result<Tables, acpi::Error> {
    let window = layout::PCI_WINDOW;
    let machine = Machine {
        cpus: (0..description.cpus).collect(),
        ioapic: IoApic { id: IOAPIC_ID, address: layout::IOAPIC_START as u32, gsi_base: 0 },
        ecam: Ecam { base: layout::ECAM_START, last_bus: 255 },
        windows: Windows {
            memory_32: vec![window.start as u32..=(window.end - 1) as u32],
            memory_64: description.high_window.map(|range| range.start..=range.end - 1).into_iter().collect(),
            ports: vec![layout::PORT_WINDOW_FIRST..=layout::PORT_WINDOW_LAST],
        },
        root_devices: description.root_devices,
        serial_ports: vec![SerialPort::COM1],
        keyboard_controller: false,
        power: PowerManagement::default(),
        dmar: description.remapping.map(Unit::dmar),
    };
    machine.tables(layout::ACPI_START)
}

/// Writes each table to a file of its own, for `iasl -d` and the curious.
pub(super) fn dump(tables: &Tables, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for table in &tables.tables {
        let name = String::from_utf8_lossy(&table.signature).trim().to_lowercase();
        if let Some(bytes) = tables.bytes.get(table.offset..table.offset + table.length) {
            std::fs::write(folder.join(format!("{name}.dat")), bytes)?;
        }
    }
    Ok(())
}
