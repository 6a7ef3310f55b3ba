//! Event messages (§11.4.7.2 on, and the like): the interrupts that the unit itself sends, and when it holds them back.

use crate::MsiMessage;
use crate::registers::Registers;
use crate::spec::counters::PERFINTRCTL;
use crate::spec::registers::{EVENT_MASKED, EVENT_PENDING, FECTL, IECTL, PECTL};

/// The four registers of an event, by the first of them. The caller sees to it that one thread at a time
/// uses them.
///
/// A message that a method gives is to be sent once no lock is held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event(u64);

impl Event {
    /// FECTL_REG and what follows.
    pub(crate) const FAULT: Self = Self(FECTL);
    /// IECTL_REG and what follows.
    pub(crate) const INVALIDATION: Self = Self(IECTL);
    /// PECTL_REG and what follows.
    pub(crate) const PAGE_REQUEST: Self = Self(PECTL);
    /// PERFINTRCTL_REG and what follows.
    pub(crate) const COUNTER: Self = Self(PERFINTRCTL);

    /// The condition has arisen: its message is sent, or held back as long as the event is masked.
    #[must_use]
    pub(crate) fn raise(self, registers: &Registers) -> Option<MsiMessage> {
        let control = registers.get(self.0);
        if control & EVENT_MASKED != 0 {
            registers.set(self.0, control | EVENT_PENDING);
            return None;
        }
        Some(self.message(registers))
    }

    /// Everything that the event tells of has been dealt with: a message held back is not sent any more.
    pub(crate) fn withdraw(self, registers: &Registers) {
        registers.set(self.0, registers.get(self.0) & !EVENT_PENDING);
    }

    /// Software writes the control register; unmasking sends what was held back.
    #[must_use]
    pub(crate) fn write_control(self, registers: &Registers, value: u32) -> Option<MsiMessage> {
        let pending = registers.get(self.0) & EVENT_PENDING;
        if value & EVENT_MASKED != 0 {
            registers.set(self.0, EVENT_MASKED | pending);
            return None;
        }
        registers.set(self.0, 0);
        (pending != 0).then(|| self.message(registers))
    }

    fn message(self, registers: &Registers) -> MsiMessage {
        let [data, address, upper_address] = [4, 8, 12].map(|word| registers.get(self.0 + word));
        MsiMessage { address: u64::from(upper_address) << 32 | u64::from(address), data }
    }
}
