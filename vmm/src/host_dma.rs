//! The host's side of an assigned function's DMA: who may have the function, and what its IOMMU maps.
//!
//! [`Host::open`] takes a function from the host, with every way this can fail said in one sentence that
//! names what to type. What its group reaches is then carried out by one of two parts of the kernel:
//! [`Iommufd`], where groups move between address spaces that share one pinned copy of guest RAM, or
//! [`Type1`], where each group has a container of its own.

mod character;
mod container;
mod error;
mod group;
mod group_file;
mod interrupts;
mod iommufd;
mod kvm;
mod limits;
mod passed;
mod peers;
mod ranges;
mod stop;
mod sysfs;
mod targets;
mod type1;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use devices::GuestRam;
use iommu::{HostGroup, HostIommu, HostMapper, HostSpace, Iova, Permissions};
use rustix::fs::{Access, access};

use crate::config::{HostDmaChoice, VfioSource};
use crate::memory;

use character::CharacterDevice;
use group::Backing;
use group_file::GroupFile;
use iommufd::{Attachable, Members, Mover};
use ranges::Ranges;
use sysfs::Found;

pub use container::Container;
pub use error::HostError;
pub use group::Group;
pub use iommufd::Iommufd;
pub use kvm::KvmVfio;
pub use passed::Passed;
pub use peers::{Peers, Reachable};
pub use sysfs::{ReservedKind, ReservedRegion, reserved_regions};
pub use targets::Targets;
pub use type1::Type1;

/// How the machine's assigned functions reach memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spaces {
    /// Each group on its own: the machine has a remapping unit.
    Each,
    /// One for all: the machine has none, and every device reaches guest RAM as it is.
    Shared,
}

/// A function taken from the host. Dropping the parts in any order gives it back; until then, keep it as long
/// as the machine.
pub struct Taken {
    /// Its address on the host, or another name where that is not to be found out.
    pub name: String,
    /// The function.
    pub device: Device,
    /// Its IOMMU group.
    pub group: Arc<Group>,
    /// Whether its DMA sees the processors' caches, whatever it asks for.
    pub coherent: bool,
    /// How many bits the PASIDs of its requests have that the host carries out; 0 if it carries out none.
    pub pasid_bits: u8,
    /// Reserved regions of the group; none is [`ReservedKind::Direct`].
    pub reserved: Vec<ReservedRegion>,
}

/// A function of the host; dropping it gives it back.
#[derive(Debug)]
pub struct Device(Kind);

#[derive(Debug)]
enum Kind {
    Grouped(File),
    Character(Arc<CharacterDevice>),
}

impl Device {
    /// A descriptor of the function, for [`devices::vfio::VfioDevice`].
    pub fn descriptor(&self) -> io::Result<File> {
        match &self.0 {
            Kind::Grouped(device) => device.try_clone(),
            Kind::Character(device) => device.descriptor(),
        }
    }
}

/// What the host is asked for.
pub struct Wishes {
    /// How functions reach memory.
    pub spaces: Spaces,
    /// Which part of the kernel carries out their DMA.
    pub choice: HostDmaChoice,
    /// Whether a host that does not remap interrupts is good enough.
    pub allow_unsafe_interrupts: bool,
    /// What was passed in.
    pub passed: Passed,
}

/// The host, as the source of functions to assign.
pub struct Host {
    sysfs: PathBuf,
    dev: PathBuf,
    wishes: Wishes,
    kvm: Option<KvmVfio>,
    targets: Arc<Targets>,
    backend: Option<Backend>,
    /// Why the backend is not the one that would have been expected.
    fallback: Option<String>,
    /// Groups with functions taken. Those whose group is unknown count as one.
    groups: BTreeMap<Option<u32>, Weak<Group>>,
    /// What all are in, without a remapping unit.
    shared: Option<SharedSpace>,
}

/// The part of the kernel that carries out DMA.
#[derive(Clone)]
enum Backend {
    Type1,
    Iommufd(Arc<Iommufd>),
}

/// An address space that holds all guest RAM.
enum SharedSpace {
    Container(Arc<Container>),
    Space(Arc<dyn HostSpace>),
}

