//! DMA remapping: from a device's request to guest memory, by what is remembered of the tables or else by the
//! tables.

mod translation_request;

pub(crate) use translation_request::Refusal;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::context::ContextCache;
use crate::cache::iotlb::Iotlb;
use crate::cache::table::Epoch;
use crate::drain::Sections;
use crate::invalidation::Invalidation;
use crate::mode::DmaMode;
use crate::protected::ProtectedRegions;
use crate::spec::INTERRUPT_RANGE;
use crate::spec::context::TableMode;
use crate::spec::fault::FaultReason;
use crate::walk::legacy::{self, Context};
use crate::walk::scalable::Kind;
use crate::walk::second_stage::Table;
use crate::walk::{AddressSpace, Demand, Fault, Leaf, Mapping, View, first_stage, nested, scalable};
use crate::{Access, Capabilities, DomainId, GuestAddress, Iova, Pasid, Request, SourceId, TableMemory};

/// Tables in guest memory, with the caches over them.
pub(crate) struct DmaRemapping<M> {
    memory: Arc<M>,
    capabilities: Capabilities,
    /// A [`DmaMode`].
    mode: AtomicU64,
    contexts: ContextCache,
    iotlb: Iotlb,
    sections: Sections,
    protected: Arc<ProtectedRegions>,
}

/// What the caches were like when a request began.
#[derive(Clone, Copy)]
struct Epochs {
    contexts: Epoch,
    iotlb: Epoch,
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
            protected: Arc::default(),
        }
    }

    pub(crate) const fn protected(&self) -> &Arc<ProtectedRegions> {
        &self.protected
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
        let epochs = self.epochs();
        let view = self.view();
        // A request with PASID is no interrupt request, whatever its address; but without tables that lead
        // elsewhere it would reach that range.
        if INTERRUPT_RANGE.contains(&iova.0) && (request.pasid.is_none() || !view.translating) {
            let reason = not_an_interrupt(request.access, view.root.mode());
            return Err(Fault { reason, recorded: view.translating });
        }
        if !view.translating {
            return self.unprotected(untranslated(iova, length, u64::MAX), request.access);
        }

        let Request { source, pasid, privileged, .. } = *request;
        let (space, privileged) = if request.translated {
            (self.translated_space(epochs, &view, source, pasid)?, false)
        } else {
            self.space(epochs, &view, Kind::Untranslated, source, pasid, privileged)?
        };
        let demand = Demand::of(request, privileged, length, &view.capabilities);
        let reach = self
            .reach(epochs, &view.capabilities, &space, iova, length, demand)
            .map_err(|reason| Fault::new(reason, space.fault_processing_disabled))?;
        match space.mapping {
            Mapping::PassThrough => self.unprotected(reach, request.access),
            _ => Ok(reach),
        }
    }

    /// What of `reach`, to which no table leads, is not protected. A refusal is not recorded (§11.4.7).
    fn unprotected(&self, Reach { guest, length }: Reach, access: Access) -> Result<Reach, Fault> {
        let reason = match access {
            Access::Read => FaultReason::ReadDenied,
            Access::Write | Access::Atomic => FaultReason::WriteDenied,
        };
        let reachable = self.protected.reachable(guest, length);
        reachable.map(|length| Reach { guest, length }).ok_or(Fault { reason, recorded: false })
    }

    /// To be taken before anything is looked up: what is put into the IOTLB depends on the context too.
    fn epochs(&self) -> Epochs {
        Epochs { iotlb: self.iotlb.epoch(), contexts: self.contexts.epoch() }
    }

    /// The address space of a request, and whether the request has supervisor privilege there.
    fn space(
        &self,
        epochs: Epochs,
        view: &View,
        kind: Kind,
        source: SourceId,
        pasid: Option<Pasid>,
        privileged: bool,
    ) -> Result<(AddressSpace, bool), Fault> {
        match view.mode()? {
            TableMode::Legacy if pasid.is_some() => Err(Fault::new(FaultReason::PasidInLegacyMode, false)),
            TableMode::Legacy => {
                let Context { space, device_tlb } = self.context(epochs.contexts, view, source)?;
                if kind == Kind::DeviceTlb && !device_tlb {
                    let disabled = space.fault_processing_disabled;
                    return Err(Fault::new(FaultReason::TranslationTypeBlocked, disabled));
                }
                Ok((space, false))
            }
            TableMode::Scalable => {
                let context = scalable::context(view, &*self.memory, source)?;
                let (pasid, privileged) = context.select(kind, pasid, privileged)?;
                let space = scalable::address_space(view, &*self.memory, &context, pasid)?;
                Ok((space, privileged))
            }
            TableMode::Abort | TableMode::Reserved => {
                Err(Fault { reason: FaultReason::Aborted, recorded: false })
            }
        }
    }

    fn reach(
        &self,
        epochs: Epochs,
        capabilities: &Capabilities,
        space: &AddressSpace,
        iova: Iova,
        length: u64,
        demand: Demand,
    ) -> Result<Reach, FaultReason> {
        space.mapping.admits(demand)?;
        match self.leaf(epochs, capabilities, space, iova, demand)? {
            Some(leaf) => reach(space, &leaf, iova, length),
            None => pass_through(space, iova, length, capabilities),
        }
    }

    /// The page that `iova` lies in, if `demand` may use it; none where addresses pass through.
    fn leaf(
        &self,
        epochs: Epochs,
        capabilities: &Capabilities,
        space: &AddressSpace,
        iova: Iova,
        demand: Demand,
    ) -> Result<Option<Leaf>, FaultReason> {
        let memory = &*self.memory;
        let page = |table: &Table, iova, demand| {
            self.page(epochs.iotlb, capabilities, space.domain, table, iova, demand)
        };
        let leaf = match &space.mapping {
            Mapping::PassThrough => return Ok(None),
            Mapping::SecondStage(table) => page(table, iova, demand)?,
            Mapping::FirstStage(table) => {
                table.walk(memory, &first_stage::Memory, capabilities, iova, demand, None)?.leaf
            }
            Mapping::Nested(first, second) => {
                let second = |iova, demand| page(second, iova, demand);
                nested::walk(first, second, memory, capabilities, iova, demand, None)?.leaf
            }
        };
        Ok(Some(leaf))
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
            return Err(table.beyond_width());
        }
        if let Some(leaf) = self.iotlb.get(domain, iova)
            && demand.met_by(leaf.rights)
        {
            return Ok(leaf);
        }
        let leaf = table.walk(&*self.memory, capabilities, iova, demand, None)?.leaf;
        self.iotlb.fill(epoch, domain, iova, &leaf);
        Ok(leaf)
    }
}

