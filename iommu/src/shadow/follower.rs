//! An attached function and its address space, under one lock.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::audit::Audit;
use super::regime::Regime;
use super::report::{Report, ShadowFault};
use super::space::AddressSpace;
use super::statistics::{Counters, Statistics};
use super::{Tables, lock};
use crate::invalidation::Invalidation;
use crate::{AssignedFunction, DomainId, GuestAddress, HostMapper, Iova, Pasid, TableMemory};

/// The most faults kept from operations that have nobody to give them to.
const PENDING_LIMIT: usize = 64;

/// One assigned function.
pub(super) struct Follower<M> {
    function: Arc<dyn AssignedFunction>,
    tables: Arc<Tables<M>>,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

struct State {
    /// Nothing once the function is detached.
    space: Option<AddressSpace>,
    /// Faults of attaching and refreshing. They go to the guest with the next invalidation.
    pending: Vec<ShadowFault>,
}

impl<M: TableMemory> Follower<M> {
    /// A function whose DMA is blocked until the first `refresh`.
    pub(super) fn new(
        function: Arc<dyn AssignedFunction>,
        mapper: Box<dyn HostMapper>,
        ram: Vec<(GuestAddress, u64)>,
        tables: Arc<Tables<M>>,
    ) -> Self {
        let counters = Arc::new(Counters::default());
        let space = AddressSpace::new(mapper, ram, counters.clone());
        let state = Mutex::new(State { space: Some(space), pending: Vec::new() });
        Self { function, tables, counters, state }
    }

    /// Does for this function what an invalidation asks for.
    pub(super) fn apply(&self, what: &Invalidation) -> Vec<ShadowFault> {
        let mut state = lock(&self.state);
        let Some(space) = &mut state.space else { return Vec::new() };
        let source = self.function.source_id();
        let mut report = Report::new(source);
        let tables = &*self.tables;
        let names = |domain| space.regime().domain == domain;
        match *what {
            Invalidation::Everything => {
                if !space.enter(self.regime(), tables, &mut report) {
                    space.resync(tables, &mut report);
                }
            }
            Invalidation::ContextGlobal | Invalidation::PasidCacheGlobal => {
                space.enter(self.regime(), tables, &mut report);
            }
            Invalidation::ContextDomain(domain) if names(domain) => {
                space.enter(self.regime(), tables, &mut report);
            }
            Invalidation::ContextDevice { source: named, mask } if source.0 | mask == named.0 | mask => {
                space.enter(self.regime(), tables, &mut report);
            }
            Invalidation::PasidCacheDomain(domain) => self.enter_if(domain, None, space, &mut report),
            Invalidation::PasidCachePasid(domain, pasid) => {
                self.enter_if(domain, Some(pasid), space, &mut report);
            }
            Invalidation::IotlbGlobal => space.resync(tables, &mut report),
            Invalidation::IotlbDomain(domain) if names(domain) => space.resync(tables, &mut report),
            // The hint would allow to keep what is known of non-leaf entries; nothing is kept.
            Invalidation::IotlbPages { domain, iova, address_mask, hint: _ } if names(domain) => {
                space.resync_pages(pages(iova, address_mask), tables, &mut report);
            }
            // Those of others; and of first stages and addresses that pass through, where nothing changes
            // but with the entry of the PASID.
            Invalidation::ContextDomain(_)
            | Invalidation::ContextDevice { .. }
            | Invalidation::IotlbDomain(_)
            | Invalidation::IotlbPages { .. }
            | Invalidation::PasidIotlb(..)
            | Invalidation::PasidIotlbPages { .. } => {}
        }
        let regime = *space.regime();
        let mut faults = std::mem::take(&mut state.pending);
        drop(state);
        faults.extend(report.finish(&regime));
        faults
    }

    /// Comes under what the tables say now, if a PASID-cache invalidation names that or what was before: an
    /// entry that was not present is announced by what it says now, one that is replaced by what it said.
    fn enter_if(
        &self,
        domain: DomainId,
        pasid: Option<Pasid>,
        space: &mut AddressSpace,
        report: &mut Report,
    ) {
        let regime = self.regime();
        if regime.is_of(domain, pasid) || space.regime().is_of(domain, pasid) {
            space.enter(regime, &self.tables, report);
        }
    }

    fn regime(&self) -> Regime {
        Regime::of(&*self.function, &self.tables)
    }
}

/// The range that a page-selective invalidation names.
fn pages(iova: Iova, address_mask: u8) -> Range<u64> {
    match 1_u64.checked_shl(12 + u32::from(address_mask)) {
        Some(length) => {
            let start = iova.0 & !(length - 1);
            start..start.saturating_add(length)
        }
        None => 0..u64::MAX,
    }
}

/// What an [`Attachment`](super::Attachment) does, whatever memory the tables are in.
pub(super) trait Follow: Send + Sync {
    fn refresh(&self);
    fn detach(&self);
    fn statistics(&self) -> Statistics;
    fn audit(&self) -> Audit;
}

impl<M: TableMemory> Follow for Follower<M> {
    fn refresh(&self) {
        let mut state = lock(&self.state);
        let Some(space) = &mut state.space else { return };
        let mut report = Report::new(self.function.source_id());
        space.enter(self.regime(), &self.tables, &mut report);
        let regime = *space.regime();
        drop(state);

        let faults = report.finish(&regime);
        let mut state = lock(&self.state);
        let room = PENDING_LIMIT.saturating_sub(state.pending.len());
        state.pending.extend(faults.into_iter().take(room));
    }

    fn detach(&self) {
        let Some(mut space) = lock(&self.state).space.take() else { return };
        let mut report = Report::new(self.function.source_id());
        space.clear(&mut report);
        report.finish(&Regime::BLOCKED);
    }

    fn statistics(&self) -> Statistics {
        self.counters.read()
    }

    fn audit(&self) -> Audit {
        let state = lock(&self.state);
        let Some(space) = &state.space else { return Audit::default() };
        let (wanted, _) = space.wanted(&self.regime(), &self.tables);
        Audit::of(space.commitment(), &wanted)
    }
}
