//! iommufd: guest RAM pinned once, and any number of address spaces that share it.
//!
//! All of guest RAM is mapped into one IOAS at its own addresses, and pinned by a page table that no device is
//! ever attached to. The address spaces the shadow fills are copies out of it, which pin and charge nothing.
//! A device begins in the *blocked* page table, over an IOAS that maps nothing; every step from one space to
//! another replaces one page table by another, with nothing reachable in between that neither allows.

mod bars;
mod calls;
mod group;
mod nested;
mod space;
mod tables;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use devices::GuestRam;
use iommu::{
    FirstStage, GuestAddress, HostIommu, HostSpace, HostUnit, MapError, NestedSpace, Permissions, SpaceId,
};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress};

use super::HostError;
use super::ranges::Ranges;
use super::stop::stop;
use calls::{Calls, Descriptor, Intel};
use nested::{Nested, NestedHandle, Parents};
use space::Space;
use tables::{PageTables, Target};

pub(super) use group::{Attachable, Members, Mover};

/// The host's iommufd, with guest RAM in it.
pub struct Iommufd {
    calls: Arc<dyn Calls>,
    /// Guest RAM, each address for itself; pinned from the first device on.
    ram: Arc<PageTables>,
    /// Whether devices may only read some of it.
    read_only: bool,
    /// Nothing.
    blocked: Arc<PageTables>,
    /// What every device so far can use.
    usable: Arc<ArcSwap<Ranges>>,
    /// The spaces there are, by their IOAS; those of first-stage tables by other numbers.
    spaces: Mutex<BTreeMap<u32, Weak<dyn Target>>>,
    /// Guest RAM behind first-stage tables.
    parents: Arc<Parents>,
    nesting: Mutex<Nesting>,
    /// Devices that page tables can be made for.
    devices: Mutex<Vec<Weak<dyn Attachable>>>,
    /// For [`Descriptor`]s only: what devices are bound to.
    descriptor: Option<Arc<Descriptor>>,
}

/// What is known of the units that devices are behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nesting {
    /// There is no device yet.
    Unknown,
    /// Every one nests; this is what all of them can do.
    Every(HostUnit),
    /// One of them does not nest.
    NotEvery,
}

/// Objects of an iommufd have numbers below this, and spaces of first-stage tables from this on.
const FIRST_NESTED: u32 = 1 << 31;

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
        let mut read_only = false;
        for region in memory.iter() {
            let host = region
                .get_host_address(MemoryRegionAddress(0))
                .map_err(|error| io::Error::other(error.to_string()))?;
            let permissions = if region.prot() & libc::PROT_WRITE != 0 {
                Permissions::READ_WRITE
            } else {
                read_only = true;
                Permissions::READ
            };
            calls.map(ram.ioas(), region.start_addr().0, host as u64, region.len(), permissions)?;
        }
        let blocked = PageTables::new(calls.clone())?;
        let ram = Arc::new(ram);
        Ok(Self {
            parents: Arc::new(Parents::new(calls.clone(), ram.clone())),
            nesting: Mutex::new(Nesting::Unknown),
            calls,
            ram,
            read_only,
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
    fn admit(&self, device: &Arc<dyn Attachable>, place: &dyn Target) -> Result<(), HostError> {
        self.ram.populate(&**device).map_err(|source| match source.raw_os_error() {
            Some(libc::ENOMEM) => HostError::Pin { source },
            _ => HostError::step("pin guest memory")(source),
        })?;
        place.admit(&**device, None).map_err(HostError::step("put the device behind its IOMMU"))?;
        let ranges = self.calls.ranges(place.ioas()).map_err(HostError::step("describe its IOMMU"))?;
        self.usable.rcu(|before| before.common(&Ranges(ranges.clone())));
        self.ask_for_nesting(&**device);
        let mut devices = lock(&self.devices);
        devices.retain(|device| device.strong_count() > 0);
        devices.push(Arc::downgrade(device));
        Ok(())
    }

    /// Finds out whether the unit that `device` is behind walks first-stage tables of guests: its registers say so,
    /// none of its errata forbids what would stand behind one, and the kernel makes that.
    fn ask_for_nesting(&self, device: &dyn Attachable) {
        let unit = self
            .unit(device)
            .filter(|unit| !(unit.no_read_only_parents && self.read_only))
            .map(|unit| unit.registers)
            .filter(|registers| registers.nests())
            .filter(|_| {
                let made = self.calls.new_parent(self.blocked.ioas(), device.number());
                made.is_ok_and(|table| self.calls.destroy(table).is_ok())
            });
        let mut nesting = lock(&self.nesting);
        *nesting = match (*nesting, unit) {
            (Nesting::Unknown, Some(unit)) => Nesting::Every(unit),
            (Nesting::Every(others), Some(unit)) => Nesting::Every(others.and(unit)),
            (Nesting::NotEvery, _) | (_, None) => Nesting::NotEvery,
        };
    }

    /// What the units of all devices can do, if every one of them walks first-stage tables of guests.
    pub(super) fn nesting(&self) -> Option<HostUnit> {
        match *lock(&self.nesting) {
            Nesting::Every(unit) => Some(unit),
            Nesting::Unknown | Nesting::NotEvery => None,
        }
    }

    /// The unit that a device is behind, if it is Intel's.
    fn unit(&self, device: &dyn Attachable) -> Option<Intel> {
        self.calls.unit(device.number()).ok()?
    }

    /// How many bits PASIDs of a bound device have; 0 where its unit does not walk first-stage tables of guests, since
    /// page tables for PASIDs are of another kind on some units.
    pub(super) fn pasid_bits(&self, device: u32) -> u8 {
        let unit = self.calls.unit(device).ok().flatten();
        unit.filter(|unit| unit.registers.nests()).map_or(0, |unit| unit.pasid_bits)
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
        self.unit(device).is_some_and(|unit| unit.registers.ecap & SNOOP_CONTROL != 0)
    }

    fn make_space(&self) -> io::Result<Space> {
        let tables = Arc::new(PageTables::new(self.calls.clone())?);
        // With a page table from the start, a mapping that the host cannot make fails when it is asked for.
        if let Some(device) = lock(&self.devices).iter().find_map(Weak::upgrade) {
            tables.populate(&*device)?;
        }
        let space: Arc<dyn Target> = tables.clone();
        let mut spaces = lock(&self.spaces);
        spaces.retain(|_, space| space.strong_count() > 0);
        spaces.insert(tables.ioas(), Arc::downgrade(&space));
        Ok(Space::new(self.calls.clone(), tables, self.ram.clone(), self.usable.clone()))
    }

    fn space(&self, id: SpaceId) -> Option<Arc<dyn Target>> {
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

    fn nests(&self) -> bool {
        self.nesting().is_some()
    }

    fn nest(&self, table: FirstStage) -> Result<Box<dyn NestedSpace>, MapError> {
        let nested = Arc::new(Nested::new(self.calls.clone(), self.parents.clone(), table));
        let space: Arc<dyn Target> = nested.clone();
        let mut spaces = lock(&self.spaces);
        spaces.retain(|_, space| space.strong_count() > 0);
        let free = (FIRST_NESTED..=u32::MAX).find(|number| !spaces.contains_key(number));
        let number = free.ok_or_else(|| MapError::Host("there are too many address spaces".into()))?;
        spaces.insert(number, Arc::downgrade(&space));
        Ok(Box::new(NestedHandle { id: SpaceId(number), nested }))
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
