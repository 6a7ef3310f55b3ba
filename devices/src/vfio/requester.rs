//! The function as the remapping unit sees it.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use iommu::{AssignedFunction, SourceId};
use pci::Location;

/// A requester ID, a Bus Master bit and the width of PASIDs, live and free of locks.
#[derive(Debug)]
pub(super) struct Requester {
    location: Location,
    bus_master: AtomicBool,
    pasid_bits: AtomicU8,
}

impl Requester {
    pub(super) fn new(location: Location) -> Self {
        Self { location, bus_master: AtomicBool::new(false), pasid_bits: AtomicU8::new(0) }
    }

    pub(super) fn set_bus_master(&self, on: bool) {
        self.bus_master.store(on, Ordering::Release);
    }

    /// Says how many bits PASIDs have from now on; gives how many they had.
    pub(super) fn set_pasid_bits(&self, bits: u8) -> u8 {
        self.pasid_bits.swap(bits, Ordering::AcqRel)
    }
}

impl AssignedFunction for Requester {
    fn source_id(&self) -> SourceId {
        SourceId(self.location.requester_id().0)
    }

    fn bus_master(&self) -> bool {
        self.bus_master.load(Ordering::Acquire)
    }

    fn pasid_bits(&self) -> u8 {
        self.pasid_bits.load(Ordering::Acquire)
    }
}
