//! DMA remapping: from a device's request to guest memory, by what is remembered of the tables or else by the
//! tables.

mod lookup;
mod translation_request;

pub(crate) use translation_request::Refusal;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::Caches;
use crate::cache::recent::Answer;
use crate::cache::table::Epoch;
use crate::counters::{Tables, Tally};
use crate::drain::Sections;
use crate::invalidation::Invalidation;
use crate::mode::DmaMode;
use crate::protected::ProtectedRegions;
use crate::spec::INTERRUPT_RANGE;
use crate::spec::context::TableMode;
use crate::spec::counters::Event;
use crate::spec::fault::FaultReason;
use crate::walk::scalable::Kind;
use crate::walk::{AddressSpace, Demand, Fault, Leaf, View, legacy};
use crate::{Access, Capabilities, DomainId, GuestAddress, Iova, Pasid, Request, SourceId, TableMemory};

/// Tables in guest memory, with the caches over them.
pub(crate) struct DmaRemapping<M> {
    memory: Arc<M>,
    capabilities: Capabilities,
    /// A [`DmaMode`].
    mode: AtomicU64,
    caches: Caches,
    sections: Sections,
    protected: Arc<ProtectedRegions>,
}

/// Guest memory that a request reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    guest: GuestAddress,
    /// How many bytes of the request lie there without a break.
    length: u64,
}

/// What goes with a request from one lookup to the next.
#[derive(Clone, Copy)]
struct Look<'a> {
    /// From before the first.
    epoch: Epoch,
    /// Where events are noted, if anyone counts them.
    tally: Option<&'a Tally>,
}

impl Look<'_> {
    #[inline]
    fn note(&self, event: Event) {
        if let Some(tally) = self.tally {
            tally.note(event);
        }
    }

    #[inline]
    fn belongs_to(&self, domain: DomainId) {
        if let Some(tally) = self.tally {
            tally.belongs_to(domain);
        }
    }
}

