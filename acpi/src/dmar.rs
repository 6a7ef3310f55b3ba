//! The DMA remapping table (VT-d specification, chapter 8): which remapping units there are, what stands
//! behind each, and which memory devices were told to use before there was an operating system.

mod check;
mod layout;
mod scope;
mod structures;

use zerocopy::IntoBytes;

pub use check::{PciFunction, PciKind, Topology, check};
pub use scope::{PathStep, Scope, ScopeKind, SidpFlags};
pub use structures::{Andd, Atsr, Drhd, Rhsa, Rmrr, Satc, Sidp};

use crate::tables::sdt;

/// Bits of the table's flags byte (section 8.1).
mod flag {
    pub(super) const INTR_REMAP: u8 = 1 << 0;
    pub(super) const X2APIC_OPT_OUT: u8 = 1 << 1;
    pub(super) const DMA_CTRL_PLATFORM_OPT_IN: u8 = 1 << 2;
}

/// Why a DMAR cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The field holds the width less one in a byte.
    #[error("A host address width of {0} bits cannot be expressed: it must be 12 to 64")]
    AddressWidth(u8),
    /// A device scope names its device by 1 to 124 steps.
    #[error("A device scope's path has 1 to 124 steps, not {0}")]
    PathLength(usize),
    /// A structure's length field has 16 bits.
    #[error("A {name} structure of {length} bytes is too long: at most 65535 can be expressed")]
    TooLong {
        /// The kind of structure.
        name: &'static str,
        /// What it came to.
        length: usize,
    },
    /// The size field of a DRHD has 4 bits.
    #[error("A remapping unit's registers cannot take 2^{0} pages: 2^15 is the most")]
    WindowSize(u8),
    /// An ANDD names its device by ASCII characters that are not NUL.
    #[error("{0:?} is not the name of an ACPI device")]
    NamespaceName(String),
}

/// The table's contents. Structures of one type are written in the order given, the types in the order the
/// specification numbers them; of the units, those that take all remaining devices go last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dmar {
    /// Width in bits of the addresses by which the machine reaches memory.
    pub host_address_width: u8,
    /// Whether units can remap interrupts.
    pub interrupt_remapping: bool,
    /// Asks software not to use x2APIC mode.
    pub x2apic_opt_out: bool,
    /// Tells software that firmware wants DMA kept out from boot on.
    pub dma_protection_opt_in: bool,
    /// The remapping units: at least one.
    pub units: Vec<Drhd>,
    /// Memory that devices use before and after an operating system starts.
    pub reserved_memory: Vec<Rmrr>,
    /// Root ports that support ATS.
    pub root_port_ats: Vec<Atsr>,
    /// Which memory is near which unit.
    pub affinities: Vec<Rhsa>,
    /// Devices that only the ACPI namespace knows.
    pub namespace_devices: Vec<Andd>,
    /// Integrated devices with an address translation cache.
    pub integrated_ats: Vec<Satc>,
    /// Properties of integrated devices.
    pub integrated_properties: Vec<Sidp>,
}

impl Dmar {
    /// A table with these units, interrupt remapping, and nothing else.
    pub fn new(host_address_width: u8, units: Vec<Drhd>) -> Self {
        Self {
            host_address_width,
            interrupt_remapping: true,
            x2apic_opt_out: false,
            dma_protection_opt_in: false,
            units,
            reserved_memory: Vec::new(),
            root_port_ats: Vec::new(),
            affinities: Vec::new(),
            namespace_devices: Vec::new(),
            integrated_ats: Vec::new(),
            integrated_properties: Vec::new(),
        }
    }

    /// The bytes of the table.
    pub fn table(&self) -> Result<Vec<u8>, Error> {
        if !(12..=64).contains(&self.host_address_width) {
            return Err(Error::AddressWidth(self.host_address_width));
        }
        let header = layout::TableBody {
            width_less_one: self.host_address_width - 1,
            flags: self.flags(),
            reserved: [0; 10],
        };
        let mut body = header.as_bytes().to_vec();

        let mut units: Vec<&Drhd> = self.units.iter().collect();
        units.sort_by_key(|unit| unit.include_all);
        for unit in units {
            body.extend(unit.encode()?);
        }
        for structure in &self.reserved_memory {
            body.extend(structure.encode()?);
        }
        for structure in &self.root_port_ats {
            body.extend(structure.encode()?);
        }
        for structure in &self.affinities {
            body.extend(structure.encode());
        }
        for structure in &self.namespace_devices {
            body.extend(structure.encode()?);
        }
        for structure in &self.integrated_ats {
            body.extend(structure.encode()?);
        }
        for structure in &self.integrated_properties {
            body.extend(structure.encode()?);
        }
        Ok(sdt(*b"DMAR", 1, &body))
    }

    fn flags(&self) -> u8 {
        let mut flags = 0;
        if self.interrupt_remapping {
            flags |= flag::INTR_REMAP;
        }
        if self.x2apic_opt_out {
            flags |= flag::X2APIC_OPT_OUT;
        }
        if self.dma_protection_opt_in {
            flags |= flag::DMA_CTRL_PLATFORM_OPT_IN;
        }
        flags
    }
}

#[cfg(test)]
mod tests;
