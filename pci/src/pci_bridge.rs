//! The bridge from PCI Express to conventional PCI (PCI Express to PCI/PCI-X Bridge Specification 1.0).
//!
//! Behind it lies a bus of 32 devices without links, capabilities of PCI Express or identities of their own:
//! what they send goes up under the bridge's requester ID ([`crate::Location::requester_id`]), so an IOMMU
//! cannot tell them apart. It is the right place for functions that the host cannot tell apart either.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::bridge::Forwarding;
use crate::config_space::NoRoom;
use crate::header::{SECONDARY_BUS_RESET, type1};
use crate::{
    BAR_COUNT, BarRange, ConfigSpace, Express, ExpressKind, Function, Identity, PowerManagement, Register,
};

/// A bridge that no guest has quirks for.
const IDENTITY: Identity = Identity {
    vendor: 0x1B36,
    device: 0x000E,
    revision: 0,
    class: 0x06_0400,
    subsystem_vendor: 0,
    subsystem: 0,
};

/// Bridge Control: parity errors, SERR#, reset and the length of the discard timer. Nothing is ever aborted,
/// delayed or discarded, so Master Abort Mode and the timer change nothing.
const CONTROL_WRITABLE: u32 = 1 << 0 | 1 << 1 | 1 << 5 | SECONDARY_BUS_RESET as u32 | 1 << 9 | 1 << 11;

/// A bridge to conventional PCI.
pub(crate) struct PciBridge {
    config: Mutex<ConfigSpace>,
    power: PowerManagement,
}

impl PciBridge {
    /// A bridge with nothing behind it.
    pub(crate) fn new() -> Result<Self, NoRoom> {
        let mut config = ConfigSpace::bridge(&IDENTITY);
        config.define(type1::BRIDGE_CONTROL, Register::u16(0).writable(CONTROL_WRITABLE));
        let power = PowerManagement::add(&mut config)?;
        Express::add(&mut config, ExpressKind::PciBridge, false)?;
        Ok(Self { config: Mutex::new(config), power })
    }

    /// What goes through the bridge now.
    pub(crate) fn forwarding(&self) -> Forwarding {
        let config = self.config();
        let in_reset = config.u16(type1::BRIDGE_CONTROL) & SECONDARY_BUS_RESET != 0;
        Forwarding::of(&config, !in_reset, self.power.is_on(&config))
    }

    fn config(&self) -> MutexGuard<'_, ConfigSpace> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Function for PciBridge {
    fn config_read(&self, offset: u16, data: &mut [u8]) {
        self.config().read(offset, data);
    }

    fn config_write(&self, offset: u16, data: &[u8]) {
        let mut config = self.config();
        let power = self.power.control(&config);
        config.write(offset, data);
        self.power.settle(&mut config, power);
    }

    fn bars(&self) -> [Option<BarRange>; BAR_COUNT] {
        [None; BAR_COUNT]
    }

    fn bar_read(&self, _bar: usize, _offset: u64, data: &mut [u8]) {
        data.fill(0xFF);
    }

    fn bar_write(&self, _bar: usize, _offset: u64, _data: &[u8]) {}

    fn reset(&self) {
        self.config().reset();
    }
}

#[cfg(test)]
mod tests;
