//! Containers: address spaces of the host's IOMMU.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use devices::vfio::info;
use vfio_bindings::bindings::vfio::{
    VFIO_BASE, VFIO_DMA_CC_IOMMU, VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE, VFIO_DMA_UNMAP_FLAG_ALL,
    VFIO_IOMMU_INFO_CAPS, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, VFIO_TYPE,
    VFIO_UNMAP_ALL, vfio_iommu_type1_dma_map, vfio_iommu_type1_dma_unmap,
};
use vfio_ioctls::{VfioContainer, VfioError};
use vmm_sys_util::ioctl::{ioctl_with_mut_ref, ioctl_with_ref, ioctl_with_val};
use vmm_sys_util::ioctl_io_nr;

use super::ranges::Ranges;
use super::type1::DmaPort;
use super::{HostError, KvmVfio};

ioctl_io_nr!(VFIO_CHECK_EXTENSION, VFIO_TYPE.into(), VFIO_BASE + 1);
ioctl_io_nr!(VFIO_IOMMU_GET_INFO, VFIO_TYPE.into(), VFIO_BASE + 12);
ioctl_io_nr!(VFIO_IOMMU_MAP_DMA, VFIO_TYPE.into(), VFIO_BASE + 13);
ioctl_io_nr!(VFIO_IOMMU_UNMAP_DMA, VFIO_TYPE.into(), VFIO_BASE + 14);

/// One address space of the host's IOMMU. It comes to life with its first group.
pub struct Container(pub(super) Arc<VfioContainer>);

/// What a container can map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ContainerInfo {
    pub(super) ranges: Ranges,
    /// How many more mappings there may be, if the kernel tells.
    pub(super) free_mappings: Option<u32>,
}

impl Container {
    /// Makes an empty container, whose groups `kvm` will hear of.
    pub(super) fn open(kvm: Option<&KvmVfio>) -> Result<Self, HostError> {
        match VfioContainer::new(kvm.map(KvmVfio::handle)) {
            Ok(container) => Ok(Self(Arc::new(container))),
            Err(error) => Err(open_error(error)),
        }
    }

    pub(super) fn info(&self) -> io::Result<ContainerInfo> {
        // SAFETY: the call is of the kind `ask` wants.
        let answer = unsafe { info::ask(&*self.0, VFIO_IOMMU_GET_INFO(), &[0; 24]) }?;
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
        // SAFETY: the argument is a number, not a pointer.
        unsafe { ioctl_with_val(&*self.0, VFIO_CHECK_EXTENSION(), VFIO_DMA_CC_IOMMU.into()) == 1 }
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
        if readable && writable {
            // SAFETY: what devices do to the memory behind `host` is the business of whoever names it:
            // `Type1` names guest RAM only, which nobody holds references into.
            let mapped = unsafe { self.0.vfio_dma_map(iova, length as usize, host as *mut u8) };
            return mapped.map_err(|error| match error {
                VfioError::IommuDmaMap(source) => source.into(),
                other => io::Error::other(other),
            });
        }
        // `vfio_ioctls` makes every mapping writable.
        let flags = [(readable, VFIO_DMA_MAP_FLAG_READ), (writable, VFIO_DMA_MAP_FLAG_WRITE)];
        let argument = vfio_iommu_type1_dma_map {
            argsz: size_of::<vfio_iommu_type1_dma_map>() as u32,
            flags: flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum(),
            vaddr: host,
            iova,
            size: length,
        };
        // SAFETY: the structure is of the size it says. For the memory behind `host`, see above.
        match unsafe { ioctl_with_ref(&*self.0, VFIO_IOMMU_MAP_DMA(), &argument) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn unmap(&self, iova: u64, length: u64) -> io::Result<u64> {
        // `vfio_ioctls` takes exactly one span away and does not tell how much of it there was; nor may its
        // check of that be relied on, since the kernel writes the size where it passes a shared reference.
        let mut argument = vfio_iommu_type1_dma_unmap {
            argsz: size_of::<vfio_iommu_type1_dma_unmap>() as u32,
            iova,
            size: length,
            ..Default::default()
        };
        // SAFETY: the structure is of the size it says, and no flag asks for the bitmap behind it.
        match unsafe { ioctl_with_mut_ref(&*self.0, VFIO_IOMMU_UNMAP_DMA(), &mut argument) } {
            0 => Ok(argument.size),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn unmap_all(&self) -> io::Result<bool> {
        // SAFETY: the argument is a number, not a pointer.
        if unsafe { ioctl_with_val(&*self.0, VFIO_CHECK_EXTENSION(), VFIO_UNMAP_ALL.into()) } != 1 {
            return Ok(false);
        }
        let mut argument = vfio_iommu_type1_dma_unmap {
            argsz: size_of::<vfio_iommu_type1_dma_unmap>() as u32,
            flags: VFIO_DMA_UNMAP_FLAG_ALL,
            ..Default::default()
        };
        // SAFETY: as above.
        match unsafe { ioctl_with_mut_ref(&*self.0, VFIO_IOMMU_UNMAP_DMA(), &mut argument) } {
            0 => Ok(true),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn usable(&self, first: u64, last: u64) -> bool {
        self.info().is_ok_and(|info| info.ranges.covers(first, last))
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Container").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
