//! What holds an assigned function in the shadow.

use std::sync::Arc;

use super::Tables;
use super::audit::Audit;
use super::follower::{Follow, Follower};
use super::statistics::Statistics;
use crate::memory::MemoryError;
use crate::{AssignedFunction, Capabilities, GuestAddress, HostMapper, TableMemory};

/// Keeps an assigned function attached to its unit; dropping it takes every mapping away.
pub struct Attachment {
    follower: Arc<dyn Follow>,
}

impl Attachment {
    pub(super) fn new(follower: Arc<dyn Follow>) -> Self {
        Self { follower }
    }

    /// A function in a machine without a remapping unit: `ram` (start, length) is mapped one to one, but only
    /// while the function's Bus Master bit is set, so that nothing is pinned before there is a use for it.
    pub fn without_unit(
        function: Arc<dyn AssignedFunction>,
        mapper: Box<dyn HostMapper>,
        ram: Vec<(GuestAddress, u64)>,
    ) -> Self {
        let tables = Tables::new(Arc::new(NoTables), Capabilities::legacy(48));
        let follower = Follower::new(function, mapper, ram, Arc::new(tables));
        follower.refresh();
        Self::new(Arc::new(follower))
    }

    /// Looks again at the function's Bus Master bit and requester ID, and brings the host's mappings in
    /// line. On return they are. To be called after either has changed.
    pub fn refresh(&self) {
        self.follower.refresh();
    }

    /// What has been mapped so far, and what is now. Takes no lock.
    pub fn statistics(&self) -> Statistics {
        self.follower.statistics()
    }

    /// Compares what the host maps with what the guest's tables say at this moment. Reads all of them, and
    /// holds invalidations up meanwhile.
    pub fn audit(&self) -> Audit {
        self.follower.audit()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.follower.detach();
    }
}

/// The tables of a machine without a remapping unit.
struct NoTables;

impl TableMemory for NoTables {
    fn read_u64(&self, address: GuestAddress) -> Result<u64, MemoryError> {
        Err(MemoryError(address.0))
    }

    fn write_u32(&self, address: GuestAddress, _value: u32) -> Result<(), MemoryError> {
        Err(MemoryError(address.0))
    }

    fn compare_exchange_u64(
        &self,
        address: GuestAddress,
        _current: u64,
        _new: u64,
    ) -> Result<Result<u64, u64>, MemoryError> {
        Err(MemoryError(address.0))
    }
}
