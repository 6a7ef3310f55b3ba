//! Who answers for a place in a BAR: the hardware, or the MSI-X table and pending bits that stand for it.

use std::ops::Range;

use pci::Msix;

use super::VfioFunction;

/// Who answers for a place in a BAR.
pub(super) enum Zone<'a> {
    Hardware,
    /// The MSI-X table, and where in it.
    Table(&'a Msix, u64),
    /// The pending bits, and where in them.
    Pending(u64),
    Nothing,
}

impl VfioFunction {
    pub(super) fn zone(&self, bar: usize, offset: u64, length: usize) -> Zone<'_> {
        let Some((place, table)) = &self.msix else { return Zone::Hardware };
        let end = offset.saturating_add(length as u64);
        let place_of = |(other, range): &(usize, Range<u64>)| match range {
            _ if *other != bar || end <= range.start || range.end <= offset => Some(None),
            _ if range.start <= offset && end <= range.end => Some(Some(offset - range.start)),
            // Half in and half out: not an access that means anything.
            _ => None,
        };
        match (place_of(&place.table), place_of(&place.pending)) {
            (Some(Some(offset)), _) => Zone::Table(table, offset),
            (_, Some(Some(offset))) => Zone::Pending(offset),
            (Some(None), Some(None)) => Zone::Hardware,
            _ => Zone::Nothing,
        }
    }

    /// Reads pending bits: those held here, and those of vectors that the host has never been given, which
    /// stand in the hardware.
    pub(super) fn read_pending(&self, bar: usize, offset: u64, at: u64, data: &mut [u8]) {
        self.read_hardware(bar, offset, data);
        let vectors = self.msix.as_ref().map_or(0, |(place, _)| place.vectors);
        let state = self.state();
        for (byte, at) in data.iter_mut().zip(at..) {
            for bit in 0..8 {
                let vector = at.saturating_mul(8) + bit;
                if vector < u64::from(vectors) && state.interrupts.is_pending(vector as u16) {
                    *byte |= 1 << bit;
                }
            }
        }
    }
}
