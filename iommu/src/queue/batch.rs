//! Invalidations of translations that are carried out for assigned functions together: those before one wait.

use super::slice::Weight;
use crate::invalidation::Invalidation;

/// So many are carried out at once at most,
const MOST: usize = 64;
/// and no more than those that make this many pages to look at, and one.
const MOST_PAGES: u64 = 1 << 18;
/// One that does not name pages makes whole tables to look at, and counts like so many.
const WHOLE: u64 = 1 << 16;

/// Invalidations that the shadow has not been told of yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    waiting: Vec<Invalidation>,
    pages: u64,
}

impl Batch {
    pub(super) fn add(&mut self, what: Invalidation) {
        self.pages += match what {
            Invalidation::IotlbPages { address_mask, .. } => WHOLE.min(1 << address_mask.min(63)),
            _ => WHOLE,
        };
        self.waiting.push(what);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST || self.pages >= MOST_PAGES
    }

    /// How long it takes to carry out.
    pub(super) fn weight(&self) -> Weight {
        if self.pages > 1 { Weight::Unknown } else { Weight::Call }
    }

    pub(super) fn take(&mut self) -> Vec<Invalidation> {
        std::mem::take(self).waiting
    }
}
