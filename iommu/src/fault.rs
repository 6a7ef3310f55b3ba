//! Fault reporting (chapter 7): the ring of fault records, the fault status, and the event that tells of
//! both.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::event::Event;
use crate::registers::Registers;
use crate::spec::fault::{FaultInfo, FaultReason, FaultRecord};
use crate::spec::registers::{FSTS, FaultStatus, IQERCD, QueueError};
use crate::{Capabilities, MsiMessage, SourceId};

/// The reporting side of a unit: FSTS, FECTL and the records change only under its lock.
///
/// A message that a method gives is to be sent once no lock is held.
pub(crate) struct FaultReporting {
    /// Where the records lie, and how many there are.
    offset: u64,
    count: usize,
    /// The record to use next.
    next: Mutex<usize>,
}

/// Bits of the last word of a record.
const PENDING: u32 = (FaultRecord::PENDING >> 32) as u32;

/// The errors with which the invalidation queue stops until software has cleared them.
pub(crate) const STOPS_QUEUE: FaultStatus = FaultStatus::QUEUE_ERROR.union(FaultStatus::TIMEOUT_ERROR);

impl FaultReporting {
    pub(crate) fn new(capabilities: &Capabilities) -> Self {
        let (offset, count) = (capabilities.fault_record_offset(), capabilities.fault_records());
        Self { offset, count, next: Mutex::default() }
    }

    /// Records a fault (§7.3.1). A flood costs little: once a fault has been lost, further ones are dropped
    /// at the first look.
    #[must_use]
    pub(crate) fn record(
        &self,
        registers: &Registers,
        source: SourceId,
        reason: FaultReason,
        info: FaultInfo,
    ) -> Option<MsiMessage> {
        if status(registers).contains(FaultStatus::OVERFLOW) {
            return None;
        }
        let mut next = self.lock();
        let before = status(registers);
        if before.contains(FaultStatus::OVERFLOW) {
            return None;
        }
        let record = self.record_offset(*next);
        if registers.get(record + 12) & PENDING != 0 {
            set_status(registers, before | FaultStatus::OVERFLOW);
            return None;
        }
        let [low, high] = FaultRecord::new(source, reason, info).0;
        registers.set_u64(record, low);
        // Its upper word has the bit that makes the record valid, and is written last.
        registers.set_u64(record + 8, high);
        let index = *next as u32;
        *next = (*next + 1) % self.count;
        if before.contains(FaultStatus::PENDING) {
            return None;
        }
        let status = (before | FaultStatus::PENDING).bits() | index << FaultStatus::INDEX_SHIFT;
        registers.set(FSTS, status);
        raise(registers, before)
    }

    /// The invalidation queue has stopped.
    #[must_use]
    pub(crate) fn queue_error(&self, registers: &Registers, error: QueueError) -> Option<MsiMessage> {
        let _lock = self.lock();
        let before = status(registers);
        registers.set(IQERCD, error as u32);
        set_status(registers, before | FaultStatus::QUEUE_ERROR);
        raise(registers, before)
    }

    /// A device has completed an invalidation wrongly; the queue goes on.
    #[must_use]
    pub(crate) fn completion_error(&self, registers: &Registers, device: SourceId) -> Option<MsiMessage> {
        self.device_error(registers, device, FaultStatus::COMPLETION_ERROR, 16)
    }

    /// A device has not completed an invalidation, and the queue has stopped.
    #[must_use]
    pub(crate) fn timeout_error(&self, registers: &Registers, device: SourceId) -> Option<MsiMessage> {
        self.device_error(registers, device, FaultStatus::TIMEOUT_ERROR, 0)
    }

    /// Notes `device` in the upper half of IQERCD_REG, at `shift`: the first one that software has not yet
    /// looked at.
    fn device_error(
        &self,
        registers: &Registers,
        device: SourceId,
        error: FaultStatus,
        shift: u32,
    ) -> Option<MsiMessage> {
        let _lock = self.lock();
        let before = status(registers);
        if before.contains(error) {
            return None;
        }
        let others = registers.get(IQERCD + 4) & !(0xFFFF << shift);
        registers.set(IQERCD + 4, others | u32::from(device.0) << shift);
        set_status(registers, before | error);
        raise(registers, before)
    }

    /// Whether an error keeps the invalidation queue from going on.
    pub(crate) fn queue_is_stopped(registers: &Registers) -> bool {
        status(registers).intersects(STOPS_QUEUE)
    }

    /// Software writes FSTS_REG: ones clear. Tells whether the invalidation queue may go on.
    pub(crate) fn write_status(&self, registers: &Registers, value: u32) -> bool {
        let _lock = self.lock();
        let cleared = FaultStatus::from_bits_truncate(value) & FaultStatus::CLEARABLE & status(registers);
        set_status(registers, status(registers) - cleared);
        settle(registers);
        cleared.intersects(STOPS_QUEUE)
    }

    /// Whether the word at `offset` is the last of a record, with its bit F.
    pub(crate) fn is_last_word(&self, offset: u64) -> bool {
        self.is_record(offset) && offset % 16 == 12
    }

    /// Software writes the last word of the record that ends at `offset`: a one in F clears it.
    pub(crate) fn write_record(&self, registers: &Registers, offset: u64, value: u32) {
        if value & PENDING == 0 {
            return;
        }
        let _lock = self.lock();
        registers.set(offset, registers.get(offset) & !PENDING);
        if self.last_words().all(|offset| registers.get(offset) & PENDING == 0) {
            set_status(registers, status(registers) - FaultStatus::PENDING);
        }
        settle(registers);
    }

    /// Software writes FECTL_REG.
    #[must_use]
    pub(crate) fn write_control(&self, registers: &Registers, value: u32) -> Option<MsiMessage> {
        let _lock = self.lock();
        Event::FAULT.write_control(registers, value)
    }

    /// Brings the ring, along with whatever registers `set` sets, into a state in which `next` is the record
    /// to use next.
    pub(crate) fn replace(&self, next: usize, set: impl FnOnce()) {
        let mut guard = self.lock();
        *guard = next;
        set();
    }

    /// The record to use next, and what `get` sees while no fault is recorded.
    pub(crate) fn snapshot<R>(&self, get: impl FnOnce() -> R) -> (usize, R) {
        let next = self.lock();
        (*next, get())
    }

    /// How many records there are.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// Whether the word at `offset` is part of a record.
    pub(crate) fn is_record(&self, offset: u64) -> bool {
        (self.offset..self.record_offset(self.count)).contains(&offset)
    }

    /// The words of the records that have the bit F.
    pub(crate) fn last_words(&self) -> impl Iterator<Item = u64> {
        (0..self.count).map(|index| self.record_offset(index) + 12)
    }

    fn record_offset(&self, index: usize) -> u64 {
        self.offset + index as u64 * 16
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn status(registers: &Registers) -> FaultStatus {
    FaultStatus::from_bits_truncate(registers.get(FSTS))
}

/// Stores the status bits and leaves FRI as it is.
fn set_status(registers: &Registers, status: FaultStatus) {
    let index = registers.get(FSTS) & !FaultStatus::all().bits();
    registers.set(FSTS, index | status.bits());
}

/// A status bit has been set: that is an event unless one was set before.
fn raise(registers: &Registers, before: FaultStatus) -> Option<MsiMessage> {
    if before.is_empty() { Event::FAULT.raise(registers) } else { None }
}

/// Status bits have been cleared: with none left there is nothing to tell any more.
fn settle(registers: &Registers) {
    if status(registers).is_empty() {
        Event::FAULT.withdraw(registers);
    }
}

#[cfg(test)]
mod tests;
