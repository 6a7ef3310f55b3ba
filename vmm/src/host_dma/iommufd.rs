//! iommufd: guest RAM pinned once, and any number of address spaces that share it.
//!
//! All of guest RAM is mapped into one IOAS at its own addresses, and pinned by a page table that no device is
//! ever attached to. The address spaces the shadow fills are copies out of it, which pin and charge nothing.
//! A device begins in the *blocked* page table, over an IOAS that maps nothing; every step from one space to
//! another replaces one page table by another, with nothing reachable in between that neither allows.

mod calls;
mod group;
mod space;
mod tables;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use devices::GuestRam;
use iommu::{GuestAddress, HostIommu, HostSpace, MapError, SpaceId};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};

use super::HostError;
use super::ranges::Ranges;
use super::stop::stop;
use calls::{Calls, Descriptor};
use space::Space;
use tables::PageTables;

pub(super) use group::{Attachable, Members, Mover};

/// The host's iommufd, with guest RAM in it.
pub struct Iommufd {
    calls: Arc<dyn Calls>,
    /// Guest RAM, each address for itself; pinned from the first device on.
    ram: Arc<PageTables>,
    /// Nothing.
    blocked: Arc<PageTables>,
    /// What every device so far can use.
    usable: Arc<ArcSwap<Ranges>>,
    /// The spaces there are, by their IOAS.
    spaces: Mutex<BTreeMap<u32, Weak<PageTables>>>,
    /// Devices that page tables can be made for.
    devices: Mutex<Vec<Weak<dyn Attachable>>>,
    /// For [`Descriptor`]s only: what devices are bound to.
    descriptor: Option<Arc<Descriptor>>,
}

impl Iommufd {
    /// Opens the one at `path` (`/dev/iommu`).
    pub(super) fn open(path: &Path) -> Result<File, HostError> {
        File::options().read(true).write(true).open(path).map_err(|source| {
            let path = path.display().to_string();
            match source.kind() {
                ErrorKind::NotFound => HostError::NoIommufd { path },
                ErrorKind::PermissionDenied => HostError::NotPermitted { path },
                _ => HostError::Step { action: format!("open {path}"), source },
            }
        })
    }

    /// Describes `memory` to the iommufd that `file` is; nothing is pinned yet.
    pub(super) fn new(file: File, memory: &GuestRam) -> Result<Self, HostError> {
        let descriptor = Arc::new(Descriptor::new(file));
        let iommufd =
            Self::over(descriptor.clone(), memory).map_err(|source| match source.raw_os_error() {
                Some(libc::ENOTTY) => HostError::NotIommufd,
                _ => HostError::step("describe guest memory to iommufd")(source),
            })?;
        Ok(Self { descriptor: Some(descriptor), ..iommufd })
    }

    fn over(calls: Arc<dyn Calls>, memory: &GuestRam) -> io::Result<Self> {
        let ram = PageTables::new(calls.clone())?;
        for region in memory.iter() {
            let host = region
                .get_host_address(MemoryRegionAddress(0))
                .map_err(|error| io::Error::other(error.to_string()))?;
            calls.map(ram.ioas(), region.start_addr().0, host as u64, region.len())?;
        }
        let blocked = PageTables::new(calls.clone())?;
        Ok(Self {
            calls,
            ram: Arc::new(ram),
            blocked: Arc::new(blocked),
            usable: Arc::default(),
            spaces: Mutex::default(),
            devices: Mutex::default(),
            descriptor: None,
        })
    }

    /// What devices are bound to.
    pub(super) fn descriptor(&self) -> Option<&Descriptor> {
        self.descriptor.as_deref()
    }

    /// Takes in a device that is bound and attached to nothing, which pins guest RAM if it is the first, and
    /// attaches it to `place`.
    fn admit(&self, device: &Arc<dyn Attachable>, place: &PageTables) -> Result<(), HostError> {
        self.ram.populate(&**device).map_err(|source| match source.raw_os_error() {
            Some(libc::ENOMEM) => HostError::Pin { source },
            _ => HostError::step("pin guest memory")(source),
        })?;
        place.admit(&**device).map_err(HostError::step("put the device behind its IOMMU"))?;
        let ranges = self.calls.ranges(place.ioas()).map_err(HostError::step("describe its IOMMU"))?;
        self.usable.rcu(|before| before.common(&Ranges(ranges.clone())));
        let mut devices = lock(&self.devices);
        devices.retain(|device| device.strong_count() > 0);
        devices.push(Arc::downgrade(device));
        Ok(())
    }

    /// What every device so far can use.
    pub(super) fn usable(&self) -> Ranges {
        Ranges::clone(&self.usable.load())
    }

    /// Whether a device's DMA sees the processors' caches, whatever it asks for: the kernel then has the IOMMU
    /// see to it. Known of Intel's only.
    pub(super) fn is_coherent(&self, device: &dyn Attachable) -> bool {
        /// Snoop control, in the extended capability register (§11.4.3).
        const SNOOP_CONTROL: u64 = 1 << 7;
        let intel =
            self.descriptor.as_ref().and_then(|descriptor| descriptor.intel(device.number()).ok()).flatten();
        intel.is_some_and(|intel| intel.ecap_reg & SNOOP_CONTROL != 0)
    }

    fn make_space(&self) -> io::Result<Space> {
        let tables = Arc::new(PageTables::new(self.calls.clone())?);
        // With a page table from the start, a mapping that the host cannot make fails when it is asked for.
        if let Some(device) = lock(&self.devices).iter().find_map(Weak::upgrade) {
            tables.populate(&*device)?;
        }
        let mut spaces = lock(&self.spaces);
        spaces.retain(|_, space| space.strong_count() > 0);
        spaces.insert(tables.ioas(), Arc::downgrade(&tables));
        Ok(Space::new(self.calls.clone(), tables, self.ram.clone(), self.usable.clone()))
    }

    fn space(&self, id: SpaceId) -> Option<Arc<PageTables>> {
        lock(&self.spaces).get(&id.0)?.upgrade()
    }
}

impl HostIommu for Iommufd {
    fn new_space(&self) -> Result<Box<dyn HostSpace>, MapError> {
        match self.make_space() {
            Ok(space) => Ok(Box::new(space)),
            Err(error) => Err(MapError::Host(format!("no address space can be made: {error}"))),
        }
    }
}

/// What the kernel's refusal to copy a mapping means.
fn explain(error: &io::Error, iova: iommu::Iova, guest: GuestAddress) -> MapError {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::EFAULT) => MapError::NotMemory(guest),
        Some(libc::EINVAL | libc::EOVERFLOW) => MapError::Unusable(iova),
        Some(libc::ENOSPC) => MapError::Full,
        Some(libc::EEXIST) => MapError::Host(format!("IOVA {iova} is mapped already")),
        Some(libc::ENOMEM) => MapError::Host("it has no memory left for page tables".into()),
        _ => MapError::Host(error.to_string()),
    }
}

/// Locks a mutex. What it guards is whole even after a panic elsewhere.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
