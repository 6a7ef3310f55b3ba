//! One function's address space: which of the guest's tables it follows, and how far they have been followed.

use std::ops::Range;
use std::sync::Arc;

use super::Tables;
use super::commitment::{Commitment, Grouping};
use super::difference::is_wanted;
use super::extent::{Extent, Extents};
use super::regime::{Kind, Regime};
use super::report::Report;
use super::statistics::Counters;
use super::wanted::Reader;
use crate::{GuestAddress, HostMapper, Iova, Permissions, TableMemory};

/// Every address a device can use.
const EVERYWHERE: Range<u64> = 0..u64::MAX;

/// The address space of one function.
///
/// Whatever is committed was allowed by the guest's tables when the guest last announced a change there.
/// Within an operation everything that goes is unmapped before anything is mapped, so that nothing is ever
/// reachable that neither the old nor the new tables allow.
pub(super) struct AddressSpace {
    regime: Regime,
    commitment: Commitment,
    /// Guest memory, each address for itself.
    identity: Vec<Extent>,
    /// Where following the tables was last cut short by a limit.
    cut_short: Option<Iova>,
}

impl AddressSpace {
    /// An address space in which everything is blocked.
    pub(super) fn new(
        mapper: Box<dyn HostMapper>,
        ram: Vec<(GuestAddress, u64)>,
        counters: Arc<Counters>,
    ) -> Self {
        let one_to_one = |(start, length): (GuestAddress, u64)| Extent {
            iova: Iova(start.0),
            guest: start,
            length,
            permissions: Permissions::READ_WRITE,
        };
        let mut identity: Vec<_> = ram.into_iter().map(one_to_one).flat_map(Extent::usable).collect();
        identity.sort_unstable_by_key(Extent::start);
        Self {
            regime: Regime::BLOCKED,
            commitment: Commitment::new(mapper, identity.iter().map(|part| part.length).sum(), counters),
            identity,
            cut_short: None,
        }
    }

    pub(super) const fn regime(&self) -> &Regime {
        &self.regime
    }

    pub(super) const fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// Comes under `regime`; gives whether it is another one. If it is, the mappings are in line with it.
    /// If it is not, nothing is touched: the guest has not said that what its tables map has changed.
    pub(super) fn enter(
        &mut self,
        regime: Regime,
        tables: &Tables<impl TableMemory>,
        report: &mut Report,
    ) -> bool {
        let before = std::mem::replace(&mut self.regime, regime);
        if before.kind != regime.kind {
            self.clear(report);
            if regime.kind == Kind::Unfollowed {
                report.unfollowed();
            }
        } else if before.domain == regime.domain {
            return false;
        }
        self.resync(tables, report);
        true
    }

    /// Compares everything with what the tables say now. What has not changed is not touched.
    pub(super) fn resync(&mut self, tables: &Tables<impl TableMemory>, report: &mut Report) {
        let (wanted, cut_short) = self.wanted(&self.regime, tables);
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
        let Kind::Translated(table) = self.regime.kind else {
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

    /// Everything that should be mapped under `regime`, and where a limit left something out.
    pub(super) fn wanted(
        &self,
        regime: &Regime,
        tables: &Tables<impl TableMemory>,
    ) -> (Vec<Extent>, Option<Iova>) {
        match regime.kind {
            Kind::Blocked | Kind::Unfollowed => (Vec::new(), None),
            Kind::Identity => (self.unprotected(tables), None),
            Kind::Translated(table) => {
                let mut reader = Reader::new(table, tables);
                (reader.leaves(&EVERYWHERE), reader.cut_short())
            }
        }
    }

    /// Guest memory but for what is protected from addresses that nothing translates.
    fn unprotected(&self, tables: &Tables<impl TableMemory>) -> Vec<Extent> {
        tables.protected().iter().fold(self.identity.clone(), |parts, hole| {
            parts.iter().flat_map(|part| part.around(hole)).collect()
        })
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
