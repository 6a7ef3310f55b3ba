//! What the tests of several devices share.

use std::sync::{Arc, Mutex};

use iommu::{GuestAddress, MsiMessage};
use pci::{BusNumber, Location};

use crate::{BusMaster, GuestRam, InterruptLine, MsiSink, Remapping};

/// Keeps what was delivered.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<MsiMessage>>);

impl Recorder {
    /// What was delivered since the last call.
    pub(crate) fn take(&self) -> Vec<MsiMessage> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl MsiSink for Recorder {
    fn deliver(&self, message: MsiMessage) {
        self.0.lock().unwrap().push(message);
    }
}

/// A wire, and every level it was set to.
#[derive(Default)]
pub(crate) struct Wire(Mutex<Vec<bool>>);

impl Wire {
    /// Whether it is asserted.
    pub(crate) fn asserted(&self) -> bool {
        self.0.lock().unwrap().last() == Some(&true)
    }
}

impl InterruptLine for Wire {
    fn set(&self, asserted: bool) {
        self.0.lock().unwrap().push(asserted);
    }
}

/// A function at 00:04.0 without a remapping unit, over some memory.
pub(crate) struct Bench {
    pub(crate) memory: Arc<GuestRam>,
    pub(crate) interrupts: Arc<Recorder>,
    pub(crate) bus: BusNumber,
    pub(crate) master: Arc<BusMaster>,
}

impl Bench {
    /// Memory at the ranges (start, length) given; the master may send.
    pub(crate) fn new(ranges: &[(u64, usize)]) -> Self {
        let ranges: Vec<_> = ranges.iter().map(|&(start, length)| (GuestAddress(start), length)).collect();
        let memory = Arc::new(GuestRam::from_ranges(&ranges).unwrap());
        let interrupts = Arc::new(Recorder::default());
        let bus = BusNumber::new(0);
        let master = Arc::new(master(&memory, &interrupts, &bus));
        master.set_enabled(true);
        Self { memory, interrupts, bus, master }
    }

    /// Another master at the same place, with its Bus Master bit clear.
    pub(crate) fn another_master(&self) -> BusMaster {
        master(&self.memory, &self.interrupts, &self.bus)
    }
}

fn master(memory: &Arc<GuestRam>, interrupts: &Arc<Recorder>, bus: &BusNumber) -> BusMaster {
    let location = Location::new(bus.clone(), 4, 0);
    BusMaster::new(location, memory.clone(), Remapping::Absent, interrupts.clone())
}
