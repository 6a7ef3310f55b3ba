//! PCI Express as a guest sees it: configuration space, BARs, capabilities, the host bridge, root ports and
//! what hangs behind them, reached through ECAM and through ports 0xCF8/0xCFC.
//!
//! The crate knows no hypervisor: a [`Function`] answers configuration and BAR accesses, and is told where
//! the guest put it. Emulated functions are made of an [`Endpoint`]; assigned ones take of [`ConfigSpace`],
//! [`Bars`] and [`Msix`] what the device does not do itself. The [`RootComplex`] holds them all.
//!
//! ```
//! use pci::{Bar, BarKind, EndpointBuilder, ExpressKind, Identity, RootComplex, Windows};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let complex = RootComplex::new(Windows {
//!     memory32: 0xC000_0000..0xE000_0000,
//!     memory64: 0x80_0000_0000..0x100_0000_0000,
//!     ports: 0x1000..0x1_0000,
//! });
//! let bus = complex.add_root_port(1, 0)?;
//! let slot = complex.slot(bus, 0, 0)?;
//!
//! // The configuration side of a device model that lives at `slot.location()`.
//! let mut builder = EndpointBuilder::new(&Identity {
//!     vendor: 0x1234,
//!     device: 0x11E8,
//!     revision: 0x10,
//!     class: 0x00_FF00,
//!     subsystem_vendor: 0x1AF4,
//!     subsystem: 0x1100,
//! });
//! builder
//!     .bar(0, Bar { kind: BarKind::Memory32, size: 0x10_0000 })?
//!     .bar(1, Bar { kind: BarKind::Memory32, size: 0x1000 })?
//!     .power_management()?
//!     .express(ExpressKind::Endpoint, true)?
//!     .msix(4, (1, 0), (1, 0x800))?;
//! let endpoint = builder.build();
//! # let _ = endpoint;
//!
//! // Once the model has been plugged in, what firmware does:
//! complex.assign_resources(|wire| 16 + (wire.device + wire.pin.index()) % 8)?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod assign;
mod bar;
mod bridge;
mod capability;
mod chipset;
mod config_space;
mod endpoint;
mod function;
mod header;
mod interrupt;
mod location;
mod map;
mod message;
mod pci_bridge;
mod root_complex;
mod root_port;
mod span;
#[cfg(test)]
mod testing;
mod topology;

pub use assign::AssignError;
pub use bar::{Bar, BarError, BarKind, Bars, ROM_BAR};
pub use capability::{
    Ats, Express, ExpressKind, Indicator, Msi, Msix, MsixChange, PageRequestInterface, PasidCapability,
    PowerManagement, VectorState,
};
pub use config_space::{CONFIG_SPACE_SIZE, ConfigSpace, NoRoom, Register};
pub use endpoint::{Effects, Endpoint, EndpointBuilder, EndpointError, TranslationServices};
pub use function::{BAR_COUNT, BarRange, BarSpace, Function};
pub use header::{Command, Identity, InterruptPin};
pub use interrupt::InterruptWire;
pub use location::{Bdf, BusNumber, Location};
pub use message::{Delivery, Message};
pub use root_complex::{BridgeError, RootComplex};
pub use root_port::{Reserve, SlotListener, SlotState};
pub use topology::{Bus, FunctionKind, PlaceError, PlacedFunction, Slot, Windows};
