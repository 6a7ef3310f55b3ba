//! Page requests (PCI Express Base, 10.5.2): the function asks software to make pages usable.

use super::id;
use crate::config_space::NoRoom;
use crate::{ConfigSpace, Register};

const ENABLE: u16 = 1;
const RESET: u16 = 1 << 1;

const RESPONSE_FAILURE: u16 = 1;
const UNEXPECTED_GROUP: u16 = 1 << 1;
const STOPPED: u16 = 1 << 8;
/// Answers to groups with a PASID carry it.
const PASID_REQUIRED: u16 = 1 << 15;

/// The capability of one function; its registers are in [`ConfigSpace`].
#[derive(Clone, Copy, Debug)]
pub struct PageRequestInterface {
    control: u16,
    status: u16,
    capacity: u16,
    allocation: u16,
}

impl PageRequestInterface {
    /// Adds the capability of a function that has at most `capacity` requests unanswered.
    pub fn add(config: &mut ConfigSpace, capacity: u32) -> Result<Self, NoRoom> {
        let body = [
            Register::u16(0).writable(u32::from(ENABLE | RESET)),
            Register::u16(STOPPED | PASID_REQUIRED)
                .cleared_by_one(u32::from(RESPONSE_FAILURE | UNEXPECTED_GROUP)),
            Register::u32(capacity),
            Register::u32(0).writable(u32::MAX),
        ];
        let at = config.add_extended_capability(id::PAGE_REQUEST, 1, &body)?;
        Ok(Self { control: at + 4, status: at + 6, capacity: at + 8, allocation: at + 12 })
    }

    /// How many requests software lets the function have unanswered: none unless they are enabled.
    pub fn granted(self, config: &ConfigSpace) -> u32 {
        if self.is_enabled(config) { config.u32(self.allocation).min(config.u32(self.capacity)) } else { 0 }
    }

    /// Ends a write to configuration space: the reset bit reads 0, and a function that may not ask has stopped.
    pub fn settle(self, config: &mut ConfigSpace) {
        config.set_u16(self.control, config.u16(self.control) & !RESET);
        let stopped = if self.is_enabled(config) { 0 } else { STOPPED };
        config.set_u16(self.status, config.u16(self.status) & !STOPPED | stopped);
    }

    fn is_enabled(self, config: &ConfigSpace) -> bool {
        config.u16(self.control) & ENABLE != 0
    }

    /// Shows that a response said failure.
    pub fn show_failure(self, config: &mut ConfigSpace) {
        config.set_u16(self.status, config.u16(self.status) | RESPONSE_FAILURE);
    }

    /// Shows that a response named a group that waits for none.
    pub fn show_unexpected_group(self, config: &mut ConfigSpace) {
        config.set_u16(self.status, config.u16(self.status) | UNEXPECTED_GROUP);
    }
}

#[cfg(test)]
mod tests;
