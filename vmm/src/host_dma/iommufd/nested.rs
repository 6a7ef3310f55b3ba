//! First-stage tables of the guest's, which the host's unit walks with guest RAM behind them.

use std::io;
use std::sync::{Arc, Mutex};

use iommu::{FirstStage, Forget, MapError, NestedSpace, Pasid, SpaceId};

use super::calls::Calls;
use super::tables::{PageTables, Tables, Target, attach_to_new, destroy, has_pasids};
use super::{Attachable, lock};

/// Guest RAM at its own addresses, as it stands behind first-stage tables: a page table, or one for each kind of
/// IOMMU where the host has several that cannot share.
///
/// Where a part of it is read-only, no unit with erratum 772415 counts as one that nests.
pub(super) struct Parents {
    calls: Arc<dyn Calls>,
    ram: Arc<PageTables>,
    tables: Mutex<Vec<u32>>,
}

impl Parents {
    /// None yet, over the IOAS of guest RAM.
    pub(super) fn new(calls: Arc<dyn Calls>, ram: Arc<PageTables>) -> Self {
        Self { calls, ram, tables: Mutex::default() }
    }

    /// Attaches `device` to a page table of `table`'s in front of one of these; gives it.
    fn admit(&self, device: &dyn Attachable, pasid: Option<Pasid>, table: FirstStage) -> io::Result<u32> {
        let mut parents = lock(&self.tables);
        for parent in parents.iter() {
            match self.stand(*parent, device, pasid, table) {
                // Made for another kind of IOMMU.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                done => return done,
            }
        }
        let parent = self.calls.new_parent(self.ram.ioas(), device.number())?;
        let made = self.stand(parent, device, pasid, table);
        match made {
            Ok(_) => parents.push(parent),
            Err(_) => destroy(&*self.calls, parent),
        }
        made
    }

    fn stand(
        &self,
        parent: u32,
        device: &dyn Attachable,
        pasid: Option<Pasid>,
        table: FirstStage,
    ) -> io::Result<u32> {
        let made = self.calls.new_nested(parent, device.number(), table, has_pasids(device))?;
        attach_to_new(&*self.calls, made, device, pasid)?;
        Ok(made)
    }
}

impl Drop for Parents {
    fn drop(&mut self) {
        for table in std::mem::take(&mut *lock(&self.tables)) {
            destroy(&*self.calls, table);
        }
    }
}

/// A first-stage table, with the page tables that stand for it. Dropping it gives these back; no device is
/// attached by then.
pub(super) struct Nested {
    calls: Arc<dyn Calls>,
    parents: Arc<Parents>,
    table: FirstStage,
    made: Mutex<Tables>,
}

impl Nested {
    pub(super) fn new(calls: Arc<dyn Calls>, parents: Arc<Parents>, table: FirstStage) -> Self {
        Self { calls, parents, table, made: Mutex::default() }
    }
}

impl Target for Nested {
    fn ioas(&self) -> u32 {
        self.parents.ram.ioas()
    }

    fn admit(&self, device: &dyn Attachable, pasid: Option<Pasid>) -> io::Result<()> {
        let mut made = lock(&self.made);
        if let Some(done) = made.admit(device, pasid) {
            return done;
        }
        made.add(self.parents.admit(device, pasid, self.table)?, device);
        Ok(())
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        lock(&self.made).destroy(&*self.calls);
    }
}

/// What the shadow holds of a first-stage table.
pub(super) struct NestedHandle {
    pub(super) id: SpaceId,
    pub(super) nested: Arc<Nested>,
}

impl NestedSpace for NestedHandle {
    fn id(&self) -> SpaceId {
        self.id
    }

    fn forget(&self, what: &[Forget]) -> Result<(), MapError> {
        let refused = |error: io::Error| MapError::Host(format!("its unit keeps what it remembers: {error}"));
        lock(&self.nested.made).each(|table| self.nested.calls.forget(table, what)).map_err(refused)
    }
}

#[cfg(test)]
mod tests;
