//! PCI Express as a guest sees it: configuration space, BARs, capabilities, the host bridge, root ports and
//! what hangs behind them, reached through ECAM and through ports 0xCF8/0xCFC.
//!
//! The crate knows no hypervisor: a [`Function`] answers configuration and BAR accesses, and is told where
//! the guest put it.
#![forbid(unsafe_code)]

mod assign;
mod bar;
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
mod root_complex;
mod root_port;
mod span;
#[cfg(test)]
mod testing;
mod topology;

pub use assign::AssignError;
pub use bar::{Bar, BarError, BarKind, Bars, ROM_BAR};
pub use capability::{Express, ExpressKind, Msi, Msix, MsixChange, PowerManagement, VectorState};
pub use config_space::{CONFIG_SPACE_SIZE, ConfigSpace, NoRoom, Register};
pub use endpoint::{Effects, Endpoint, EndpointBuilder, EndpointError};
pub use function::{BAR_COUNT, BarRange, BarSpace, Function};
pub use header::{Command, Identity, InterruptPin};
pub use interrupt::InterruptWire;
pub use location::{Bdf, BusNumber, Location};
pub use message::{Delivery, Message};
pub use root_complex::{RootComplex, RootPortError};
pub use topology::{Bus, FunctionKind, PlaceError, PlacedFunction, Slot, Windows};
