//! The invalidation completion event: ICS_REG and IECTL_REG (§11.4.9.4 on).

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::MsiMessage;
use crate::event::Event;
use crate::registers::Registers;
use crate::spec::registers::{ICS, WAIT_COMPLETE};

/// Both registers change only under its lock.
///
/// A message that a method gives is to be sent once no lock is held.
#[derive(Default)]
pub(crate) struct CompletionReporting {
    lock: Mutex<()>,
}

impl CompletionReporting {
    /// A wait descriptor that asked for an interrupt has completed. One that software has not yet looked at
    /// stands for all.
    #[must_use]
    pub(crate) fn wait_completed(&self, registers: &Registers) -> Option<MsiMessage> {
        let _lock = self.lock();
        if registers.get(ICS) & WAIT_COMPLETE != 0 {
            return None;
        }
        registers.set(ICS, WAIT_COMPLETE);
        Event::INVALIDATION.raise(registers)
    }

    /// Software writes ICS_REG: a one clears.
    pub(crate) fn write_status(&self, registers: &Registers, value: u32) {
        let _lock = self.lock();
        if value & WAIT_COMPLETE != 0 {
            registers.set(ICS, 0);
            Event::INVALIDATION.withdraw(registers);
        }
    }

    /// Software writes IECTL_REG.
    #[must_use]
    pub(crate) fn write_control(&self, registers: &Registers, value: u32) -> Option<MsiMessage> {
        let _lock = self.lock();
        Event::INVALIDATION.write_control(registers, value)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
