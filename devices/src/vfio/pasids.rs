//! The capability of PASIDs in requests (PCI Express Base, 7.8.9), where the host has it and hides it.
//!
//! On the host the hardware has been told to use PASIDs before it was assigned. What the guest switches here decides
//! whether any PASID leads anywhere.

use pci::{ConfigSpace, Register};

use super::capability::{EXTENDED, Extended};
use super::config::Layout;

/// The capability, in version 1.
const HEADER: u32 = 0x1B | 1 << 16;
const LENGTH: u16 = 8;
const ENABLE: u16 = 1;

/// The registers; their values are in [`ConfigSpace`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Pasids {
    control: u16,
    bits: u8,
}

impl Pasids {
    /// Puts the capability behind all others, as far as possible from registers that nothing tells of; nowhere if
    /// there is no room.
    ///
    /// It offers neither requests to execute nor such with privilege: the host cannot be told that a table allows the
    /// former, and the remapping unit of a guest with assigned functions does not know the latter.
    pub(super) fn lay_out(layout: &mut Layout<'_>, shown: &mut Vec<Extended>, bits: u8) -> Option<Self> {
        let is_free = |at: u16| {
            let taken =
                shown.iter().any(|other| at < other.at + other.length.max(4) && other.at < at + LENGTH);
            layout.snapshot.has(at + LENGTH - 1) && !layout.live.any(at, LENGTH.into()) && !taken
        };
        let at = (EXTENDED.start..EXTENDED.end).step_by(LENGTH.into()).rev().find(|at| is_free(*at))?;
        layout.space.define(at + 4, Register::u16(u16::from(bits) << 8));
        layout.space.define(at + 6, Register::u16(0).writable(ENABLE.into()));
        shown.push(Extended { at, header: HEADER, length: LENGTH });
        Some(Self { control: at + 6, bits })
    }

    /// How many bits PASIDs have; 0 while they are switched off.
    pub(super) fn bits(self, space: &ConfigSpace) -> u8 {
        if space.u16(self.control) & ENABLE == 0 { 0 } else { self.bits }
    }
}

#[cfg(test)]
mod tests;