impl SharedSpace {
    /// Who maps what guest addresses lead to in it.
    fn mapper(&self, targets: &Arc<Targets>) -> Arc<dyn HostMapper> {
        match self {
            Self::Container(container) => Arc::new(Type1::new(container.clone(), targets.clone())),
            Self::Space(space) => space.clone(),
        }
    }
}

impl Host {
    /// The host this program runs on; `kvm` hears of every function.
    pub fn new(wishes: Wishes, memory: Arc<GuestRam>, kvm: Option<KvmVfio>) -> Self {
        Self {
            sysfs: "/sys".into(),
            dev: "/dev".into(),
            wishes,
            kvm,
            targets: Arc::new(Targets::new(memory)),
            backend: None,
            fallback: None,
            groups: BTreeMap::new(),
            shared: None,
        }
    }

    /// Takes a function. Nothing is reachable for it but, without a remapping unit, all guest RAM.
    pub fn open(&mut self, source: VfioSource) -> Result<Taken, HostError> {
        let (found, file) = match source {
            VfioSource::Address(address) => (sysfs::inspect(&self.sysfs, &address.to_string())?, None),
            VfioSource::Descriptor(number) => {
                let file = self.wishes.passed.function(number)?;
                (Found::of_descriptor(&self.sysfs, &file, number)?, Some(file))
            }
        };
        match self.backend(&found, file.is_some())? {
            Backend::Type1 => self.take_with_group(found),
            Backend::Iommufd(iommufd) => self.take_alone(found, file, &iommufd),
        }
    }

    /// Says why DMA is not carried out in the way one would expect; once.
    pub fn fallback(&mut self) -> Option<String> {
        self.fallback.take()
    }

    /// The backend of the machine, which its first function decides.
    fn backend(&mut self, found: &Found, passed: bool) -> Result<Backend, HostError> {
        if let Some(backend) = &self.backend {
            return Ok(backend.clone());
        }
        let backend = if self.wants_iommufd(found, passed) {
            let file = match self.wishes.passed.iommufd() {
                Some(file) => file,
                None => Iommufd::open(&self.dev.join("iommu"))?,
            };
            limits::check_locked_memory(1, memory::size(self.targets.ram()))?;
            Backend::Iommufd(Arc::new(Iommufd::new(file, self.targets.ram())?))
        } else {
            Backend::Type1
        };
        self.backend = Some(backend.clone());
        Ok(backend)
    }

    /// Whether iommufd is to be used: where the user has asked for it, and where it can be.
    fn wants_iommufd(&mut self, found: &Found, passed: bool) -> bool {
        match self.wishes.choice {
            HostDmaChoice::Iommufd => return true,
            HostDmaChoice::Type1 => return false,
            HostDmaChoice::Auto if passed || self.wishes.passed.has_iommufd() => return true,
            HostDmaChoice::Auto => {}
        }
        let node = self.dev.join("iommu");
        let Some(device) = character::path(&self.sysfs, &self.dev, found).filter(|_| node.exists()) else {
            return false;
        };
        let closed = |path: &Path| access(path, Access::READ_OK | Access::WRITE_OK).is_err();
        match [node, device].into_iter().find(|path| closed(path)) {
            None => true,
            Some(path) => {
                self.fallback = Some(format!(
                    "{} may not be opened by this user, so assigned devices go by type1 containers, which pin guest \
                     memory once for each; `chown $USER {0}` as root changes that, and --host-dma type1 silences this",
                    path.display()
                ));
                false
            }
        }
    }

    /// Takes a function by its group and a container.
    fn take_with_group(&mut self, found: Found) -> Result<Taken, HostError> {
        interrupts::check(&self.sysfs, self.wishes.allow_unsafe_interrupts, "vfio_iommu_type1")?;
        let known = self.groups.get(&found.group).and_then(Weak::upgrade);
        let file = match known.as_deref().map(|group| &group.backing) {
            Some(Backing::Container(file)) => file.clone(),
            _ => Arc::new(GroupFile::open(&found, self.container()?, self.kvm.as_ref())?),
        };
        let container = file.container().clone();
        if self.wishes.spaces == Spaces::Shared && self.shared.is_none() {
            let shared = SharedSpace::Container(container.clone());
            self.map_all(&*shared.mapper(&self.targets), &container.ranges()?)?;
            self.shared = Some(shared);
        }
        let device = file.device(&found)?;
        let group = known.unwrap_or_else(|| self.know(&found, Backing::Container(file)));
        Ok(Taken {
            name: found.address,
            device: Device(Kind::Grouped(device)),
            group,
            coherent: container.is_coherent(),
            pasid_bits: 0,
            reserved: found.reserved,
        })
    }

