//! The only way from a device to guest memory and to the guest's interrupt controllers.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use iommu::{Access, Blocked, GuestAddress, Iova, MsiMessage, Request, SourceId};
use pci::Location;
use vm_memory::{AtomicAccess, Bytes};

use crate::{GuestRam, InterruptSource, MsiSink};

/// The remapping unit over this machine's memory.
pub type VtdUnit = iommu::Unit<Arc<GuestRam>>;

/// What stands between a device and memory.
#[derive(Clone)]
pub enum Remapping {
    /// Nothing: the machine has no remapping unit.
    Absent,
    /// The unit that judges every request.
    Unit(Arc<VtdUnit>),
}

/// Why a DMA did not happen, or happened only in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DmaError {
    /// The function's Bus Master bit is clear.
    #[error("Bus mastering is off")]
    NotMaster,
    /// The remapping unit refused.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// Nothing that a device may reach is at this address.
    #[error("No memory at {0:#x}")]
    Unreachable(u64),
    /// The address range of interrupts takes aligned 4-byte writes and nothing else.
    #[error("Not an interrupt request: {0:#x}")]
    MalformedInterrupt(u64),
}

/// Message-signalled interrupts are writes to this megabyte; it is never memory.
const INTERRUPT_RANGE: std::ops::Range<u64> = 0xFEE0_0000..0xFEF0_0000;

/// A function's access to the world: memory reads, memory writes and interrupts under its requester ID.
pub struct BusMaster {
    location: Location,
    memory: Arc<GuestRam>,
    remapping: Remapping,
    interrupts: InterruptSource,
    /// The Bus Master bit. Shared while a request is under way, so that clearing the bit waits for it.
    enabled: RwLock<bool>,
}

impl BusMaster {
    /// A master at `location`, with its Bus Master bit clear.
    pub fn new(
        location: Location,
        memory: Arc<GuestRam>,
        remapping: Remapping,
        sink: Arc<dyn MsiSink>,
    ) -> Self {
        let interrupts = InterruptSource::new(remapping.clone(), sink);
        Self { location, memory, remapping, interrupts, enabled: RwLock::new(false) }
    }

    /// The requester ID of whatever is sent now.
    pub fn source_id(&self) -> SourceId {
        SourceId(self.location.bdf().0)
    }

    /// What stands between the function and memory.
    pub fn remapping(&self) -> &Remapping {
        &self.remapping
    }

    /// Follows the Bus Master bit of the command register. Once it is off, no access is under way any more.
    pub fn set_enabled(&self, enabled: bool) {
        *self.enabled.write().unwrap_or_else(PoisonError::into_inner) = enabled;
    }

    /// Reads memory into `data`. On an error the bytes before the address at fault have been read.
    pub fn read(&self, iova: Iova, data: &mut [u8]) -> Result<(), DmaError> {
        let mut done = 0;
        while done < data.len() {
            let rest = &mut data[done..];
            done += self.chunk(iova, done, rest.len(), Access::Read, |address, length| {
                self.memory.read_slice(&mut rest[..length], address)
            })?;
        }
        Ok(())
    }

    /// Writes `data` to memory, or sends an interrupt if that is what a write there means. On an error the
    /// bytes before the address at fault have been written.
    pub fn write(&self, iova: Iova, data: &[u8]) -> Result<(), DmaError> {
        if INTERRUPT_RANGE.contains(&iova.0) {
            return match data.try_into() {
                Ok(word) if iova.0.is_multiple_of(4) => {
                    self.send(MsiMessage { address: iova.0, data: u32::from_le_bytes(word) })
                }
                _ => {
                    drop(self.enabled()?);
                    Err(DmaError::MalformedInterrupt(iova.0))
                }
            };
        }
        let mut done = 0;
        while done < data.len() {
            let rest = &data[done..];
            done += self.chunk(iova, done, rest.len(), Access::Write, |address, length| {
                self.memory.write_slice(&rest[..length], address)
            })?;
        }
        Ok(())
    }

    /// Reads a naturally aligned integer in one access; what is read afterwards is at least as new.
    pub fn load<T: AtomicAccess>(&self, iova: Iova) -> Result<T, DmaError> {
        self.atomic::<T, T>(iova, Access::Read, |address| self.memory.load(address, Ordering::Acquire))
    }

    /// Writes a naturally aligned integer in one access, after everything written before.
    pub fn store<T: AtomicAccess>(&self, iova: Iova, value: T) -> Result<(), DmaError> {
        self.atomic::<T, ()>(iova, Access::Write, |address| {
            self.memory.store(value, address, Ordering::Release)
        })
    }

    /// Sends a message-signalled interrupt.
    pub fn send(&self, message: MsiMessage) -> Result<(), DmaError> {
        let _enabled = self.enabled()?;
        Ok(self.interrupts.send(self.source_id(), message)?)
    }

    /// Leave to send, as long as it is kept. A thread never holds two.
    fn enabled(&self) -> Result<RwLockReadGuard<'_, bool>, DmaError> {
        let enabled = self.enabled.read().unwrap_or_else(PoisonError::into_inner);
        if *enabled { Ok(enabled) } else { Err(DmaError::NotMaster) }
    }

    /// Does `work` on the one aligned `T` at `iova`, which no page boundary divides.
    fn atomic<T, R>(
        &self,
        iova: Iova,
        access: Access,
        work: impl FnOnce(GuestAddress) -> Result<R, vm_memory::GuestMemoryError>,
    ) -> Result<R, DmaError> {
        if !iova.0.is_multiple_of(size_of::<T>() as u64) {
            return Err(DmaError::Unreachable(iova.0));
        }
        self.translated(iova, size_of::<T>() as u64, access, |address, length| {
            let whole = length == size_of::<T>() as u64;
            let result = if whole { work(address).ok() } else { None };
            result.ok_or(DmaError::Unreachable(address.0))
        })
    }

    /// Does `work` on the next contiguous piece of a request; gives its length.
    fn chunk(
        &self,
        start: Iova,
        done: usize,
        left: usize,
        access: Access,
        work: impl FnOnce(GuestAddress, usize) -> Result<(), vm_memory::GuestMemoryError>,
    ) -> Result<usize, DmaError> {
        let address = start.0.checked_add(done as u64).ok_or(DmaError::Unreachable(u64::MAX))?;
        self.translated(Iova(address), left as u64, access, |guest, length| {
            // `length` is at most `left`, so it fits.
            let length = length as usize;
            work(guest, length).map(|()| length).map_err(|_| DmaError::Unreachable(guest.0))
        })
    }

    /// Does `work` on the guest memory that the bytes from `iova` on stand for, as many as lie together
    /// there, while no invalidation can take the translation away.
    fn translated<R>(
        &self,
        iova: Iova,
        length: u64,
        access: Access,
        work: impl FnOnce(GuestAddress, u64) -> Result<R, DmaError>,
    ) -> Result<R, DmaError> {
        let _enabled = self.enabled()?;
        if INTERRUPT_RANGE.contains(&iova.0) {
            return Err(DmaError::MalformedInterrupt(iova.0));
        }
        // A request that begins below the range ends at it: what follows is not memory.
        let length = match INTERRUPT_RANGE.start.checked_sub(iova.0) {
            Some(below) => length.min(below),
            None => length,
        };
        match &self.remapping {
            Remapping::Absent => work(GuestAddress(iova.0), length),
            Remapping::Unit(unit) => {
                unit.access(&Request::new(self.source_id(), access), iova, length, work)?
            }
        }
    }
}

#[cfg(test)]
mod tests;
