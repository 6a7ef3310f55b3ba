//! The only way from a device to guest memory and to the guest's interrupt controllers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iommu::{Access, Blocked, GuestAddress, Iova, MsiMessage, SourceId};
use pci::Location;
use vm_memory::Bytes;

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
}

/// Message-signalled interrupts are writes to this megabyte; it is never memory.
const INTERRUPT_RANGE: std::ops::Range<u64> = 0xFEE0_0000..0xFEF0_0000;

/// A function's access to the world: memory reads, memory writes and interrupts under its requester ID.
pub struct BusMaster {
    location: Location,
    memory: Arc<GuestRam>,
    remapping: Remapping,
    interrupts: InterruptSource,
    enabled: AtomicBool,
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
        Self { location, memory, remapping, interrupts, enabled: AtomicBool::new(false) }
    }

    /// The requester ID of whatever is sent now.
    pub fn source_id(&self) -> SourceId {
        SourceId(self.location.bdf().0)
    }

    /// Follows the Bus Master bit of the command register.
    pub fn set_enabled(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Release);
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

    /// Writes `data` to memory, or sends an interrupt if that is what a 4-byte write there means.
    pub fn write(&self, iova: Iova, data: &[u8]) -> Result<(), DmaError> {
        if INTERRUPT_RANGE.contains(&iova.0)
            && let Ok(word) = data.try_into()
        {
            return self.send(MsiMessage { address: iova.0, data: u32::from_le_bytes(word) });
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

    /// Sends a message-signalled interrupt.
    pub fn send(&self, message: MsiMessage) -> Result<(), DmaError> {
        self.check_enabled()?;
        Ok(self.interrupts.send(self.source_id(), message)?)
    }

    fn check_enabled(&self) -> Result<(), DmaError> {
        if self.enabled.load(Ordering::Acquire) { Ok(()) } else { Err(DmaError::NotMaster) }
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
        self.check_enabled()?;
        let address = start.0.checked_add(done as u64).ok_or(DmaError::Unreachable(u64::MAX))?;
        let on_memory = |guest: GuestAddress, length: u64| {
            // `length` is at most `left`, so it fits.
            let length = length as usize;
            work(guest, length).map(|()| length).map_err(|_| DmaError::Unreachable(guest.0))
        };
        match &self.remapping {
            Remapping::Absent => on_memory(GuestAddress(address), left as u64),
            Remapping::Unit(unit) => {
                unit.access(self.source_id(), Iova(address), left as u64, access, on_memory)?
            }
        }
    }
}
