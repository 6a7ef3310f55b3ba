//! Mapping guest memory into a container.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iommu::{GuestAddress, HostMapper, Iova, MapError, Permissions};

use super::stop::stop;
use super::{Container, Targets};

/// The calls a mapper makes.
pub(super) trait DmaPort: Send + Sync {
    /// Maps `length` bytes of this process from address `host` on at `iova`.
    fn map(&self, iova: u64, host: u64, length: u64, readable: bool, writable: bool) -> io::Result<()>;

    /// Takes every mapping inside a range away; gives how many bytes that was.
    fn unmap(&self, iova: u64, length: u64) -> io::Result<u64>;

    /// Takes every mapping away in one call; gives whether the kernel has such a call.
    fn unmap_all(&self) -> io::Result<bool>;

    /// Whether these addresses can be mapped at all.
    fn usable(&self, first: u64, last: u64) -> bool;
}

/// The host's address space of one assigned function, over guest RAM.
pub struct Type1 {
    port: Arc<dyn DmaPort>,
    targets: Arc<Targets>,
    /// Whether the user has heard of the limit of mappings.
    full: AtomicBool,
}

impl Type1 {
    /// A mapper that maps `targets` into `container`.
    pub fn new(container: Arc<Container>, targets: Arc<Targets>) -> Self {
        Self { port: container, targets, full: AtomicBool::new(false) }
    }

    /// Says, once, what can be done about a container that takes no more mappings.
    fn say_full(&self) {
        if !self.full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "The host's VFIO takes no more mappings (vfio_iommu_type1's dma_entry_limit), so the guest gets \
                 faults for what it maps beyond: iommufd has no such limit (--host-dma iommufd), or raise that one"
            );
        }
    }

    /// What the kernel's refusal to map means.
    fn explain(&self, error: &io::Error, iova: u64, guest: GuestAddress, length: u64) -> MapError {
        match error.raw_os_error() {
            Some(libc::ENOSPC) => {
                self.say_full();
                MapError::Full
            }
            Some(libc::EFAULT) => MapError::NotMemory(guest),
            Some(libc::EINVAL | libc::EOVERFLOW)
                if !self.port.usable(iova, iova.saturating_add(length.saturating_sub(1))) =>
            {
                MapError::Unusable(Iova(iova))
            }
            Some(libc::EEXIST) => MapError::Host(format!("IOVA {iova:#x} is mapped already")),
            Some(libc::ENOMEM) => MapError::Host("the limit on locked memory is reached".into()),
            _ => MapError::Host(error.to_string()),
        }
    }
}

impl HostMapper for Type1 {
    fn map(
        &self,
        iova: Iova,
        guest: GuestAddress,
        length: u64,
        permissions: Permissions,
    ) -> Result<(), MapError> {
        if length == 0 || iova.0.checked_add(length - 1).is_none() {
            return Err(MapError::Unusable(iova));
        }
        let readable = permissions.contains(Permissions::READ);
        let writable = permissions.contains(Permissions::WRITE);
        let mut done = 0;
        for piece in self.targets.pieces(guest, length)? {
            let mapped = self.port.map(iova.0 + done, piece.host, piece.length, readable, writable);
            if let Err(error) = mapped {
                let failed = self.explain(&error, iova.0 + done, GuestAddress(guest.0 + done), piece.length);
                if done > 0
                    && let Err(error) = self.unmap(iova, done)
                {
                    stop(&error);
                }
                return Err(failed);
            }
            done += piece.length;
        }
        Ok(())
    }

    fn unmap(&self, iova: Iova, length: u64) -> Result<(), MapError> {
        let done = self.port.unmap(iova.0, length).map_err(|error| MapError::Host(error.to_string()))?;
        if done == length {
            return Ok(());
        }
        Err(MapError::Host(format!("{done:#x} of {length:#x} bytes at {iova} were mapped")))
    }

    fn unmap_all(&self) {
        // Two halves, since the length of the whole does not fit. No mapping crosses the middle.
        const HALF: u64 = 1 << 63;
        match self.port.unmap_all() {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => stop(&error),
        }
        for start in [0, HALF] {
            if let Err(error) = self.port.unmap(start, HALF) {
                stop(&error);
            }
        }
    }
}

#[cfg(test)]
mod tests;
