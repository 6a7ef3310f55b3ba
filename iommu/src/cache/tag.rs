//! What tells the translations of one address space from those of another (§6.2.1).

use crate::walk::first_stage;
use crate::{DomainId, Pasid};

/// The tags of what is found in an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// Legacy mode and second-stage tables: the domain alone.
    SecondStage(DomainId),
    FirstStage(DomainId, FirstStageTag),
    /// A first stage with a second behind it.
    Nested(DomainId, FirstStageTag),
}

/// What tells first stages of one domain apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirstStageTag {
    pub(crate) pasid: Pasid,
    /// Counts only for entries above the leaves.
    pub(crate) root: u64,
}

impl FirstStageTag {
    pub(crate) fn new(pasid: Option<Pasid>, table: &first_stage::Table) -> Self {
        Self { pasid: pasid.unwrap_or(Pasid(0)), root: table.root.0 }
    }
}
