//! What the tables say of a part of an address space.

use std::ops::Range;

use super::difference::stale;
use super::extent::{Extent, Extents};
use super::wanted::Reader;
use crate::{Iova, TableMemory};

/// Areas, and everything that is wanted in them. Nothing in it overlaps.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) areas: Vec<Range<u64>>,
    pub(super) wanted: Vec<Extent>,
    /// Where a limit left something out.
    pub(super) cut_short: Option<Iova>,
}

impl Part {
    /// Adds a range that lies behind all that has been added, and what the leaves at its edges cover beyond them.
    pub(super) fn read(&mut self, range: &Range<u64>, reader: &mut Reader<'_, impl TableMemory>) {
        // A leaf may have reached into it.
        let begun = self.areas.last().map_or(0, |area| area.end);
        let start = range.start.max(begun);
        if start >= range.end {
            return;
        }
        // The guest may have changed it since, so what it is said to be now does not count for both.
        let leaves = reader.leaves(&(start..range.end));
        let leaves: Vec<_> = leaves.iter().filter_map(|leaf| leaf.clipped(&(begun..u64::MAX))).collect();
        let start = leaves.first().map_or(start, |leaf| leaf.start().min(start));
        let end = leaves.last().map_or(range.end, |leaf| leaf.end().max(range.end));
        self.areas.push(start..end);
        self.wanted.extend(leaves);
        self.cut_short = self.cut_short.or(reader.cut_short());
    }

    /// Adds a range of which no part has been added, and nothing beyond it.
    pub(super) fn read_within(&mut self, range: &Range<u64>, reader: &mut Reader<'_, impl TableMemory>) {
        self.areas.push(range.clone());
        self.wanted.extend(reader.leaves_within(range));
        self.cut_short = self.cut_short.or(reader.cut_short());
    }

    /// What mappings that have to go cover outside of the areas.
    pub(super) fn rests(&self, present: &Extents) -> Vec<Range<u64>> {
        let mut rests = Vec::new();
        for extent in stale(present, &self.areas, &self.wanted) {
            let first = self.areas.partition_point(|area| area.end <= extent.start());
            let mut next = extent.start();
            for area in self.areas[first..].iter().take_while(|area| area.start < extent.end()) {
                if next < area.start {
                    rests.push(next..area.start);
                }
                next = area.end;
            }
            if next < extent.end() {
                rests.push(next..extent.end());
            }
        }
        rests
    }

    /// Puts everything in the order of addresses.
    pub(super) fn sort(&mut self) {
        self.areas.sort_unstable_by_key(|area| area.start);
        self.wanted.sort_unstable_by_key(Extent::start);
    }
}

/// Those ranges that no other one contains, in the order of addresses. Of two ranges that overlap one contains
/// the other: they are aligned to their sizes.
pub(super) fn outermost(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    let mut outermost: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        if outermost.last().is_none_or(|last| last.end < range.end) {
            outermost.push(range);
        }
    }
    outermost
}
