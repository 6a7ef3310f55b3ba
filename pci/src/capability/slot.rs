//! The slot registers of a root port whose slot may be filled and emptied while the machine runs (PCI Express
//! Base, 7.5.3.9 to 7.5.3.11).
//!
//! The slot has an attention button, a power controller and both indicators. Every command is completed by
//! the time that the write which gave it returns.

use super::Express;
use crate::{ConfigSpace, Register};

// Offsets in the PCI Express capability.
const CAPABILITIES_AT: u16 = 0x14;
const CONTROL_AT: u16 = 0x18;
const STATUS_AT: u16 = 0x1A;

/// Slot Capabilities: attention button, power controller, attention indicator, power indicator, surprise
/// removal, hot-plug. Command Completed is supported, and there is no latch.
const CAPABILITIES: u32 = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6;

/// Slot Control: everything that the slot has.
const CONTROL_WRITABLE: u32 = 0x17FB;
const INTERRUPT_ENABLE: u16 = 1 << 5;
const ATTENTION_OFF: u16 = 0b11 << 6;
const POWER_INDICATOR: u16 = 0b11 << 8;
const POWER_INDICATOR_ON: u16 = 0b01 << 8;
const POWER_INDICATOR_BLINK: u16 = 0b10 << 8;
const POWER_OFF: u16 = 1 << 10;
const LINK_CHANGE_ENABLE: u16 = 1 << 12;

/// Slot Status: the attention button was pressed.
pub(crate) const BUTTON_PRESSED: u16 = 1 << 0;
/// Slot Status: something came or went.
pub(crate) const PRESENCE_CHANGED: u16 = 1 << 3;
/// Slot Status: the slot is ready for the next command.
const COMMAND_COMPLETED: u16 = 1 << 4;
/// Slot Status: the link came up or went down.
pub(crate) const LINK_CHANGED: u16 = 1 << 8;
/// Slot Status: a power fault, which never happens here, and the events above.
const EVENTS: u16 = BUTTON_PRESSED | 1 << 1 | PRESENCE_CHANGED | COMMAND_COMPLETED | LINK_CHANGED;

/// What the power indicator shows: how a guest tells people what they may do with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Indicator {
    /// The slot is in use.
    On,
    /// The guest is about to change that.
    Blinking,
    /// The slot may be emptied and filled.
    Off,
}

/// The slot registers; their values are in [`ConfigSpace`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotRegisters {
    at: u16,
}

impl SlotRegisters {
    /// Makes the slot of a root port, which is empty, one for hot-plug.
    pub(crate) fn lay_out(config: &mut ConfigSpace, express: Express) -> Self {
        let at = express.place();
        let number = config.u32(at + CAPABILITIES_AT);
        config.define(at + CAPABILITIES_AT, Register::u32(number | CAPABILITIES));
        let off = ATTENTION_OFF | POWER_INDICATOR | POWER_OFF;
        config.define(at + CONTROL_AT, Register::u16(off).writable(CONTROL_WRITABLE));
        config.define(at + STATUS_AT, Register::u16(0).cleared_by_one(u32::from(EVENTS)));
        Self { at }
    }

    /// The number of the slot, which is printed beside it.
    pub(crate) fn number(self, config: &ConfigSpace) -> u16 {
        (config.u32(self.at + CAPABILITIES_AT) >> 19) as u16
    }

    /// Gives what is in the slot as the machine starts power, as firmware does.
    pub(crate) fn power_up(self, config: &mut ConfigSpace) {
        let control = self.control(config) & !(POWER_INDICATOR | POWER_OFF);
        config.set_u16(self.at + CONTROL_AT, control | POWER_INDICATOR_ON);
    }

    /// Slot Control.
    pub(crate) fn control(self, config: &ConfigSpace) -> u16 {
        config.u16(self.at + CONTROL_AT)
    }

    /// Whether the slot has power.
    pub(crate) fn is_powered(self, config: &ConfigSpace) -> bool {
        self.control(config) & POWER_OFF == 0
    }

    /// What the power indicator shows. The reserved value lights nothing.
    pub(crate) fn indicator(self, config: &ConfigSpace) -> Indicator {
        indicator(self.control(config))
    }

    /// Ends a write of `length` bytes at `offset` of configuration space: every write to Slot Control is a
    /// command, and completed. `before` is what Slot Control was. Says whether this write was the one that let
    /// go of what is in the slot: power and power indicator are off now, and were not both before.
    pub(crate) fn complete(self, config: &mut ConfigSpace, offset: u16, length: usize, before: u16) -> bool {
        let control = usize::from(self.at + CONTROL_AT);
        let start = usize::from(offset);
        if start >= control + 2 || control >= start + length {
            return false;
        }
        self.raise(config, COMMAND_COMPLETED);
        is_released(self.control(config)) && !is_released(before)
    }

    /// Notes events.
    pub(crate) fn raise(self, config: &mut ConfigSpace, events: u16) {
        let status = config.u16(self.at + STATUS_AT);
        config.set_u16(self.at + STATUS_AT, status | events);
    }

    /// Whether there is an event that the guest wants to be interrupted for (6.7.3.4).
    pub(crate) fn interrupts(self, config: &ConfigSpace) -> bool {
        let control = self.control(config);
        let mut wanted = control & EVENTS & !LINK_CHANGED;
        if control & LINK_CHANGE_ENABLE != 0 {
            wanted |= LINK_CHANGED;
        }
        control & INTERRUPT_ENABLE != 0 && config.u16(self.at + STATUS_AT) & wanted != 0
    }
}

fn indicator(control: u16) -> Indicator {
    match control & POWER_INDICATOR {
        POWER_INDICATOR_ON => Indicator::On,
        POWER_INDICATOR_BLINK => Indicator::Blinking,
        _ => Indicator::Off,
    }
}

fn is_released(control: u16) -> bool {
    control & POWER_OFF != 0 && indicator(control) == Indicator::Off
}

#[cfg(test)]
mod tests;
