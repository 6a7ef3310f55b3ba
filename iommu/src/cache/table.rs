//! A bounded concurrent cache: readers take no lock and write nothing, and nothing put in by a reader
//! survives an eviction that began after the reader looked at the source.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::padded::Padded;

/// How many slots a key may be in.
const WAYS: usize = 4;

/// What a reader saw of the cache before it looked at the source of a value (§6.5 calls for nothing older to
/// be put in later).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

/// Values of `W` words by key. 0 is not a key.
pub(crate) struct Table<const W: usize> {
    sets: Box<[[Slot<W>; WAYS]]>,
    /// How far a hashed key is shifted to index `sets`.
    shift: u32,
    /// Counts evictions. Changes only under `writer`.
    epoch: AtomicU64,
    writer: Padded<Mutex<Writer>>,
}

/// What whoever changes slots needs.
#[derive(Default)]
struct Writer {
    /// The way to replace next.
    victim: usize,
    /// How many slots are in use.
    occupied: usize,
}

impl<const W: usize> Table<W> {
    /// A cache of `2 ^ set_bits` sets of four values.
    pub(crate) fn new(set_bits: u32) -> Self {
        Self {
            sets: (0..1_usize << set_bits).map(|_| array::from_fn(|_| Slot::default())).collect(),
            shift: 64 - set_bits,
            epoch: AtomicU64::new(0),
            writer: Padded::default(),
        }
    }

    /// To be taken before anything that a value for [`Self::fill`] is made from is read.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// The value for `key`.
    pub(crate) fn get(&self, key: u64) -> Option<[u64; W]> {
        self.set(key).iter().find_map(|slot| slot.get(key))
    }

    /// Puts a value in, unless an eviction has come between or someone else is changing the cache.
    pub(crate) fn fill(&self, epoch: Epoch, key: u64, value: [u64; W]) {
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if self.epoch() != epoch {
            return;
        }
        let set = self.set(key);
        let usable = |wanted| set.iter().find(|slot| slot.key() == wanted);
        if let Some(slot) = usable(key) {
            slot.put(key, value);
        } else if let Some(slot) = usable(EMPTY) {
            slot.put(key, value);
            writer.occupied += 1;
        } else {
            set[writer.victim].put(key, value);
            writer.victim = (writer.victim + 1) % WAYS;
        }
    }

    /// Takes out every value that `doomed` names.
    pub(crate) fn evict(&self, doomed: impl Fn(u64, [u64; W]) -> bool) {
        let mut writer = self.begin_eviction();
        if writer.occupied == 0 {
            return;
        }
        for slot in self.sets.iter().flatten() {
            if slot.key() != EMPTY && doomed(slot.key(), slot.value()) {
                slot.put(EMPTY, slot.value());
                writer.occupied -= 1;
            }
        }
    }

    /// Takes out the values for `keys`.
    pub(crate) fn evict_keys(&self, keys: impl IntoIterator<Item = u64>) {
        let mut writer = self.begin_eviction();
        if writer.occupied == 0 {
            return;
        }
        for key in keys {
            if let Some(slot) = self.set(key).iter().find(|slot| slot.key() == key) {
                slot.put(EMPTY, slot.value());
                writer.occupied -= 1;
            }
        }
    }

    fn begin_eviction(&self) -> MutexGuard<'_, Writer> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.epoch.fetch_add(1, Ordering::Release);
        writer
    }

    fn set(&self, key: u64) -> &[Slot<W>; WAYS] {
        // Multiplying by the golden ratio spreads neighbouring keys over the upper bits.
        let index = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift;
        &self.sets[index as usize & (self.sets.len() - 1)]
    }
}

/// The key of a slot not in use.
const EMPTY: u64 = 0;

/// A value under a sequence lock: an odd sequence number means that it is being changed. Only the holder of
/// the writer's lock changes it.
#[repr(align(32))]
struct Slot<const W: usize> {
    sequence: AtomicU64,
    key: AtomicU64,
    value: [AtomicU64; W],
}

impl<const W: usize> Default for Slot<W> {
    fn default() -> Self {
        Self {
            sequence: AtomicU64::default(),
            key: AtomicU64::new(EMPTY),
            value: array::from_fn(|_| AtomicU64::default()),
        }
    }
}

impl<const W: usize> Slot<W> {
    /// The value, if it is the one for `key` and stays so while it is read.
    fn get(&self, key: u64) -> Option<[u64; W]> {
        let sequence = self.sequence.load(Ordering::Acquire);
        if self.key() != key || sequence % 2 == 1 {
            return None;
        }
        let value = self.value();
        fence(Ordering::Acquire);
        (self.sequence.load(Ordering::Relaxed) == sequence).then_some(value)
    }

    fn put(&self, key: u64, value: [u64; W]) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.key.store(key, Ordering::Relaxed);
        for (word, value) in self.value.iter().zip(value) {
            word.store(value, Ordering::Relaxed);
        }
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    fn key(&self) -> u64 {
        self.key.load(Ordering::Relaxed)
    }

    fn value(&self) -> [u64; W] {
        array::from_fn(|word| self.value[word].load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
