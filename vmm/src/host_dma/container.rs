//! Containers (address spaces of the host's IOMMU) and groups (what they are given to).

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use devices::vfio::info;
use iommu::GuestAddress;
use vfio_bindings::bindings::vfio::{
    VFIO_API_VERSION, VFIO_BASE, VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE, VFIO_GROUP_FLAGS_VIABLE,
    VFIO_IOMMU_INFO_CAPS, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, VFIO_TYPE,
    VFIO_TYPE1v2_IOMMU, vfio_group_status, vfio_iommu_type1_dma_map, vfio_iommu_type1_dma_unmap,
};
use vmm_sys_util::ioctl::{ioctl, ioctl_with_mut_ref, ioctl_with_ptr, ioctl_with_ref, ioctl_with_val};
use vmm_sys_util::ioctl_io_nr;

use super::HostError;
use super::sysfs::Found;
use super::type1::DmaPort;

ioctl_io_nr!(VFIO_GET_API_VERSION, VFIO_TYPE.into(), VFIO_BASE);
ioctl_io_nr!(VFIO_CHECK_EXTENSION, VFIO_TYPE.into(), VFIO_BASE + 1);
ioctl_io_nr!(VFIO_SET_IOMMU, VFIO_TYPE.into(), VFIO_BASE + 2);
ioctl_io_nr!(VFIO_GROUP_GET_STATUS, VFIO_TYPE.into(), VFIO_BASE + 3);
ioctl_io_nr!(VFIO_GROUP_SET_CONTAINER, VFIO_TYPE.into(), VFIO_BASE + 4);
ioctl_io_nr!(VFIO_GROUP_GET_DEVICE_FD, VFIO_TYPE.into(), VFIO_BASE + 6);
ioctl_io_nr!(VFIO_IOMMU_GET_INFO, VFIO_TYPE.into(), VFIO_BASE + 12);
ioctl_io_nr!(VFIO_IOMMU_MAP_DMA, VFIO_TYPE.into(), VFIO_BASE + 13);
ioctl_io_nr!(VFIO_IOMMU_UNMAP_DMA, VFIO_TYPE.into(), VFIO_BASE + 14);

/// One address space of the host's IOMMU. It comes to life with its first group.
#[derive(Debug)]
pub struct Container {
    file: File,
    started: Mutex<bool>,
}

/// What a container can map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ContainerInfo {
    /// First and last address of each usable range, ascending; none if the kernel does not tell.
    pub(super) ranges: Vec<(u64, u64)>,
    /// How many more mappings there may be, if the kernel tells.
    pub(super) free_mappings: Option<u32>,
}

impl Container {
    /// Makes an empty container; `vfio` is `/dev/vfio`.
    pub(super) fn open(vfio: &Path) -> Result<Self, HostError> {
        let file = open(&vfio.join("vfio")).map_err(|(path, source)| match source.kind() {
            ErrorKind::NotFound => HostError::NoVfio { path },
            ErrorKind::PermissionDenied => HostError::NotPermitted { path },
            // The node stands there without a module behind it.
            _ if matches!(source.raw_os_error(), Some(libc::ENODEV | libc::ENXIO)) => {
                HostError::NoVfio { path }
            }
            _ => HostError::Step { action: format!("open {path}"), source },
        })?;
        // SAFETY: the call takes no argument.
        let version = unsafe { ioctl(&file, VFIO_GET_API_VERSION()) };
        if version != VFIO_API_VERSION.cast_signed() {
            return Err(HostError::Unsupported("its version is unknown"));
        }
        // SAFETY: the argument is a number, not a pointer.
        let type1 = unsafe { ioctl_with_val(&file, VFIO_CHECK_EXTENSION(), VFIO_TYPE1v2_IOMMU.into()) };
        if type1 != 1 {
            return Err(HostError::Unsupported("it has no type1 v2"));
        }
        Ok(Self { file, started: Mutex::new(false) })
    }

