//! Bounded concurrent caches: readers take no lock and write nothing, and nothing put in by a reader
//! survives an eviction that began after the reader looked at the source.

use std::array;

use crate::padded::Padded;
use crate::sync::{AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError, TryLockError, fence};

/// How many slots a key may be in.
pub(crate) const WAYS: usize = 4;

/// What a reader saw of the caches before it looked at the source of a value (§6.5 calls for nothing older
/// to be put in later).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

/// Says who may change the tables of one group: one at a time.
pub(crate) struct Keeper {
    /// Counts evictions. Changes only under `lock`.
    epoch: AtomicU64,
    /// Holds the way to replace next.
    lock: Padded<Mutex<usize>>,
}

/// As long as this lives, its owner and nobody else changes the tables of the group.
pub(crate) struct Change<'a> {
    epoch: &'a AtomicU64,
    victim: MutexGuard<'a, usize>,
    /// It takes values out.
    evicts: bool,
}

impl Epoch {
    /// A number that no other epoch of the same group has.
    pub(crate) const fn number(self) -> u64 {
        self.0
    }
}

impl Change<'_> {
    /// The epoch that it happens in.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        // Only now is all gone that was to go: who has found some of it meanwhile has seen the epoch that ends
        // here, so that nothing made from it is put in any more.
        if self.evicts {
            let Epoch(ended) = self.epoch();
            self.epoch.store(ended.wrapping_add(1), Ordering::Release);
        }
    }
}

impl Default for Keeper {
    fn default() -> Self {
        Self { epoch: AtomicU64::new(0), lock: Padded(Mutex::new(0)) }
    }
}

impl Keeper {
    /// To be taken before anything that a value for [`Self::fill`] is made from is read.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// To put values in; not after an eviction has come between or while someone else changes something.
    pub(crate) fn fill(&self, epoch: Epoch) -> Option<Change<'_>> {
        let victim = match self.lock.try_lock() {
            Ok(victim) => victim,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        (self.epoch() == epoch).then(|| self.change(victim, false))
    }

    /// To take values out.
    pub(crate) fn evict(&self) -> Change<'_> {
        self.change(self.lock.lock().unwrap_or_else(PoisonError::into_inner), true)
    }

    const fn change<'a>(&'a self, victim: MutexGuard<'a, usize>, evicts: bool) -> Change<'a> {
        Change { epoch: &self.epoch, victim, evicts }
    }
}

/// Values of `V` words by keys of `K`. All zeros is not a key.
pub(crate) struct Table<const K: usize, const V: usize> {
    sets: Box<[[Slot<K, V>; WAYS]]>,
    /// How far a hashed key is shifted to index `sets`.
    shift: u32,
    /// How many slots are in use. Changes only with a [`Change`].
    occupied: AtomicUsize,
}

impl<const K: usize, const V: usize> Table<K, V> {
    /// A cache of `2 ^ set_bits` sets of four values.
    pub(crate) fn new(set_bits: u32) -> Self {
        Self {
            sets: (0..1_usize << set_bits).map(|_| array::from_fn(|_| Slot::default())).collect(),
            shift: 64 - set_bits,
            occupied: AtomicUsize::new(0),
        }
    }

    /// The value for `key`.
    #[inline]
    pub(crate) fn get(&self, key: [u64; K]) -> Option<[u64; V]> {
        self.set(key).iter().find(|slot| slot.key() == key)?.get(key)
    }

    /// Whether there is nothing to take out. Only with a [`Change`] this stays so.
    pub(crate) fn is_empty(&self) -> bool {
        self.occupied.load(Ordering::Relaxed) == 0
    }

    /// Puts a value in.
    pub(crate) fn fill(&self, change: &mut Change, key: [u64; K], value: [u64; V]) {
        let set = self.set(key);
        let usable = |wanted| set.iter().find(|slot| slot.key() == wanted);
        if let Some(slot) = usable(key) {
            slot.put(key, value);
        } else if let Some(slot) = usable(Slot::<K, V>::EMPTY) {
            slot.put(key, value);
            self.occupied.store(self.occupied.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            set[*change.victim].put(key, value);
            *change.victim = (*change.victim + 1) % WAYS;
        }
    }

    /// Takes out every value that `doomed` names.
    pub(crate) fn evict(&self, change: &mut Change, doomed: impl Fn([u64; K], [u64; V]) -> bool) {
        let mut left = self.occupied.load(Ordering::Relaxed);
        for slot in self.sets.iter().flatten() {
            if left == 0 {
                break;
            }
            if slot.key() != Slot::<K, V>::EMPTY {
                left -= 1;
                if doomed(slot.key(), slot.value()) {
                    self.clear(change, slot);
                }
            }
        }
    }

    /// Takes out the value for `key`.
    pub(crate) fn evict_key(&self, change: &mut Change, key: [u64; K]) {
        if let Some(slot) = self.set(key).iter().find(|slot| slot.key() == key) {
            self.clear(change, slot);
        }
    }

    fn clear(&self, _: &mut Change, slot: &Slot<K, V>) {
        slot.put(Slot::<K, V>::EMPTY, slot.value());
        self.occupied.store(self.occupied.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }

    #[inline]
    fn set(&self, key: [u64; K]) -> &[Slot<K, V>; WAYS] {
        // Multiplying by the golden ratio spreads neighbouring keys over the upper bits.
        let mixed = key.iter().fold(0, |mixed: u64, word| mixed.rotate_left(32) ^ word);
        let index = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift;
        &self.sets[index as usize & (self.sets.len() - 1)]
    }
}

/// A value under a sequence lock: an odd sequence number means that it is being changed. Only the owner of a
/// [`Change`] changes it.
#[repr(align(32))]
struct Slot<const K: usize, const V: usize> {
    sequence: AtomicU64,
    key: [AtomicU64; K],
    value: [AtomicU64; V],
}

impl<const K: usize, const V: usize> Default for Slot<K, V> {
    fn default() -> Self {
        Self {
            sequence: AtomicU64::new(0),
            key: array::from_fn(|_| AtomicU64::new(0)),
            value: array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl<const K: usize, const V: usize> Slot<K, V> {
    /// The key of a slot not in use.
    const EMPTY: [u64; K] = [0; K];

    /// The value, if it is the one for `key` and stays so while it is read.
    #[inline]
    fn get(&self, key: [u64; K]) -> Option<[u64; V]> {
        let sequence = self.sequence.load(Ordering::Acquire);
        if !sequence.is_multiple_of(2) || self.key() != key {
            return None;
        }
        let value = self.value();
        fence(Ordering::Acquire);
        (self.sequence.load(Ordering::Relaxed) == sequence).then_some(value)
    }

    fn put(&self, key: [u64; K], value: [u64; V]) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (place, word) in self.key.iter().zip(key) {
            place.store(word, Ordering::Relaxed);
        }
        for (place, word) in self.value.iter().zip(value) {
            place.store(word, Ordering::Relaxed);
        }
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    #[inline]
    fn key(&self) -> [u64; K] {
        array::from_fn(|word| self.key[word].load(Ordering::Relaxed))
    }

    #[inline]
    fn value(&self) -> [u64; V] {
        array::from_fn(|word| self.value[word].load(Ordering::Relaxed))
    }
}
