//! Protected memory regions (§11.4.8): memory that devices cannot reach before software has set up
//! translation.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::invalidation::Invalidation;
use crate::queue::Queue;
use crate::registers::Registers;
use crate::spec::mask;
use crate::spec::registers::{PHMBASE, PHMLIMIT, PLMBASE, PLMLIMIT, PMEN, PROTECTED_GRANULE};
use crate::unit::{Outbox, Unit};
use crate::{Capabilities, Feature, GuestAddress, TableMemory};

/// Bit EPM of PMEN_REG: the regions are to be in force.
pub(crate) const ENABLE: u32 = 1 << 31;
/// Bit PRS of PMEN_REG: they are.
pub(crate) const STATUS: u32 = 1 << 0;

/// The regions in force: none, or the low and the high one as they stood when software switched them on.
///
/// Requests whose addresses no table translates look here, and nobody else: tables protect by themselves.
#[derive(Default)]
pub(crate) struct ProtectedRegions {
    regions: [Region; 2],
}

/// The addresses from `first` to below `end`; none if that is not above.
#[derive(Default)]
struct Region {
    first: AtomicU64,
    end: AtomicU64,
}

impl ProtectedRegions {
    /// Puts `ranges` in force. Whoever reads at the same time sees for a moment less than was protected before
    /// or is from now on.
    pub(crate) fn set(&self, ranges: [Range<u64>; 2]) {
        for (region, range) in self.regions.iter().zip(ranges) {
            region.end.store(0, Ordering::Release);
            region.first.store(range.start, Ordering::Release);
            region.end.store(range.end, Ordering::Release);
        }
    }

    /// What is in force.
    pub(crate) fn ranges(&self) -> [Range<u64>; 2] {
        self.regions.each_ref().map(|region| {
            let end = region.end.load(Ordering::Acquire);
            region.first.load(Ordering::Acquire)..end
        })
    }

    /// How many of `length` bytes from `guest` on can be reached without a break; nothing if the first cannot.
    pub(crate) fn reachable(&self, guest: GuestAddress, length: u64) -> Option<u64> {
        self.ranges().into_iter().filter(|range| !range.is_empty()).try_fold(length, |length, range| {
            if range.contains(&guest.0) {
                return None;
            }
            Some(range.start.checked_sub(guest.0).map_or(length, |distance| length.min(distance)))
        })
    }
}

/// The bits of a base or limit register that software may change (§11.4.8): whole granules of memory that there
/// can be.
pub(crate) fn writable(offset: u64, capabilities: &Capabilities) -> u64 {
    let (feature, bits) = match offset {
        PLMBASE | PLMLIMIT => (Feature::ProtectedLowMemory, mask(31, 0)),
        _ => (Feature::ProtectedHighMemory, !capabilities.beyond_host_width()),
    };
    if capabilities.has(feature) { bits & !(PROTECTED_GRANULE - 1) } else { 0 }
}

/// What the registers say: each limit names the last granule of its region.
fn configured(registers: &Registers, capabilities: &Capabilities) -> [Range<u64>; 2] {
    let low = u64::from(registers.get(PLMBASE))..u64::from(registers.get(PLMLIMIT));
    let high = registers.get_u64(PHMBASE)..registers.get_u64(PHMLIMIT);
    let range = |feature, Range { start, end }: Range<u64>| {
        if capabilities.has(feature) { start..end + PROTECTED_GRANULE } else { 0..0 }
    };
    [range(Feature::ProtectedLowMemory, low), range(Feature::ProtectedHighMemory, high)]
}

impl<M: TableMemory + 'static> Unit<M> {
    /// Software writes PMEN_REG.
    pub(crate) fn protect(&self, value: u32, outbox: &mut Outbox) {
        let capabilities = &self.capabilities;
        if !capabilities.has(Feature::ProtectedLowMemory) && !capabilities.has(Feature::ProtectedHighMemory) {
            return;
        }
        let mut queue = self.lock_queue();
        let enable = value & ENABLE != 0;
        // What is in force stays as it is, whatever becomes of the registers meanwhile.
        if enable != (self.registers.get(PMEN) & ENABLE != 0) {
            let ranges = if enable { configured(&self.registers, capabilities) } else { [0..0, 0..0] };
            self.change_protection(&mut queue, ranges, outbox);
            self.registers.set(PMEN, if enable { ENABLE | STATUS } else { 0 });
        }
    }

    /// Puts `ranges` in force, for requests that the unit carries out and for those that the host does; on
    /// return none is under way that saw it otherwise.
    pub(crate) fn change_protection(&self, queue: &mut Queue, ranges: [Range<u64>; 2], outbox: &mut Outbox) {
        self.dma.protected().set(ranges);
        self.invalidate(queue, &Invalidation::Everything, outbox);
        self.drain_if_due(queue);
    }
}

#[cfg(test)]
mod tests;