    /// Chooses the kind of address space: once, and after the first group joined.
    fn start(&self) -> Result<(), HostError> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if *started {
            return Ok(());
        }
        // SAFETY: the argument is a number, not a pointer.
        if unsafe { ioctl_with_val(&self.file, VFIO_SET_IOMMU(), VFIO_TYPE1v2_IOMMU.into()) } == 0 {
            *started = true;
            return Ok(());
        }
        Err(attach_error(io::Error::last_os_error()))
    }

    pub(super) fn info(&self) -> io::Result<ContainerInfo> {
        // SAFETY: the call is of the kind `ask` wants.
        let answer = unsafe { info::ask(&self.file, VFIO_IOMMU_GET_INFO(), &[0; 24]) }?;
        Ok(parse_info(&answer))
    }

    /// How many more mappings the kernel allows here, if it tells.
    pub fn free_mappings(&self) -> Option<u32> {
        self.info().ok()?.free_mappings
    }

    /// Bits of address that the host translates: 48 means addresses up to 2^48 - 1.
    pub fn width(&self) -> Result<u8, HostError> {
        let info = self.info().map_err(HostError::step("describe its IOMMU"))?;
        Ok(info.width())
    }

    /// Checks that the host can follow a guest's unit of `width` bits over this RAM.
    pub fn check(&self, width: u8, ram: &[(GuestAddress, u64)]) -> Result<(), HostError> {
        let info = self.info().map_err(HostError::step("describe its IOMMU"))?;
        info.check(width, ram)
    }
}

impl ContainerInfo {
    fn width(&self) -> u8 {
        self.ranges.last().map_or(64, |&(_, last)| (64 - last.leading_zeros()) as u8)
    }

    fn check(&self, width: u8, ram: &[(GuestAddress, u64)]) -> Result<(), HostError> {
        let host = self.width();
        if host < width {
            return Err(match host {
                0..39 => HostError::TooNarrow(host),
                39..48 => HostError::Width { host, guest: width, host_choice: 39 },
                _ => HostError::Width { host, guest: width, host_choice: 48 },
            });
        }
        for &(start, length) in ram {
            let (first, last) = (start.0, start.0.saturating_add(length.saturating_sub(1)));
            if !self.covers(first, last) {
                return Err(HostError::RamUnusable { start: first, end: last });
            }
        }
        Ok(())
    }

    /// Whether the kernel maps all of these addresses, as far as it tells.
    pub(super) fn covers(&self, first: u64, last: u64) -> bool {
        self.ranges.is_empty() || self.ranges.iter().any(|&(from, to)| from <= first && last <= to)
    }
}

/// Reads `struct vfio_iommu_type1_info` and the capabilities behind it.
fn parse_info(answer: &[u8]) -> ContainerInfo {
    if info::word(answer, 4) & VFIO_IOMMU_INFO_CAPS == 0 {
        return ContainerInfo::default();
    }
    let first = info::word(answer, 16);
    let ranges = info::capability(answer, first, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE as u16)
        .map(|content| {
            let count = info::word(content, 0) as usize;
            let pairs = content.get(8..).unwrap_or_default().chunks_exact(16);
            pairs.take(count).map(|pair| (info::long(pair, 0), info::long(pair, 8))).collect()
        })
        .unwrap_or_default();
    let free_mappings = info::capability(answer, first, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL as u16)
        .map(|content| info::word(content, 0));
    ContainerInfo { ranges, free_mappings }
}

/// What joining a container comes to when the kernel does not want it.
fn attach_error(source: io::Error) -> HostError {
    match source.raw_os_error() {
        Some(libc::EPERM) => HostError::UnsafeInterrupts,
        _ => HostError::Step { action: "put the device behind its IOMMU".into(), source },
    }
}

