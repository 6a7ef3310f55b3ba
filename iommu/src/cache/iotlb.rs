//! The IOTLB (§6.2.4): domain, PASID and address to page.

use super::entries::{Entries, Span, Tags};
use super::table::Change;
use super::tag::{FirstStageTag, Tag};
use crate::invalidation::Invalidation;
use crate::spec::PAGE_ADDRESS;
use crate::walk::{Leaf, Rights};
use crate::{DomainId, GuestAddress, Iova};

/// 1024 sets of four.
const SET_BITS: u32 = 10;

/// Pages, apart by what they were found through, because invalidations tell that apart too. An entry is the
/// guest address of a page with its rights in the low bits.
pub(crate) struct Iotlb {
    second_stage: Entries,
    first_stage: Entries,
    nested: Entries,
}

/// Second-stage pages have no other tag than their domain.
const NO_PASID: u64 = 0;

impl Iotlb {
    pub(crate) fn new() -> Self {
        let pages = || Entries::new(SET_BITS);
        Self { second_stage: pages(), first_stage: pages(), nested: pages() }
    }

    /// The page that `iova` lies in.
    #[inline]
    pub(crate) fn get(&self, tag: Tag, iova: Iova) -> Option<Leaf> {
        let (pages, domain, pasid) = self.place(tag);
        let (level, word) = pages.get(domain, pasid, iova)?;
        let rights = Rights::from_bits_truncate(word as u8);
        Some(Leaf { guest: GuestAddress(word & PAGE_ADDRESS), level, rights })
    }

    pub(crate) fn fill(&self, change: &mut Change, tag: Tag, iova: Iova, leaf: &Leaf) {
        let (pages, domain, pasid) = self.place(tag);
        let word = leaf.guest.0 | u64::from(leaf.rights.bits());
        pages.fill(change, domain, pasid, iova, (leaf.level, word));
    }

    /// Forgets what `what` names; invalidations of contexts and PASIDs name no page.
    pub(crate) fn invalidate(&self, change: &mut Change, what: &Invalidation) {
        match *what {
            Invalidation::Everything | Invalidation::IotlbGlobal => {
                self.every_kind().for_each(|pages| pages.evict_all(change));
            }
            Invalidation::IotlbDomain(domain) => {
                self.every_kind().for_each(|pages| pages.evict_domain(change, domain));
            }
            Invalidation::IotlbPages { domain, iova, address_mask, hint: _ } => {
                let span = Span::new(iova, address_mask);
                self.second_stage.evict_span(change, domain, Tags::One(NO_PASID), span);
                // The address is one that the second stage translates; these go by those of the first.
                self.nested.evict_domain(change, domain);
            }
            Invalidation::PasidIotlb(domain, pasid) => {
                for pages in [&self.first_stage, &self.nested] {
                    pages.evict_span(change, domain, Tags::One(u64::from(pasid.0)), Span::ALL);
                }
            }
            Invalidation::PasidIotlbPages { domain, pasid, iova, address_mask, hint: _ } => {
                let span = Span::new(iova, address_mask);
                for pages in [&self.first_stage, &self.nested] {
                    pages.evict_span(change, domain, Tags::One(u64::from(pasid.0)), span);
                }
            }
            _ => {}
        }
    }

    #[inline]
    fn place(&self, tag: Tag) -> (&Entries, DomainId, u64) {
        match tag {
            Tag::SecondStage(domain) => (&self.second_stage, domain, NO_PASID),
            Tag::FirstStage(domain, FirstStageTag { pasid, .. }) => {
                (&self.first_stage, domain, u64::from(pasid.0))
            }
            Tag::Nested(domain, FirstStageTag { pasid, .. }) => (&self.nested, domain, u64::from(pasid.0)),
        }
    }

    fn every_kind(&self) -> impl Iterator<Item = &Entries> {
        [&self.second_stage, &self.first_stage, &self.nested].into_iter()
    }
}

#[cfg(test)]
mod tests;
