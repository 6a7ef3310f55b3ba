//! Containers: address spaces of the host's IOMMU.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use devices::vfio::info;
use vfio_bindings::bindings::vfio::{
    VFIO_BASE, VFIO_DMA_CC_IOMMU, VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE, VFIO_DMA_UNMAP_FLAG_ALL,
    VFIO_IOMMU_INFO_CAPS, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, VFIO_TYPE,
    VFIO_TYPE1v2_IOMMU, VFIO_UNMAP_ALL, vfio_iommu_type1_dma_map, vfio_iommu_type1_dma_unmap,
};
use vfio_ioctls::{VfioContainer, VfioError};
use vmm_sys_util::ioctl::{ioctl_with_mut_ref, ioctl_with_ref, ioctl_with_val};
use vmm_sys_util::ioctl_io_nr;

use super::HostError;
use super::ranges::Ranges;
use super::type1::DmaPort;

ioctl_io_nr!(VFIO_CHECK_EXTENSION, VFIO_TYPE.into(), VFIO_BASE + 1);
ioctl_io_nr!(VFIO_SET_IOMMU, VFIO_TYPE.into(), VFIO_BASE + 2);
ioctl_io_nr!(VFIO_GROUP_SET_CONTAINER, VFIO_TYPE.into(), VFIO_BASE + 4);
ioctl_io_nr!(VFIO_IOMMU_GET_INFO, VFIO_TYPE.into(), VFIO_BASE + 12);
ioctl_io_nr!(VFIO_IOMMU_MAP_DMA, VFIO_TYPE.into(), VFIO_BASE + 13);
ioctl_io_nr!(VFIO_IOMMU_UNMAP_DMA, VFIO_TYPE.into(), VFIO_BASE + 14);

/// One address space of the host's IOMMU. It comes to life with its first group, and maps nothing any more when its last
/// has left.
#[derive(Debug)]
pub struct Container {
    file: File,
    /// Whether a group has brought it to life.
    lives: Mutex<bool>,
}

/// What a container can map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ContainerInfo {
    pub(super) ranges: Ranges,
    /// How many more mappings there may be, if the kernel tells.
    pub(super) free_mappings: Option<u32>,
}

impl Container {
    /// Makes an empty container. `vfio_ioctls` opens it and agrees with the kernel on the interface. The calls behind
    /// that are made here: of the crate's, every mapping is writable, and a group leaves with any one of its functions.
    pub(super) fn open() -> Result<Self, HostError> {
        let container = VfioContainer::new(None).map_err(open_error)?;
        // SAFETY: the descriptor is the container's, which is not dropped before it has been duplicated.
        let descriptor = unsafe { BorrowedFd::borrow_raw(container.as_raw_fd()) };
        let file = descriptor.try_clone_to_owned();
        let file = file.map_err(HostError::step("duplicate the descriptor of a container"))?.into();
        Ok(Self { file, lives: Mutex::new(false) })
    }

    /// Puts a group into it. The group leaves when its file is closed, and every function's.
    pub(super) fn join(&self, group: &File) -> io::Result<()> {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        let own: RawFd = self.file.as_raw_fd();
        // SAFETY: the argument is a pointer to a descriptor number, which the kernel reads.
        if unsafe { ioctl_with_ref(group, VFIO_GROUP_SET_CONTAINER(), &own) } < 0 {
            return Err(io::Error::last_os_error());
        }
        if !*lives {
            // SAFETY: the argument is a number, not a pointer.
            if unsafe { ioctl_with_val(&self.file, VFIO_SET_IOMMU(), VFIO_TYPE1v2_IOMMU.into()) } < 0 {
                return Err(io::Error::last_os_error());
            }
            *lives = true;
        }
        Ok(())
    }

    fn has(&self, extension: u32) -> bool {
        // SAFETY: the argument is a number, not a pointer.
        unsafe { ioctl_with_val(&self.file, VFIO_CHECK_EXTENSION(), extension.into()) == 1 }
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

    /// The addresses that can be mapped.
    pub(super) fn ranges(&self) -> Result<Ranges, HostError> {
        let info = self.info().map_err(HostError::step("describe its IOMMU"))?;
        Ok(info.ranges)
    }

    /// Whether the host makes all DMA see the processors' caches, whatever a device asks for.
    pub fn is_coherent(&self) -> bool {
        self.has(VFIO_DMA_CC_IOMMU)
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
    ContainerInfo { ranges: Ranges(ranges), free_mappings }
}

/// What VFIO's refusal of a container means.
fn open_error(error: VfioError) -> HostError {
    let path = "/dev/vfio/vfio".to_string();
    match error {
        VfioError::OpenContainer(source) => match source.kind() {
            ErrorKind::NotFound => HostError::NoVfio { path },
            ErrorKind::PermissionDenied => HostError::NotPermitted { path },
            // The node stands there without a module behind it.
            _ if matches!(source.raw_os_error(), Some(libc::ENODEV | libc::ENXIO)) => {
                HostError::NoVfio { path }
            }
            _ => HostError::Step { action: format!("open {path}"), source },
        },
        VfioError::VfioApiVersion => HostError::Unsupported("its version is unknown"),
        VfioError::VfioExtension => HostError::Unsupported("it has no type1 v2"),
        other => HostError::step(format!("open {path}"))(io::Error::other(other)),
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
        // SAFETY: the structure is of the size it says. What devices do to the memory behind `host` is the business of
        // whoever names it: `Type1` names guest RAM and BARs only, which nobody holds references into.
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

    fn unmap_all(&self) -> io::Result<bool> {
        if !self.has(VFIO_UNMAP_ALL) {
            return Ok(false);
        }
        let mut argument = vfio_iommu_type1_dma_unmap {
            argsz: size_of::<vfio_iommu_type1_dma_unmap>() as u32,
            flags: VFIO_DMA_UNMAP_FLAG_ALL,
            ..Default::default()
        };
        // SAFETY: as above.
        match unsafe { ioctl_with_mut_ref(&self.file, VFIO_IOMMU_UNMAP_DMA(), &mut argument) } {
            0 => Ok(true),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn usable(&self, first: u64, last: u64) -> bool {
        self.info().is_ok_and(|info| info.ranges.covers(first, last))
    }
}

#[cfg(test)]
mod tests;
