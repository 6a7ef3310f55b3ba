//! The BARs: what of them the guest reaches directly, and where it is now.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use pci::{BAR_COUNT, BarRange, BarSpace};

use super::host::{HostFunction, RegionIndex};
use super::mapping::{Mapping, MemorySlots, Shown};

const PAGE: u64 = 4096;

/// A part of a BAR that the guest may reach without leaving guest mode.
struct Part {
    offset: u64,
    memory: Arc<Mapping>,
}

/// The directly reachable parts of every BAR, and where the guest sees them.
pub(super) struct DirectBars {
    slots: Arc<dyn MemorySlots>,
    parts: [Vec<Part>; BAR_COUNT],
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    bases: [Option<u64>; BAR_COUNT],
    shown: [Vec<Shown>; BAR_COUNT],
}

impl DirectBars {
    /// Maps what can be of each BAR, except for the `trapped` ranges: the MSI-X table and its pending bits.
    pub(super) fn new(
        host: &dyn HostFunction,
        slots: Arc<dyn MemorySlots>,
        trapped: &[(usize, Range<u64>)],
    ) -> Self {
        let parts = std::array::from_fn(|bar| match RegionIndex::of_bar(bar) {
            Some(index @ RegionIndex::Bar(_)) => {
                let trapped =
                    trapped.iter().filter(|(other, _)| *other == bar).map(|(_, range)| range.clone());
                direct_parts(&host.region(index).mappable, trapped)
                    .filter_map(|part| {
                        let offset = part.start;
                        // Without a mapping it works as well, and slower.
                        let memory = host.map(index, part).inspect_err(|error| {
                            tracing::warn!("The host does not let BAR {bar} be mapped: {error}");
                        });
                        Some(Part { offset, memory: memory.ok()? })
                    })
                    .collect()
            }
            _ => Vec::new(),
        });
        Self { slots, parts, places: Mutex::default() }
    }

    /// Moves the BARs to where the guest reaches them now.
    pub(super) fn follow(&self, ranges: &[Option<BarRange>; BAR_COUNT]) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let Places { bases, shown } = &mut *places;
        let wanted: [_; BAR_COUNT] = std::array::from_fn(|bar| {
            let range = ranges.get(bar).copied().flatten()?;
            (range.space == BarSpace::Memory && range.base.is_multiple_of(PAGE)).then_some(range.base)
        });
        let moved: Vec<usize> = (0..BAR_COUNT).filter(|&bar| bases[bar] != wanted[bar]).collect();
        // First all that goes, so that two BARs can change places.
        for &bar in &moved {
            shown[bar].clear();
        }
        for &bar in &moved {
            bases[bar] = wanted[bar];
            let Some(base) = wanted[bar] else { continue };
            for part in &self.parts[bar] {
                // The very top of the address space is nowhere a guest can reach.
                let address = base.wrapping_add(part.offset);
                if address < base || address.checked_add(part.memory.length()).is_none() {
                    continue;
                }
                match self.slots.show(address, part.memory.clone()) {
                    Ok(guard) => shown[bar].push(guard),
                    // The guest put it where something else is: every access comes to us instead.
                    Err(error) => {
                        tracing::debug!("BAR {bar} is not directly reachable at {address:#x}: {error}");
                    }
                }
            }
        }
    }

    /// Takes everything out of the guest's sight.
    pub(super) fn hide(&self) {
        self.follow(&[None; BAR_COUNT]);
    }
}

/// What remains of `mappable` in whole pages without the pages that `trapped` touches.
fn direct_parts(
    mappable: &[Range<u64>],
    trapped: impl Iterator<Item = Range<u64>>,
) -> impl Iterator<Item = Range<u64>> {
    let mut parts: Vec<Range<u64>> = mappable
        .iter()
        .map(|range| range.start.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX)..range.end & !(PAGE - 1))
        .collect();
    for hole in trapped {
        let start = hole.start & !(PAGE - 1);
        let end = hole.end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        parts = parts
            .into_iter()
            .flat_map(|part| [part.start..part.end.min(start), part.start.max(end)..part.end])
            .collect();
    }
    parts.into_iter().filter(|part| part.start < part.end)
}

#[cfg(test)]
mod tests;
