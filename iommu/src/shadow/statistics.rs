//! Numbers a person wants to see of an attached function.

use std::sync::atomic::{AtomicU64, Ordering};

/// What has been asked of the host for one function since it was attached, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Successful calls of [`HostMapper::map`](crate::HostMapper::map).
    pub maps: u64,
    /// Successful calls that took mappings away, one or all of them.
    pub unmaps: u64,
    /// Mappings taken away of which the guest had changed only a part. The rest was mapped again; a DMA
    /// through it in between was blocked.
    pub splits: u64,
    /// Mappings that the host refused.
    pub failed: u64,
    /// Attempts at a mapping that had been refused before.
    pub retries: u64,
    /// How often everything had to be mapped anew because the host failed to take a mapping away.
    pub rebuilds: u64,
    /// Mappings the host holds now.
    pub extents: u64,
    /// Bytes that the device can reach now.
    pub bytes: u64,
}

/// The numbers as they are kept: written by whoever holds the address space, read by anyone.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) maps: Counter,
    pub(super) unmaps: Counter,
    pub(super) splits: Counter,
    pub(super) failed: Counter,
    pub(super) retries: Counter,
    pub(super) rebuilds: Counter,
    pub(super) extents: Counter,
    pub(super) bytes: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it; gives the sum.
    pub(super) fn add(&self, value: u64) -> u64 {
        self.0.fetch_add(value, Ordering::Relaxed).wrapping_add(value)
    }

    pub(super) fn subtract(&self, value: u64) {
        self.0.fetch_sub(value, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn read(&self) -> Statistics {
        Statistics {
            maps: self.maps.get(),
            unmaps: self.unmaps.get(),
            splits: self.splits.get(),
            failed: self.failed.get(),
            retries: self.retries.get(),
            rebuilds: self.rebuilds.get(),
            extents: self.extents.get(),
            bytes: self.bytes.get(),
        }
    }
}
