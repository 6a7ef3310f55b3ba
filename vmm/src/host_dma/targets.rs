//! What guest addresses lead to for a device's DMA: guest RAM, and the BARs of assigned functions.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use devices::GuestRam;
use devices::vfio::Mapping;
use iommu::{GuestAddress, MapError};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};

/// Guest RAM, and the parts of BARs that the guest sees at this moment.
pub struct Targets {
    ram: Arc<GuestRam>,
    /// By their first guest addresses. They do not overlap each other or RAM.
    bars: RwLock<BTreeMap<u64, Arc<Mapping>>>,
}

/// A part of this program's memory that guest addresses lead to.
pub(super) struct Piece {
    pub(super) host: u64,
    pub(super) length: u64,
    /// What keeps it there, where it does not stay for ever.
    _bar: Option<Arc<Mapping>>,
}

impl Targets {
    /// Guest RAM alone.
    pub fn new(ram: Arc<GuestRam>) -> Self {
        Self { ram, bars: RwLock::default() }
    }

    /// Guest RAM.
    pub fn ram(&self) -> &GuestRam {
        &self.ram
    }

    /// From now on guest addresses from `guest` on lead to `bar`, which overlaps nothing.
    pub fn show(&self, guest: u64, bar: Arc<Mapping>) {
        self.bars.write().unwrap_or_else(PoisonError::into_inner).insert(guest, bar);
    }

    /// What was shown at `guest` is there no more. Mappings of it have to go by other means.
    pub fn hide(&self, guest: u64) {
        self.bars.write().unwrap_or_else(PoisonError::into_inner).remove(&guest);
    }

    /// The pieces that `length` bytes from `guest` on are: more than one where they cross from one region to the
    /// next.
    pub(super) fn pieces(&self, guest: GuestAddress, length: u64) -> Result<Vec<Piece>, MapError> {
        let mut pieces = Vec::with_capacity(1);
        let mut done = 0;
        while done < length {
            let address = guest.0.checked_add(done).map(GuestAddress).ok_or(MapError::NotMemory(guest))?;
            let piece = self
                .ram_at(address, length - done)
                .or_else(|| self.bar_at(address, length - done))
                .ok_or(MapError::NotMemory(address))?;
            done += piece.length;
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// Of `most` bytes of RAM from `address` on those without a break; none if there is no RAM.
    fn ram_at(&self, address: GuestAddress, most: u64) -> Option<Piece> {
        let (region, offset) = self.ram.to_region_addr(address)?;
        let host = region.get_host_address(MemoryRegionAddress(offset.0)).ok()?;
        // The offset lies in the region, so at least one byte does.
        Some(Piece { host: host as u64, length: (region.len() - offset.0).min(most), _bar: None })
    }

    /// The same of a BAR.
    fn bar_at(&self, address: GuestAddress, most: u64) -> Option<Piece> {
        let bars = self.bars.read().unwrap_or_else(PoisonError::into_inner);
        let (start, bar) = bars.range(..=address.0).next_back()?;
        let offset = address.0 - start;
        let left = bar.length().checked_sub(offset).filter(|left| *left > 0)?;
        Some(Piece { host: bar.address() as u64 + offset, length: left.min(most), _bar: Some(bar.clone()) })
    }
}

#[cfg(test)]
mod tests;
