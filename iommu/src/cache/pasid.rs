//! The PASID cache (§6.2.3): requester and PASID to address space.

use super::table::{Change, Table as Cache};
use crate::invalidation::Invalidation;
use crate::spec::pasid::FirstStageOptions;
use crate::spec::second_stage::Level;
use crate::spec::{PAGE_ADDRESS, bits, mask};
use crate::walk::{AddressSpace, Mapping, Marks, first_stage, second_stage};
use crate::{Capabilities, DomainId, GuestAddress, Pasid, SourceId};

/// 256 sets of four.
const SET_BITS: u32 = 8;

/// Address spaces by requester and PASID. In a value are the domain, with flags above; and the tables of the
/// first and of the second stage, with their levels and what becomes of marks in the low bits.
pub(crate) struct PasidCache {
    cache: Cache<1, 3>,
    capabilities: Capabilities,
}

/// Set in every key, since 0 is none. The requester is above it, the PASID below.
const PRESENT: u64 = 1 << 20;
const SOURCE_SHIFT: u32 = 21;

/// Flags above a domain.
const FAULT_PROCESSING_DISABLED: u64 = 1 << 16;
const FIRST_STAGE: u64 = 1 << 17;
const SECOND_STAGE: u64 = 1 << 18;
const OPTIONS_SHIFT: u32 = 24;

impl PasidCache {
    pub(crate) fn new(capabilities: Capabilities) -> Self {
        Self { cache: Cache::new(SET_BITS), capabilities }
    }

    #[inline]
    pub(crate) fn get(&self, source: SourceId, pasid: Pasid) -> Option<AddressSpace> {
        let [word, first, second] = self.cache.get([key(source, pasid)])?;
        let first = || {
            Some(first_stage::Table {
                root: GuestAddress(first & PAGE_ADDRESS),
                top: top_of(first)?,
                width: self.capabilities.guest_address_width(),
                options: FirstStageOptions::from_bits_truncate((word >> OPTIONS_SHIFT) as u8),
                marks: marks_of(first),
            })
        };
        let second = || {
            let root = GuestAddress(second & PAGE_ADDRESS);
            let top = top_of(second)?;
            Some(second_stage::Table::scalable(root, top, &self.capabilities, marks_of(second)))
        };
        let mapping = match (word & FIRST_STAGE != 0, word & SECOND_STAGE != 0) {
            (false, false) => Mapping::PassThrough,
            (false, true) => Mapping::SecondStage(second()?),
            (true, false) => Mapping::FirstStage(first()?),
            (true, true) => Mapping::Nested(first()?, second()?),
        };
        let tagged = !matches!(mapping, Mapping::SecondStage(_));
        Some(AddressSpace {
            domain: domain_of(word),
            pasid: tagged.then_some(pasid),
            fault_processing_disabled: word & FAULT_PROCESSING_DISABLED != 0,
            mapping,
        })
    }

    pub(crate) fn fill(&self, change: &mut Change, source: SourceId, pasid: Pasid, space: &AddressSpace) {
        let (first, second) = match &space.mapping {
            Mapping::PassThrough => (None, None),
            Mapping::SecondStage(second) => (None, Some(second)),
            Mapping::FirstStage(first) => (Some(first), None),
            Mapping::Nested(first, second) => (Some(first), Some(second)),
        };
        let mut value = [u64::from(space.domain.0), 0, 0];
        if space.fault_processing_disabled {
            value[0] |= FAULT_PROCESSING_DISABLED;
        }
        if let Some(first) = first {
            value[0] |= FIRST_STAGE | u64::from(first.options.bits()) << OPTIONS_SHIFT;
            value[1] = word_of(first.root, first.top, first.marks);
        }
        if let Some(second) = second {
            value[0] |= SECOND_STAGE;
            value[2] = word_of(second.root, second.top, second.marks);
        }
        self.cache.fill(change, [key(source, pasid)], value);
    }

    /// Forgets what `what` names. What is found of a PASID stands on its requester's context entry too, so
    /// it goes with that.
    pub(crate) fn invalidate(&self, change: &mut Change, what: &Invalidation) {
        match *what {
            Invalidation::Everything
            | Invalidation::PasidCacheGlobal
            | Invalidation::ContextGlobal
            | Invalidation::ContextDomain(_) => self.cache.evict(change, |_, _| true),
            Invalidation::PasidCacheDomain(domain) => {
                self.cache.evict(change, |_, [word, ..]| domain_of(word) == domain);
            }
            Invalidation::PasidCachePasid(domain, pasid) => self.cache.evict(change, |[key], [word, ..]| {
                domain_of(word) == domain && bits(key, 19, 0) == u64::from(pasid.0)
            }),
            Invalidation::ContextDevice { source, mask } => {
                let alike = |key: u64| ((key >> SOURCE_SHIFT) as u16 ^ source.0) & !mask == 0;
                self.cache.evict(change, |[key], _| alike(key));
            }
            _ => {}
        }
    }
}

fn key(source: SourceId, pasid: Pasid) -> u64 {
    u64::from(source.0) << SOURCE_SHIFT | PRESENT | u64::from(pasid.0) & mask(19, 0)
}

const fn domain_of(word: u64) -> DomainId {
    DomainId(word as u16)
}

/// The level of the entries in bits 2:0, what becomes of marks in 4:3.
fn word_of(root: GuestAddress, top: Level, marks: Marks) -> u64 {
    let marks = match marks {
        Marks::Absent => 0,
        Marks::Forbidden => 1,
        Marks::Kept => 2,
    };
    root.0 | u64::from(top.number()) | marks << 3
}

const fn top_of(word: u64) -> Option<Level> {
    Level::from_number(bits(word, 2, 0) as u8)
}

const fn marks_of(word: u64) -> Marks {
    match bits(word, 4, 3) {
        0 => Marks::Absent,
        1 => Marks::Forbidden,
        _ => Marks::Kept,
    }
}

#[cfg(test)]
mod tests;
