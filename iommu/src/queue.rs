//! The invalidation queue (§6.5.2): fetch, check, do, tell.

use std::time::{Duration, Instant};

use crate::registers::Registers;
use crate::spec::context::TableMode;
use crate::spec::descriptor::{self, Descriptor, Wait};
use crate::spec::registers::{FSTS, FaultStatus, IQA, IQH, IQT, QueueError};
use crate::spec::{PAGE_ADDRESS, bits};
use crate::unit::{Outbox, Unit};
use crate::{GuestAddress, TableMemory};

/// How long one register write works on the queue before the rest is left for later. A guest's own driver is
/// done in microseconds; a queue full of flushes over large tables would take hours.
const SLICE: Duration = Duration::from_millis(20);

/// What the unit goes by while it works on the queue. Its lock also orders everything else that changes
/// modes or caches, so the commands of one vCPU see those of another done.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Where it lies, as long as queued invalidation is on.
    ring: Option<Ring>,
    /// Requests may still use translations that have been invalidated.
    drain_due: bool,
}

/// The ring of descriptors, as IQA_REG described it when the queue was switched on, and the place in it.
#[derive(Clone, Copy, Debug)]
struct Ring {
    base: GuestAddress,
    /// In bytes, a multiple of a descriptor.
    size: u64,
    /// The offset of the next descriptor; below `size`.
    head: u64,
}

impl Queue {
    pub(crate) fn is_on(&self) -> bool {
        self.ring.is_some()
    }

    /// Takes IQA_REG into use.
    pub(crate) fn switch_on(&mut self, registers: &Registers) {
        let address = registers.get_u64(IQA);
        let size = 0x1000 << bits(address, 2, 0);
        self.ring = Some(Ring { base: GuestAddress(address & PAGE_ADDRESS), size, head: 0 });
        registers.set(IQH, 0);
    }

    pub(crate) fn switch_off(&mut self, registers: &Registers) {
        self.ring = None;
        registers.set(IQH, 0);
    }

    /// Translations have been invalidated: before that is told to anyone, requests are to be drained.
    pub(crate) fn drain_later(&mut self) {
        self.drain_due = true;
    }
}

impl<M: TableMemory + 'static> Unit<M> {
    /// Works on the queue up to the tail that software has set, to the first error, or until it has taken too
    /// long. That is never more than the queue holds, whatever software does meanwhile.
    pub(crate) fn run_queue(&self, queue: &mut Queue, outbox: &mut Outbox) {
        let Some(Ring { size, .. }) = queue.ring else { return };
        let stopped = |registers: &Registers| registers.get(FSTS) & FaultStatus::QUEUE_ERROR.bits() != 0;
        if stopped(&self.registers) {
            return;
        }
        let tail = u64::from(self.registers.get(IQT));
        let result = if self.dma.mode().root().mode() != TableMode::Legacy {
            Err(QueueError::InvalidTableMode)
        } else if tail >= size {
            Err(QueueError::TailBeyondQueue)
        } else {
            self.run_up_to(queue, tail, outbox)
        };
        // Also after an error: the descriptors before it count as done.
        self.publish_head(queue);
        if let Err(error) = result {
            outbox.fault(self.faults.queue_error(&self.registers, error));
        }
    }

    fn run_up_to(&self, queue: &mut Queue, tail: u64, outbox: &mut Outbox) -> Result<(), QueueError> {
        let started = Instant::now();
        while let Some(Ring { base, size, head }) = queue.ring
            && head != tail
        {
            let raw = self.fetch(base, head).ok_or(QueueError::FetchFailed)?;
            match Descriptor::decode(raw, &self.capabilities)? {
                Descriptor::Translations(what) => self.invalidate(queue, &what, outbox),
                Descriptor::InterruptEntries(entries) => self.invalidate_interrupts(entries),
                Descriptor::Wait(wait) => self.complete(queue, wait, outbox)?,
            }
            let next = (head + descriptor::SIZE) % size;
            queue.ring = Some(Ring { base, size, head: next });
            if next != tail && started.elapsed() > SLICE && self.resumes_later() {
                break;
            }
        }
        Ok(())
    }

    fn fetch(&self, base: GuestAddress, offset: u64) -> Option<[u64; 2]> {
        let low = base.0.checked_add(offset)?;
        let read = |address| self.memory.read_u64(GuestAddress(address)).ok();
        Some([read(low)?, read(low | 8)?])
    }

    /// A wait descriptor (§6.5.2.8): everything before it has taken effect, and now software is told.
    fn complete(&self, queue: &mut Queue, wait: Wait, outbox: &mut Outbox) -> Result<(), QueueError> {
        self.drain_if_due(queue);
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

#[cfg(test)]
mod tests;
