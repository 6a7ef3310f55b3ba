//! Posted-interrupt descriptors (§9.11): where interrupts wait in memory for software to come for them.
//!
//! A descriptor has 64 bytes and is aligned to them. Its first half, PIR, has a bit for each vector; the next
//! word says whether and how a notification is sent; the rest is software's.

use super::{INTERRUPT_RANGE, bits, mask};
use crate::{GuestAddress, MsiMessage};

/// Where [`Control`] lies.
const CONTROL: u64 = 32;

/// The address of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PostedDescriptor(pub(crate) GuestAddress);

impl PostedDescriptor {
    /// The word with the bit of `vector` in PIR, and the bit.
    pub(crate) const fn request(self, vector: u8) -> (GuestAddress, u64) {
        (GuestAddress(self.0.0 + vector as u64 / 64 * 8), 1 << (vector % 64))
    }

    /// The word that decides about notifications.
    pub(crate) const fn control(self) -> GuestAddress {
        GuestAddress(self.0.0 + CONTROL)
    }
}

/// Bits 319:256 of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Control(pub(crate) u64);

impl Control {
    /// ON: a notification is on its way.
    pub(crate) const OUTSTANDING: u64 = 1 << 0;
    /// SN: only urgent interrupts are notified.
    const SUPPRESSED: u64 = 1 << 1;

    /// Whether a bit is set that must be zero; `extended` as in [`Self::notification`].
    pub(crate) const fn reserved(self, extended: bool) -> bool {
        let destination = if extended { 0 } else { mask(39, 32) | mask(63, 48) };
        self.0 & (mask(15, 2) | mask(31, 24) | destination) != 0
    }

    /// Whether an interrupt calls for a notification.
    pub(crate) const fn notifies(self, urgent: bool) -> bool {
        self.0 & Self::OUTSTANDING == 0 && (urgent || self.0 & Self::SUPPRESSED == 0)
    }

    /// The notification: vector NV to NDST, fixed, edge-triggered, physical. In extended interrupt mode
    /// destinations have 32 bits.
    pub(crate) const fn notification(self, extended: bool) -> MsiMessage {
        let destination = if extended { bits(self.0, 63, 32) } else { bits(self.0, 47, 40) };
        MsiMessage {
            address: INTERRUPT_RANGE.start | (destination & 0xFF) << 12 | (destination >> 8) << 40,
            data: bits(self.0, 23, 16) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_has_a_bit_of_its_own() {
        let descriptor = PostedDescriptor(GuestAddress(0x1000));
        let all: std::collections::BTreeSet<_> = (0..=255).map(|vector| descriptor.request(vector)).collect();
        assert_eq!(all.len(), 256);
        assert_eq!(descriptor.request(0), (GuestAddress(0x1000), 1));
        assert_eq!(descriptor.request(0x47), (GuestAddress(0x1008), 1 << 7));
        assert_eq!(descriptor.request(255), (GuestAddress(0x1018), 1 << 63));
        assert_eq!(descriptor.control(), GuestAddress(0x1020));
    }

    #[test]
    fn each_field_has_its_bits_and_the_others_are_reserved() {
        for (extended, used) in [(true, 0xFFFF_FFFF_00FF_0003_u64), (false, 0x0000_FF00_00FF_0003)] {
            for bit in 0..64 {
                let reserved = used & 1 << bit == 0;
                assert_eq!(Control(1 << bit).reserved(extended), reserved, "{extended} {bit}");
            }
            assert!(!Control(used).reserved(extended));
        }
    }

    #[test]
    fn only_urgent_interrupts_are_notified_while_suppressed_and_none_twice() {
        for (control, urgent, notifies) in [
            (0, false, true),
            (0, true, true),
            (1, false, false),
            (1, true, false),
            (2, false, false),
            (2, true, true),
            (3, false, false),
            (3, true, false),
        ] {
            assert_eq!(Control(control).notifies(urgent), notifies, "{control} {urgent}");
        }
    }

    #[test]
    fn the_notification_goes_to_a_destination_of_8_or_32_bits() {
        let control = Control(0x1234_AB78 << 32 | 0xF2 << 16);
        let message = MsiMessage { address: 0x1234_AB00 << 32 | 0xFEE7_8000, data: 0xF2 };
        assert_eq!(control.notification(true), message);
        let message = MsiMessage { address: 0xFEEA_B000, data: 0xF2 };
        assert_eq!(control.notification(false), message);
    }
}
