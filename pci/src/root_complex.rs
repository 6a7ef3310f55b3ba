//! The root complex: the tree of functions, and the way of every access to them.

mod access;
mod refresh;
mod slots;

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::chipset::Chipset;
use crate::config_space::NoRoom;
use crate::map::Map;
use crate::pci_bridge::PciBridge;
use crate::root_port::RootPort;
use crate::topology::{BridgeFunction, Topology};
use crate::{AssignError, Bus, Function, InterruptWire, PlaceError, PlacedFunction, Slot, Windows, assign};

/// PCI Express from the host bridge down. Accesses may come from any number of vCPU threads.
///
/// Writes to configuration space take turns: one lock is held from the write until the functions concerned
/// know what it changed. It comes before any lock of a function, so no [`Function`] may call back from its
/// methods. All other accesses take no lock.
pub struct RootComplex {
    topology: Mutex<Topology>,
    map: ArcSwap<Map>,
    /// The register at port 0xCF8.
    address: AtomicU32,
}

impl RootComplex {
    /// A root bus that has a host bridge at 00:00.0 and an ISA bridge at 00:1f.0, and passes on what lies in
    /// `windows`.
    pub fn new(windows: Windows) -> Self {
        let complex = Self {
            topology: Mutex::new(Topology::new(windows)),
            map: ArcSwap::default(),
            address: AtomicU32::new(0),
        };
        let chipset = [(0x00, Chipset::host_bridge()), (0x1F, Chipset::isa_bridge())];
        for (device, function) in chipset {
            // The bus is empty, so the slots are free.
            if let Ok(slot) = complex.slot(complex.root_bus(), device, 0) {
                complex.plug(slot, function);
            }
        }
        complex
    }

    /// The bus that everything hangs from. Its number is 0.
    pub fn root_bus(&self) -> Bus {
        Topology::ROOT
    }

    /// Reserves a place, so that a function can be made that knows where it will be.
    pub fn slot(&self, bus: Bus, device: u8, function: u8) -> Result<Slot, PlaceError> {
        self.topology().reserve(bus, device, function)
    }

    /// The lowest device number of `bus` that has nothing on it.
    pub fn free_device(&self, bus: Bus) -> Option<u8> {
        self.topology().free_device(bus)
    }

    /// Puts a function in a slot of this root complex.
    pub fn plug(&self, slot: Slot, function: Arc<dyn Function>) {
        let mut topology = self.topology();
        let bus = slot.bus;
        topology.plug(slot, function);
        if let Some(port) = topology.port_above(bus) {
            port.occupy();
        }
        self.refresh(&mut topology);
    }

    /// Adds a root port to the root bus; gives the bus behind it. Its slot has the number of its place.
    pub fn add_root_port(&self, device: u8, function: u8) -> Result<Bus, BridgeError> {
        self.add_port(device, function, RootPort::new)
    }

    fn add_port(
        &self,
        device: u8,
        function: u8,
        port: impl FnOnce(u16) -> Result<RootPort, NoRoom>,
    ) -> Result<Bus, BridgeError> {
        self.add_bridge(Topology::ROOT, device, function, |slot| {
            Ok(BridgeFunction::RootPort(Arc::new(port(u16::from(slot.location().bdf().0 as u8))?)))
        })
    }

    /// Adds a PCIe-to-PCI bridge to a bus that is PCI Express, and where it stays; gives the conventional bus
    /// behind it.
    pub fn add_pci_bridge(&self, bus: Bus, device: u8, function: u8) -> Result<Bus, BridgeError> {
        self.add_bridge(bus, device, function, |_| Ok(BridgeFunction::PciBridge(Arc::new(PciBridge::new()?))))
    }

    fn add_bridge(
        &self,
        bus: Bus,
        device: u8,
        function: u8,
        bridge: impl FnOnce(&Slot) -> Result<BridgeFunction, NoRoom>,
    ) -> Result<Bus, BridgeError> {
        let mut topology = self.topology();
        if !topology.takes_bridges(bus) {
            return Err(PlaceError::NoSuchPlace { device, function }.into());
        }
        let slot = topology.reserve(bus, device, function)?;
        let bridge = match bridge(&slot) {
            Ok(bridge) => bridge,
            Err(error) => {
                topology.give_up(&slot);
                return Err(error.into());
            }
        };
        let below = topology.plug_bridge(slot, bridge);
        if let Some(port) = topology.port_above(bus) {
            port.occupy();
        }
        self.refresh(&mut topology);
        Ok(below)
    }

    /// Every function, each bridge right before what is behind it.
    pub fn functions(&self) -> Vec<PlacedFunction> {
        self.topology().describe()
    }

    /// Does what firmware does: gives out bus numbers, bridge windows and BARs, lets functions decode them,
    /// and notes in Interrupt Line what `interrupt_line` says of the function's wire. Bus mastering stays
    /// off, except for bridges.
    pub fn assign_resources(&self, interrupt_line: impl Fn(InterruptWire) -> u8) -> Result<(), AssignError> {
        let mut topology = self.topology();
        assign::assign_numbers(&topology)?;
        self.refresh(&mut topology);
        let result = assign::assign_addresses(&topology, interrupt_line);
        self.refresh(&mut topology);
        result
    }

    /// Brings everything back to its state after power-on: nothing decodes and no bus has a number until
    /// [`RootComplex::assign_resources`].
    pub fn reset(&self) {
        let mut topology = self.topology();
        for id in topology.below(Topology::ROOT) {
            topology.node(id).function.reset();
        }
        self.reset_address();
        self.refresh(&mut topology);
    }

    fn topology(&self) -> MutexGuard<'_, Topology> {
        self.topology.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a bridge cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BridgeError {
    /// Its place cannot be had.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Its configuration space is full.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

#[cfg(test)]
mod tests;
