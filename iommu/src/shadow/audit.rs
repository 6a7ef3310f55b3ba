//! Checking what the host maps against what the guest's tables say.

use super::commitment::Commitment;
use super::difference::unmatched;
use super::extent::{Extent, Extents};
use super::statistics::Statistics;
use crate::walk::second_stage::Table;
use crate::{FirstStage, GuestAddress, Iova, Permissions, SourceId};

/// How many differences of each kind are listed.
const LISTED: usize = 64;

/// What differs between the host's mappings and the guest's tables at one moment, for requests without PASID and for
/// those with any.
///
/// Between a change of its tables and the invalidation that announces it, differences are the guest's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Mapped, and not what the tables say: the device can reach more than it may. The first 64.
    pub excess: Vec<Extent>,
    /// Not mapped, although the tables say so. The first 64.
    pub missing: Vec<Extent>,
    /// Of what the tables say, what the host refused to map and has not been asked for again. The first 64.
    pub refused: Vec<Extent>,
}

/// What there is to know of one group at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupAudit {
    /// Its functions.
    pub functions: Vec<SourceId>,
    /// The numbers of its address space.
    pub statistics: Statistics,
    /// What its address space and the tables differ in.
    pub audit: Audit,
}

impl Audit {
    /// Whether the device can reach what the tables say and nothing else.
    pub fn is_exact(&self) -> bool {
        self.excess.is_empty() && self.missing.is_empty() && self.refused.is_empty()
    }

    /// Adds the differences of another address space of the same functions.
    pub(super) fn extend(&mut self, other: Self) {
        for (list, more) in [
            (&mut self.excess, other.excess),
            (&mut self.missing, other.missing),
            (&mut self.refused, other.refused),
        ] {
            list.extend(more);
            list.truncate(LISTED);
        }
    }

    /// Where nothing is mapped, because the host has refused or not.
    pub(super) fn of_nothing(wanted: &[Extent], is_refused: bool) -> Self {
        let wanted: Vec<_> = wanted.iter().copied().take(LISTED).collect();
        if is_refused {
            Self { refused: wanted, ..Self::default() }
        } else {
            Self { missing: wanted, ..Self::default() }
        }
    }

    /// Where the host walks a first-stage table, or should: `walked` is what it walks, `said` what it should. What
    /// lies in a table is not looked at, since the host goes by nothing else.
    pub(super) fn of_first_stage(
        walked: Option<FirstStage>,
        said: Option<FirstStage>,
        mapped: Option<&Extents>,
        wanted: &[Extent],
        is_refused: bool,
    ) -> Self {
        let mut audit = Self::of_nothing(wanted, is_refused);
        if walked == said {
            return audit;
        }
        audit.excess.extend(walked.map(|it| whole(it.table)));
        audit.excess.extend(mapped.into_iter().flat_map(Extents::iter).take(LISTED).copied());
        if is_refused { &mut audit.refused } else { &mut audit.missing }
            .extend(said.map(|it| whole(it.table)));
        audit
    }

    /// Where a second-stage table should be followed and something else is, or nothing. What lies in the table is not
    /// looked at.
    pub(super) fn of_table_apart(table: Table, mapped: Option<&Extents>, is_refused: bool) -> Self {
        let excess = mapped.into_iter().flat_map(Extents::iter).take(LISTED).copied().collect();
        let whole = vec![whole(table.root)];
        let (missing, refused) = if is_refused { (Vec::new(), whole) } else { (whole, Vec::new()) };
        Self { excess, missing, refused }
    }

    pub(super) fn of(commitment: &Commitment, wanted: &[Extent]) -> Self {
        let known = |extent: &Extent| commitment.refused().foresee(extent);
        let absent = unmatched(wanted, commitment.present());
        let (mut refused, mut missing): (Vec<_>, Vec<_>) = absent.into_iter().partition(known);
        let wanted: Extents = wanted.iter().copied().collect();
        let mut excess = unmatched(commitment.present().iter(), &wanted);
        for list in [&mut excess, &mut missing, &mut refused] {
            list.truncate(LISTED);
        }
        Self { excess, missing, refused }
    }
}

/// All addresses that a table may translate, as leading to the table itself.
const fn whole(table: GuestAddress) -> Extent {
    Extent { iova: Iova(0), guest: table, length: u64::MAX, permissions: Permissions::READ_WRITE }
}
