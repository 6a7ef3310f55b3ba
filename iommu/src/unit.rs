//! One remapping unit: the public face of the crate.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use crate::completion::CompletionReporting;
use crate::counters::{self, Counters, Tally};
use crate::device_tlb::DeviceTlbs;
use crate::fault::FaultReporting;
use crate::interrupt::{InterruptRemapping, Judgement, RefusedInterrupt, Verdict};
use crate::invalidation::Invalidation;
use crate::mode::{DmaMode, InterruptMode};
use crate::page_request::PageRequestQueue;
use crate::queue::Queue;
use crate::registers::Registers;
use crate::shadow::Shadow;
use crate::spec::fault::{FaultInfo, FaultReason};
use crate::translate::{DmaRemapping, Refusal};
use crate::walk::Fault;
use crate::{
    AssignedFunction, Attachment, Capabilities, EntryRange, Feature, Group, GroupAudit, GuestAddress,
    HostDma, Iova, MsiMessage, Platform, Request, SourceId, Statistics, TableMemory, Translation,
    TranslationError, TranslationRequest,
};

/// A request that the unit refused. The fault, if it is to be recorded, has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Blocked by the remapping unit: fault reason {reason:#04x}")]
pub struct Blocked {
    /// The fault reason code (§7.1.3).
    pub reason: u8,
}

/// What an interrupt request comes to, without any effect: for routes programmed ahead of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The interrupt remapping entry that decided, if one did.
    pub entry: Option<u16>,
    /// What is to be done; the fault reason if nothing is.
    pub outcome: Result<Outcome, Blocked>,
}

/// What is to be done with an interrupt request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This message is delivered.
    Message(MsiMessage),
    /// It is posted: a bit is set in a descriptor in guest memory, and whether software is notified is decided
    /// anew each time. Only [`Unit::remap`] can do that.
    Posted,
}

impl Resolution {
    /// The message that every such request comes to, which may be delivered without asking the unit again
    /// until the entry is invalidated.
    pub fn message(&self) -> Option<MsiMessage> {
        match self.outcome {
            Ok(Outcome::Message(message)) => Some(message),
            Ok(Outcome::Posted) | Err(_) => None,
        }
    }
}

/// A remapping unit.
///
/// What comes to it, and by which method:
///
/// - a processor's access to the register window: [`Self::read`], [`Self::write`];
/// - a device's request to memory, untranslated or translated, with or without PASID: [`Self::access`];
/// - a device's interrupt request: [`Self::remap`];
/// - a translation request of a device that has a device-TLB: [`Self::translate`];
/// - a page request message: [`Self::page_request`].
///
/// What goes out goes to those made known before: [`Self::connect`], [`Self::register_device_tlb`],
/// [`Self::attach`].
///
/// A request to memory or an interrupt request takes no lock that a register write holds for long; register
/// reads take none. Locks are taken in this order: the queue's, then that of the page request queue, then that
/// of fault or completion reporting, then that of the counters.
/// No lock is held while [`Platform::signal`] is called.
pub struct Unit<M> {
    pub(crate) memory: Arc<M>,
    pub(crate) capabilities: Capabilities,
    pub(crate) registers: Registers,
    pub(crate) dma: DmaRemapping<M>,
    pub(crate) interrupts: InterruptRemapping<M>,
    pub(crate) faults: FaultReporting,
    pub(crate) completion: CompletionReporting,
    pub(crate) devices: DeviceTlbs,
    pub(crate) page_requests: PageRequestQueue,
    pub(crate) counters: Counters,
    pub(crate) shadow: Shadow<M>,
    queue: Mutex<Queue>,
    platform: OnceLock<Arc<dyn Platform>>,
    auditor: OnceLock<Auditor>,
}

/// Looks at what an audit has found.
type Auditor = Box<dyn Fn(&[GroupAudit]) + Send + Sync>;

/// Event messages to be sent when all locks have been released. One of a kind is enough: a second says
/// nothing that the first does not.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    fault: Option<MsiMessage>,
    invalidation: Option<MsiMessage>,
    page_request: Option<MsiMessage>,
    counter: Option<MsiMessage>,
}

impl Outbox {
    /// Adds what [`FaultReporting`] gave.
    pub(crate) fn fault(&mut self, message: Option<MsiMessage>) {
        self.fault = message.or(self.fault);
    }

