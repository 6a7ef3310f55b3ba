//! The interrupt entry cache (§6.2.6): index to entry.

use super::table::{Epoch, Table as Cache};
use crate::EntryRange;
use crate::spec::interrupt::InterruptEntry;

/// 256 sets of four.
const SET_BITS: u32 = 8;

/// Up to so many entries are looked for one by one; for more the whole cache is looked through.
const MAX_PROBES: u32 = 64;

/// Entries by index, as they stand in the table.
pub(crate) struct InterruptEntryCache {
    cache: Cache<2>,
}

/// Set in every key, since 0 is none.
const PRESENT: u64 = 1 << 16;

impl InterruptEntryCache {
    pub(crate) fn new() -> Self {
        Self { cache: Cache::new(SET_BITS) }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.cache.epoch()
    }

    pub(crate) fn get(&self, index: u16) -> Option<InterruptEntry> {
        self.cache.get(key(index)).map(InterruptEntry)
    }

    pub(crate) fn fill(&self, epoch: Epoch, index: u16, entry: InterruptEntry) {
        self.cache.fill(epoch, key(index), entry.0);
    }

    pub(crate) fn invalidate(&self, entries: EntryRange) {
        match entries {
            EntryRange::All => self.cache.evict(|_, _| true),
            EntryRange::Some { first, count } => {
                let indices = u64::from(first)..u64::from(first) + u64::from(count);
                if count <= MAX_PROBES {
                    self.cache.evict_keys(indices.map(|index| PRESENT | index));
                } else {
                    self.cache.evict(|key, _| indices.contains(&(key & !PRESENT)));
                }
            }
        }
    }
}

const fn key(index: u16) -> u64 {
    PRESENT | index as u64
}

#[cfg(test)]
mod tests;
