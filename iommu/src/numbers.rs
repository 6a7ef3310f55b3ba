//! Small numbers for threads, so that each can have a place of its own in an array.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many threads have numbers at the same time, from 0 on.
pub(crate) const LIMIT: usize = 64;

/// The numbers in use, a bit for each.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// What a thread's cell holds before it has asked, and after its number has gone back.
const NOT_ASKED: usize = usize::MAX;
/// What it holds when none was free.
const NONE: usize = LIMIT;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(NOT_ASKED) };
    static OWNER: Owner = Owner::new();
}

/// The number of this thread, which no other has at the same time; none if too many threads have asked.
#[inline]
pub(crate) fn of_this_thread() -> Option<usize> {
    let number = match NUMBER.get() {
        NOT_ASKED => first(),
        number => number,
    };
    (number < LIMIT).then_some(number)
}

#[cold]
fn first() -> usize {
    // A thread that is about to end has no owner any more and goes without.
    let number = OWNER.try_with(|owner| owner.0).unwrap_or(NONE);
    NUMBER.set(number);
    number
}

/// Gives the number back when the thread ends.
struct Owner(usize);

impl Owner {
    fn new() -> Self {
        // Acquire, and release when it goes back: who has a number next sees all that was done under it.
        let take = |taken: u64| Some(taken | taken.checked_add(1)?);
        Self(match TAKEN.fetch_update(Ordering::Acquire, Ordering::Relaxed, take) {
            Ok(before) => before.trailing_ones() as usize,
            Err(_) => NONE,
        })
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        NUMBER.set(NOT_ASKED);
        if self.0 < LIMIT {
            TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests;
