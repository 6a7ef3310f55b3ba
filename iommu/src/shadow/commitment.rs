//! What the host has been asked to map in one address space, and the asking.

use std::collections::BTreeSet;
use std::ops::Range;
use std::slice;

use super::difference::{is_partly_wanted, stale, unmatched};
use super::extent::{Extent, Extents};
use super::report::Report;
use super::statistics::Statistics;
use super::wanted::LEAF_LIMIT;
use crate::{HostMapper, MapError};

/// How many refused mappings are remembered, so that each is reported once.
const REFUSED_LIMIT: usize = 4096;

/// How many times over guest memory may be mapped. Drivers map it once at most, with a few pages that are in
/// several requests at a time. To the host every mapping is pages to pin and page tables to fill, and a
/// guest has a gigabyte of it for one entry of its own tables.
const MOST_TIMES_OVER: u64 = 4;

/// Which leaves one host mapping may stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Grouping {
    /// One each. The guest may take any of them away alone, and the host cannot take a part of a mapping.
    Leaves,
    /// Those that continue each other, unless one of these addresses is between them: the guest named the ones in
    /// one breath, and will again, and the others in another. What was one mapping before may be one again.
    Runs {
        /// Where what was named in one breath begins or ends.
        edges: BTreeSet<u64>,
    },
}

impl Grouping {
    /// Whether one mapping may stand for `leaf` and `next`, where `gone` have just been taken away.
    fn joins(&self, leaf: &Extent, next: &Extent, gone: &[Extent]) -> bool {
        let Self::Runs { edges } = self else { return false };
        let was_one = || {
            let index = gone.partition_point(|extent| extent.end() <= next.start());
            gone.get(index).is_some_and(|extent| extent.start() < next.start())
        };
        leaf.continues_into(next) && (!edges.contains(&next.start()) || was_one())
    }
}

/// The host failed to take a mapping away, so everything has been taken away.
#[derive(Debug)]
pub(super) struct Lost;

/// There is no room for another mapping.
#[derive(Debug)]
struct Full;

/// The host's mappings.
pub(super) struct Commitment {
    mapper: Box<dyn HostMapper>,
    present: Extents,
    /// What was asked for and refused, at the last attempt.
    refused: Extents,
    /// The most bytes that may be mapped.
    most_bytes: u64,
    numbers: Statistics,
}

impl Commitment {
    /// Nothing, by way of a mapper that maps nothing yet, and no leave to map anything.
    pub(super) fn new(mapper: Box<dyn HostMapper>) -> Self {
        Self {
            mapper,
            present: Extents::default(),
            refused: Extents::default(),
            most_bytes: 0,
            numbers: Statistics { spaces: 1, ..Statistics::default() },
        }
    }

    /// Lets as much be mapped as `memory` bytes are worth.
    pub(super) fn allow(&mut self, memory: u64) {
        self.most_bytes = memory.saturating_mul(MOST_TIMES_OVER);
    }

    /// What has been asked of the host so far.
    pub(super) const fn numbers(&self) -> &Statistics {
        &self.numbers
    }

    /// What is mapped.
    pub(super) const fn present(&self) -> &Extents {
        &self.present
    }

    /// What should be mapped and was refused.
    pub(super) const fn refused(&self) -> &Extents {
        &self.refused
    }

    /// Whether that is all of it, and not only as much as is remembered.
    pub(super) fn knows_all_refusals(&self) -> bool {
        self.refused.len() < REFUSED_LIMIT
    }

    /// Takes mappings of those there are away, sorted; of what leads into `target` as if the host had refused it.
    pub(super) fn withdraw(
        &mut self,
        extents: &[Extent],
        target: &Range<u64>,
        report: &mut Report,
    ) -> Result<(), Lost> {
        for adjacent in extents.chunk_by(|extent, next| extent.end() == next.start()) {
            self.unmap(adjacent, report)?;
            for part in adjacent.iter().filter_map(|extent| extent.clipped(&extent.leading_into(target))) {
                self.remember(&part);
            }
        }
        Ok(())
    }

    /// Whether a range is one mapping, or nothing at all.
    pub(super) fn is_apart(&self, range: &Range<u64>) -> bool {
        self.refused.is_empty() && self.present.overlapping(range).all(|extent| extent.range() == *range)
    }

    /// Does what [`Self::bring_in_line`] does, for a range that is one mapping or nothing, and is to be `wanted` or
    /// nothing.
    pub(super) fn replace(
        &mut self,
        range: &Range<u64>,
        wanted: Option<Extent>,
        report: &mut Report,
    ) -> Result<(), Lost> {
        let present = self.present.at(range.start).copied();
        if present == wanted {
            return Ok(());
        }
        if let Some(stale) = present {
            self.unmap(slice::from_ref(&stale), report)?;
        }
        if let Some(missing) = wanted {
            // There is nothing else to map, so it does not matter whether there would be room.
            let _ = self.map_run(slice::from_ref(&missing), &Extents::default(), report);
        }
        Ok(())
    }

