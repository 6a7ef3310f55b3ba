//! How the unit reads and writes what lies in guest memory.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, VolatileMemory};

/// An address that is not guest memory, or that is not aligned to the entry read there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("No guest memory at {0:#x}")]
pub struct MemoryError(pub u64);

/// Guest memory as a remapping unit uses it: single atomic entries, and no reference that outlives a call.
///
/// The guest writes the same memory at the same time; every read may give another value than the last.
pub trait TableMemory: Send + Sync {
    /// Reads a naturally aligned 64-bit entry in one access.
    fn read_u64(&self, address: GuestAddress) -> Result<u64, MemoryError>;

    /// Writes a naturally aligned 32-bit word in one access, ordered after everything done before.
    fn write_u32(&self, address: GuestAddress, value: u32) -> Result<(), MemoryError>;

    /// Replaces a naturally aligned 64-bit entry if it still is `current`; gives the value found otherwise.
    fn compare_exchange_u64(
        &self,
        address: GuestAddress,
        current: u64,
        new: u64,
    ) -> Result<Result<u64, u64>, MemoryError>;

    /// Sets the bits of `set` in a naturally aligned 64-bit entry, in one access however often others change
    /// it; gives the value found.
    fn fetch_or_u64(&self, address: GuestAddress, set: u64) -> Result<u64, MemoryError>;
}

impl<T> TableMemory for T
where
    T: Deref + Send + Sync,
    T::Target: GuestMemoryBackend,
{
    fn read_u64(&self, address: GuestAddress) -> Result<u64, MemoryError> {
        in_place(&**self, address, |entry| u64::from_le(entry.load(Ordering::Acquire)))
    }

    fn write_u32(&self, address: GuestAddress, value: u32) -> Result<(), MemoryError> {
        let memory: &T::Target = self;
        memory.store(value.to_le(), address, Ordering::Release).map_err(|_| MemoryError(address.0))
    }

    fn compare_exchange_u64(
        &self,
        address: GuestAddress,
        current: u64,
        new: u64,
    ) -> Result<Result<u64, u64>, MemoryError> {
        in_place(&**self, address, |entry| {
            let (current, new) = (current.to_le(), new.to_le());
            let outcome = entry.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire);
            outcome.map(u64::from_le).map_err(u64::from_le)
        })
    }

    fn fetch_or_u64(&self, address: GuestAddress, set: u64) -> Result<u64, MemoryError> {
        in_place(&**self, address, |entry| u64::from_le(entry.fetch_or(set.to_le(), Ordering::AcqRel)))
    }
}

/// Does `work` on an entry where it lies, all of it in one region.
fn in_place<M: GuestMemoryBackend + ?Sized, R>(
    memory: &M,
    address: GuestAddress,
    work: impl FnOnce(&AtomicU64) -> R,
) -> Result<R, MemoryError> {
    let error = MemoryError(address.0);
    let region = memory.find_region(address).ok_or(error)?;
    let offset = region.to_region_addr(address).ok_or(error)?;
    let slice = region.get_slice(offset, size_of::<u64>()).map_err(|_| error)?;
    slice.get_atomic_ref(0).map(work).map_err(|_| error)
}
