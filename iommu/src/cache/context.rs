//! The context cache (§6.2.2): requester to domain and table, or to PASIDs.

use super::table::{Change, Table as Cache};
use crate::invalidation::Invalidation;
use crate::spec::second_stage::Level;
use crate::spec::{PAGE_ADDRESS, bits};
use crate::walk::second_stage::Table;
use crate::walk::{AddressSpace, Mapping, legacy, scalable};
use crate::{Capabilities, DomainId, GuestAddress, Pasid, SourceId};

/// 128 sets of four.
const SET_BITS: u32 = 7;

/// Contexts by requester. In a value of legacy mode are a table pointer, with the level of its entries in bits
/// 2:0, 0 for pass-through; and the domain, with flags above. In one of scalable mode are the pointer to the
/// PASID directory, with flags below; and the PASID of requests without one, with the highest PASID above.
pub(crate) struct ContextCache {
    cache: Cache<1, 2>,
    capabilities: Capabilities,
}

/// Set in every key, since 0 is none.
const PRESENT: u64 = 1 << 16;
/// Set in the keys of scalable mode: while the mode changes, there may be some of either.
const SCALABLE: u64 = 1 << 17;

/// Flags above a domain.
const FAULT_PROCESSING_DISABLED: u64 = 1 << 16;
const DEVICE_TLB: u64 = 1 << 17;

bitflags::bitflags! {
    /// What a context entry of scalable mode says in single bits.
    struct Flags: u8 {
        const FAULT_PROCESSING_DISABLED = 1 << 0;
        const DEVICE_TLB = 1 << 1;
        const PASID_ENABLED = 1 << 2;
        const PAGE_REQUESTS = 1 << 3;
        const RID_PRIVILEGED = 1 << 4;
    }
}

/// A PASID has so many bits.
const PASID_BITS: u32 = 20;

impl ContextCache {
    pub(crate) fn new(capabilities: Capabilities) -> Self {
        Self { cache: Cache::new(SET_BITS), capabilities }
    }

    /// The context of a requester in legacy mode.
    #[inline]
    pub(crate) fn legacy(&self, source: SourceId) -> Option<legacy::Context> {
        let [table, domain] = self.cache.get([key(source)])?;
        let mapping = match Level::from_number(bits(table, 2, 0) as u8) {
            None => Mapping::PassThrough,
            Some(top) => {
                Mapping::SecondStage(Table::new(GuestAddress(table & PAGE_ADDRESS), top, &self.capabilities))
            }
        };
        let space = AddressSpace {
            domain: domain_of(domain),
            pasid: None,
            fault_processing_disabled: domain & FAULT_PROCESSING_DISABLED != 0,
            mapping,
        };
        Some(legacy::Context { space, device_tlb: domain & DEVICE_TLB != 0 })
    }

    pub(crate) fn fill_legacy(&self, change: &mut Change, source: SourceId, context: &legacy::Context) {
        let legacy::Context { space, device_tlb } = *context;
        let table = match space.mapping {
            Mapping::PassThrough => 0,
            Mapping::SecondStage(table) => table.root.0 | u64::from(table.top.number()),
            Mapping::FirstStage(_) | Mapping::Nested(..) => return,
        };
        let disabled = if space.fault_processing_disabled { FAULT_PROCESSING_DISABLED } else { 0 };
        let device_tlb = if device_tlb { DEVICE_TLB } else { 0 };
        let word = u64::from(space.domain.0) | disabled | device_tlb;
        self.cache.fill(change, [key(source)], [table, word]);
    }

    /// The context of a requester in scalable mode.
    #[inline]
    pub(crate) fn scalable(&self, source: SourceId) -> Option<scalable::Context> {
        let [directory, pasids] = self.cache.get([SCALABLE | key(source)])?;
        let flags = Flags::from_bits_truncate(directory as u8);
        Some(scalable::Context {
            pasid_directory: GuestAddress(directory & PAGE_ADDRESS),
            last_pasid: Pasid(bits(pasids, 2 * PASID_BITS - 1, PASID_BITS) as u32),
            rid_pasid: Pasid(bits(pasids, PASID_BITS - 1, 0) as u32),
            rid_privileged: flags.contains(Flags::RID_PRIVILEGED),
            device_tlb: flags.contains(Flags::DEVICE_TLB),
            pasid_enabled: flags.contains(Flags::PASID_ENABLED),
            page_requests: flags.contains(Flags::PAGE_REQUESTS),
            fault_processing_disabled: flags.contains(Flags::FAULT_PROCESSING_DISABLED),
        })
    }

    pub(crate) fn fill_scalable(&self, change: &mut Change, source: SourceId, context: &scalable::Context) {
        let mut flags = Flags::empty();
        flags.set(Flags::FAULT_PROCESSING_DISABLED, context.fault_processing_disabled);
        flags.set(Flags::DEVICE_TLB, context.device_tlb);
        flags.set(Flags::PASID_ENABLED, context.pasid_enabled);
        flags.set(Flags::PAGE_REQUESTS, context.page_requests);
        flags.set(Flags::RID_PRIVILEGED, context.rid_privileged);
        let directory = context.pasid_directory.0 | u64::from(flags.bits());
        let pasids = u64::from(context.rid_pasid.0) | u64::from(context.last_pasid.0) << PASID_BITS;
        self.cache.fill(change, [SCALABLE | key(source)], [directory, pasids]);
    }

    /// Forgets what `what` names; an IOTLB invalidation names no context.
    pub(crate) fn invalidate(&self, change: &mut Change, what: &Invalidation) {
        match *what {
            Invalidation::Everything | Invalidation::ContextGlobal => self.cache.evict(change, |_, _| true),
            Invalidation::ContextDomain(domain) => {
                // In scalable mode contexts have no domain, and any may be meant.
                self.cache.evict(change, |[key], [_, word]| key & SCALABLE != 0 || domain_of(word) == domain);
            }
            Invalidation::ContextDevice { source, mask } => {
                let alike = |key: u64| (key as u16 ^ source.0) & !mask == 0;
                self.cache.evict(change, |[key], _| alike(key));
            }
            _ => {}
        }
    }
}

const fn key(source: SourceId) -> u64 {
    PRESENT | source.0 as u64
}

const fn domain_of(word: u64) -> DomainId {
    DomainId(word as u16)
}

#[cfg(test)]
mod tests;
