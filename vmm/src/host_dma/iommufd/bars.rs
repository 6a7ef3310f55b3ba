//! BARs beside guest RAM, so that spaces can be given copies of them as of RAM.
//!
//! The kernel empties a mapping of a BAR when the function is reset or decodes it no more, and does not fill it again. So
//! a BAR is mapped each time the guest gets to see it, and taken away before any of that happens.

use std::io;
use std::os::fd::BorrowedFd;

use super::tables::Target as _;
use super::{Iommufd, stop};

impl Iommufd {
    /// From now on spaces can be given copies of `bar`, a dma-buf of `length` bytes, by its guest addresses. Where
    /// there are first-stage tables of the guest's, those lead to it too.
    pub(in crate::host_dma) fn show(&self, guest: u64, bar: BorrowedFd<'_>, length: u64) -> io::Result<()> {
        // The kernel looks for reserved addresses when a device comes in, and then refuses the device.
        if !self.usable().covers(guest, guest.saturating_add(length.saturating_sub(1))) {
            return Err(io::Error::other("it keeps these addresses for itself"));
        }
        self.calls.map_file(self.ram.ioas(), guest, bar, length)
    }

    /// What was shown at `guest` can be copied no more. Copies stay.
    pub(in crate::host_dma) fn hide(&self, guest: u64, length: u64) {
        match self.calls.unmap(self.ram.ioas(), guest, length) {
            Ok(done) if done == length => {}
            Ok(done) => stop(&format!("{done:#x} of {length:#x} bytes of a BAR were mapped")),
            Err(error) => stop(&error),
        }
    }
}

#[cfg(test)]
mod tests;
