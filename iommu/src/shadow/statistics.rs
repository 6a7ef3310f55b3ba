//! Numbers a person wants to see of what the host maps.

use std::ops::AddAssign;

/// What has been asked of the host, and what it holds now: for an address space as long as it has existed, or
/// for all that there are and were behind a unit.
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
    /// Successful calls of [`NestedSpace::forget`](crate::NestedSpace::forget).
    pub forgets: u64,
    /// Mappings the host holds now.
    pub extents: u64,
    /// Bytes that can be reached now.
    pub bytes: u64,
    /// Address spaces that there are.
    pub spaces: u64,
    /// Groups that are in them.
    pub seats: u64,
    /// How often a group, or its requests with some PASID, went into another address space.
    pub moves: u64,
    /// How often the host refused to give a group an address space, or to let it in.
    pub refused_moves: u64,
}

impl Statistics {
    /// What remains of an address space that is no more.
    pub(super) const fn past(self) -> Self {
        Self { extents: 0, bytes: 0, spaces: 0, seats: 0, ..self }
    }
}

impl AddAssign for Statistics {
    fn add_assign(&mut self, other: Self) {
        self.maps += other.maps;
        self.unmaps += other.unmaps;
        self.splits += other.splits;
        self.failed += other.failed;
        self.retries += other.retries;
        self.rebuilds += other.rebuilds;
        self.forgets += other.forgets;
        self.extents += other.extents;
        self.bytes += other.bytes;
        self.spaces += other.spaces;
        self.seats += other.seats;
        self.moves += other.moves;
        self.refused_moves += other.refused_moves;
    }
}
