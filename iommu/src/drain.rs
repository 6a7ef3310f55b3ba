//! Waiting for requests under way (§6.5.5): a read-side critical section that an invalidation can wait out.
//!
//! A thread that begins a request says so in a place of its own and puts a fence behind that; whoever drains
//! has made his changes, puts a fence behind them, and looks at the places. One of the two fences comes
//! first. If it is the request's, the drain sees the request and waits for it. If it is the drain's, the
//! request sees the changes.

use crate::numbers;
use crate::padded::Padded;
use crate::sync::{AtomicU64, Ordering, PoisonError, RwLock, RwLockReadGuard, fence, pause};

/// The sections that requests run in. Requests on different threads write nothing in common.
pub(crate) struct Sections {
    /// A place for each numbered thread: how often it has begun and ended a request, so odd while one is
    /// under way.
    places: [Padded<AtomicU64>; numbers::LIMIT],
    /// The places that have been used, a bit for each: a drain looks at no others.
    used: AtomicU64,
    /// For threads without a number. They are slower, and no less correct.
    shared: Padded<RwLock<()>>,
}

/// A request is under way as long as this lives.
pub(crate) enum Section<'a> {
    /// With the place, and what it holds when the request has ended.
    Own(&'a AtomicU64, u64),
    Shared {
        _guard: RwLockReadGuard<'a, ()>,
    },
}

impl Default for Sections {
    fn default() -> Self {
        Self {
            places: std::array::from_fn(|_| Padded(AtomicU64::new(0))),
            used: AtomicU64::new(0),
            shared: Padded(RwLock::new(())),
        }
    }
}

impl Sections {
    /// Begins a request. It must end before the same thread begins another.
    #[inline]
    pub(crate) fn enter(&self) -> Section<'_> {
        let Some(number) = numbers::of_this_thread() else {
            return Section::Shared { _guard: self.shared.read().unwrap_or_else(PoisonError::into_inner) };
        };
        if self.used.load(Ordering::Relaxed) & 1 << number == 0 {
            self.used.fetch_or(1 << number, Ordering::Relaxed);
        }
        let place = &*self.places[number];
        let begun = place.load(Ordering::Relaxed) + 1;
        debug_assert_eq!(begun % 2, 1, "A request within a request");
        place.store(begun, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Section::Own(place, begun + 1)
    }

    /// Waits until every request that may have used what was in force before has ended.
    pub(crate) fn drain(&self) {
        fence(Ordering::SeqCst);
        let mut used = self.used.load(Ordering::Relaxed);
        while used != 0 {
            wait_for(&self.places[used.trailing_zeros() as usize]);
            used &= used - 1;
        }
        drop(self.shared.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Waits for the request that is under way in `place`, if there is one, and for no later one.
fn wait_for(place: &AtomicU64) {
    let begun = place.load(Ordering::Acquire);
    if begun.is_multiple_of(2) {
        return;
    }
    let mut attempt = 0_u32;
    while place.load(Ordering::Acquire) == begun {
        pause(attempt);
        attempt = attempt.saturating_add(1);
    }
}

impl Drop for Section<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Self::Own(place, ended) = self {
            place.store(*ended, Ordering::Release);
        }
    }
}
