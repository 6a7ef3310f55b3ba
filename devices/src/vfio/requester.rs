//! The function as the remapping unit sees it.

use std::sync::atomic::{AtomicBool, Ordering};

use iommu::{AssignedFunction, SourceId};
use pci::Location;

/// A requester ID and a Bus Master bit, both live and free of locks.
#[derive(Debug)]
pub(super) struct Requester {
    location: Location,
    bus_master: AtomicBool,
}

impl Requester {
    pub(super) fn new(location: Location) -> Self {
        Self { location, bus_master: AtomicBool::new(false) }
    }

    pub(super) fn set_bus_master(&self, on: bool) {
        self.bus_master.store(on, Ordering::Release);
    }
}

impl AssignedFunction for Requester {
    fn source_id(&self) -> SourceId {
        SourceId(self.location.requester_id().0)
    }

    fn bus_master(&self) -> bool {
        self.bus_master.load(Ordering::Acquire)
    }
}