/// The reason for refusing what is no interrupt request in the interrupt range.
const fn not_an_interrupt(access: Access, mode: TableMode) -> FaultReason {
    match access {
        Access::Read if matches!(mode, TableMode::Scalable) => FaultReason::ScalableInterruptRange,
        Access::Read => FaultReason::InterruptRange,
        Access::Write | Access::Atomic => FaultReason::MalformedRequest,
    }
}

fn pass_through(
    space: &AddressSpace,
    iova: Iova,
    length: u64,
    capabilities: &Capabilities,
) -> Result<Reach, FaultReason> {
    if iova.0 & capabilities.beyond_host_width() != 0 {
        return Err(space.beyond_host_width());
    }
    if INTERRUPT_RANGE.contains(&iova.0) {
        return Err(space.interrupt_range());
    }
    Ok(untranslated(iova, length, !capabilities.beyond_host_width()))
}

/// The address as it stands, up to the last one there is.
fn untranslated(iova: Iova, length: u64, last: u64) -> Reach {
    let guest = GuestAddress(iova.0);
    Reach { guest, length: before_interrupts(guest, length).min((last - iova.0).saturating_add(1)) }
}

/// What of a request from `iova` on lies in `leaf`.
fn reach(space: &AddressSpace, leaf: &Leaf, iova: Iova, length: u64) -> Result<Reach, FaultReason> {
    let guest = leaf.output(iova);
    if INTERRUPT_RANGE.contains(&guest.0) {
        return Err(space.interrupt_range());
    }
    let left = leaf.level.span() - (iova.0 & (leaf.level.span() - 1));
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
