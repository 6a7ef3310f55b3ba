//! The only way from a device to guest memory and to the guest's interrupt controllers.

mod requests;
mod services;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use iommu::{Blocked, Iova, MsiMessage, SourceId, TranslationError};
use pci::Location;
pub use requests::{Attributes, Requests};
pub use services::PageWish;
use vm_memory::AtomicAccess;

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
    /// The unit did not translate.
    #[error(transparent)]
    Untranslated(#[from] TranslationError),
    /// Nothing that a device may reach is at this address.
    #[error("No memory at {0:#x}")]
    Unreachable(u64),
    /// The address range of interrupts takes aligned 4-byte writes and nothing else.
    #[error("Not an interrupt request: {0:#x}")]
    MalformedInterrupt(u64),
}

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
        SourceId(self.location.requester_id().0)
    }

    /// What stands between the function and memory.
    pub fn remapping(&self) -> &Remapping {
        &self.remapping
    }

    /// Follows the Bus Master bit of the command register. Once it is off, no access is under way any more.
    pub fn set_enabled(&self, enabled: bool) {
        *self.enabled.write().unwrap_or_else(PoisonError::into_inner) = enabled;
    }

    /// The way to send requests that carry `attributes`.
    pub fn requests(&self, attributes: Attributes) -> Requests<'_> {
        Requests::new(self, attributes)
    }

    /// Reads memory into `data`. On an error the bytes before the address at fault have been read.
    pub fn read(&self, iova: Iova, data: &mut [u8]) -> Result<(), DmaError> {
        self.plain().read(iova, data)
    }

    /// Writes `data` to memory, or sends an interrupt if that is what a write there means. On an error the
    /// bytes before the address at fault have been written.
    pub fn write(&self, iova: Iova, data: &[u8]) -> Result<(), DmaError> {
        self.plain().write(iova, data)
    }

    /// Reads a naturally aligned integer in one access; what is read afterwards is at least as new.
    pub fn load<T: AtomicAccess>(&self, iova: Iova) -> Result<T, DmaError> {
        self.plain().load(iova)
    }

    /// Writes a naturally aligned integer in one access, after everything written before.
    pub fn store<T: AtomicAccess>(&self, iova: Iova, value: T) -> Result<(), DmaError> {
        self.plain().store(iova, value)
    }

    fn plain(&self) -> Requests<'_> {
        self.requests(Attributes::default())
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
}

#[cfg(test)]
mod tests;
