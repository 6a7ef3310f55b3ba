//! An address space: which of the guest's tables it follows, and how far they have been followed.

use std::ops::Range;

use super::Tables;
use super::commitment::{Commitment, Grouping};
use super::difference::is_wanted;
use super::extent::{Extent, Extents};
use super::regime::Content;
use super::report::Report;
use super::wanted::Reader;
use crate::{GuestAddress, HostMapper, Iova, Permissions, TableMemory};

/// Every address a device can use.
const EVERYWHERE: Range<u64> = 0..u64::MAX;

/// One of the host's address spaces.
///
/// Whatever is committed was allowed by the guest's tables when the guest last announced a change there.
/// Within an operation everything that goes is unmapped before anything is mapped, so that nothing is ever
/// reachable that neither the old nor the new tables allow.
pub(super) struct AddressSpace {
    /// What it follows; none if nothing is to be reached.
    content: Option<Content>,
    commitment: Commitment,
    /// Guest memory, each address for itself.
    identity: Vec<Extent>,
    /// Where following the tables was last cut short by a limit.
    cut_short: Option<Iova>,
}

/// Guest memory (start, length) as extents, each address for itself.
pub(super) fn identity(ram: Vec<(GuestAddress, u64)>) -> Vec<Extent> {
    let one_to_one = |(start, length): (GuestAddress, u64)| Extent {
        iova: Iova(start.0),
        guest: start,
        length,
        permissions: Permissions::READ_WRITE,
    };
    let mut identity: Vec<_> = ram.into_iter().map(one_to_one).flat_map(Extent::usable).collect();
    identity.sort_unstable_by_key(Extent::start);
    identity
}

impl AddressSpace {
    /// A space in which nothing is reached, over guest memory as [`identity`] gave it.
    pub(super) fn new(mapper: Box<dyn HostMapper>, identity: Vec<Extent>) -> Self {
        let ram = identity.iter().map(|part| part.length).sum();
        Self { content: None, commitment: Commitment::new(mapper, ram), identity, cut_short: None }
    }

    pub(super) const fn content(&self) -> Option<Content> {
        self.content
    }

    pub(super) const fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// Whether it is one over the same guest memory.
    pub(super) fn is_over(&self, identity: &[Extent]) -> bool {
        self.identity == identity
    }

    /// Follows something else from now on: everything that it mapped goes before anything comes. The same under
    /// another name is compared with what the tables say now, and only what differs is touched.
    pub(super) fn follow(
        &mut self,
        content: Option<Content>,
        tables: &Tables<impl TableMemory>,
        report: &mut Report,
    ) {
        let before = std::mem::replace(&mut self.content, content);
        if !before.zip(content).is_some_and(|(before, content)| before.maps_like(content)) {
            self.clear(report);
        }
        self.resync(tables, report);
    }

    /// Compares everything with what the tables say now. What has not changed is not touched.
    pub(super) fn resync(&mut self, tables: &Tables<impl TableMemory>, report: &mut Report) {
        let (wanted, cut_short) = wanted(self.content, &self.identity, tables);
        self.note_limit(cut_short, report);
        let mut attempt = || self.commitment.bring_in_line(&EVERYWHERE, &wanted, Grouping::Leaves, report);
        if attempt().is_err() {
            // Nothing is mapped now, so this time nothing can be lost.
            let _ = attempt();
        }
    }

    /// Compares `range` with what the tables say now.
    ///
    /// A page of the guest's that reaches beyond the range counts as named whole, as an IOTLB would drop it
    /// whole. So does a mapping of which some part in the range has to go: the host takes it whole or not at
    /// all, and what the tables still say of the rest is mapped again.
    pub(super) fn resync_pages(
        &mut self,
        range: Range<u64>,
        tables: &Tables<impl TableMemory>,
        report: &mut Report,
    ) {
        let Some(Content::Table(table, _)) = self.content else {
            return self.resync(tables, report);
        };
        let mut reader = Reader::new(table, tables);
        let mut wanted = reader.leaves(&range);
        let range = with_whole_leaves(range, &wanted);

        let whole = with_whole_extents(&range, &wanted, self.commitment.present());
        if whole != range {
            let before = reader.leaves_within(&(whole.start..range.start));
            wanted.splice(0..0, before);
            wanted.extend(reader.leaves_within(&(range.end..whole.end)));
        }

        self.note_limit(reader.cut_short().or(self.cut_short), report);
        if self.commitment.bring_in_line(&whole, &wanted, Grouping::Runs, report).is_err() {
            self.resync(tables, report);
        }
    }

    /// Takes every mapping away.
    pub(super) fn clear(&mut self, report: &mut Report) {
        self.commitment.clear(report);
        self.cut_short = None;
    }

    /// Reports, once, that the tables map more than is followed.
    fn note_limit(&mut self, cut_short: Option<Iova>, report: &mut Report) {
        if let Some(iova) = cut_short
            && self.cut_short != Some(iova)
        {
            report.cut_short(iova);
        }
        self.cut_short = cut_short;
    }
}

/// Everything that should be mapped to follow `content`, and where a limit left something out.
pub(super) fn wanted(
    content: Option<Content>,
    identity: &[Extent],
    tables: &Tables<impl TableMemory>,
) -> (Vec<Extent>, Option<Iova>) {
    match content {
        None | Some(Content::FirstStage(_)) => (Vec::new(), None),
        Some(Content::Identity) => (unprotected(identity, tables), None),
        Some(Content::Table(table, _)) => {
            let mut reader = Reader::new(table, tables);
            (reader.leaves(&EVERYWHERE), reader.cut_short())
        }
    }
}

/// Guest memory but for what is protected from addresses that nothing translates.
fn unprotected(identity: &[Extent], tables: &Tables<impl TableMemory>) -> Vec<Extent> {
    tables
        .protected()
        .iter()
        .fold(identity.to_vec(), |parts, hole| parts.iter().flat_map(|part| part.around(hole)).collect())
}

/// `range`, and what the leaves at its edges cover beyond them.
fn with_whole_leaves(range: Range<u64>, leaves: &[Extent]) -> Range<u64> {
    let start = leaves.first().map_or(range.start, |leaf| leaf.start().min(range.start));
    let end = leaves.last().map_or(range.end, |leaf| leaf.end().max(range.end));
    start..end
}

/// `range`, and what those mappings cover beyond its edges that cannot stay as they are.
fn with_whole_extents(range: &Range<u64>, wanted: &[Extent], present: &Extents) -> Range<u64> {
    let mut whole = range.clone();
    for edge in [range.start..range.start + 1, range.end - 1..range.end] {
        for extent in present.overlapping(&edge) {
            if extent.clipped(range).is_some_and(|part| !is_wanted(&part, wanted)) {
                whole = whole.start.min(extent.start())..whole.end.max(extent.end());
            }
        }
    }
    whole
}
