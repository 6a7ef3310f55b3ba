//! What separates the mappings there are from the mappings there should be.

use std::ops::Range;

use super::extent::{Extent, Extents};

/// The part of `wanted`, sorted and without overlaps, that has an address in `range`.
pub(super) fn within<'a>(wanted: &'a [Extent], range: &Range<u64>) -> &'a [Extent] {
    let first = wanted.partition_point(|extent| extent.end() <= range.start);
    let end = wanted.partition_point(|extent| extent.start() < range.end);
    wanted.get(first..end).unwrap_or_default()
}

/// Whether every address of `extent` is wanted, and just so.
pub(super) fn is_wanted(extent: &Extent, wanted: &[Extent]) -> bool {
    let mut next = extent.start();
    for candidate in within(wanted, &extent.range()) {
        if candidate.start() > next || !candidate.agrees_with(extent) {
            return false;
        }
        next = candidate.end();
    }
    next >= extent.end()
}

/// Whether some address of `extent` is wanted just so: taking it away is then a disturbance that the guest
/// did not ask for.
pub(super) fn is_partly_wanted(extent: &Extent, wanted: &[Extent]) -> bool {
    within(wanted, &extent.range()).iter().any(|candidate| candidate.agrees_with(extent))
}

/// The extents of `present` that have an address in `areas`, which are sorted, where they say anything but
/// `wanted` does.
pub(super) fn stale(present: &Extents, areas: &[Range<u64>], wanted: &[Extent]) -> Vec<Extent> {
    let mut stale: Vec<Extent> = Vec::new();
    let mut rest = wanted.iter().peekable();
    for area in areas {
        let differs = |extent: &&Extent| {
            // Most are wanted just as they are, which is seen without a search.
            while rest.next_if(|other| other.start() < extent.start()).is_some() {}
            rest.peek() != Some(extent) && extent.clipped(area).is_some_and(|part| !is_wanted(&part, wanted))
        };
        let known = stale.last().map_or(0, Extent::end);
        let in_area = present.overlapping(area).filter(|extent| extent.start() >= known);
        stale.extend(in_area.filter(differs));
    }
    stale
}

/// The parts of `extents` for which nothing in `others` says the same.
pub(super) fn unmatched<'a>(extents: impl IntoIterator<Item = &'a Extent>, others: &Extents) -> Vec<Extent> {
    let mut unmatched = Vec::new();
    let mut next_other = None;
    for extent in extents {
        // Most have the same on the other side, and so has what follows, which is seen without a search.
        if next_other.get_or_insert_with(|| others.starting_from(extent.start())).next() == Some(extent) {
            continue;
        }
        next_other = None;
        let mut next = extent.start();
        for other in others.overlapping(&extent.range()).filter(|other| other.agrees_with(extent)) {
            unmatched.extend(extent.clipped(&(next..other.start())));
            next = other.end();
        }
        unmatched.extend(extent.clipped(&(next..extent.end())));
    }
    unmatched
}
