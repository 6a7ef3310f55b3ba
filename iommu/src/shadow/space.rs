//! An address space: which of the guest's tables it follows, and how far they have been followed.

use std::ops::Range;

use super::Tables;
use super::commitment::{Commitment, Grouping};
use super::extent::Extent;
use super::part::{Part, outermost};
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
    /// Guest RAM, each address for itself.
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
        Self { content: None, commitment: Commitment::new(mapper), identity, cut_short: None }
    }

    pub(super) const fn content(&self) -> Option<Content> {
        self.content
    }

    pub(super) const fn follows_a_table(&self) -> bool {
        matches!(self.content, Some(Content::Table(..)))
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
        self.commitment.allow(self.ram().saturating_add(tables.peer_bytes()));
        if self.content == Some(Content::Identity) {
            // The guest did not ask for these, so it is no fault of its tables if the host cannot map them.
            report.excuse(tables.peers());
        }
        let mut attempt = || self.commitment.bring_in_line(&[EVERYWHERE], &wanted, &Grouping::Leaves, report);
        if attempt().is_err() {
            // Nothing is mapped now, so this time nothing can be lost.
            let _ = attempt();
        }
    }

    /// Compares ranges, each named by a descriptor of its own, with what the tables say now: first everything goes
    /// that they name and that has to, then comes what is missing.
    ///
    /// A page of the guest's that reaches beyond a range counts as named whole, as an IOTLB would drop it whole.
    /// A mapping of which some part in a range has to go is taken whole, since the host can do nothing else, and
    /// what the tables still say of the rest is mapped again.
    pub(super) fn resync_pages(
        &mut self,
        ranges: &[Range<u64>],
        tables: &Tables<impl TableMemory>,
        report: &mut Report,
    ) {
        let Some(Content::Table(table, _)) = self.content else {
            return self.resync(tables, report);
        };
        // One for all of it: there may be thousands of ranges, and the limits are those of one operation.
        let mut reader = Reader::new(table, tables);
        // Most announcements are about one page that has come or gone, and a driver waits for each.
        if let [range] = ranges
            && self.commitment.is_apart(range)
            && let Ok(wanted) = reader.leaf(range)
        {
            if self.commitment.replace(range, wanted, report).is_err() {
                self.resync(tables, report);
            }
            return;
        }
        let mut part = Part::default();
        for range in outermost(ranges) {
            part.read(&range, &mut reader);
        }
        for rest in part.rests(self.commitment.present()) {
            part.read_within(&rest, &mut reader);
        }
        part.sort();

        self.note_limit(part.cut_short.or(self.cut_short), report);
        let edges = ranges.iter().flat_map(|range| [range.start, range.end]).collect();
        let grouping = Grouping::Runs { edges };
        if self.commitment.bring_in_line(&part.areas, &part.wanted, &grouping, report).is_err() {
            self.resync(tables, report);
        }
    }

    /// Asks again for what was refused because `target` led nowhere.
    pub(super) fn target_appeared(
        &mut self,
        target: &Range<u64>,
        tables: &Tables<impl TableMemory>,
        report: &mut Report,
    ) {
        match self.content {
            None | Some(Content::FirstStage(_)) => {}
            Some(Content::Table(..)) if self.commitment.knows_all_refusals() => {
                self.commitment.allow(self.ram().saturating_add(tables.peer_bytes()));
                let refused = self.commitment.refused().leading_into(target);
                let ranges: Vec<_> = refused.iter().map(Extent::range).collect();
                self.resync_pages(&ranges, tables, report);
            }
            Some(Content::Table(..) | Content::Identity) => self.resync(tables, report),
        }
    }

    /// Takes away what leads into `target`. It stays refused, until the target appears again or the guest's tables
    /// say something else.
    pub(super) fn target_disappeared(
        &mut self,
        target: &Range<u64>,
        tables: &Tables<impl TableMemory>,
        report: &mut Report,
    ) {
        let gone = self.commitment.present().leading_into(target);
        if self.commitment.withdraw(&gone, target, report).is_err() {
            return self.resync(tables, report);
        }
        // One mapping may have stood for pages of which others lead elsewhere.
        let rests = gone.iter().flat_map(|extent| extent.around(&extent.leading_into(target)));
        let ranges: Vec<_> = rests.map(|rest| rest.range()).collect();
        if !ranges.is_empty() {
            self.resync_pages(&ranges, tables, report);
        }
    }

    fn ram(&self) -> u64 {
        self.identity.iter().map(|part| part.length).sum()
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
        Some(Content::Identity) => {
            let mut all = [identity, &tables.peers()].concat();
            all.sort_unstable_by_key(Extent::start);
            (unprotected(all, tables), None)
        }
        Some(Content::Table(table, _)) => {
            let mut reader = Reader::new(table, tables);
            (reader.leaves(&EVERYWHERE), reader.cut_short())
        }
    }
}

/// `all` but for what is protected from addresses that nothing translates.
fn unprotected(all: Vec<Extent>, tables: &Tables<impl TableMemory>) -> Vec<Extent> {
    tables
        .protected()
        .iter()
        .fold(all, |parts, hole| parts.iter().flat_map(|part| part.around(hole)).collect())
}
