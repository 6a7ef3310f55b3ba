//! Closed ranges of addresses: they can reach the last address there is.

use std::ops::Range;

/// The addresses from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Span {
    /// `None` if the range is empty: `last` before `first`.
    pub(crate) fn new(first: u64, last: u64) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// `length` addresses from `base` on, cut off at the last address there is.
    pub(crate) fn of(base: u64, length: u64) -> Option<Self> {
        Self::new(base, base.saturating_add(length.checked_sub(1)?))
    }

    /// A half-open range.
    pub(crate) fn of_range(range: &Range<u64>) -> Option<Self> {
        Self::of(range.start, range.end.saturating_sub(range.start))
    }

    /// What both have in common.
    pub(crate) fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    pub(crate) fn contains(self, address: u64) -> bool {
        self.first <= address && address <= self.last
    }
}
