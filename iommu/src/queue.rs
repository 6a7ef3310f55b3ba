//! The invalidation queue (§6.5.2): fetch, check, do, tell.
//!
//! One register write does at most what the queue holds, 2^15 descriptors, whatever software does meanwhile.
//! Where someone sees to it that the queue goes on ([`Platform::resume_later`](crate::Platform)), it does
//! no more than fits in [`SLICE`], and one descriptor or one [`Batch`]. The most that one descriptor does:
//!
//! - one that names translations, of either mode, looks once at every entry of the caches, some 2^14. What it
//!   means for assigned functions is done together with others before the next wait: for each address space
//!   that they name, at most 2^13 tables are read for each, and the host is asked for at most 2^20 mappings
//!   (`shadow/wanted.rs`);
//! - one for a device calls that device once; one for interrupt remapping entries calls the platform once;
//! - a wait writes one word, once the requests and page requests under way have ended.

mod batch;
mod slice;

use crate::fault::FaultReporting;
use crate::registers::Registers;
use crate::spec::context::TableMode;
use crate::spec::descriptor::{Descriptor, Kinds, Raw, Wait};
use crate::spec::registers::{IQA, IQH, IQT, QueueError};
use crate::spec::{PAGE_ADDRESS, bits};
use crate::unit::{Outbox, Unit};
use crate::{Feature, GuestAddress, SourceId, TableMemory};

use batch::Batch;
use slice::{Slice, Weight};

/// What the unit goes by while it works on the queue. Its lock also orders everything else that changes
/// modes or caches, so the commands of one vCPU see those of another done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Where it lies, as long as queued invalidation is on.
    pub(crate) ring: Option<Ring>,
    /// Software wants it off: what it holds is done first.
    pub(crate) stopping: bool,
    /// Requests may still use translations that have been invalidated.
    pub(crate) drain_due: bool,
    /// A device that has not answered, until the time for it is up.
    pub(crate) unanswered: Option<SourceId>,
}

/// The ring of descriptors, as IQA_REG described it when the queue was switched on, and the place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) base: GuestAddress,
    /// In bytes, a multiple of a descriptor.
    pub(crate) size: u64,
    /// The size of a descriptor in bytes: 16, or 32 with IQA.DW.
    pub(crate) width: u64,
    /// The offset of the next descriptor; below `size`.
    pub(crate) head: u64,
}

/// How far the queue has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Up to the tail, or as far as an error lets it.
    Ended,
    /// There is more, which someone has promised to go on with.
    Suspended,
}

impl Queue {
    pub(crate) fn is_on(&self) -> bool {
        self.ring.is_some()
    }

    /// Takes IQA_REG into use.
    pub(crate) fn switch_on(&mut self, registers: &Registers) {
        let address = registers.get_u64(IQA);
        let size = 0x1000 << bits(address, 2, 0);
        let width = 16 << bits(address, 11, 11);
        self.ring = Some(Ring { base: GuestAddress(address & PAGE_ADDRESS), size, width, head: 0 });
        registers.set(IQH, 0);
    }

    pub(crate) fn switch_off(&mut self, registers: &Registers) {
        (self.ring, self.stopping, self.unanswered) = (None, false, None);
        registers.set(IQH, 0);
    }

    /// Whether it was left before its end, and not for an error.
    pub(crate) fn has_more(&self, registers: &Registers) -> bool {
        let tail = u64::from(registers.get(IQT));
        self.ring.is_some_and(|ring| ring.head != tail) && !FaultReporting::queue_is_stopped(registers)
    }

    /// The queue is to be switched off once it has done what it holds, or not after all.
    pub(crate) fn switch_off_later(&mut self, stopping: bool) {
        self.stopping = stopping && self.is_on();
    }

    /// Translations have been invalidated: before that is told to anyone, requests are to be drained.
    pub(crate) fn drain_later(&mut self) {
        self.drain_due = true;
    }

    /// A device does not answer. What does not depend on it still happens in the time that it has.
    pub(crate) fn unanswered(&mut self, device: SourceId) {
        self.unanswered.get_or_insert(device);
    }
}

