//! The caches and the drain protocol, over every order of events that the memory model allows: no
//! translation is used after the invalidation that names it has completed, and none is seen half.
//!
//! The files under test are the crate's own. They take what they share between threads from `crate::sync`,
//! which here is loom's.

#[path = "../src/drain.rs"]
mod drain;
#[path = "../src/padded.rs"]
mod padded;
#[allow(dead_code, reason = "What is tested elsewhere")]
#[path = "../src/cache/table.rs"]
mod table;

/// Loom's primitives.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use loom::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
    pub(crate) use std::sync::{PoisonError, TryLockError};

    pub(crate) fn pause(_attempt: u32) {
        loom::thread::yield_now();
    }
}

/// Numbers for the threads of a model, as each model says.
mod numbers {
    use std::cell::Cell;

    pub(crate) const LIMIT: usize = 2;

    loom::thread_local! {
        static NUMBER: Cell<Option<usize>> = Cell::new(None);
    }

    pub(crate) fn of_this_thread() -> Option<usize> {
        NUMBER.with(Cell::get)
    }

    pub(crate) fn set(number: Option<usize>) {
        NUMBER.with(|cell| cell.set(number));
    }
}

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use drain::Sections;
use table::{Epoch, Keeper, Table};

const KEY: [u64; 1] = [1];
/// What the guest's table says before and after its change.
const OLD: u64 = 1;
const NEW: u64 = 2;

/// A table in guest memory, what is remembered of it, and who uses it.
struct Unit {
    guest: AtomicU64,
    keeper: Keeper,
    cache: Table<1, 2>,
    /// Answers with their epochs.
    recent: Table<1, 2>,
    sections: Sections,
    /// The page whose invalidation has completed: the guest uses it for something else.
    gone: AtomicU64,
}

impl Unit {
    fn new() -> Self {
        Self {
            guest: AtomicU64::new(OLD),
            keeper: Keeper::default(),
            cache: Table::new(1),
            recent: Table::new(1),
            sections: Sections::default(),
            gone: AtomicU64::new(0),
        }
    }

    /// A request, as `DmaRemapping::access` carries it out.
    fn request(&self) {
        let section = self.sections.enter();
        let epoch = self.keeper.epoch();
        let page = match self.recent.get(KEY) {
            Some([page, found_in]) if found_in == epoch.number() => page,
            _ => self.find(epoch),
        };
        // The device's access to memory.
        assert_ne!(self.gone.load(Ordering::Relaxed), page, "Used after its invalidation has completed");
        drop(section);
    }

    fn find(&self, epoch: Epoch) -> u64 {
        if let Some([page, check]) = self.cache.get(KEY) {
            assert_eq!(check, !page, "Half of a value");
            if let Some(mut change) = self.keeper.fill(epoch) {
                let epoch = change.epoch().number();
                self.recent.fill(&mut change, KEY, [page, epoch]);
            }
            page
        } else {
            let page = self.guest.load(Ordering::Acquire);
            if let Some(mut change) = self.keeper.fill(epoch) {
                self.cache.fill(&mut change, KEY, [page, !page]);
            }
            page
        }
    }

    /// The guest changes its table and invalidates, as the queue carries it out.
    fn change(&self) {
        self.guest.store(NEW, Ordering::Release);
        self.cache.evict_key(&mut self.keeper.evict(), KEY);
        self.sections.drain();
        self.gone.store(OLD, Ordering::Relaxed);
    }
}

/// Has a thread with each of these numbers send `requests` while the guest changes its table, after so many
/// that have been `answered` before.
/// Loom goes through every order of events in which no more than `switches` times a thread that could go on
/// is interrupted.
fn model(numbers: &'static [Option<usize>], answered: usize, requests: usize, switches: usize) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(move || {
        let unit = Arc::new(Unit::new());
        (0..answered).for_each(|_| unit.request());
        let devices: Vec<_> = numbers
            .iter()
            .map(|number| {
                let unit = Arc::clone(&unit);
                thread::spawn(move || {
                    numbers::set(*number);
                    (0..requests).for_each(|_| unit.request());
                })
            })
            .collect();
        unit.change();
        for device in devices {
            device.join().unwrap();
        }
        // What is remembered is what the table says.
        let found = unit.cache.get(KEY);
        assert!(found.is_none_or(|[page, _]| page == NEW));
        let recent = unit.recent.get(KEY).filter(|[_, epoch]| *epoch == unit.keeper.epoch().number());
        assert!(recent.is_none_or(|[page, _]| page == NEW));
    });
}

#[test]
fn nothing_is_used_after_its_invalidation() {
    model(&[Some(0)], 0, 2, 4);
}

#[test]
fn no_answer_is_used_after_an_invalidation() {
    model(&[Some(0)], 2, 2, 4);
}

#[test]
fn nothing_is_used_after_its_invalidation_by_two_threads() {
    model(&[Some(0), Some(1)], 0, 1, 2);
}

#[test]
fn nothing_is_used_after_its_invalidation_by_threads_without_a_number() {
    model(&[None], 0, 2, 4);
}