    /// Makes `areas` hold what is `wanted`, and nothing else: first everything that is in the way goes, then
    /// what is missing comes. Both are sorted and do not overlap; what is wanted lies within the areas, and no
    /// mapping that has to go reaches out of them.
    pub(super) fn bring_in_line(
        &mut self,
        areas: &[Range<u64>],
        wanted: &[Extent],
        grouping: &Grouping,
        report: &mut Report,
    ) -> Result<(), Lost> {
        let stale = stale(&self.present, areas, wanted);
        let splits = stale.iter().filter(|extent| is_partly_wanted(extent, wanted)).count();
        self.numbers.splits += splits as u64;
        for adjacent in stale.chunk_by(|extent, next| extent.end() == next.start()) {
            self.unmap(adjacent, report)?;
        }

        let missing = unmatched(wanted, &self.present);
        let refused_before = self.refused.take_overlapping(areas);
        let rest = areas.iter().fold(refused_before.iter().copied().collect::<Vec<_>>(), |rest, area| {
            rest.iter().flat_map(|extent| extent.around(area)).collect()
        });
        for extent in &rest {
            self.remember(extent);
        }
        let mut full = false;
        for run in missing.chunk_by(|leaf, next| grouping.joins(leaf, next, &stale)) {
            if full {
                // Not attempted, so what is known of it stays as it is.
                run.iter().filter(|leaf| refused_before.foresee(leaf)).for_each(|leaf| self.remember(leaf));
            } else {
                full = self.map_run(run, &refused_before, report).is_err();
            }
        }
        Ok(())
    }

    /// Takes every mapping away.
    pub(super) fn clear(&mut self, report: &mut Report) {
        self.refused.clear();
        if !self.present.is_empty() {
            self.mapper.unmap_all();
            self.numbers.unmaps += 1;
            self.forget_all();
            report.emptied();
        }
    }

    /// Maps leaves that continue each other, in one call if the host is content with that.
    fn map_run(&mut self, run: &[Extent], refused_before: &Extents, report: &mut Report) -> Result<(), Full> {
        let Some(joined) = Extent::joined(run) else { return Ok(()) };
        let known = refused_before.foresee(&joined);
        self.numbers.retries += u64::from(known);
        match self.map(&joined, report) {
            Ok(()) => Ok(()),
            // Some of them may be at fault and others not.
            Err(MapError::NotMemory(_) | MapError::Unusable(_)) if run.len() > 1 => {
                run.iter().try_for_each(|leaf| self.map_run(slice::from_ref(leaf), refused_before, report))
            }
            Err(error) => {
                let full = matches!(error, MapError::Full | MapError::TooMany | MapError::TimesOver);
                self.numbers.failed += 1;
                if !known {
                    report.map_failed(&joined, error);
                }
                self.remember(&joined);
                if full { Err(Full) } else { Ok(()) }
            }
        }
    }

    fn map(&mut self, extent: &Extent, report: &mut Report) -> Result<(), MapError> {
        if self.present.len() >= LEAF_LIMIT {
            return Err(MapError::TooMany);
        }
        if extent.length > self.most_bytes.saturating_sub(self.numbers.bytes) {
            return Err(MapError::TimesOver);
        }
        self.mapper.map(extent.iova, extent.guest, extent.length, extent.permissions)?;
        self.present.insert(*extent);
        self.numbers.maps += 1;
        self.numbers.extents += 1;
        self.numbers.bytes += extent.length;
        report.mapped(extent);
        Ok(())
    }

    /// Takes away mappings without a hole between them, in one call.
    fn unmap(&mut self, adjacent: &[Extent], report: &mut Report) -> Result<(), Lost> {
        let Some(joined) = Extent::joined(adjacent) else { return Ok(()) };
        if let Err(error) = self.mapper.unmap(joined.iova, joined.length) {
            // Which of them are still there cannot be known, and none may be when this is reported as done.
            report.unmap_failed(joined.iova, joined.length, error);
            self.numbers.rebuilds += 1;
            self.clear(report);
            return Err(Lost);
        }
        for extent in adjacent {
            self.present.remove(extent);
        }
        self.numbers.unmaps += 1;
        self.numbers.extents -= adjacent.len() as u64;
        self.numbers.bytes -= joined.length;
        report.unmapped(joined.iova, joined.length);
        Ok(())
    }

    fn remember(&mut self, refused: &Extent) {
        if self.refused.len() < REFUSED_LIMIT {
            self.refused.insert(*refused);
        }
    }

    fn forget_all(&mut self) {
        self.present.clear();
        self.numbers.extents = 0;
        self.numbers.bytes = 0;
    }
}

impl Extents {
    /// Whether one of them says the same about where `extent` begins.
    pub(super) fn foresee(&self, extent: &Extent) -> bool {
        let begin = extent.start()..extent.start().saturating_add(1);
        self.overlapping(&begin).any(|known| known.agrees_with(extent))
    }
}
