//! What the unit remembers of the guest's tables, so that requests need not read them each time (§6.2).
//!
//! Every cache is bounded and holds only what a walk found good: a fault is found anew each time, which is
//! always allowed, in caching mode too (§6.1).

pub(crate) mod context;
mod entries;
pub(crate) mod interrupt_entry;
pub(crate) mod iotlb;
pub(crate) mod pasid;
pub(crate) mod recent;
pub(crate) mod structures;
pub(crate) mod table;
pub(crate) mod tag;

/// Here, and not in the file they test: the test `interleavings` builds that file too.
#[cfg(test)]
#[path = "cache/table/tests.rs"]
mod table_tests;

use self::context::ContextCache;
use self::iotlb::Iotlb;
use self::pasid::PasidCache;
use self::recent::Recent;
use self::structures::Structures;
use self::table::{Change, Epoch, Keeper};
use crate::Capabilities;
use crate::invalidation::Invalidation;

/// The caches that DMA remapping goes by. What is in one may depend on what was in another, so they have one
/// keeper.
pub(crate) struct Caches {
    keeper: Keeper,
    pub(crate) contexts: ContextCache,
    pub(crate) pasids: PasidCache,
    pub(crate) iotlb: Iotlb,
    pub(crate) structures: Structures,
    pub(crate) recent: Recent,
}

impl Caches {
    pub(crate) fn new(capabilities: Capabilities) -> Self {
        Self {
            keeper: Keeper::default(),
            contexts: ContextCache::new(capabilities),
            pasids: PasidCache::new(capabilities),
            iotlb: Iotlb::new(),
            structures: Structures::new(),
            recent: Recent::new(),
        }
    }

    /// To be taken before anything that is put in later is looked up.
    pub(crate) fn epoch(&self) -> Epoch {
        self.keeper.epoch()
    }

    /// To put something in that was looked up after `epoch`.
    pub(crate) fn fill(&self, epoch: Epoch) -> Option<Change<'_>> {
        self.keeper.fill(epoch)
    }

    /// Forgets what `what` names. Recent answers end with the epoch.
    pub(crate) fn invalidate(&self, what: &Invalidation) {
        let mut change = self.keeper.evict();
        self.contexts.invalidate(&mut change, what);
        self.pasids.invalidate(&mut change, what);
        self.iotlb.invalidate(&mut change, what);
        self.structures.invalidate(&mut change, what);
    }
}
