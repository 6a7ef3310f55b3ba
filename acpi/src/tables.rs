//! Puts the tables one after the other and ties them together.

use acpi_tables::Aml;
use acpi_tables::facs::FACS;
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;

use crate::{Error, Machine, dsdt, fadt, madt, overlap};

/// Who made the tables, as every header tells.
pub(crate) const OEM_ID: [u8; 6] = *b"PRTCUL";
pub(crate) const OEM_TABLE_ID: [u8; 8] = *b"PORTCULL";
pub(crate) const OEM_REVISION: u32 = 1;

/// The RSDP is found by looking at every 16th byte below 1 MiB; the FACS wants 64.
const ALIGNMENT: usize = 64;

const PAGE: u64 = 4096;

/// The most processors the DSDT has names for.
const MAX_PROCESSORS: usize = 4096;

/// The finished tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Where in guest memory the bytes belong.
    pub address: u64,
    /// All tables, the RSDP first.
    pub bytes: Vec<u8>,
    /// The single tables in `bytes`.
    pub tables: Vec<Table>,
}

/// One table's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// The signature, `RSDP` for the root pointer.
    pub signature: [u8; 4],
    /// Offset into [`Tables::bytes`].
    pub offset: usize,
    /// Length in bytes.
    pub length: usize,
}

impl Tables {
    /// The address of the RSDP, which boot protocols pass on. A guest that is booted by a protocol without
    /// such a field looks for it between 0xE0000 and 0xFFFFF.
    pub fn rsdp(&self) -> u64 {
        self.address
    }

    /// The bytes of the table with this signature.
    pub fn get(&self, signature: &[u8; 4]) -> Option<&[u8]> {
        let table = self.tables.iter().find(|table| table.signature == *signature)?;
        self.bytes.get(table.offset..)?.get(..table.length)
    }

    /// Adds a table and tells its address.
    fn place(&mut self, signature: [u8; 4], bytes: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.tables.push(Table { signature, offset, length: bytes.len() });
        self.address + offset as u64
    }
}

impl Machine {
    /// Builds all tables for `address`, a multiple of 4096 below 4 GiB. Guests that look for the RSDP
    /// themselves find it only if the address is between 0xE0000 and 0xFFFFF.
    pub fn tables(&self, address: u64) -> Result<Tables, Error> {
        self.check()?;
        if !address.is_multiple_of(PAGE) {
            return Err(Error::Misaligned(address));
        }
        // Bounds the address itself, so that sums below cannot overflow.
        if address >= 1 << 32 {
            return Err(Error::TooHigh { address, length: 0 });
        }

        let mut tables = Tables { address, bytes: Vec::new(), tables: Vec::new() };
        // The RSDP goes first but is written last, when the XSDT has an address.
        tables.place(*b"RSDP", &vec![0; Rsdp::len()]);
        let facs = tables.place(*b"FACS", &bytes_of(&FACS::new()));
        let dsdt = tables.place(*b"DSDT", &dsdt::dsdt(self));
        let fadt = fadt::fadt(&self.power, self.keyboard_controller, facs as u32, dsdt as u32);

        let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
        xsdt.add_entry(tables.place(*b"FACP", &fadt));
        xsdt.add_entry(tables.place(*b"APIC", &madt::madt(self)));
        xsdt.add_entry(tables.place(*b"MCFG", &self.mcfg()));
        if let Some(dmar) = &self.dmar {
            xsdt.add_entry(tables.place(*b"DMAR", &dmar.table()?));
        }
        let xsdt = tables.place(*b"XSDT", &bytes_of(&xsdt));
        tables.bytes[..Rsdp::len()].copy_from_slice(&bytes_of(&Rsdp::new(OEM_ID, xsdt)));

        let length = tables.bytes.len();
        if address + length as u64 > 1 << 32 {
            return Err(Error::TooHigh { address, length });
        }
        Ok(tables)
    }

    /// Refuses what no table could say, or what no guest could use.
    fn check(&self) -> Result<(), Error> {
        if self.cpus.is_empty() || self.cpus.len() > MAX_PROCESSORS {
            return Err(Error::Processors(self.cpus.len()));
        }
        if self.serial_ports.len() > 4 {
            return Err(Error::SerialPorts(self.serial_ports.len()));
        }
        if let Some(&device) = self.root_devices.iter().find(|&&device| device > 31) {
            return Err(Error::DeviceNumber(device));
        }
        let mut interrupts = self.serial_ports.iter().map(|port| port.irq).chain([self.power.sci]);
        if let Some(irq) = interrupts.find(|&irq| irq > 15) {
            return Err(Error::IsaInterrupt(irq));
        }
        overlap::check(self)
    }

    /// The table that tells where configuration space is mapped (PCI firmware specification, section 4.1.2).
    fn mcfg(&self) -> Vec<u8> {
        let mut table = MCFG::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
        table.add_ecam(self.ecam.base, 0, 0, self.ecam.last_bus);
        bytes_of(&table)
    }
}

/// A table with the standard header (section 5.2.6) over `body`.
pub(crate) fn sdt(signature: [u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut table = Sdt::new(signature, 36, revision, OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    table.append_slice(body);
    table.as_slice().to_vec()
}

/// What `object` encodes to.
pub(crate) fn bytes_of(object: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    object.to_aml_bytes(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
