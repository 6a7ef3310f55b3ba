//! The context cache (§6.2.2): requester to domain and table.

use super::table::{Epoch, Table as Cache};
use crate::invalidation::Invalidation;
use crate::spec::second_stage::Level;
use crate::spec::{PAGE_ADDRESS, bits};
use crate::walk::legacy::Context;
use crate::walk::second_stage::Table;
use crate::walk::{AddressSpace, Mapping};
use crate::{Capabilities, DomainId, GuestAddress, SourceId};

/// 128 sets of four.
const SET_BITS: u32 = 7;

/// Contexts by requester. A value is a table pointer with the level of its entries in bits 2:0, 0 for
/// pass-through; and the domain, with FPD in bit 16 and whether there may be a device-TLB in bit 17.
pub(crate) struct ContextCache {
    cache: Cache<2>,
    capabilities: Capabilities,
}

/// Set in every key, since 0 is none.
const PRESENT: u64 = 1 << 16;
/// Set in the second word of a value.
const FAULT_PROCESSING_DISABLED: u64 = 1 << 16;
const DEVICE_TLB: u64 = 1 << 17;

impl ContextCache {
    pub(crate) fn new(capabilities: Capabilities) -> Self {
        Self { cache: Cache::new(SET_BITS), capabilities }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.cache.epoch()
    }

    pub(crate) fn get(&self, source: SourceId) -> Option<Context> {
        let [table, domain] = self.cache.get(key(source))?;
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
        Some(Context { space, device_tlb: domain & DEVICE_TLB != 0 })
    }

    pub(crate) fn fill(&self, epoch: Epoch, source: SourceId, context: &Context) {
        let Context { space, device_tlb } = *context;
        let table = match space.mapping {
            Mapping::PassThrough => 0,
            Mapping::SecondStage(table) => table.root.0 | u64::from(table.top.number()),
            Mapping::FirstStage(_) | Mapping::Nested(..) => return,
        };
        let disabled = if space.fault_processing_disabled { FAULT_PROCESSING_DISABLED } else { 0 };
        let device_tlb = if device_tlb { DEVICE_TLB } else { 0 };
        self.cache.fill(epoch, key(source), [table, u64::from(space.domain.0) | disabled | device_tlb]);
    }

    /// Forgets what `what` names; an IOTLB invalidation names no context.
    pub(crate) fn invalidate(&self, what: &Invalidation) {
        match *what {
            Invalidation::Everything | Invalidation::ContextGlobal => self.cache.evict(|_, _| true),
            Invalidation::ContextDomain(domain) => {
                self.cache.evict(|_, [_, word]| domain_of(word) == domain);
            }
            Invalidation::ContextDevice { source, mask } => {
                let alike = |key: u64| (key as u16 ^ source.0) & !mask == 0;
                self.cache.evict(|key, _| alike(key));
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
