//! Interrupt remapping tables and the requests that ask for their entries.

use iommu::MsiMessage;
use proptest::prelude::*;

use super::Builder;
use crate::bits::mask;
use crate::interrupt::Remapping;

/// A table with one entry, and a request that mostly asks for it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// S.
    size: u64,
    index: u64,
    /// The subhandle, if there is one.
    subhandle: Option<u64>,
    /// Bits of the entry that mean something.
    entry: (u64, u64),
    /// EIME, IRES, CFIS.
    flags: [bool; 3],
    remappable: bool,
    /// The control word of the descriptor, if the entry is a posted one.
    posted: Option<u64>,
    pub source: u16,
    noise: u32,
}

/// Requests.
pub fn asked() -> impl Strategy<Value = Asked> {
    let index = prop_oneof![5 => 0..64_u64, 2 => 0..0x1_0000_u64];
    let subhandle = prop_oneof![1 => Just(None), 1 => (0..64_u64).prop_map(Some)];
    let source = prop_oneof![2 => 0..8_u16, 1 => any::<u16>()];
    let flags = [any::<bool>(), any::<bool>(), any::<bool>()];
    let often = proptest::bool::weighted(0.9);
    (
        prop_oneof![3 => Just(15), 1 => 0..16_u64],
        index,
        subhandle,
        (any::<u64>(), any::<u64>()),
        flags,
        (often, proptest::option::of(any::<u64>())),
        source,
        any::<u32>(),
    )
        .prop_map(|(size, index, subhandle, entry, mut flags, (remappable, posted), source, noise)| {
            flags[1] |= noise & 7 != 0;
            Asked { size, index, subhandle, entry, flags, remappable, posted, source, noise }
        })
}

impl Asked {
    /// Builds the table; gives the state of the unit and the request.
    pub fn build(&self, builder: &mut Builder) -> (Remapping, MsiMessage) {
        let [extended, enabled, compatibility] = self.flags;
        // A table of 64 Ki entries of 16 bytes.
        let table = builder.pages(256);
        let entry = self.index + self.subhandle.unwrap_or(0);
        let destination = if extended { mask(63, 32) } else { mask(47, 40) };
        let mode = if self.entry.0 >> 5 & 3 == 3 || self.entry.0 >> 5 & 7 == 6 { 0 } else { mask(7, 5) };
        let low = self.entry.0 & (destination | mask(23, 16) | mask(11, 8) | mode | mask(4, 2)) | 1;
        // A source near the one that asks.
        let validation = if self.entry.1 >> 18 & 3 == 3 { 0 } else { mask(19, 18) };
        let sid = match self.entry.1 >> 60 {
            0 => self.entry.1 & 0xFFFF,
            1..4 => u64::from(self.source) & 0xFF00 | u64::from(self.source >> 8),
            _ => u64::from(self.source) ^ self.entry.1 & 7,
        };
        let high = sid | self.entry.1 & (mask(17, 16) | validation);
        let (low, high) = match self.posted {
            Some(control) => self.post(builder, control, high),
            None => (low, high),
        };
        if entry < 0x1_0000 {
            builder.put(table + 16 * entry, low | u64::from(self.entry.0 >> 61 == 5) << 1);
            builder.put(table + 16 * entry + 8, high);
        }
        let root = builder.root(table);
        let table = root | self.size | u64::from(extended) << 11;

        let upper = if self.noise >> 28 == 15 { self.noise & 0xFFFF_0000 } else { 0 };
        let handle = (self.index & 0x7FFF) << 5 | (self.index >> 15) << 2;
        let address = 0xFEE0_0000 | handle | u64::from(self.remappable) << 4;
        let message = match self.subhandle {
            Some(subhandle) => MsiMessage { address: address | 1 << 3, data: subhandle as u32 | upper },
            None => MsiMessage { address, data: self.noise },
        };
        (Remapping { table, enabled, compatibility }, message)
    }

    /// Builds a posted-interrupt descriptor; gives an entry that leads to it.
    fn post(&self, builder: &mut Builder, control: u64, high: u64) -> (u64, u64) {
        let [extended, ..] = self.flags;
        let descriptor = builder.page() + (self.entry.0 & mask(11, 6));
        let destination = if extended { mask(63, 32) } else { mask(47, 40) };
        for word in 0..8_u64 {
            let value = match word {
                // A few requests that stand already.
                0..4 => 1 << (control >> 16 & 63) | 1 << (control & 63),
                4 => control & (destination | mask(23, 16) | mask(1, 0)),
                _ => control.rotate_left(word as u32),
            };
            builder.put(descriptor + 8 * word, value);
        }
        let low = self.entry.0 & (mask(23, 16) | 1 << 14 | mask(11, 8)) | 1 << 15 | 1;
        (low | (descriptor & mask(31, 6)) << 32, high | descriptor & mask(63, 32))
    }
}