impl<M: TableMemory> DmaRemapping<M> {
    pub(crate) fn new(memory: Arc<M>, capabilities: Capabilities) -> Self {
        Self {
            memory,
            capabilities,
            mode: AtomicU64::new(DmaMode::default().0),
            caches: Caches::new(capabilities),
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
        self.caches.invalidate(what);
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
        tally: Option<&Tally>,
        work: impl FnOnce(GuestAddress, u64) -> R,
    ) -> Result<R, Fault> {
        let _section = self.sections.enter();
        let look = Look { epoch: self.caches.epoch(), tally };
        let Reach { guest, length } = self.translate(look, request, iova, length)?;
        Ok(work(guest, length))
    }

    #[inline]
    fn translate(&self, look: Look, request: &Request, iova: Iova, length: u64) -> Result<Reach, Fault> {
        // Whoever counts wants to see every step.
        if look.tally.is_none()
            && let Some(Answer { leaf, privileged }) = self.caches.recent.get(look.epoch, request, iova)
            && Demand::of(request, privileged, length, &self.capabilities).met_by(leaf.rights)
        {
            return Ok(extent(&leaf, iova, length));
        }
        self.find_out(look, request, iova, length)
    }

    /// The same step by step. It is called and not inlined, so that a request that finds its answer passes by
    /// in the processor's registers.
    #[inline(never)]
    fn find_out(&self, look: Look, request: &Request, iova: Iova, length: u64) -> Result<Reach, Fault> {
        let view = self.view();
        // Requests with PASID and translated ones are no interrupt requests, whatever their address; but
        // without tables that lead elsewhere they would reach that range.
        let may_interrupt = request.pasid.is_none() && !request.translated;
        if INTERRUPT_RANGE.contains(&iova.0) && (may_interrupt || !view.translating) {
            let reason = not_an_interrupt(request.access, view.root.mode());
            return Err(Fault { reason, recorded: view.translating });
        }
        if !view.translating {
            return self.unprotected(untranslated(iova, length, u64::MAX), request.access);
        }

        let Request { source, pasid, privileged, .. } = *request;
        if request.translated {
            let space = self.translated_space(look, &view, source, pasid)?;
            return self.find_in(&space, look, request, false, iova, length);
        }
        self.in_space(look, &view, Kind::Untranslated, (source, pasid, privileged), |space, privileged| {
            self.find_in(space, look, request, privileged, iova, length)
        })
    }

    /// The same in the address space of the request, where it has supervisor privilege or not.
    fn find_in(
        &self,
        space: &AddressSpace,
        look: Look,
        request: &Request,
        privileged: bool,
        iova: Iova,
        length: u64,
    ) -> Result<Reach, Fault> {
        let fault = |reason| Fault::new(reason, space.fault_processing_disabled);
        let demand = Demand::of(request, privileged, length, &self.capabilities);
        space.mapping.admits(demand).map_err(fault)?;
        let remembered = self.remembered(look, space, iova, demand);
        let leaf = if remembered.is_some() {
            remembered
        } else {
            self.find(look, space, iova, demand).map_err(fault)?
        };
        let Some(leaf) = leaf else {
            let reach = pass_through(space, iova, length, &self.capabilities).map_err(fault)?;
            return self.unprotected(reach, request.access);
        };
        if INTERRUPT_RANGE.contains(&leaf.output(iova).0) {
            return Err(fault(space.interrupt_range()));
        }
        // A page that is used a second time will be used a third time.
        if remembered.is_some()
            && let Some(mut change) = self.caches.fill(look.epoch)
        {
            self.caches.recent.fill(&mut change, request, iova, &Answer { leaf, privileged });
        }
        Ok(extent(&leaf, iova, length))
    }

    /// What of `reach`, to which no table leads, is not protected. A refusal is not recorded (§11.4.8).
    fn unprotected(&self, Reach { guest, length }: Reach, access: Access) -> Result<Reach, Fault> {
        let reason = match access {
            Access::Read => FaultReason::ReadDenied,
            Access::Write | Access::Atomic => FaultReason::WriteDenied,
        };
        let reachable = self.protected.reachable(guest, length);
        reachable.map(|length| Reach { guest, length }).ok_or(Fault { reason, recorded: false })
    }

    /// Does `work` in the address space that a requester asks for with a PASID or without, with supervisor
    /// privilege or not; `work` is told what privilege that comes to.
    fn in_space<R>(
        &self,
        look: Look,
        view: &View,
        kind: Kind,
        (source, pasid, privileged): (SourceId, Option<Pasid>, bool),
        work: impl FnOnce(&AddressSpace, bool) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        match view.mode()? {
            TableMode::Legacy if pasid.is_some() => Err(Fault::new(FaultReason::PasidInLegacyMode, false)),
            TableMode::Legacy => self.with_legacy_context(look, view, source, |context| {
                let legacy::Context { space, device_tlb } = context;
                if kind == Kind::DeviceTlb && !device_tlb {
                    let disabled = space.fault_processing_disabled;
                    return Err(Fault::new(FaultReason::TranslationTypeBlocked, disabled));
                }
                look.belongs_to(space.domain);
                work(space, false)
            }),
            TableMode::Scalable => self.with_scalable_context(look, view, source, |context| {
                let (pasid, privileged) = context.select(kind, pasid, privileged)?;
                self.with_pasid(look, view, source, context, pasid, |space| {
                    look.belongs_to(space.domain);
                    work(space, privileged)
                })
            }),
            TableMode::Abort | TableMode::Reserved => {
                Err(Fault { reason: FaultReason::Aborted, recorded: false })
            }
        }
    }

    /// Tables in memory, to be read for a request.
    #[inline]
    fn tables<'a>(&'a self, look: Look<'a>) -> Tables<'a, M> {
        Tables { memory: &self.memory, tally: look.tally }
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
#[inline]
fn extent(leaf: &Leaf, iova: Iova, length: u64) -> Reach {
    let guest = leaf.output(iova);
    let left = leaf.level.span() - (iova.0 & (leaf.level.span() - 1));
    Reach { guest, length: before_interrupts(guest, length.min(left)) }
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
