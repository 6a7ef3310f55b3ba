//! PCI Express as a guest sees it: configuration space, BARs, capabilities, the host bridge, root ports and
//! what hangs behind them, reached through ECAM and through ports 0xCF8/0xCFC.
//!
//! The crate knows no hypervisor: a [`Function`] answers configuration and BAR accesses, and is told where
//! the guest put it.
#![forbid(unsafe_code)]

mod function;
mod location;

pub use function::{BAR_COUNT, BarRange, BarSpace, Function};
pub use location::{Bdf, BusNumber, Location};
