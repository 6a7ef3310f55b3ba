//! The host's side of an assigned function's DMA: who may have the function, and what its IOMMU maps.
//!
//! [`Host::open`] takes a function from the host, with every way this can fail said in one sentence that
//! names what to type. [`Type1`] is the [`iommu::HostMapper`] over the container the function lives in.

mod container;
mod device;
mod error;
mod interrupts;
mod kvm;
mod limits;
mod sysfs;
mod type1;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use devices::GuestRam;
use iommu::{GuestAddress, HostMapper, Iova, Permissions};

pub use container::Container;
pub use device::Device;
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

/// A function taken from the host. Dropping the parts in any order gives it back; until then, keep it as long
/// as the machine.
#[derive(Debug)]
pub struct Taken {
    /// The function, and its IOMMU group.
    pub device: Device,
    /// The host's address space it is in.
    pub container: Arc<Container>,
    /// Reserved regions of the group; none is [`ReservedKind::Direct`].
    pub reserved: Vec<ReservedRegion>,
}

/// The host, as the source of functions to assign.
#[derive(Debug)]
pub struct Host {
    sysfs: PathBuf,
    spaces: Spaces,
    allow_unsafe_interrupts: bool,
    kvm: Option<KvmVfio>,
    /// Groups with functions taken, and the last of these.
    groups: BTreeMap<u32, String>,
    shared: Option<Arc<Container>>,
}

impl Host {
    /// The host this program runs on; `kvm` hears of every group.
    pub fn new(spaces: Spaces, allow_unsafe_interrupts: bool, kvm: Option<KvmVfio>) -> Self {
        Self {
            sysfs: "/sys".into(),
            spaces,
            allow_unsafe_interrupts,
            kvm,
            groups: BTreeMap::new(),
            shared: None,
        }
    }

    /// Takes the function at `address` (as in `0000:03:00.0`).
    pub fn open(&mut self, address: &str) -> Result<Taken, HostError> {
        let found = sysfs::inspect(&self.sysfs, address)?;
        let number = found.group;
        if let Some(other) = self.groups.get(&number)
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
            None => Arc::new(Container::open(self.kvm.as_ref())?),
        };
        let device = Device::open(&self.sysfs, &found, &container)?;
        self.groups.insert(number, address.into());
        if self.spaces == Spaces::Shared {
            self.shared = Some(container.clone());
        }
        Ok(Taken { device, container, reserved: found.reserved })
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
