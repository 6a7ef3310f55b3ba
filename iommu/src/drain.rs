//! Waiting for requests under way (§6.5.5): a read-side critical section that an invalidation can wait out.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::cache::padded::Padded;

/// More threads than this share; that costs time, not correctness.
const SHARDS: usize = 16;

/// The sections that requests run in. A thread enters by a lock of its own, so that requests on different
/// threads touch nothing in common.
#[derive(Default)]
pub(crate) struct Sections {
    shards: [Padded<RwLock<()>>; SHARDS],
}

/// A request is under way as long as this lives.
pub(crate) struct Section<'a> {
    _guard: RwLockReadGuard<'a, ()>,
}

/// How many threads have ever begun a request, on any unit: no shard beyond that is in use.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: usize = {
        let thread = THREADS.fetch_add(1, Ordering::SeqCst);
        // Whoever drains without having seen this thread has changed things before this point: what the
        // thread looks up from here on is new. The other half of the agreement is in `drain`.
        fence(Ordering::SeqCst);
        thread % SHARDS
    };
}

impl Sections {
    /// Begins a request. It must end before the same thread begins another.
    pub(crate) fn enter(&self) -> Section<'_> {
        let shard = SHARD.with(|shard| *shard);
        Section { _guard: self.shards[shard].read().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Waits until every request that may have used what was in force before has ended.
    pub(crate) fn drain(&self) {
        fence(Ordering::SeqCst);
        for shard in self.shards.iter().take(THREADS.load(Ordering::SeqCst)) {
            drop(shard.write().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[cfg(test)]
mod tests;
