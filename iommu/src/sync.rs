//! What the caches and the drain protocol are built from. They take it all from here, so that the test
//! `interleavings` can build the same files over primitives that go through every order of events.

pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::time::Duration;
use std::{hint, thread};

/// Lets time pass, the more the longer someone has been waiting: what is waited for takes nanoseconds as a
/// rule, but the thread that does it may have lost its processor or be waiting for a disk.
pub(crate) fn pause(attempt: u32) {
    match attempt {
        0..100 => hint::spin_loop(),
        100..200 => thread::yield_now(),
        _ => thread::sleep(Duration::from_micros(50)),
    }
}
