//! The host's side of an assigned function's DMA: who may have the function, and what its IOMMU maps.
//!
//! [`Host::open`] takes a function from the host, with every way this can fail said in one sentence that
//! names what to type. [`Type1`] is the [`iommu::HostMapper`] over the container the function lives in.

mod container;
mod error;
mod interrupts;
mod kvm;
mod limits;
mod sysfs;
mod type1;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use devices::GuestRam;
use iommu::{GuestAddress, HostMapper, Iova, Permissions};

pub use container::{Container, Group};
pub use error::HostError;
pub use kvm::KvmVfio;
pub use limits::check_locked_memory;
pub use sysfs::{ReservedKind, ReservedRegion, reserved_regions};
pub use type1::Type1;

/// How the machine's assigned functions reach memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spaces {
    /// One address space for each: the machine has a remapping unit.
    Each,
    /// One for all: the machine has none, and every device reaches guest RAM as it is.
    Shared,
}

/// A function taken from the host. Dropping the parts in any order gives it back.
#[derive(Debug)]
pub struct Taken {
    /// The function, for [`devices::vfio`].
    pub device: File,
    /// The host's address space it is in.
    pub container: Arc<Container>,
    /// Its IOMMU group, for [`KvmVfio::add`].
    pub group: Arc<Group>,
    /// Reserved regions of the group; none is [`ReservedKind::Direct`].
    pub reserved: Vec<ReservedRegion>,
}

/// The host, as the source of functions to assign.
#[derive(Debug)]
pub struct Host {
    sysfs: PathBuf,
    vfio: PathBuf,
    spaces: Spaces,
    allow_unsafe_interrupts: bool,
    groups: BTreeMap<u32, (Arc<Group>, String)>,
    shared: Option<Arc<Container>>,
}

impl Host {
    /// The host this program runs on.
    pub fn new(spaces: Spaces, allow_unsafe_interrupts: bool) -> Self {
        Self {
            sysfs: "/sys".into(),
            vfio: "/dev/vfio".into(),
            spaces,
            allow_unsafe_interrupts,
            groups: BTreeMap::new(),
            shared: None,
        }
    }

    /// Takes the function at `address` (as in `0000:03:00.0`).
    pub fn open(&mut self, address: &str) -> Result<Taken, HostError> {
        let found = sysfs::inspect(&self.sysfs, address)?;
        let number = found.group;
        if let Some((_, other)) = self.groups.get(&number)
            && self.spaces == Spaces::Each
        {
            return Err(HostError::SameGroup {
                address: address.into(),
                other: other.clone(),
                group: number,
            });
        }
        interrupts::check(&self.sysfs, self.allow_unsafe_interrupts)?;

        let container = match &self.shared {
            Some(container) => container.clone(),
            None => Arc::new(Container::open(&self.vfio)?),
        };
        let group = match self.groups.get(&number) {
            Some((group, _)) => group.clone(),
            None => Arc::new(Group::open(&self.vfio, &found, container.clone())?),
        };
        let device = group.device(address)?;
        self.groups.insert(number, (group.clone(), address.into()));
        if self.spaces == Spaces::Shared {
            self.shared = Some(container.clone());
        }
        Ok(Taken { device, container, group, reserved: found.reserved })
    }

    /// How many address spaces there are: each pins guest RAM on its own.
    pub fn address_spaces(&self) -> u64 {
        match self.spaces {
            Spaces::Each => self.groups.len() as u64,
            Spaces::Shared => u64::from(self.shared.is_some()),
        }
    }

    /// Without a remapping unit: lets every function taken reach all of guest RAM at its own addresses.
    pub fn map_all(&self, memory: &Arc<GuestRam>, ram: &[(GuestAddress, u64)]) -> Result<(), HostError> {
        let Some(container) = &self.shared else { return Ok(()) };
        let mapper = Type1::new(container.clone(), memory.clone());
        for &(start, length) in ram {
            mapper
                .map(Iova(start.0), start, length, Permissions::READ | Permissions::WRITE)
                .map_err(HostError::MapAll)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