impl DmaPort for Container {
    fn map(&self, iova: u64, host: u64, length: u64, readable: bool, writable: bool) -> io::Result<()> {
        let flags = [(readable, VFIO_DMA_MAP_FLAG_READ), (writable, VFIO_DMA_MAP_FLAG_WRITE)];
        let argument = vfio_iommu_type1_dma_map {
            argsz: size_of::<vfio_iommu_type1_dma_map>() as u32,
            flags: flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum(),
            vaddr: host,
            iova,
            size: length,
        };
        // SAFETY: the structure is of the size it says. What devices do to the memory behind `host` is the
        // business of whoever names it: `Type1` names guest RAM only, which nobody holds references into.
        match unsafe { ioctl_with_ref(&self.file, VFIO_IOMMU_MAP_DMA(), &argument) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn unmap(&self, iova: u64, length: u64) -> io::Result<u64> {
        let mut argument = vfio_iommu_type1_dma_unmap {
            argsz: size_of::<vfio_iommu_type1_dma_unmap>() as u32,
            iova,
            size: length,
            ..Default::default()
        };
        // SAFETY: the structure is of the size it says, and no flag asks for the bitmap behind it.
        match unsafe { ioctl_with_mut_ref(&self.file, VFIO_IOMMU_UNMAP_DMA(), &mut argument) } {
            0 => Ok(argument.size),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn usable(&self, first: u64, last: u64) -> bool {
        self.info().is_ok_and(|info| info.covers(first, last))
    }
}

/// An IOMMU group: the devices the host can tell apart only together.
#[derive(Debug)]
pub struct Group {
    file: File,
    // A group belongs to its container for as long as it is open.
    _container: Arc<Container>,
}

impl Group {
    /// Takes the group of `found` and puts it into `container`.
    pub(super) fn open(vfio: &Path, found: &Found, container: Arc<Container>) -> Result<Self, HostError> {
        let Found { address, group, .. } = found;
        let file = open(&vfio.join(group.to_string())).map_err(|(path, source)| match source.kind() {
            ErrorKind::NotFound => HostError::NoVfio { path },
            ErrorKind::PermissionDenied => HostError::NotPermitted { path },
            ErrorKind::ResourceBusy => HostError::Busy { address: address.clone(), group: *group, path },
            _ => HostError::Step { action: format!("open {path}"), source },
        })?;
        let mut status =
            vfio_group_status { argsz: size_of::<vfio_group_status>() as u32, ..Default::default() };
        // SAFETY: the structure is of the size it says.
        if unsafe { ioctl_with_mut_ref(&file, VFIO_GROUP_GET_STATUS(), &mut status) } < 0 {
            return Err(HostError::step("describe the device's IOMMU group")(io::Error::last_os_error()));
        }
        if status.flags & VFIO_GROUP_FLAGS_VIABLE == 0 {
            return Err(not_viable(found));
        }
        let fd: RawFd = container.file.as_raw_fd();
        // SAFETY: the argument is a pointer to a descriptor number, which the kernel reads.
        if unsafe { ioctl_with_ref(&file, VFIO_GROUP_SET_CONTAINER(), &fd) } < 0 {
            let source = io::Error::last_os_error();
            return Err(match source.raw_os_error() {
                Some(libc::EBUSY) => not_viable(found),
                _ => attach_error(source),
            });
        }
        container.start()?;
        Ok(Self { file, _container: container })
    }

    /// Opens the function at `address`, which is of this group.
    pub(super) fn device(&self, address: &str) -> Result<File, HostError> {
        let name = CString::new(address).map_err(|_| HostError::NoDevice(address.into()))?;
        // SAFETY: the argument is a string that ends with a NUL.
        let fd = unsafe { ioctl_with_ptr(&self.file, VFIO_GROUP_GET_DEVICE_FD(), name.as_ptr()) };
        if fd < 0 {
            let action = format!("hand over {address}");
            return Err(HostError::Step { action, source: io::Error::last_os_error() });
        }
        // SAFETY: the kernel made this descriptor for us just now.
        Ok(unsafe { File::from_raw_fd(fd) })
    }
}

#[cfg(test)]
impl Group {
    /// A group that does nothing.
    pub(super) fn for_test(file: File) -> Self {
        let container = Container { file: file.try_clone().unwrap(), started: Mutex::new(false) };
        Self { file, _container: Arc::new(container) }
    }
}

impl AsRawFd for Group {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

fn not_viable(found: &Found) -> HostError {
    let describe = |neighbour: &super::sysfs::Neighbour| {
        format!("{} by {}", neighbour.address, neighbour.driver.as_deref().unwrap_or("nobody"))
    };
    let mut others: Vec<_> =
        found.neighbours.iter().filter(|neighbour| neighbour.in_use()).map(describe).collect();
    if others.is_empty() {
        others = found.neighbours.iter().map(describe).collect();
    }
    HostError::NotViable { address: found.address.clone(), group: found.group, others: others.join(", ") }
}

fn open(path: &Path) -> Result<File, (String, io::Error)> {
    OpenOptions::new().read(true).write(true).open(path).map_err(|error| (path.display().to_string(), error))
}

#[cfg(test)]
mod tests;
