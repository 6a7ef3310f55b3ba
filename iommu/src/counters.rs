//! Performance counters (§11.4.13), and the enhanced commands that start and stop them (§11.4.14).
//!
//! As long as no counter counts, a request costs one load more. What happens on the way of a request is added
//! up when it has been carried out, so that all of it is judged by the same filters.

mod tally;

pub(crate) use tally::{Tables, Tally};

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::event::Event;
use crate::padded::Padded;
use crate::registers::Registers;
use crate::spec::counters::{
    COMMAND_HIGH, COMMAND_LOW, COUNTER, COUNTER_BITS, COUNTER_STRIDE, COUNTERS, Command, CommandStatus,
    Configuration, ECMD, ECRSP, EVERY_COUNTER, FREEZE_STATUS, INTERRUPT_STATUS, OVERFLOW_STATUS, PERFINTRCTL,
    PERFINTRSTS, configuration_offset,
};
use crate::spec::mask;
use crate::{Capabilities, Feature, MsiMessage};

/// The counters, and everything about them that changes: PERFFRZSTS, PERFOVFSTS, PERFINTRSTS, PERFINTRCTL and
/// ECRSP change only under the lock.
///
/// A message that a method gives is to be sent once no lock is held.
pub(crate) struct Counters {
    /// Those that count at this moment, a bit for each. Changes only under the lock.
    active: AtomicU32,
    values: [Padded<AtomicU64>; COUNTERS],
    /// Those that software has started.
    enabled: Mutex<u32>,
    commands: bool,
    monitoring: bool,
}

/// What is to be kept of the counters besides their registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Those that software has started, a bit for each.
    pub(crate) enabled: u32,
    pub(crate) values: [u64; COUNTERS],
}

/// The highest value of a counter.
pub(crate) const LAST: u64 = mask(COUNTER_BITS - 1, 0);

impl Counters {
    pub(crate) fn new(capabilities: &Capabilities) -> Self {
        Self {
            active: AtomicU32::new(0),
            values: std::array::from_fn(|_| Padded(AtomicU64::new(0))),
            enabled: Mutex::default(),
            commands: capabilities.has(Feature::EnhancedCommands),
            monitoring: capabilities.has(Feature::PerformanceMonitoring),
        }
    }

    /// What `begin` makes, if anything is counted.
    #[inline]
    pub(crate) fn tally(&self, begin: impl FnOnce() -> Tally) -> Option<Tally> {
        (self.active.load(Ordering::Relaxed) != 0).then(begin)
    }

    /// Counts what has happened on the way of a request.
    #[cold]
    #[must_use]
    pub(crate) fn add(&self, registers: &Registers, tally: &Tally) -> Option<MsiMessage> {
        let active = self.active.load(Ordering::Relaxed);
        let mut overflowed = 0;
        for counter in (0..COUNTERS).filter(|counter| active & 1 << counter != 0) {
            let count = tally.counted_by(registers, counter);
            let before = self.values[counter].fetch_add(count, Ordering::Relaxed) & LAST;
            if before + count > LAST {
                overflowed |= 1 << counter;
            }
        }
        if overflowed == 0 { None } else { self.overflow(registers, overflowed) }
    }

    /// What software reads in the 64-bit register at `offset`, if that is a counter.
    pub(crate) fn value(&self, offset: u64) -> Option<u64> {
        Some(self.values[self.counter_at(offset)?].load(Ordering::Relaxed) & LAST)
    }

    /// Whether a write to the word at `offset` means more than to store it.
    pub(crate) fn take(&self, offset: u64) -> bool {
        match offset {
            ECMD => self.commands,
            PERFINTRSTS | PERFINTRCTL | OVERFLOW_STATUS => self.monitoring,
            _ => self.counter_at(offset & !7).is_some(),
        }
    }

