//! PCI Express root ports: the bridges between the root bus and what hangs behind it.

mod hot_plug;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use hot_plug::{Reserve, SlotListener, SlotState};

use self::hot_plug::HotPlug;
use crate::capability::{LinkChange, add_access_control};
use crate::config_space::NoRoom;
use crate::header::{SECONDARY_BUS_RESET, type1};
use crate::span::Span;
use crate::{
    BAR_COUNT, BarRange, Command, ConfigSpace, Express, ExpressKind, Function, Identity, InterruptPin, Msi,
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

/// What a bridge lets through as its registers stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forwarding {
    /// The number of the bus right behind the bridge.
    pub(crate) secondary: u8,
    /// The highest bus number behind the bridge.
    pub(crate) subordinate: u8,
    /// Whether the link works; while it does not, everything behind it is held in reset.
    pub(crate) link_up: bool,
    /// Whether anything at all goes through: the link works and the bridge is in D0.
    pub(crate) open: bool,
    /// Whether requests from below go up.
    pub(crate) upstream: bool,
    /// The memory window and the prefetchable one, where enabled and not empty.
    pub(crate) memory: [Option<Span>; 2],
    /// The port window, where enabled and not empty.
    pub(crate) ports: Option<Span>,
}

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
        let command = config.command();
        let link_up = self.link_up(config);
        let open = link_up && self.power.is_on(config);
        let memory = [memory_window(config), prefetchable_window(config)]
            .map(|window| window.filter(|_| open && command.contains(Command::MEMORY_SPACE)));
        let ports = port_window(config).filter(|_| open && command.contains(Command::IO_SPACE));
        Forwarding {
            secondary: config.u8(type1::SECONDARY_BUS),
            subordinate: config.u8(type1::SUBORDINATE_BUS),
            link_up,
            open,
            upstream: open && command.contains(Command::BUS_MASTER),
            memory,
            ports,
        }
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

/// Memory Base and Limit: address bits 31:20.
fn memory_window(config: &ConfigSpace) -> Option<Span> {
    let bits = |register| u64::from(config.u16(register) & 0xFFF0) << 16;
    Span::new(bits(type1::MEMORY_BASE), bits(type1::MEMORY_LIMIT) | 0xF_FFFF)
}

/// Prefetchable Memory Base and Limit: address bits 63:20.
fn prefetchable_window(config: &ConfigSpace) -> Option<Span> {
    let bits =
        |register, upper| u64::from(config.u32(upper)) << 32 | u64::from(config.u16(register) & 0xFFF0) << 16;
    let base = bits(type1::PREFETCHABLE_BASE, type1::PREFETCHABLE_BASE_UPPER);
    let limit = bits(type1::PREFETCHABLE_LIMIT, type1::PREFETCHABLE_LIMIT_UPPER);
    Span::new(base, limit | 0xF_FFFF)
}

/// I/O Base and Limit: address bits 15:12.
fn port_window(config: &ConfigSpace) -> Option<Span> {
    let bits = |register| u64::from(config.u8(register) & 0xF0) << 8;
    Span::new(bits(type1::IO_BASE), bits(type1::IO_LIMIT) | 0xFFF)
}

#[cfg(test)]
mod tests;
