//! Capabilities: what a function can do beyond its header.

mod acs;
mod express;
mod msi;
mod msix;
mod power;

pub(crate) use acs::add_access_control;
pub use express::{Express, ExpressKind};
pub use msi::Msi;
pub use msix::{Msix, MsixChange, VectorState};
pub use power::PowerManagement;

/// Standard capability IDs.
mod id {
    pub(super) const POWER_MANAGEMENT: u8 = 0x01;
    pub(super) const MSI: u8 = 0x05;
    pub(super) const EXPRESS: u8 = 0x10;
    pub(super) const MSIX: u8 = 0x11;
    /// An extended capability.
    pub(super) const ACCESS_CONTROL: u16 = 0x0D;
}
