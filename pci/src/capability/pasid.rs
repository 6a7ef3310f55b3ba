//! Process address space identifiers in requests (PCI Express Base, 7.8.9).

use super::id;
use crate::config_space::NoRoom;
use crate::{ConfigSpace, Register};

/// Requests to execute, requests with privilege, and all 20 bits there are.
const CAPABILITIES: u16 = EXECUTE | PRIVILEGED | 20 << 8;
const ENABLE: u16 = 1;
const EXECUTE: u16 = 1 << 1;
const PRIVILEGED: u16 = 1 << 2;

/// The capability of one function; its registers are in [`ConfigSpace`].
#[derive(Clone, Copy, Debug)]
pub struct PasidCapability {
    control: u16,
}

impl PasidCapability {
    /// Adds the capability.
    pub fn add(config: &mut ConfigSpace) -> Result<Self, NoRoom> {
        let control = Register::u16(0).writable(u32::from(ENABLE | EXECUTE | PRIVILEGED));
        let at = config.add_extended_capability(id::PASID, 1, &[Register::u16(CAPABILITIES), control])?;
        Ok(Self { control: at + 6 })
    }

    /// Whether requests may carry a PASID.
    pub fn is_enabled(self, config: &ConfigSpace) -> bool {
        config.u16(self.control) & ENABLE != 0
    }

    /// Whether those may ask to execute.
    pub fn may_execute(self, config: &ConfigSpace) -> bool {
        self.is_enabled(config) && config.u16(self.control) & EXECUTE != 0
    }

    /// Whether those may claim privilege.
    pub fn may_be_privileged(self, config: &ConfigSpace) -> bool {
        self.is_enabled(config) && config.u16(self.control) & PRIVILEGED != 0
    }
}