    /// Adds what [`CompletionReporting`] gave.
    pub(crate) fn invalidation(&mut self, message: Option<MsiMessage>) {
        self.invalidation = message.or(self.invalidation);
    }

    /// Adds what [`PageRequestQueue`] gave.
    pub(crate) fn page_request(&mut self, message: Option<MsiMessage>) {
        self.page_request = message.or(self.page_request);
    }

    /// Adds what [`Counters`] gave.
    pub(crate) fn counter(&mut self, message: Option<MsiMessage>) {
        self.counter = message.or(self.counter);
    }

    fn messages(&self) -> impl Iterator<Item = MsiMessage> {
        [self.fault, self.invalidation, self.page_request, self.counter].into_iter().flatten()
    }
}

impl<M: TableMemory + 'static> Unit<M> {
    /// A unit in its power-on state over `memory`.
    pub fn new(memory: M, capabilities: Capabilities) -> Self {
        let memory = Arc::new(memory);
        let dma = DmaRemapping::new(Arc::clone(&memory), capabilities);
        let shadow = Shadow::new(Arc::clone(&memory), &capabilities, Arc::clone(dma.protected()));
        Self {
            capabilities,
            registers: Registers::new(&capabilities),
            dma,
            interrupts: InterruptRemapping::new(
                Arc::clone(&memory),
                capabilities.has(Feature::PostedInterrupts),
            ),
            faults: FaultReporting::new(&capabilities),
            completion: CompletionReporting::default(),
            devices: DeviceTlbs::default(),
            page_requests: PageRequestQueue::default(),
            counters: Counters::new(&capabilities),
            shadow,
            queue: Mutex::default(),
            platform: OnceLock::new(),
            auditor: OnceLock::new(),
            memory,
        }
    }

    /// Names the surroundings, once, before the first register write; without them events go nowhere.
    pub fn connect(&self, platform: Arc<dyn Platform>) {
        // A second one is refused: the unit has its surroundings for life.
        let _ = self.platform.set(platform);
    }

    /// What the unit can do.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Reads registers; no side effects. Accesses that the architecture leaves undefined read 0.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        match self.counters.value(offset & !7) {
            Some(count) if self.registers.is_access(offset, data.len()) => {
                let half = (offset & 4) as usize;
                data.copy_from_slice(&count.to_le_bytes()[half..half + data.len()]);
            }
            _ => self.registers.read(offset, data),
        }
    }

    /// Writes a register; on return everything it caused has happened. Accesses that the architecture leaves
    /// undefined are ignored.
    pub fn write(&self, offset: u64, data: &[u8]) {
        let mut outbox = Outbox::default();
        for (offset, value) in self.registers.words_of(offset, data) {
            self.write_word(offset, value, &mut outbox);
        }
        self.send(&outbox);
    }

    /// Goes on with a queue that was left for later: see [`Platform::resume_later`]. Harmless at any time. It
    /// does not wait where others are at work on the unit, but asks to be called again.
    pub fn resume(&self) {
        let mut outbox = Outbox::default();
        match self.queue.try_lock() {
            Ok(mut queue) => self.run_queue(&mut queue, &mut outbox),
            Err(TryLockError::Poisoned(queue)) => self.run_queue(&mut queue.into_inner(), &mut outbox),
            Err(TryLockError::WouldBlock) => {
                self.resumes_later();
            }
        }
        self.send(&outbox);
    }

    /// Brings the unit to its power-on state.
    pub fn reset(&self) {
        let mut outbox = Outbox::default();
        let mut queue = self.lock_queue();
        queue.switch_off(&self.registers);
        self.change_dma_mode(&mut queue, |_| DmaMode::default(), &mut outbox);
        self.change_protection(&mut queue, [0..0, 0..0], &mut outbox);
        self.change_interrupt_mode(|_| InterruptMode::default());
        let _no_page_requests = self.page_requests.lock();
        self.faults.replace(0, || {
            self.counters.replace(&self.registers, &counters::State::default(), || self.registers.reset());
        });
    }

    /// Translates a device's request for up to `length` bytes and does `work` on the guest memory found, in
    /// one read-side critical section: an invalidation that drains waits for it. `work` gets the address
    /// and how many bytes (at least 1, at most `length`) lie there contiguously; ask again for the rest. Of
    /// a request for no bytes only the permission is judged, and `work` gets none.
    /// It must not call back into the unit.
    ///
    /// The interrupt range is not memory: a 4-byte write there is an interrupt request and belongs to
    /// [`Self::remap`], anything else is refused.
    pub fn access<R>(
        &self,
        request: &Request,
        iova: Iova,
        length: u64,
        work: impl FnOnce(GuestAddress, u64) -> R,
    ) -> Result<R, Blocked> {
        let tally = self.counters.tally(|| Tally::of_request(request));
        let result = self.dma.access(request, iova, length, tally.as_ref(), work);
        self.count(tally);
        result.map_err(|fault| {
            let info = match fault.reason {
                FaultReason::MalformedRequest => FaultInfo::Interrupt(0),
                _ => FaultInfo::Memory { iova, request: *request },
            };
            self.refuse(request.source, fault, info)
        })
    }

    /// Answers a translation request (§4.1.2).
    ///
    /// That a page is not there, or may not be used, is an answer without permissions and no fault: the device
    /// may ask for the page ([`Self::page_request`]) and then again. Tables that do not let it ask, or that are
    /// broken, are a refusal with a status, which is recorded unless they disable that (FPD).
    ///
    /// The answer is about the 4 KiB page of the address, or about as much around it as the tables map in one
    /// entry. It holds until the unit tells the device otherwise, so a device that keeps it must have been made
    /// known by [`Self::register_device_tlb`]. Permission to write comes with the dirty bit set. What the
    /// device may use it for are requests marked as translated ([`Request::translated`]).
    pub fn translate(&self, request: &TranslationRequest) -> Result<Translation, TranslationError> {
        let begin = || Tally::of_translation_request(request.source, request.pasid);
        let tally = self.counters.tally(begin);
        let result = self.dma.translation(request, tally.as_ref());
        self.count(tally);
        result.map_err(|Refusal { fault, error }| {
            self.refuse(request.source, fault, FaultInfo::Translation(*request));
            error
        })
    }

    /// Remaps an interrupt request (a write to 0xFEEx_xxxx): `deliver` gets the message to be delivered, in one
    /// read-side critical section, so that an invalidation of the entry waits for it (§6.5.6). It must not call
    /// back into the unit.
    ///
    /// Gives the answer of `deliver`; none where the interrupt was posted and software is not to be notified. A
    /// refusal is recorded.
    pub fn remap<R>(
        &self,
        source: SourceId,
        request: MsiMessage,
        deliver: impl FnOnce(MsiMessage) -> R,
    ) -> Result<Option<R>, Blocked> {
        let tally = self.counters.tally(|| Tally::of_interrupt(source));
        let result = self.interrupts.carry_out(source, request, tally.as_ref(), deliver);
        self.count(tally);
        result.map_err(|RefusedInterrupt { index, fault }| {
            self.refuse(source, fault, FaultInfo::Interrupt(index))
        })
    }

    /// Judges an interrupt request in the same way, without any effect.
    pub fn resolve(&self, source: SourceId, request: MsiMessage) -> Resolution {
        let Judgement { index, outcome } = self.interrupts.judge(source, request, None);
        let outcome = match outcome {
            Ok(Verdict::Deliver(message)) => Ok(Outcome::Message(message)),
            Ok(Verdict::Post(_)) => Ok(Outcome::Posted),
            Err(fault) => Err(Blocked { reason: fault.reason as u8 }),
        };
        Resolution { entry: index, outcome }
    }

    /// Makes a group known: functions that the host cannot tell apart, and what it lets them reach. To begin with
    /// that is nothing. `ram` lists guest memory (start, length) for when the functions' addresses are not
    /// translated.
    pub fn group(&self, host: HostDma, ram: Vec<(GuestAddress, u64)>) -> Arc<Group> {
        self.shadow.group(host, ram)
    }

    /// Puts a function whose DMA the host carries out behind the unit: from now on its group, which this unit
    /// has made known, follows the guest's tables.
    ///
    /// # Panics
    ///
    /// If the group is one of another unit.
    pub fn attach(&self, function: Arc<dyn AssignedFunction>, group: &Arc<Group>) -> Attachment {
        self.shadow.attach(function, group)
    }

    /// From now on `length` bytes of guest addresses from `start` on lead to a BAR of an assigned function, which
    /// the host lets others reach: peer to peer. They are where tables lead to them, and where addresses are not
    /// translated. What tables have asked for there before is asked for again.
    pub fn add_peer(&self, start: GuestAddress, length: u64) {
        self.shadow.add_peer(&(start.0..start.0.saturating_add(length)));
    }

    /// What [`Self::add_peer`] has named is there no more, and the host's [`HostMapper`](crate::HostMapper)s
    /// refuse it by now. On return no function reaches it.
    pub fn remove_peer(&self, start: GuestAddress, length: u64) {
        self.shadow.remove_peer(&(start.0..start.0.saturating_add(length)));
    }

    /// Compares what the host maps for each group with what the guest's tables say at this moment. Between a
    /// change of tables and its announcement, differences are the guest's own.
    pub fn audit(&self) -> Vec<GroupAudit> {
        self.shadow.audit()
    }

    /// From now on hands `auditor` what [`Self::audit`] finds each time that the host has followed what the guest
    /// announced, before the guest is told. For tests: all tables are read each time. Only the first is taken.
    pub fn audit_always(&self, auditor: impl Fn(&[GroupAudit]) + Send + Sync + 'static) {
        let _ = self.auditor.set(Box::new(auditor));
    }

    /// What has been asked of the host for all groups that there are and were, and what it holds now.
    pub fn shadow_statistics(&self) -> Statistics {
        self.shadow.statistics()
    }

    /// Whether the surroundings see to it that the queue goes on later.
    pub(crate) fn resumes_later(&self) -> bool {
        self.platform.get().is_some_and(|platform| platform.resume_later())
    }

    pub(crate) fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes translations forgotten, by the caches and by the host. Requests under way are to be drained
    /// before anyone is told.
    pub(crate) fn invalidate(&self, queue: &mut Queue, what: &Invalidation, outbox: &mut Outbox) {
        self.forget(queue, what);
        self.announce(std::slice::from_ref(what), outbox);
    }

    /// Makes the caches forget translations.
    pub(crate) fn forget(&self, queue: &mut Queue, what: &Invalidation) {
        self.dma.invalidate(what);
        queue.drain_later();
    }

    /// Makes the host follow what invalidations have announced.
    pub(crate) fn announce(&self, batch: &[Invalidation], outbox: &mut Outbox) {
        for fault in self.shadow.apply(&self.dma.view(), batch) {
            let request = Request { pasid: fault.pasid, ..Request::new(fault.source, fault.access) };
            let info = FaultInfo::Memory { iova: fault.iova, request };
            outbox.fault(self.faults.record(&self.registers, fault.source, fault.reason, info));
        }
        if let Some(auditor) = self.auditor.get() {
            auditor(&self.shadow.audit());
        }
    }

    /// Makes interrupt remapping entries forgotten, by the cache and by all that was derived from them.
    pub(crate) fn invalidate_interrupts(&self, entries: EntryRange) {
        self.interrupts.invalidate(entries);
        if let Some(platform) = self.platform.get() {
            platform.interrupt_entries_changed(entries);
        }
    }

    /// Records a fault if it is to be recorded, and tells the requester.
    pub(crate) fn refuse(&self, source: SourceId, fault: Fault, info: FaultInfo) -> Blocked {
        let Fault { reason, recorded } = fault;
        if recorded {
            let message = self.faults.record(&self.registers, source, reason, info);
            self.send(&Outbox { fault: message, ..Outbox::default() });
        }
        tracing::trace!(%source, ?reason, ?info, recorded, "Request refused");
        Blocked { reason: reason as u8 }
    }

    /// Counts what has happened on the way of a request, if anyone counts it.
    #[inline]
    pub(crate) fn count(&self, tally: Option<Tally>) {
        if let Some(tally) = tally {
            let counter = self.counters.add(&self.registers, &tally);
            self.send(&Outbox { counter, ..Outbox::default() });
        }
    }

    pub(crate) fn send(&self, outbox: &Outbox) {
        if let Some(platform) = self.platform.get() {
            for message in outbox.messages() {
                platform.signal(message);
            }
        }
    }
}

#[cfg(test)]
mod tests;