    /// The container for a group that is new here.
    fn container(&mut self) -> Result<Arc<Container>, HostError> {
        if self.groups.values().all(|group| group.strong_count() == 0) {
            // What all have left maps nothing any more.
            self.shared = None;
        }
        if let Some(SharedSpace::Container(container)) = &self.shared {
            return Ok(container.clone());
        }
        limits::check_locked_memory(self.containers() + 1, memory::size(self.targets.ram()))?;
        Ok(Arc::new(Container::open()?))
    }

    /// Takes a function by its character device, which is `file` if it was passed in.
    fn take_alone(
        &mut self,
        found: Found,
        file: Option<File>,
        iommufd: &Arc<Iommufd>,
    ) -> Result<Taken, HostError> {
        // Where sysfs is out of reach, the kernel's own check at binding has to do.
        if found.group.is_some() {
            interrupts::check(&self.sysfs, self.wishes.allow_unsafe_interrupts, "iommufd")?;
        }
        let (file, path) = if let Some(file) = file {
            (file, "/dev/vfio/devices/*".into())
        } else {
            let path = character::path(&self.sysfs, &self.dev, &found)
                .ok_or_else(|| HostError::NoCharacterDevice(found.address.clone()))?;
            (character::open(&path, &found)?, path.display().to_string())
        };
        let device = CharacterDevice::bind(file, &found, &path, iommufd, self.kvm.as_ref())?;
        let known = self.groups.get(&found.group).and_then(Weak::upgrade);
        let members = match known.as_deref().map(|group| &group.backing) {
            Some(Backing::Movable(members)) => members.clone(),
            _ => Arc::new(Members::new(iommufd.clone())),
        };
        let attachable: Arc<dyn Attachable> = device.clone();
        members.add(&attachable)?;
        if self.wishes.spaces == Spaces::Shared {
            self.share(&members)?;
        }
        let group = known.unwrap_or_else(|| self.know(&found, Backing::Movable(members)));
        // Of several in a group the host does not know which one sends a PASID.
        let pasid_bits = if found.is_alone() { device.pasid_bits() } else { 0 };
        Ok(Taken {
            name: found.address,
            coherent: iommufd.is_coherent(&*device),
            pasid_bits,
            device: Device(Kind::Character(device)),
            group,
            reserved: found.reserved,
        })
    }

    fn know(&mut self, found: &Found, backing: Backing) -> Arc<Group> {
        let shared = self.shared.as_ref().map(|shared| shared.mapper(&self.targets));
        let group = Arc::new(Group::new(backing, self.targets.clone(), shared));
        self.groups.insert(found.group, Arc::downgrade(&group));
        group
    }

    /// How many containers there are: each pins guest RAM on its own.
    fn containers(&self) -> u64 {
        match self.shared {
            Some(_) => 1,
            None => self.groups.values().filter(|group| group.strong_count() > 0).count() as u64,
        }
    }

    /// Puts a group into the space that holds all guest RAM.
    fn share(&mut self, members: &Arc<Members>) -> Result<(), HostError> {
        let space = if let Some(SharedSpace::Space(space)) = &self.shared {
            space.clone()
        } else {
            let space: Arc<dyn HostSpace> = members.iommufd().new_space().map_err(HostError::MapAll)?.into();
            self.map_all(&*space, &members.iommufd().usable())?;
            self.shared = Some(SharedSpace::Space(space.clone()));
            space
        };
        Mover(members.clone()).enter(space.id()).map_err(HostError::MapAll)
    }

    /// Lets whoever is in a space reach all of guest RAM at its own addresses, but for what the host keeps.
    fn map_all(&self, mapper: &dyn HostMapper, ranges: &Ranges) -> Result<(), HostError> {
        for (start, length) in ranges.parts(&memory::regions(self.targets.ram())) {
            let both = Permissions::READ | Permissions::WRITE;
            mapper.map(Iova(start.0), start, length, both).map_err(HostError::MapAll)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
