//! What tests of BARs that devices reach have in common.

use std::fs::File;

use iommu::{AssignedFunction, SourceId};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

/// Where the BAR is.
pub(super) const BAR: u64 = 0xE000_0000;
/// How long it is, in bytes.
pub(super) const LENGTH: u64 = 0x4000;

/// A file in place of the BAR.
pub(super) fn bar_file() -> File {
    let file = File::from(memfd_create("bar", MemfdFlags::CLOEXEC).unwrap());
    ftruncate(&file, LENGTH).unwrap();
    file
}

/// A function that the guest has let go ahead.
pub(super) struct Nvme;

impl AssignedFunction for Nvme {
    fn source_id(&self) -> SourceId {
        SourceId(0x0100)
    }

    fn bus_master(&self) -> bool {
        true
    }
}
