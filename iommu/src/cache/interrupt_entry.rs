//! The interrupt entry cache (§6.2.6): index to entry.

use super::table::{Epoch, Keeper, Table as Cache};
use crate::EntryRange;
use crate::spec::interrupt::InterruptEntry;

/// 256 sets of four.
const SET_BITS: u32 = 8;

/// Up to so many entries are looked for one by one; for more the whole cache is looked through.
const MAX_PROBES: u32 = 64;

/// Entries by index, as they stand in the table.
pub(crate) struct InterruptEntryCache {
    keeper: Keeper,
    cache: Cache<1, 2>,
}

/// Set in every key, since 0 is none.
const PRESENT: u64 = 1 << 16;

impl InterruptEntryCache {
    pub(crate) fn new() -> Self {
        Self { keeper: Keeper::default(), cache: Cache::new(SET_BITS) }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.keeper.epoch()
    }

    #[inline]
    pub(crate) fn get(&self, index: u16) -> Option<InterruptEntry> {
        self.cache.get([key(index)]).map(InterruptEntry)
    }

    pub(crate) fn fill(&self, epoch: Epoch, index: u16, entry: InterruptEntry) {
        if let Some(mut change) = self.keeper.fill(epoch) {
            self.cache.fill(&mut change, [key(index)], entry.0);
        }
    }

    pub(crate) fn invalidate(&self, entries: EntryRange) {
        let mut change = self.keeper.evict();
        match entries {
            EntryRange::All => self.cache.evict(&mut change, |_, _| true),
            EntryRange::Some { first, count } => {
                let indices = u64::from(first)..u64::from(first) + u64::from(count);
                if count <= MAX_PROBES {
                    for index in indices {
                        self.cache.evict_key(&mut change, [PRESENT | index]);
                    }
                } else {
                    self.cache.evict(&mut change, |[key], _| indices.contains(&(key & !PRESENT)));
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
