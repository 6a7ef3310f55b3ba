//! Ranges of addresses with what is behind them.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::spec::INTERRUPT_RANGE;
use crate::walk::Leaf;
use crate::{GuestAddress, Iova, Permissions};

/// A range of a device's addresses that leads to guest memory contiguously and with one set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first address the device uses.
    pub iova: Iova,
    /// Where that leads.
    pub guest: GuestAddress,
    /// Bytes; never 0.
    pub length: u64,
    /// What the device may do.
    pub permissions: Permissions,
}

impl Extent {
    pub(super) const fn of_leaf(iova: Iova, leaf: Leaf) -> Self {
        // Second-stage tables allow the same to everyone.
        let permissions = leaf.rights.permissions(false).intersection(Permissions::READ_WRITE);
        Self { iova, guest: leaf.guest, length: leaf.level.span(), permissions }
    }

    pub(super) const fn start(&self) -> u64 {
        self.iova.0
    }

    pub(super) const fn end(&self) -> u64 {
        self.iova.0.saturating_add(self.length)
    }

    pub(super) const fn range(&self) -> Range<u64> {
        self.start()..self.end()
    }

    /// What a device's address must be moved by to get the guest address.
    const fn displacement(&self) -> u64 {
        self.guest.0.wrapping_sub(self.iova.0)
    }

    /// Whether an address in both means the same in both.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        self.displacement() == other.displacement() && self.permissions == other.permissions
    }

    /// From where the first of `extents`, which lie without a hole between them, begins to where the last ends.
    pub(super) fn joined(extents: &[Self]) -> Option<Self> {
        let (first, last) = (extents.first()?, extents.last()?);
        Some(Self { length: last.end() - first.start(), ..*first })
    }

    /// Whether one mapping could stand for this and `next`, which begins where this ends.
    pub(super) fn continues_into(&self, next: &Self) -> bool {
        self.end() == next.start() && self.agrees_with(next)
    }

    /// The part inside `range`.
    pub(super) fn clipped(&self, range: &Range<u64>) -> Option<Self> {
        let start = self.start().max(range.start);
        let end = self.end().min(range.end);
        (start < end).then(|| Self {
            iova: Iova(start),
            guest: GuestAddress(self.guest.0.wrapping_add(start - self.start())),
            length: end - start,
            ..*self
        })
    }

    /// The parts on either side of `hole`, a range of device addresses.
    pub(super) fn around(&self, hole: &Range<u64>) -> impl Iterator<Item = Self> + use<> {
        let below = self.clipped(&(0..hole.start));
        let above = self.clipped(&(hole.end..u64::MAX));
        below.into_iter().chain(above)
    }

    /// The device addresses that lead into `target`, a range of guest addresses.
    pub(super) fn leading_into(&self, target: &Range<u64>) -> Range<u64> {
        let guest_end = self.guest.0.saturating_add(self.length);
        let back = |guest: u64| self.start() + (guest.clamp(self.guest.0, guest_end) - self.guest.0);
        back(target.start)..back(target.end)
    }

    /// The parts by which a device can reach memory: its writes into the interrupt range are interrupts
    /// whatever the tables say, and a translation that ends there is refused (§3.14).
    pub(super) fn usable(self) -> impl Iterator<Item = Self> {
        self.around(&INTERRUPT_RANGE).flat_map(|part| part.around(&part.leading_into(&INTERRUPT_RANGE)))
    }
}

/// Extents that do not overlap, by their first address.
#[derive(Debug, Default)]
pub(super) struct Extents(BTreeMap<u64, Extent>);

impl FromIterator<Extent> for Extents {
    fn from_iter<T: IntoIterator<Item = Extent>>(extents: T) -> Self {
        Self(extents.into_iter().map(|extent| (extent.start(), extent)).collect())
    }
}

impl Extents {
    pub(super) fn insert(&mut self, extent: Extent) {
        self.0.insert(extent.start(), extent);
    }

    pub(super) fn remove(&mut self, extent: &Extent) {
        self.0.remove(&extent.start());
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Extent> {
        self.0.values()
    }

    /// The one that begins at `start`.
    pub(super) fn at(&self, start: u64) -> Option<&Extent> {
        self.0.get(&start)
    }

    /// Those that begin at `start` or above, lowest first.
    pub(super) fn starting_from(&self, start: u64) -> impl Iterator<Item = &Extent> + use<'_> {
        self.0.range(start..).map(|(_, extent)| extent)
    }

    /// Takes out those that have an address in one of these ranges.
    pub(super) fn take_overlapping(&mut self, ranges: &[Range<u64>]) -> Self {
        let of_range = |range| self.overlapping(range).map(|extent| (extent.start(), *extent));
        let taken: BTreeMap<_, _> = ranges.iter().flat_map(of_range).collect();
        for start in taken.keys() {
            self.0.remove(start);
        }
        Self(taken)
    }

    /// Those by which some address leads into `target`, a range of guest addresses, lowest first.
    pub(super) fn leading_into(&self, target: &Range<u64>) -> Vec<Extent> {
        self.iter().filter(|extent| !extent.leading_into(target).is_empty()).copied().collect()
    }

    /// Those that have an address in `range`, lowest first.
    pub(super) fn overlapping(&self, range: &Range<u64>) -> impl Iterator<Item = &Extent> + use<'_> {
        let range = if range.is_empty() { 0..0 } else { range.clone() };
        let before = self.0.range(..range.start).next_back().map(|(_, extent)| extent);
        let before = before.filter(|extent| extent.end() > range.start && !range.is_empty());
        before.into_iter().chain(self.0.range(range).map(|(_, extent)| extent))
    }
}
