//! Address translation services (PCI Express Base, 10.5.1): the function asks where addresses lead and keeps the
//! answers.

use super::id;
use crate::config_space::NoRoom;
use crate::{ConfigSpace, Register};

/// Invalidations of 32 in a queue, addresses aligned to pages, and invalidations for all PASIDs.
const CAPABILITIES: u16 = 1 << 5 | 1 << 6;
const SMALLEST_UNIT: u16 = 0x1F;
const ENABLE: u16 = 1 << 15;

/// The capability of one function; its registers are in [`ConfigSpace`].
#[derive(Clone, Copy, Debug)]
pub struct Ats {
    control: u16,
}

impl Ats {
    /// Adds the capability.
    pub fn add(config: &mut ConfigSpace) -> Result<Self, NoRoom> {
        let control = Register::u16(0).writable(u32::from(SMALLEST_UNIT | ENABLE));
        let at = config.add_extended_capability(
            id::ADDRESS_TRANSLATION,
            1,
            &[Register::u16(CAPABILITIES), control],
        )?;
        Ok(Self { control: at + 6 })
    }

    /// Whether the function may send translation requests and translated requests.
    pub fn is_enabled(self, config: &ConfigSpace) -> bool {
        config.u16(self.control) & ENABLE != 0
    }
}
