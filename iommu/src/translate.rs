//! DMA remapping: from a device's request to guest memory, by what is remembered of the tables or else by the
//! tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::context::ContextCache;
use crate::cache::iotlb::Iotlb;
use crate::cache::table::Epoch;
use crate::drain::Sections;
use crate::invalidation::Invalidation;
use crate::mode::DmaMode;
use crate::spec::INTERRUPT_RANGE;
use crate::spec::context::TableMode;
use crate::spec::fault::FaultReason;
use crate::walk::legacy::{self, Context, Mapping};
use crate::walk::second_stage::{Leaf, Table};
use crate::walk::{Demand, Fault, View};
use crate::{Access, Capabilities, DomainId, GuestAddress, Iova, Request, SourceId, TableMemory};

/// Tables in guest memory, with the caches over them.
pub(crate) struct DmaRemapping<M> {
    memory: Arc<M>,
    capabilities: Capabilities,
    /// A [`DmaMode`].
    mode: AtomicU64,
    contexts: ContextCache,
    iotlb: Iotlb,
    sections: Sections,
}

/// Guest memory that a request reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    guest: GuestAddress,
    /// How many bytes of the request lie there without a break.
    length: u64,
}

impl<M: TableMemory> DmaRemapping<M> {
    pub(crate) fn new(memory: Arc<M>, capabilities: Capabilities) -> Self {
        Self {
            memory,
            capabilities,
            mode: AtomicU64::new(DmaMode::default().0),
            contexts: ContextCache::new(capabilities),
            iotlb: Iotlb::new(),
            sections: Sections::default(),
        }
    }

    pub(crate) fn mode(&self) -> DmaMode {
        DmaMode(self.mode.load(Ordering::Acquire))
    }

    /// Requests from now on go by `mode`; what is remembered is to be invalidated next.
    pub(crate) fn set_mode(&self, mode: DmaMode) {
        self.mode.store(mode.0, Ordering::Release);
    }

    pub(crate) fn view(&self) -> View {
        let mode = self.mode();
        View { translating: mode.translating(), root: mode.root(), capabilities: self.capabilities }
    }

    /// Forgets what `what` names. Requests that began before may still use it, until they are drained.
    pub(crate) fn invalidate(&self, what: &Invalidation) {
        self.contexts.invalidate(what);
        self.iotlb.invalidate(what);
    }

    /// Waits until no request uses what was forgotten before.
    pub(crate) fn drain(&self) {
        self.sections.drain();
    }

    /// Translates a request for `length` bytes from `iova` on and, before anything that it stands on can
    /// have been drained, does `work` on as many bytes of it as lie together.
    pub(crate) fn access<R>(
        &self,
        request: &Request,
        iova: Iova,
        length: u64,
        work: impl FnOnce(GuestAddress, u64) -> R,
    ) -> Result<R, Fault> {
        let _section = self.sections.enter();
        let Reach { guest, length } = self.translate(request, iova, length)?;
        Ok(work(guest, length))
    }

    fn translate(&self, request: &Request, iova: Iova, length: u64) -> Result<Reach, Fault> {
        // Both before anything is looked up: what is put into the IOTLB depends on the context too.
        let iotlb_epoch = self.iotlb.epoch();
        let context_epoch = self.contexts.epoch();
        let view = self.view();
        if INTERRUPT_RANGE.contains(&iova.0) {
            return Err(Fault { reason: not_an_interrupt(request.access), recorded: view.translating });
        }
        if !view.translating {
            return Ok(untranslated(iova, length, u64::MAX));
        }

        if request.pasid.is_some() && view.root.mode() == TableMode::Legacy {
            return Err(Fault::new(FaultReason::PasidInLegacyMode, false));
        }
        let Context { domain, fault_processing_disabled, mapping } =
            self.context(context_epoch, &view, request.source)?;
        let demand = Demand::of_length(request.access, length, &view.capabilities);
        let reach = match mapping {
            Mapping::PassThrough => pass_through(iova, length, &view.capabilities),
            Mapping::SecondStage(table) => self
                .page(iotlb_epoch, &view.capabilities, domain, &table, iova, demand)
                .and_then(|leaf| reach(&leaf, iova, length)),
        };
        reach.map_err(|reason| Fault::new(reason, fault_processing_disabled))
    }

    fn context(&self, epoch: Epoch, view: &View, source: SourceId) -> Result<Context, Fault> {
        if let Some(context) = self.contexts.get(source) {
            return Ok(context);
        }
        let context = legacy::context(view, &*self.memory, source)?;
        self.contexts.fill(epoch, source, &context);
        Ok(context)
    }

    /// The page that `iova` lies in, if `demand` may use it. A remembered page that does not allow the
    /// request is no answer: the tables may have come to allow more.
    fn page(
        &self,
        epoch: Epoch,
        capabilities: &Capabilities,
        domain: DomainId,
        table: &Table,
        iova: Iova,
        demand: Demand,
    ) -> Result<Leaf, FaultReason> {
        // One domain may serve tables of different widths; what one of them reaches is no business of others.
        if !table.covers(iova) {
            return Err(FaultReason::AddressBeyondWidth);
        }
        if let Some(leaf) = self.iotlb.get(domain, iova)
            && demand.allowed_by(leaf.permissions)
        {
            return Ok(leaf);
        }
        let leaf = table.walk(&*self.memory, capabilities, iova, demand)?;
        self.iotlb.fill(epoch, domain, iova, &leaf);
        Ok(leaf)
    }
}

/// The reason for refusing what is no interrupt request in the interrupt range.
const fn not_an_interrupt(access: Access) -> FaultReason {
    match access {
        Access::Read => FaultReason::InterruptRange,
        Access::Write | Access::Atomic => FaultReason::MalformedRequest,
    }
}

fn pass_through(iova: Iova, length: u64, capabilities: &Capabilities) -> Result<Reach, FaultReason> {
    if iova.0 & capabilities.beyond_host_width() != 0 {
        return Err(FaultReason::AddressBeyondWidth);
    }
    Ok(untranslated(iova, length, !capabilities.beyond_host_width()))
}

/// The address as it stands, up to the last one there is.
fn untranslated(iova: Iova, length: u64, last: u64) -> Reach {
    let guest = GuestAddress(iova.0);
    Reach { guest, length: before_interrupts(guest, length).min((last - iova.0).saturating_add(1)) }
}

/// What of a request from `iova` on lies in `leaf`.
fn reach(leaf: &Leaf, iova: Iova, length: u64) -> Result<Reach, FaultReason> {
    let offset = iova.0 & (leaf.level.span() - 1);
    let guest = GuestAddress(leaf.guest.0 | offset);
    if INTERRUPT_RANGE.contains(&guest.0) {
        return Err(FaultReason::InterruptRange);
    }
    let left = leaf.level.span() - offset;
    Ok(Reach { guest, length: before_interrupts(guest, length.min(left)) })
}

/// As much of `length` as comes before the interrupt range.
fn before_interrupts(guest: GuestAddress, length: u64) -> u64 {
    match INTERRUPT_RANGE.start.checked_sub(guest.0) {
        Some(distance) => length.min(distance),
        None => length,
    }
}

#[cfg(test)]
mod tests;
