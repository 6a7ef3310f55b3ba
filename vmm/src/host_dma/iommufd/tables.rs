//! What devices can be attached to: an IOAS with its page tables, and such like.

use std::io;
use std::sync::{Arc, Mutex};

use iommu::Pasid;

use super::calls::Calls;
use super::{Attachable, lock};

/// An address space of any kind, by the page tables that stand for it: one, or one for each kind of IOMMU where the
/// host has several that cannot share.
pub(super) trait Target: Send + Sync {
    /// Attaches `device`, in place of what it was attached to: its requests with a PASID, or those without.
    fn admit(&self, device: &dyn Attachable, pasid: Option<Pasid>) -> io::Result<()>;

    /// The IOAS whose reserved regions come to be with a device that is attached.
    fn ioas(&self) -> u32;
}

/// Page tables that stand for one address space.
#[derive(Default)]
pub(super) struct Tables(Vec<Table>);

#[derive(Clone, Copy)]
struct Table {
    number: u32,
    /// Whether it may be there for requests with PASID, and beside such as are.
    pasids: bool,
}

impl Tables {
    /// Attaches `device` to one of them; none where there is none that it can use.
    pub(super) fn admit(&self, device: &dyn Attachable, pasid: Option<Pasid>) -> Option<io::Result<()>> {
        let pasids = has_pasids(device);
        for table in self.0.iter().filter(|table| table.pasids || !pasids) {
            match device.attach(table.number, pasid) {
                // Made for another kind of IOMMU.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                done => return Some(done),
            }
        }
        None
    }

    /// Adds one that was made for `device`.
    pub(super) fn add(&mut self, number: u32, device: &dyn Attachable) {
        self.0.push(Table { number, pasids: has_pasids(device) });
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does something with each.
    pub(super) fn each(&self, work: impl FnMut(u32) -> io::Result<()>) -> io::Result<()> {
        self.0.iter().map(|table| table.number).try_for_each(work)
    }

    /// Gives them back to the host.
    pub(super) fn destroy(&mut self, calls: &dyn Calls) {
        for table in std::mem::take(&mut self.0).into_iter().rev() {
            destroy(calls, table.number);
        }
    }
}

/// Whether page tables of `device` are there for PASIDs, or beside such as are.
pub(super) fn has_pasids(device: &dyn Attachable) -> bool {
    device.pasid_bits() > 0
}

/// Attaches `device` to a page table that nothing else uses, or gives that back to the host.
pub(super) fn attach_to_new(
    calls: &dyn Calls,
    table: u32,
    device: &dyn Attachable,
    pasid: Option<Pasid>,
) -> io::Result<()> {
    let attached = device.attach(table, pasid);
    if attached.is_err() {
        destroy(calls, table);
    }
    attached
}

/// Gives an object of an address space back to the host.
pub(super) fn destroy(calls: &dyn Calls, object: u32) {
    if let Err(error) = calls.destroy(object) {
        tracing::error!("The host keeps a part of an address space ({error})");
    }
}

/// An IOAS, and the page tables that hold what it maps. Dropping it gives all of that back; no device is attached by
/// then.
pub(super) struct PageTables {
    calls: Arc<dyn Calls>,
    ioas: u32,
    tables: Mutex<Tables>,
}

impl PageTables {
    /// An IOAS that maps nothing.
    pub(super) fn new(calls: Arc<dyn Calls>) -> io::Result<Self> {
        let ioas = calls.new_ioas()?;
        Ok(Self { calls, ioas, tables: Mutex::default() })
    }

    /// Makes a page table if there is none yet, of a kind that `device` can use. What the IOAS maps is pinned
    /// from then on.
    pub(super) fn populate(&self, device: &dyn Attachable) -> io::Result<()> {
        let mut tables = lock(&self.tables);
        if tables.is_empty() {
            tables.add(self.make(device)?, device);
        }
        Ok(())
    }

    fn make(&self, device: &dyn Attachable) -> io::Result<u32> {
        self.calls.new_table(self.ioas, device.number(), has_pasids(device))
    }
}

impl Target for PageTables {
    fn ioas(&self) -> u32 {
        self.ioas
    }

    fn admit(&self, device: &dyn Attachable, pasid: Option<Pasid>) -> io::Result<()> {
        let mut tables = lock(&self.tables);
        if let Some(done) = tables.admit(device, pasid) {
            return done;
        }
        let table = self.make(device)?;
        attach_to_new(&*self.calls, table, device, pasid)?;
        tables.add(table, device);
        Ok(())
    }
}

impl Drop for PageTables {
    fn drop(&mut self) {
        lock(&self.tables).destroy(&*self.calls);
        destroy(&*self.calls, self.ioas);
    }
}
