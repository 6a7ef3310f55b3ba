//! The ACPI tables a guest reads: RSDP, XSDT, FADT, FACS, MADT, MCFG, DSDT and DMAR.
//!
//! A [`Machine`] describes, as plain data, what the guest shall find; [`Machine::tables`] turns it into
//! [`Tables`], the bytes to place in guest memory. The crate builds on `acpi_tables` and adds what that lacks:
//! x2APIC entries and interrupt source overrides in the MADT, and the whole DMAR. [`dmar::check`] reads a
//! finished DMAR back and says what is wrong with it, so that the tables are judged by more than their maker.
//!
//! Section numbers of tables other than DMAR are those of the ACPI specification, version 6.5.
#![forbid(unsafe_code)]

mod address_map;
pub mod dmar;
mod dsdt;
mod fadt;
mod machine;
mod madt;
mod overlap;
#[cfg(test)]
mod sample;
mod tables;

pub use address_map::{AddressRange, RangeKind};
pub use machine::{Ecam, IoApic, Machine, PowerManagement, ResetRegister, SerialPort, Windows, intx_gsi};
pub use tables::{Table, Tables};

/// Why no tables could be made of a [`Machine`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The tables do not fit below 4 GiB, where the RSDP and the 32-bit pointers of the FADT can reach them.
    #[error("The ACPI tables at {address:#x} ({length} bytes) do not end below 4 GiB")]
    TooHigh {
        /// Where they were to go.
        address: u64,
        /// Their length in bytes.
        length: usize,
    },
    /// The place for the tables is not aligned to a page.
    #[error("The ACPI tables cannot stand at {0:#x}, which is not a multiple of 4096")]
    Misaligned(u64),
    /// No processor, or more than the DSDT has names for.
    #[error("A machine has 1 to 4096 processors, not {0}")]
    Processors(usize),
    /// Two things claim the same addresses.
    #[error("The {first} overlaps the {second}")]
    Overlap {
        /// One of them, with its range.
        first: String,
        /// The other, with its range.
        second: String,
    },
    /// A range whose end is below its start.
    #[error("The {0} is empty")]
    EmptyRange(String),
    /// More serial ports than a PC names.
    #[error("A machine has at most 4 serial ports, not {0}")]
    SerialPorts(usize),
    /// A device number that the root bus does not have.
    #[error("The root bus has devices 0 to 31, not {0}")]
    DeviceNumber(u8),
    /// An interrupt number that ISA does not have.
    #[error("ISA has interrupts 0 to 15, not {0}")]
    IsaInterrupt(u8),
    /// The DMAR cannot express what was asked.
    #[error(transparent)]
    Dmar(#[from] dmar::Error),
}
