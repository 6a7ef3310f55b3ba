//! PCI Express as a guest sees it: configuration space, BARs, capabilities, the host bridge, root ports and
//! what hangs behind them, reached through ECAM and through ports 0xCF8/0xCFC.
//!
//! The crate knows no hypervisor: a [`Function`] answers configuration and BAR accesses, and is told where
//! the guest put it.
#![forbid(unsafe_code)]

mod bar;
mod capability;
mod config_space;
mod endpoint;
mod function;
mod header;
mod location;
mod message;

pub use bar::{Bar, BarError, BarKind, Bars, ROM_BAR};
pub use capability::{Express, ExpressKind, Msi, Msix, MsixChange, PowerManagement, VectorState};
pub use config_space::{CONFIG_SPACE_SIZE, ConfigSpace, NoRoom, Register};
pub use endpoint::{Effects, Endpoint, EndpointBuilder, EndpointError};
pub use function::{BAR_COUNT, BarRange, BarSpace, Function};
pub use header::{Command, Identity, InterruptPin};
pub use location::{Bdf, BusNumber, Location};
pub use message::{Delivery, Message};
