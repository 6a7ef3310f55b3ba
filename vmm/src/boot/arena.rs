//! Who gets which part of the guest's RAM while a kernel is loaded.

use acpi::{AddressRange, RangeKind};
use devices::GuestRam;
use vm_memory::{Bytes, GuestAddress};

use super::Problem;

/// The first page stays free of boot data: the BIOS of a PC has its variables there.
const LOW_START: u64 = 0x1000;
/// Boot data stays in the lowest 512 KiB: what is above, kernels take for starting other processors.
const LOW_END: u64 = 0x8_0000;
/// All three protocols enter with 32-bit addresses, or page tables for as many.
const FOUR_GIB: u64 = 1 << 32;

/// Free and taken RAM below 4 GiB.
pub(super) struct Arena<'a> {
    ram: &'a GuestRam,
    /// RAM, as (first address, first address after), ascending.
    free: Vec<(u64, u64)>,
    /// What has been given out.
    taken: Vec<(u64, u64)>,
}

impl<'a> Arena<'a> {
    pub(super) fn new(ram: &'a GuestRam, map: &[AddressRange]) -> Self {
        let mut free: Vec<(u64, u64)> = map
            .iter()
            .filter(|range| range.kind == RangeKind::Memory)
            .map(|range| (range.base, range.base.saturating_add(range.length).min(FOUR_GIB)))
            .filter(|(start, end)| start < end)
            .collect();
        free.sort_unstable();
        Self { ram, free, taken: Vec::new() }
    }

    /// Takes exactly this range, if it is free RAM.
    pub(super) fn claim(&mut self, start: u64, length: u64) -> Result<(), Problem> {
        let end = start.checked_add(length).ok_or(Problem::Damaged("an address is out of range"))?;
        let inside = self.free.iter().any(|(first, last)| *first <= start && end <= *last);
        if !inside || self.conflict(start, end).is_some() {
            return Err(Problem::NotRam { start, end });
        }
        self.taken.push((start, end));
        Ok(())
    }

    /// Takes the lowest free place between `from` and `limit`. `alignment` is a power of two.
    pub(super) fn lowest(&mut self, length: u64, alignment: u64, from: u64, limit: u64) -> Option<u64> {
        for &(first, last) in &self.free {
            let mut start = align_up(first.max(from), alignment)?;
            while let Some(end) = start.checked_add(length).filter(|end| *end <= last.min(limit)) {
                let Some((_, taken_end)) = self.conflict(start, end) else {
                    self.taken.push((start, end));
                    return Some(start);
                };
                start = align_up(taken_end, alignment)?;
            }
        }
        None
    }

    /// Takes the highest free place between `from` and `limit`. `alignment` is a power of two.
    pub(super) fn highest(&mut self, length: u64, alignment: u64, from: u64, limit: u64) -> Option<u64> {
        for &(first, last) in self.free.iter().rev() {
            let first = first.max(from);
            let mut end = last.min(limit);
            while let Some(start) = end.checked_sub(length).map(|start| start & !(alignment - 1)) {
                if start < first {
                    break;
                }
                let Some((taken_start, _)) = self.conflict(start, start + length) else {
                    self.taken.push((start, start + length));
                    return Some(start);
                };
                end = taken_start;
            }
        }
        None
    }

    /// Puts boot data into low memory and tells where.
    pub(super) fn write_low(&mut self, bytes: &[u8], alignment: u64) -> Result<u64, Problem> {
        let length = bytes.len() as u64;
        let address = self.lowest(length, alignment, LOW_START, LOW_END).ok_or(Problem::TooMuchToTell)?;
        self.write(bytes, address)?;
        Ok(address)
    }

    /// Writes to a place that has been taken.
    pub(super) fn write(&self, bytes: &[u8], address: u64) -> Result<(), Problem> {
        Ok(self.ram.write_slice(bytes, GuestAddress(address))?)
    }

    /// Where RAM below 4 GiB ends.
    pub(super) fn end(&self) -> u64 {
        self.free.last().map_or(0, |(_, end)| *end)
    }

    /// Where what has been given out ends.
    pub(super) fn taken_end(&self) -> u64 {
        self.taken.iter().map(|(_, end)| *end).max().unwrap_or(0)
    }

    /// Something taken that is in the way. What is empty is in nobody's way.
    fn conflict(&self, start: u64, end: u64) -> Option<(u64, u64)> {
        self.taken.iter().copied().find(|(taken_start, taken_end)| start < *taken_end && *taken_start < end)
    }
}

/// The next multiple of `alignment`, a power of two; `None` beyond the address space.
pub(super) fn align_up(address: u64, alignment: u64) -> Option<u64> {
    Some(address.checked_add(alignment - 1)? & !(alignment - 1))
}

#[cfg(test)]
mod tests;
