//! What the shadow asks of the host's IOMMU.
//!
//! The host knows functions by *groups*: those it cannot tell apart are one. What a group reaches is decided
//! by the address space it is in, and whether it can leave that is what sets the two kinds of host apart.

use std::sync::Arc;

use crate::{GuestAddress, Iova, Pasid, Permissions, SourceId};

/// One function whose DMA the host's IOMMU carries out, as the unit sees it.
///
/// Both are asked with locks of the unit held: the answer must not wait for a lock that anyone holds while
/// calling [`Attachment::refresh`](crate::Attachment::refresh) or writing a register.
pub trait AssignedFunction: Send + Sync {
    /// The requester ID the guest gave it, live: guests renumber buses.
    fn source_id(&self) -> SourceId;

    /// Whether its Bus Master bit is set.
    fn bus_master(&self) -> bool;

    /// How many bits the PASIDs of its requests have; 0 while it sends none with PASID.
    fn pasid_bits(&self) -> u8 {
        0
    }
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
    /// The tables make more mappings than the shadow follows, whatever the host has room for.
    #[error("The guest's tables make more mappings than are followed")]
    TooMany,
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

/// The name of an address space among those of one [`HostIommu`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpaceId(pub u32);

/// An address space that groups come into and leave.
pub trait HostSpace: HostMapper {
    /// Its name.
    fn id(&self) -> SpaceId;
}

/// A first-stage table of the guest's, for the host's own unit to walk: the addresses in it are guest addresses
/// (§9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstStage {
    /// Its topmost part (FSPTPTR).
    pub table: GuestAddress,
    /// Its levels: 4 or 5 (FSPM).
    pub levels: u8,
    /// Whether requests with supervisor privilege are allowed (SRE).
    pub supervisor: bool,
    /// Whether read-only pages are so for supervisor privilege too (WPE).
    pub write_protect: bool,
    /// Whether the extended accessed flag is set (EAFE).
    pub extended_accessed: bool,
}

/// What the host's unit is to forget of a first-stage table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forget {
    /// All of it.
    Everything,
    /// Some of its addresses.
    Pages {
        /// The first of them, aligned to 4 KiB.
        iova: Iova,
        /// How many pages of 4 KiB there are; not 0.
        count: u64,
        /// Whether only the entries of pages have changed, and none that leads to other entries.
        leaves: bool,
    },
}

/// An address space by a first-stage table of the guest's. The host's unit walks that itself, so its changes take
/// effect without anyone's help, but for what the unit remembers.
pub trait NestedSpace: Send + Sync {
    /// Its name, among those of all spaces of one [`HostIommu`].
    fn id(&self) -> SpaceId;

    /// Has the unit forget. When it returns, no DMA by what was remembered is in flight. After an error that is
    /// unknown.
    fn forget(&self, what: &[Forget]) -> Result<(), MapError>;
}

/// A host that makes address spaces as they are needed, and lets groups move between them.
pub trait HostIommu: Send + Sync {
    /// Makes an address space that maps nothing. Dropping it gives it back to the host; no group is in it by
    /// then.
    fn new_space(&self) -> Result<Box<dyn HostSpace>, MapError>;

    /// Whether first-stage tables of the guest's may be given to [`Self::nest`].
    fn nests(&self) -> bool {
        false
    }

    /// Makes an address space of a first-stage table in guest memory. Dropping it gives it back to the host; no
    /// group is in it by then.
    fn nest(&self, table: FirstStage) -> Result<Box<dyn NestedSpace>, MapError> {
        Err(MapError::NotMemory(table.table))
    }
}

/// A group of a host that lets it move.
pub trait HostGroup: Send + Sync {
    /// Puts the group into a space of the same host, out of the one it was in. When it returns, no DMA by way
    /// of the old one is in flight; in between there is either of the two or nothing. After an error the
    /// group is where it was.
    fn enter(&self, space: SpaceId) -> Result<(), MapError>;

    /// Puts the group where nothing is reachable, as it is to begin with. When it returns, no DMA is in flight.
    /// Like [`HostMapper::unmap_all`] this cannot fail.
    fn block(&self);

    /// Does for requests with `pasid` what [`Self::enter`] does for those without PASID; the two have nothing to do
    /// with each other. To begin with a PASID reaches nothing. It is not 0, which stands for requests without.
    fn enter_pasid(&self, pasid: Pasid, _space: SpaceId) -> Result<(), MapError> {
        Err(MapError::Host(format!("it does not carry out requests with PASID ({})", pasid.0)))
    }

    /// Does for requests with `pasid` what [`Self::block`] does for those without PASID.
    fn leave_pasid(&self, _pasid: Pasid) {}
}

/// How the host carries out the DMA of one group.
pub enum HostDma {
    /// By one address space, which is the group's alone and which it never leaves.
    Fixed(Box<dyn HostMapper>),
    /// By whichever space of a host it is put into.
    Movable {
        /// Where spaces come from.
        iommu: Arc<dyn HostIommu>,
        /// The group, blocked to begin with.
        group: Box<dyn HostGroup>,
    },
}
