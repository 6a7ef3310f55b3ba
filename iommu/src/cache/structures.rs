//! The paging-structure caches (§6.2.5): the innermost tables that walks have come to, so that other walks
//! can begin there.

use super::entries::{Entries, Span, Tags};
use super::table::Change;
use super::tag::{FirstStageTag, Tag};
use crate::invalidation::Invalidation;
use crate::spec::second_stage::Level;
use crate::spec::{PAGE_ADDRESS, mask};
use crate::walk::{Inner, Rights};
use crate::{DomainId, GuestAddress, Iova, Pasid};

/// 128 sets of four.
const SET_BITS: u32 = 7;

/// Entries that point to tables, by what they span. An entry is the address of a table with the rights that
/// are left there in the low bits.
pub(crate) struct Structures {
    second_stage: Entries,
    /// Of nested tables too: what these hold are addresses that the second stage still has to translate, so
    /// it does not matter here.
    first_stage: Entries,
}

/// Second-stage entries have no other tag than their domain.
const NO_TABLE: u64 = 0;
/// The tag of a first-stage entry: the PASID in bits 19:0, above it the root of its table.
const PASID: u64 = mask(19, 0);
const ROOT_SHIFT: u32 = 12;

impl Structures {
    pub(crate) fn new() -> Self {
        Self { second_stage: Entries::new(SET_BITS), first_stage: Entries::new(SET_BITS) }
    }

    /// The innermost table known on the way to `iova`.
    pub(crate) fn get(&self, tag: Tag, iova: Iova) -> Option<Inner> {
        let (entries, domain, tag) = self.place(tag);
        let (level, word) = entries.get(domain, tag, iova)?;
        let rights = Rights::from_bits_truncate(word as u8);
        Some(Inner { table: GuestAddress(word & PAGE_ADDRESS), level: level.below()?, rights })
    }

    /// Puts in what a walk to `iova` came to; not the table that every walk begins with, which has no entry
    /// pointing to it.
    pub(crate) fn fill(&self, change: &mut Change, tag: Tag, iova: Iova, top: Level, inner: &Inner) {
        if inner.level < top
            && let Some(level) = inner.level.above()
        {
            let (entries, domain, tag) = self.place(tag);
            let word = inner.table.0 | u64::from(inner.rights.bits());
            entries.fill(change, domain, tag, iova, (level, word));
        }
    }

    /// Forgets what `what` names, unless it says that no such entry has changed.
    pub(crate) fn invalidate(&self, change: &mut Change, what: &Invalidation) {
        match *what {
            Invalidation::Everything | Invalidation::IotlbGlobal => {
                self.second_stage.evict_all(change);
                self.first_stage.evict_all(change);
            }
            Invalidation::IotlbDomain(domain) => {
                self.second_stage.evict_domain(change, domain);
                self.first_stage.evict_domain(change, domain);
            }
            Invalidation::IotlbPages { domain, iova, address_mask, hint: false } => {
                let span = Span::new(iova, address_mask);
                self.second_stage.evict_span(change, domain, Tags::One(NO_TABLE), span);
            }
            Invalidation::PasidIotlb(domain, pasid) => {
                self.first_stage.evict_span(change, domain, of_pasid(pasid), Span::ALL);
            }
            Invalidation::PasidIotlbPages { domain, pasid, iova, address_mask, hint: false } => {
                let span = Span::new(iova, address_mask);
                self.first_stage.evict_span(change, domain, of_pasid(pasid), span);
            }
            _ => {}
        }
    }

    fn place(&self, tag: Tag) -> (&Entries, DomainId, u64) {
        match tag {
            Tag::SecondStage(domain) => (&self.second_stage, domain, NO_TABLE),
            Tag::FirstStage(domain, FirstStageTag { pasid, root })
            | Tag::Nested(domain, FirstStageTag { pasid, root }) => {
                (&self.first_stage, domain, root << ROOT_SHIFT | u64::from(pasid.0))
            }
        }
    }
}

/// The entries of one PASID, whatever the root of its table.
const fn of_pasid(pasid: Pasid) -> Tags {
    Tags::Alike { tag: pasid.0 as u64, mask: PASID }
}

#[cfg(test)]
mod tests;
