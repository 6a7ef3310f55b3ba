//! What devices can be attached to: an IOAS with its page tables, and such like.

use std::io;
use std::sync::{Arc, Mutex};

use super::calls::Calls;
use super::{Attachable, lock};

/// An address space of any kind, by the page tables that stand for it: one, or one for each kind of IOMMU where the
/// host has several that cannot share.
pub(super) trait Target: Send + Sync {
    /// Attaches `device`, in place of what it was attached to.
    fn admit(&self, device: &dyn Attachable) -> io::Result<()>;

    /// The IOAS whose reserved regions come to be with a device that is attached.
    fn ioas(&self) -> u32;
}

/// An IOAS, and the page tables that hold what it maps: one, or one for each kind of IOMMU where the host has
/// several that cannot share. Dropping it gives all of that back; no device is attached by then.
pub(super) struct PageTables {
    calls: Arc<dyn Calls>,
    ioas: u32,
    tables: Mutex<Vec<u32>>,
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
            tables.push(self.calls.new_table(self.ioas, device.number())?);
        }
        Ok(())
    }
}

impl Target for PageTables {
    fn ioas(&self) -> u32 {
        self.ioas
    }

    fn admit(&self, device: &dyn Attachable) -> io::Result<()> {
        let mut tables = lock(&self.tables);
        for table in tables.iter() {
            match device.attach(*table) {
                // Made for another kind of IOMMU.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                done => return done,
            }
        }
        let table = self.calls.new_table(self.ioas, device.number())?;
        tables.push(table);
        device.attach(table)
    }
}

impl Drop for PageTables {
    fn drop(&mut self) {
        let tables = std::mem::take(&mut *lock(&self.tables));
        for object in tables.into_iter().rev().chain([self.ioas]) {
            if let Err(error) = self.calls.destroy(object) {
                tracing::error!("The host keeps a part of an address space ({error})");
            }
        }
    }
}
