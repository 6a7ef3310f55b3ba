//! The slot of a root port that may be filled and emptied while the machine runs.
//!
//! People and guests agree on it in the way of the PCI Express base specification (6.7): whoever puts
//! something in, or wants it out, presses the attention button; the guest answers with power and the power
//! indicator. What is pulled without asking takes the link down.

use std::sync::{Arc, PoisonError};

use super::{RootPort, State};
use crate::capability::{
    BUTTON_PRESSED, Indicator, LINK_CHANGED, LinkChange, PRESENCE_CHANGED, SlotRegisters,
};
use crate::config_space::{NoRoom, register};
use crate::header::STATUS_INTERRUPT;
use crate::{Command, ConfigSpace, Delivery, Message};

/// Whom a hot-plug slot tells of what happens in it.
///
/// It is called from configuration accesses, with locks of this crate held: it must not call back.
pub trait SlotListener: Send + Sync {
    /// The port sends a message-signalled interrupt.
    fn send(&self, message: Message);

    /// The port's share of its INTx wire is asserted or deasserted.
    fn set_wire(&self, asserted: bool);

    /// The guest has let go of what is in the slot: its power and its power indicator are off.
    fn released(&self);
}

/// Addresses that a port keeps for what comes into its slot later, whatever is in it at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserve {
    /// Bytes of memory below 4 GiB.
    pub memory: u64,
    /// Bytes of prefetchable memory, above 4 GiB where there is a window for it.
    pub prefetchable: u64,
    /// Ports.
    pub ports: u64,
}

/// A hot-plug slot as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// Its number: the guest knows it by this.
    pub number: u16,
    /// Something is in it.
    pub occupied: bool,
    /// The guest gives it power.
    pub powered: bool,
    /// What the guest shows of it.
    pub indicator: Indicator,
}

impl SlotState {
    /// Whether the guest has let go of whatever is in the slot, or never took it.
    pub fn is_released(&self) -> bool {
        !self.powered && self.indicator == Indicator::Off
    }
}

/// What a port has more for such a slot.
pub(super) struct HotPlug {
    registers: SlotRegisters,
    listener: Arc<dyn SlotListener>,
    reserve: Reserve,
}

impl RootPort {
    /// A port with an empty slot of this number, which may be filled and emptied while the machine runs.
    pub(crate) fn with_hot_plug(
        slot: u16,
        reserve: Reserve,
        listener: Arc<dyn SlotListener>,
    ) -> Result<Self, NoRoom> {
        let mut port = Self::new(slot)?;
        let express = port.express;
        let state = port.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let registers = SlotRegisters::lay_out(&mut state.config, express);
        port.hot_plug = Some(HotPlug { registers, listener, reserve });
        Ok(port)
    }

    /// What is in the slot came while the machine runs: shows it, and presses the attention button, as who
    /// puts something in does.
    pub(crate) fn insert(&self) {
        self.change(true, BUTTON_PRESSED);
    }

    /// What was in the slot has gone.
    pub(crate) fn remove(&self) {
        self.change(false, 0);
    }

    /// Asks the guest to let go of what is in the slot; while it makes up its mind, to leave everything as it
    /// is.
    pub(crate) fn press_button(&self) {
        let mut state = self.state();
        self.raise(&mut state, BUTTON_PRESSED);
    }

    /// The addresses that the port keeps for what comes.
    pub(crate) fn reserve(&self) -> Reserve {
        self.hot_plug.as_ref().map_or_else(Reserve::default, |hot_plug| hot_plug.reserve)
    }

    /// The slot as it is; `None` if it is not one for hot-plug.
    pub(crate) fn slot_state(&self) -> Option<SlotState> {
        let HotPlug { registers, .. } = self.hot_plug.as_ref()?;
        let state = self.state();
        let config = &state.config;
        Some(SlotState {
            number: registers.number(config),
            occupied: state.occupied,
            powered: registers.is_powered(config),
            indicator: registers.indicator(config),
        })
    }

    fn change(&self, occupied: bool, events: u16) {
        let mut state = self.state();
        state.occupied = occupied;
        let change = self.show_link(&mut state);
        self.raise(&mut state, events | events_of(change));
    }

    pub(super) fn power_up(&self, config: &mut ConfigSpace) {
        if let Some(HotPlug { registers, .. }) = &self.hot_plug {
            registers.power_up(config);
        }
    }

    pub(super) fn is_powered(&self, config: &ConfigSpace) -> bool {
        self.hot_plug.as_ref().is_none_or(|hot_plug| hot_plug.registers.is_powered(config))
    }

    /// Slot Control, for [`RootPort::follow_write`].
    pub(super) fn slot_control(&self, config: &ConfigSpace) -> u16 {
        self.hot_plug.as_ref().map_or(0, |hot_plug| hot_plug.registers.control(config))
    }

    /// Ends a write of `length` bytes at `offset`. `before` is what Slot Control was, `change` what the write
    /// did to the link.
    pub(super) fn follow_write(
        &self,
        state: &mut State,
        offset: u16,
        length: usize,
        before: u16,
        change: LinkChange,
    ) {
        // What was pending behind a mask goes first; there is one vector.
        let unmasked = self.msi.take_unmasked(&mut state.config);
        let Some(HotPlug { registers, listener, .. }) = &self.hot_plug else { return };
        if self.may_send(&state.config) {
            for message in unmasked {
                listener.send(message);
            }
        }
        let released = registers.complete(&mut state.config, offset, length, before);
        self.raise(state, events_of(change));
        if released && state.occupied {
            listener.released();
        }
    }

    /// Notes events, and interrupts for them.
    fn raise(&self, state: &mut State, events: u16) {
        if let Some(HotPlug { registers, .. }) = &self.hot_plug {
            registers.raise(&mut state.config, events);
            self.interrupt(state);
        }
    }

    /// Interrupts if the slot's events ask for it: by a message when they begin to, by the wire as long as
    /// they do. The lock is held meanwhile, so that the last level given is the right one.
    pub(super) fn interrupt(&self, state: &mut State) {
        let Some(HotPlug { registers, listener, .. }) = &self.hot_plug else { return };
        let wanted = registers.interrupts(&state.config);
        let begins = !std::mem::replace(&mut state.interrupting, wanted) && wanted;
        let messages = self.msi.is_enabled(&state.config);
        if begins
            && self.may_send(&state.config)
            && let Delivery::Send(message) = self.msi.raise(&mut state.config, 0)
        {
            listener.send(message);
        }
        let wire = wanted && !messages;
        let status = state.config.u16(register::STATUS) & !STATUS_INTERRUPT;
        state.config.set_u16(register::STATUS, status | if wire { STATUS_INTERRUPT } else { 0 });
        let quiet = state.config.command().contains(Command::INTERRUPT_DISABLE);
        let asserted = wire && !quiet && self.power.is_on(&state.config);
        if std::mem::replace(&mut state.wire_asserted, asserted) != asserted {
            listener.set_wire(asserted);
        }
    }

    /// Whether the port may send messages of its own.
    fn may_send(&self, config: &ConfigSpace) -> bool {
        config.command().contains(Command::BUS_MASTER) && self.power.is_on(config)
    }
}

fn events_of(change: LinkChange) -> u16 {
    let link = if change.link { LINK_CHANGED } else { 0 };
    let presence = if change.presence { PRESENCE_CHANGED } else { 0 };
    link | presence
}

#[cfg(test)]
mod tests;
