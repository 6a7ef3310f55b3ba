//! Capabilities: what a function can do beyond its header.

mod acs;
mod ats;
mod express;
mod msi;
mod msix;
mod pasid;
mod power;
mod pri;
mod slot;

pub(crate) use acs::add_access_control;
pub use ats::Ats;
pub(crate) use express::LinkChange;
pub use express::{Express, ExpressKind};
pub use msi::Msi;
pub use msix::{Msix, MsixChange, VectorState};
pub use pasid::PasidCapability;
pub use power::PowerManagement;
pub use pri::PageRequestInterface;
pub use slot::Indicator;
pub(crate) use slot::{BUTTON_PRESSED, LINK_CHANGED, PRESENCE_CHANGED, SlotRegisters};

/// Standard capability IDs.
mod id {
    pub(super) const POWER_MANAGEMENT: u8 = 0x01;
    pub(super) const MSI: u8 = 0x05;
    pub(super) const EXPRESS: u8 = 0x10;
    pub(super) const MSIX: u8 = 0x11;

    // Extended capabilities.
    pub(super) const ACCESS_CONTROL: u16 = 0x0D;
    pub(super) const ADDRESS_TRANSLATION: u16 = 0x0F;
    pub(super) const PAGE_REQUEST: u16 = 0x13;
    pub(super) const PASID: u16 = 0x1B;
}
