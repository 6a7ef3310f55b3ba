//! Interrupt requests (§5.1.2.2), the interrupt remapping table pointer (§11.4.10) and its entries (§9.9).

use super::posted::PostedDescriptor;
use super::{INTERRUPT_RANGE, PAGE_ADDRESS, bits, mask};
use crate::{GuestAddress, MsiMessage, SourceId};

/// The size of an interrupt remapping entry in bytes.
const ENTRY_SIZE: u64 = 16;

/// What a device's write to the interrupt range asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InterruptRequest {
    /// It names vector and destination itself.
    Compatibility,
    /// It names an entry of the table.
    Remappable {
        /// Handle plus subhandle; may lie beyond any table.
        index: u32,
        /// Whether a bit is set that must be zero.
        reserved: bool,
    },
}

impl InterruptRequest {
    #[inline]
    pub(crate) fn decode(message: MsiMessage) -> Self {
        let MsiMessage { address, data } = message;
        if address & 1 << 4 == 0 {
            return Self::Compatibility;
        }
        let handle = (bits(address, 19, 5) | bits(address, 2, 2) << 15) as u32;
        let has_subhandle = address & 1 << 3 != 0;
        Self::Remappable {
            index: if has_subhandle { handle + (data & 0xFFFF) } else { handle },
            reserved: !INTERRUPT_RANGE.contains(&address) || has_subhandle && data >> 16 != 0,
        }
    }
}

/// A value of IRTA_REG (§11.4.10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TablePointer(pub(crate) u64);

impl TablePointer {
    /// EIME: destinations have 32 bits.
    pub(crate) const fn extended(self) -> bool {
        self.0 & 1 << 11 != 0
    }

    /// Where entry `index` lies, if the table has one.
    pub(crate) fn entry(self, index: u16) -> Option<GuestAddress> {
        let entries = 2_u64 << bits(self.0, 3, 0);
        let offset = u64::from(index) * ENTRY_SIZE;
        (u64::from(index) < entries).then(|| GuestAddress((self.0 & PAGE_ADDRESS).saturating_add(offset)))
    }
}

/// An interrupt remapping entry: in remapped format (§9.9) or in posted format (§9.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InterruptEntry(pub(crate) [u64; 2]);

/// Level-triggered, and asserted: bits 15 and 14 of a message's data.
const LEVEL_ASSERTED: u32 = 3 << 14;

impl InterruptEntry {
    pub(crate) const fn present(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Fault processing disable: qualified faults are not recorded. Counts also in an entry not present.
    pub(crate) const fn fault_processing_disabled(self) -> bool {
        self.0[0] & 2 != 0
    }

    /// IM: the entry has posted format.
    pub(crate) const fn is_posted(self) -> bool {
        self.0[0] & 1 << 15 != 0
    }

    /// Whether a field has a value that means nothing here. `posting` says whether posted format means
    /// anything, `extended` whether destinations have 32 bits.
    pub(crate) const fn reserved(self, extended: bool, posting: bool) -> bool {
        let [low, high] = self.0;
        let format = if self.is_posted() {
            !posting || low & (mask(7, 2) | mask(13, 12) | mask(37, 24)) != 0 || high & mask(31, 20) != 0
        } else {
            let destination = if extended { 0 } else { mask(39, 32) | mask(63, 48) };
            low & (mask(14, 12) | mask(31, 24) | destination) != 0
                || high & mask(63, 20) != 0
                || matches!(self.delivery_mode(), 0b011 | 0b110)
        };
        format || self.validation_type() == 3
    }

    /// Posted format: the descriptor.
    pub(crate) const fn descriptor(self) -> PostedDescriptor {
        let [low, high] = self.0;
        PostedDescriptor(GuestAddress(bits(low, 63, 38) << 6 | bits(high, 63, 32) << 32))
    }

    /// Posted format, URG: the interrupt is notified even while notifications are suppressed.
    pub(crate) const fn urgent(self) -> bool {
        self.0[0] & 1 << 14 != 0
    }

    /// The vector that is delivered (V), or posted (VV).
    pub(crate) const fn vector(self) -> u8 {
        bits(self.0[0], 23, 16) as u8
    }

    const fn delivery_mode(self) -> u64 {
        bits(self.0[0], 7, 5)
    }

    /// SVT: 0 none, 1 one requester, 2 a range of buses, 3 has no meaning.
    const fn validation_type(self) -> u64 {
        bits(self.0[1], 19, 18)
    }

    /// Whether `source` may use this entry.
    #[inline]
    pub(crate) fn accepts(self, source: SourceId) -> bool {
        let named = SourceId(bits(self.0[1], 15, 0) as u16);
        match self.validation_type() {
            0 => true,
            1 => {
                // SQ: which of the function bits do not count.
                let compared = match bits(self.0[1], 17, 16) {
                    0 => 0xFFFF,
                    1 => 0xFFFB,
                    2 => 0xFFF9,
                    _ => 0xFFF8,
                };
                (source.0 ^ named.0) & compared == 0
            }
            // The first bus stands in the upper byte, the last in the lower.
            2 => (named.bus()..=named.devfn()).contains(&source.bus()),
            _ => false,
        }
    }

    /// Remapped format: what is delivered.
    #[inline]
    pub(crate) fn message(self, extended: bool) -> MsiMessage {
        let low = self.0[0];
        let destination = if extended { bits(low, 63, 32) } else { bits(low, 47, 40) };
        let logical = bits(low, 2, 2);
        let redirection_hint = bits(low, 3, 3);
        let level = low & 1 << 4 != 0;
        MsiMessage {
            address: INTERRUPT_RANGE.start
                | (destination & 0xFF) << 12
                | (destination >> 8) << 40
                | redirection_hint << 3
                | logical << 2,
            data: u32::from(self.vector())
                | (self.delivery_mode() as u32) << 8
                | if level { LEVEL_ASSERTED } else { 0 },
        }
    }
}

#[cfg(test)]
mod tests;
