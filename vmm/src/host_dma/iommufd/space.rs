//! One address space: copies of parts of guest RAM.

use std::sync::Arc;

use arc_swap::ArcSwap;
use iommu::{GuestAddress, HostMapper, HostSpace, Iova, MapError, Permissions, SpaceId};

use super::calls::{Calls, Copy};
use super::tables::{PageTables, Target};
use super::{explain, stop};
use crate::host_dma::ranges::Ranges;

/// An address space of the host's.
pub(super) struct Space {
    calls: Arc<dyn Calls>,
    tables: Arc<PageTables>,
    ram: Arc<PageTables>,
    usable: Arc<ArcSwap<Ranges>>,
}

impl Space {
    pub(super) fn new(
        calls: Arc<dyn Calls>,
        tables: Arc<PageTables>,
        ram: Arc<PageTables>,
        usable: Arc<ArcSwap<Ranges>>,
    ) -> Self {
        Self { calls, tables, ram, usable }
    }
}

impl HostMapper for Space {
    fn map(
        &self,
        iova: Iova,
        guest: GuestAddress,
        length: u64,
        permissions: Permissions,
    ) -> Result<(), MapError> {
        // The kernel checks reserved addresses when a device comes in, and then refuses the device.
        let last = length.checked_sub(1).and_then(|rest| iova.0.checked_add(rest));
        if !last.is_some_and(|last| self.usable.load().covers(iova.0, last)) {
            return Err(MapError::Unusable(iova));
        }
        let copy = Copy {
            from: self.ram.ioas(),
            from_iova: guest.0,
            to: self.tables.ioas(),
            to_iova: iova.0,
            length,
            permissions,
        };
        self.calls.copy(&copy).map_err(|error| explain(&error, iova, guest))
    }

    fn unmap(&self, iova: Iova, length: u64) -> Result<(), MapError> {
        match self.calls.unmap(self.tables.ioas(), iova.0, length) {
            Ok(done) if done == length => Ok(()),
            Ok(done) => Err(MapError::Host(format!("{done:#x} of {length:#x} bytes at {iova} were mapped"))),
            Err(error) => Err(MapError::Host(error.to_string())),
        }
    }

    fn unmap_all(&self) {
        if let Err(error) = self.calls.unmap(self.tables.ioas(), 0, u64::MAX) {
            stop(&error);
        }
    }
}

impl HostSpace for Space {
    fn id(&self) -> SpaceId {
        SpaceId(self.tables.ioas())
    }
}