impl<M: TableMemory + 'static> Unit<M> {
    /// Works on the queue up to the tail that software has set, to the first error, or until it has taken too
    /// long. Then it is switched off, if software wants that.
    pub(crate) fn run_queue(&self, queue: &mut Queue, outbox: &mut Outbox) {
        let progress = self.advance(queue, outbox);
        if queue.stopping && progress == Progress::Ended {
            queue.switch_off(&self.registers);
            self.queue_is_off();
        }
    }

    fn advance(&self, queue: &mut Queue, outbox: &mut Outbox) -> Progress {
        let Some(ring) = queue.ring else { return Progress::Ended };
        if FaultReporting::queue_is_stopped(&self.registers) {
            return Progress::Ended;
        }
        let tail = u64::from(self.registers.get(IQT));
        let mut batch = Batch::default();
        let result = match self.check(ring, tail) {
            Ok(kinds) => self.run_up_to(queue, tail, kinds, &mut batch, outbox),
            // Nothing is fetched from an empty queue, so whatever it is like is no error yet.
            Err(_) if ring.head == tail => Ok(Progress::Ended),
            Err(error) => Err(error),
        };
        // Also after an error: the descriptors before it count as done.
        self.announce_all(&mut batch, outbox);
        self.publish_head(queue);
        if result != Ok(Progress::Suspended)
            && let Some(device) = queue.unanswered.take()
        {
            outbox.fault(self.faults.timeout_error(&self.registers, device));
        }
        result.unwrap_or_else(|error| {
            outbox.fault(self.faults.queue_error(&self.registers, error));
            Progress::Ended
        })
    }

    /// Whether the queue fits the table mode in use and the tail fits the queue (§6.5.2); which descriptors
    /// there are then.
    fn check(&self, ring: Ring, tail: u64) -> Result<Kinds, QueueError> {
        let has = |feature| self.capabilities.has(feature);
        let kinds = match self.dma.mode().root().mode() {
            TableMode::Legacy => Kinds::Legacy,
            TableMode::Scalable if has(Feature::Scalable) => Kinds::All,
            TableMode::Abort if has(Feature::AbortMode) => Kinds::All,
            _ => return Err(QueueError::InvalidTableMode),
        };
        if kinds == Kinds::All && ring.width != 32 {
            return Err(QueueError::InvalidWidth);
        }
        if !tail.is_multiple_of(ring.width) {
            return Err(QueueError::TailMisaligned);
        }
        if tail >= ring.size {
            return Err(QueueError::TailBeyondQueue);
        }
        Ok(kinds)
    }

    fn run_up_to(
        &self,
        queue: &mut Queue,
        tail: u64,
        kinds: Kinds,
        batch: &mut Batch,
        outbox: &mut Outbox,
    ) -> Result<Progress, QueueError> {
        let mut slice = Slice::default();
        while let Some(ring) = queue.ring
            && ring.head != tail
        {
            let raw = self.fetch(ring).ok_or(QueueError::FetchFailed)?;
            let descriptor = Descriptor::decode(raw, kinds, &self.capabilities)?;
            if batch.is_full() || matches!(descriptor, Descriptor::Wait(_)) && !batch.is_empty() {
                slice.begin(batch.weight());
                self.announce_all(batch, outbox);
                if slice.is_over() && self.resumes_later() {
                    return Ok(Progress::Suspended);
                }
            }
            slice.begin(weight(&descriptor));
            let in_time = self.carry_out(queue, &descriptor, batch, outbox)?;
            let next = (ring.head + ring.width) % ring.size;
            queue.ring = Some(Ring { head: next, ..ring });
            if !in_time {
                break;
            }
            if next != tail && slice.is_over() && self.resumes_later() {
                return Ok(Progress::Suspended);
            }
        }
        Ok(Progress::Ended)
    }

    /// Does what a descriptor asks for. Tells whether the queue may go on: not if it is a wait for what never
    /// happens, which the time-out then aborts (§6.5.2.11).
    fn carry_out(
        &self,
        queue: &mut Queue,
        descriptor: &Descriptor,
        batch: &mut Batch,
        outbox: &mut Outbox,
    ) -> Result<bool, QueueError> {
        match descriptor {
            Descriptor::Translations(what) => {
                self.forget(queue, what);
                if self.shadow.follows_any() {
                    batch.add(*what);
                }
            }
            Descriptor::DeviceTlb(device, what) => self.invalidate_device_tlb(queue, *device, what, outbox),
            Descriptor::InterruptEntries(entries) => self.invalidate_interrupts(*entries),
            Descriptor::PageResponse(device, response) => self.respond(*device, response),
            Descriptor::Wait(_) if queue.unanswered.is_some() => return Ok(false),
            Descriptor::Wait(wait) => self.complete(queue, *wait, outbox)?,
        }
        Ok(true)
    }

    /// Makes the host follow what has been announced since the last time, all of it before anyone is told.
    fn announce_all(&self, batch: &mut Batch, outbox: &mut Outbox) {
        if !batch.is_empty() {
            self.announce(&batch.take(), outbox);
        }
    }

    fn fetch(&self, ring: Ring) -> Option<Raw> {
        let start = ring.base.0.checked_add(ring.head)?;
        let mut raw = Raw::default();
        // A descriptor is aligned to its size.
        for (offset, word) in (0..ring.width).step_by(8).zip(&mut raw) {
            *word = self.memory.read_u64(GuestAddress(start | offset)).ok()?;
        }
        Some(raw)
    }

    /// A wait descriptor (§6.5.2.8): everything before it has taken effect, and now software is told.
    fn complete(&self, queue: &mut Queue, wait: Wait, outbox: &mut Outbox) -> Result<(), QueueError> {
        self.drain_if_due(queue);
        if wait.page_request_drain {
            self.page_requests.drain();
        }
        if let Some((address, data)) = wait.status {
            self.memory.write_u32(address, data).map_err(|_| QueueError::NoInformation)?;
        }
        if wait.interrupt {
            outbox.invalidation(self.completion.wait_completed(&self.registers));
        }
        Ok(())
    }

    fn publish_head(&self, queue: &mut Queue) {
        self.drain_if_due(queue);
        if let Some(ring) = queue.ring {
            self.registers.set(IQH, ring.head as u32);
        }
    }

    /// Waits for requests under way if translations have been invalidated since the last time.
    pub(crate) fn drain_if_due(&self, queue: &mut Queue) {
        if std::mem::take(&mut queue.drain_due) {
            self.dma.drain();
        }
    }
}

/// How long a descriptor takes: others than the unit decide that of some. What is for assigned functions is
/// weighed as a [`Batch`].
fn weight(descriptor: &Descriptor) -> Weight {
    match descriptor {
        Descriptor::DeviceTlb(..) | Descriptor::InterruptEntries(_) | Descriptor::PageResponse(..) => {
            Weight::Unknown
        }
        Descriptor::Translations(_) | Descriptor::Wait(_) => Weight::Quick,
    }
}

#[cfg(test)]
mod tests;
