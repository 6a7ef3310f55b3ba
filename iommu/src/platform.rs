//! What a unit asks of its surroundings.

use crate::{GuestAddress, Iova, MsiMessage, Permissions, SourceId};

/// Interrupt remapping entries, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryRange {
    /// Every entry, and the decision whether remapping is on at all.
    All,
    /// `count` entries from `first` on.
    Some {
        /// The lowest index.
        first: u16,
        /// How many; never 0. `first + count` does not exceed 65536.
        count: u32,
    },
}

/// Where the unit's effects go.
pub trait Platform: Send + Sync {
    /// Delivers one of the unit's own event messages (fault, invalidation completion). These are never
    /// remapped. Called with no lock of the unit held.
    fn signal(&self, message: MsiMessage);

    /// Interrupt remapping entries, or whether remapping is on, may have changed. Everything derived from
    /// them must be re-derived (through `Unit::resolve`) before this returns: the
    /// guest is told right after that the change is in force. Called with the queue mutex held; it must not
    /// write a register.
    fn interrupt_entries_changed(&self, entries: EntryRange);

    /// The queue has kept its vCPU for longer than is good for anyone else who waits for the unit, and there
    /// is more in it. Whoever arranges for [`Unit::resume`](crate::Unit::resume) to be called soon, by
    /// another thread, says `true`; otherwise, as by default, the unit goes on at once. Called with the queue
    /// mutex held.
    fn resume_later(&self) -> bool {
        false
    }
}

/// One function whose DMA the host's IOMMU carries out, as the unit sees it.
///
/// Both are asked with locks of the unit held: the answer must not wait for a lock that anyone holds while
/// calling [`Attachment::refresh`](crate::Attachment::refresh) or writing a register.
pub trait AssignedFunction: Send + Sync {
    /// The requester ID the guest gave it, live: guests renumber buses.
    fn source_id(&self) -> SourceId;

    /// Whether its Bus Master bit is set.
    fn bus_master(&self) -> bool;
}

/// Why the host refused to change a mapping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The target is not guest memory that the host can map.
    #[error("{0:?} is not memory that the host can map")]
    NotMemory(GuestAddress),
    /// The host has no room for another mapping.
    #[error("The host allows no more mappings in this container")]
    Full,
    /// The tables map guest memory more often than any driver does.
    #[error("The guest's tables map its memory too many times over")]
    TimesOver,
    /// The address is reserved by the host or lies beyond its width.
    #[error("The host cannot map IOVA {0}")]
    Unusable(Iova),
    /// Anything else, as the host put it.
    #[error("The host refused: {0}")]
    Host(String),
}

/// One address space of the host's IOMMU.
///
/// The kernel's rules hold: a map over an existing one fails, and an unmap names exactly one or more whole
/// mappings. All addresses and lengths are multiples of 4 KiB.
pub trait HostMapper: Send + Sync {
    /// Lets the device reach `length` bytes of guest memory from `guest` on at `iova`. `length` bytes of
    /// guest memory there may span several of the host's regions; the implementation maps all or nothing.
    fn map(
        &self,
        iova: Iova,
        guest: GuestAddress,
        length: u64,
        permissions: Permissions,
    ) -> Result<(), MapError>;

    /// Takes away the mappings that make up the `length` bytes from `iova` on: one, or several without a
    /// hole between them, each of them whole. When it returns, no DMA through them is in flight. After an
    /// error what is left is unknown.
    fn unmap(&self, iova: Iova, length: u64) -> Result<(), MapError>;

    /// Takes every mapping away; nothing happens if there is none. When it returns, no DMA is in flight.
    ///
    /// This is also the last resort after a failed unmap, so it cannot fail: it does not return while the
    /// device may still reach memory. Where the kernel refuses even this, ending the program is right,
    /// since closing its descriptors takes the mappings away and going on would leave the guest open.
    fn unmap_all(&self);
}
