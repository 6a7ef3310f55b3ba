//! PCI Express root ports: the bridges between the root bus and what hangs behind it.

mod hot_plug;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use hot_plug::{Reserve, SlotListener, SlotState};

use self::hot_plug::HotPlug;
use crate::bridge::Forwarding;
use crate::capability::{LinkChange, add_access_control};
use crate::config_space::NoRoom;
use crate::header::{SECONDARY_BUS_RESET, type1};
use crate::{
    BAR_COUNT, BarRange, ConfigSpace, Express, ExpressKind, Function, Identity, InterruptPin, Msi,
    PowerManagement,
};

/// A root port of a chipset that every guest knows and no guest has quirks for.
const IDENTITY: Identity = Identity {
    vendor: 0x8086,
    device: 0x3420,
    revision: 2,
    class: 0x06_0400,
    subsystem_vendor: 0,
    subsystem: 0,
};

/// A root port.
pub(crate) struct RootPort {
    state: Mutex<State>,
    express: Express,
    power: PowerManagement,
    msi: Msi,
    /// What the slot needs if it may be filled and emptied while the machine runs.
    hot_plug: Option<HotPlug>,
}

struct State {
    config: ConfigSpace,
    occupied: bool,
    /// Whether the slot's events ask for an interrupt.
    interrupting: bool,
    /// The level last given to the wire.
    wire_asserted: bool,
}

impl RootPort {
    /// A port with an empty slot of this number.
    pub(crate) fn new(slot: u16) -> Result<Self, NoRoom> {
        let mut config = ConfigSpace::bridge(&IDENTITY);
        config.set_interrupt_pin(InterruptPin::A);
        let power = PowerManagement::add(&mut config)?;
        let express = Express::add(&mut config, ExpressKind::RootPort { slot }, false)?;
        // For the slot's events, of which there are none unless it is one for hot-plug.
        let msi = Msi::add(&mut config, 1, true)?;
        add_access_control(&mut config)?;
        let state = State { config, occupied: false, interrupting: false, wire_asserted: false };
        Ok(Self { state: Mutex::new(state), express, power, msi, hot_plug: None })
    }

    /// Tells the port what is in its slot as the machine starts.
    pub(crate) fn occupy(&self) {
        let mut state = self.state();
        state.occupied = true;
        self.power_up(&mut state.config);
        self.show_link(&mut state);
    }

    /// What goes through the port now.
    pub(crate) fn forwarding(&self) -> Forwarding {
        let state = self.state();
        let config = &state.config;
        Forwarding::of(config, self.link_up(config), self.power.is_on(config))
    }

    fn link_up(&self, config: &ConfigSpace) -> bool {
        let reset = config.u16(type1::BRIDGE_CONTROL) & SECONDARY_BUS_RESET != 0;
        !reset && !self.express.link_disabled(config) && self.is_powered(config)
    }

    fn show_link(&self, state: &mut State) -> LinkChange {
        let up = self.link_up(&state.config);
        self.express.show_link(&mut state.config, state.occupied, up)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Function for RootPort {
    fn config_read(&self, offset: u16, data: &mut [u8]) {
        self.state().config.read(offset, data);
    }

    fn config_write(&self, offset: u16, data: &[u8]) {
        let mut state = self.state();
        let power = self.power.control(&state.config);
        let slot = self.slot_control(&state.config);
        state.config.write(offset, data);
        self.power.settle(&mut state.config, power);
        let change = self.show_link(&mut state);
        self.follow_write(&mut state, offset, data.len(), slot, change);
    }

    fn bars(&self) -> [Option<BarRange>; BAR_COUNT] {
        [None; BAR_COUNT]
    }

    fn bar_read(&self, _bar: usize, _offset: u64, data: &mut [u8]) {
        data.fill(0xFF);
    }

    fn bar_write(&self, _bar: usize, _offset: u64, _data: &[u8]) {}

    fn reset(&self) {
        let mut state = self.state();
        state.config.reset();
        if state.occupied {
            self.power_up(&mut state.config);
        }
        self.show_link(&mut state);
        self.interrupt(&mut state);
    }
}

#[cfg(test)]
mod tests;