    /// Software writes one of the words that it [takes](Self::take).
    #[must_use]
    pub(crate) fn write(&self, registers: &Registers, offset: u64, value: u32) -> Option<MsiMessage> {
        let mut enabled = self.lock();
        match offset {
            ECMD => {
                let operand = u64::from(value >> 16) | u64::from(registers.get(COMMAND_HIGH)) << 16;
                registers.set(ECMD, value & COMMAND_LOW);
                let status = self.carry_out(&mut enabled, registers, value as u8, operand);
                registers.set(ECRSP, status.response());
            }
            PERFINTRSTS if value & INTERRUPT_STATUS != 0 => {
                registers.set(PERFINTRSTS, 0);
                Event::COUNTER.withdraw(registers);
            }
            PERFINTRCTL => return Event::COUNTER.write_control(registers, value),
            OVERFLOW_STATUS => registers.set(OVERFLOW_STATUS, registers.get(OVERFLOW_STATUS) & !value),
            _ => self.set_half(offset, value),
        }
        None
    }

    /// What is to be kept, along with whatever registers `snapshot` takes.
    pub(crate) fn snapshot<R>(&self, snapshot: impl FnOnce() -> R) -> (State, R) {
        let enabled = self.lock();
        let values = self.values.each_ref().map(|value| value.load(Ordering::Relaxed) & LAST);
        (State { enabled: *enabled, values }, snapshot())
    }

    /// Puts the counters, along with whatever registers `replace` replaces, where `state` says.
    pub(crate) fn replace(&self, registers: &Registers, state: &State, replace: impl FnOnce()) {
        let mut enabled = self.lock();
        self.active.store(0, Ordering::Relaxed);
        for (value, kept) in self.values.iter().zip(state.values) {
            value.store(kept, Ordering::Relaxed);
        }
        replace();
        *enabled = state.enabled;
        self.activate(*enabled, registers);
    }

    /// An enhanced command; none takes any time.
    fn carry_out(&self, enabled: &mut u32, registers: &Registers, code: u8, operand: u64) -> CommandStatus {
        let Some(command) = Command::decode(code).filter(|_| self.monitoring) else {
            return CommandStatus::Unsupported;
        };
        match command {
            Command::Enable | Command::Disable if operand >= COUNTERS as u64 => {
                return CommandStatus::InvalidOperand;
            }
            Command::Enable => *enabled |= 1 << operand,
            Command::Disable => *enabled &= !(1 << operand),
            Command::Freeze => registers.set(FREEZE_STATUS, EVERY_COUNTER),
            Command::Unfreeze => registers.set(FREEZE_STATUS, 0),
        }
        self.activate(*enabled, registers);
        CommandStatus::Success
    }

    /// Those of `enabled` that are not frozen count from now on.
    fn activate(&self, enabled: u32, registers: &Registers) {
        self.active.store(enabled & !registers.get(FREEZE_STATUS), Ordering::Relaxed);
    }

    /// Counters have gone past their last value. What software has not yet looked at stands for all that
    /// follows.
    fn overflow(&self, registers: &Registers, overflowed: u32) -> Option<MsiMessage> {
        let _lock = self.lock();
        registers.set(OVERFLOW_STATUS, registers.get(OVERFLOW_STATUS) | overflowed);
        let interrupts = (0..COUNTERS)
            .filter(|counter| overflowed & 1 << counter != 0)
            .any(|counter| Configuration(registers.get_u64(configuration_offset(counter))).interrupts());
        if !interrupts || registers.get(PERFINTRSTS) & INTERRUPT_STATUS != 0 {
            return None;
        }
        registers.set(PERFINTRSTS, INTERRUPT_STATUS);
        Event::COUNTER.raise(registers)
    }

    /// Stores half a counter.
    fn set_half(&self, offset: u64, half: u32) {
        let Some(counter) = self.counter_at(offset & !7) else { return };
        let shift = if offset & 4 == 0 { 0 } else { 32 };
        let store = |value: u64| Some((value & !(mask(31, 0) << shift) | u64::from(half) << shift) & LAST);
        // It always stores.
        let _ = self.values[counter].fetch_update(Ordering::Relaxed, Ordering::Relaxed, store);
    }

    /// The counter whose 64-bit register lies at `offset`.
    fn counter_at(&self, offset: u64) -> Option<usize> {
        let place = offset.checked_sub(COUNTER).filter(|_| self.monitoring)?;
        let counter = place / COUNTER_STRIDE;
        (place % COUNTER_STRIDE == 0 && counter < COUNTERS as u64).then_some(counter as usize)
    }

    fn lock(&self) -> MutexGuard<'_, u32> {
        self.enabled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
