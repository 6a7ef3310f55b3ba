//! BARs as dma-bufs: descriptors by which other parts of the kernel find a BAR.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::fs::OFlags;
use vfio_bindings::bindings::vfio::{
    VFIO_BASE, VFIO_DEVICE_FEATURE_DMA_BUF, VFIO_DEVICE_FEATURE_GET, VFIO_TYPE,
};
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_io_nr;

ioctl_io_nr!(VFIO_DEVICE_FEATURE, VFIO_TYPE.into(), VFIO_BASE + 17);

/// `struct vfio_device_feature` with a `struct vfio_device_feature_dma_buf` of one range in it. iommufd takes none
/// with more.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Argument {
    argsz: u32,
    feature: u32,
    region: u32,
    open_flags: u32,
    flags: u32,
    ranges: u32,
    offset: u64,
    length: u64,
}

impl Argument {
    /// Asks for `part` of a region.
    const fn new(region: u32, part: &Range<u64>) -> Self {
        Self {
            argsz: size_of::<Self>() as u32,
            feature: VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF,
            region,
            open_flags: OFlags::RDWR.union(OFlags::CLOEXEC).bits(),
            flags: 0,
            ranges: 1,
            offset: part.start,
            length: part.end - part.start,
        }
    }
}

/// A dma-buf of `part` of a BAR, in whole pages. The kernel takes the memory away from whoever maps it when the function
/// is reset or decodes its BARs no more; it is then mapped anew, or never again.
pub(super) fn export(device: &File, region: u32, part: &Range<u64>) -> io::Result<OwnedFd> {
    let argument = Argument::new(region, part);
    // SAFETY: the structure is of the size it says, and has as many ranges; the kernel only reads it.
    let number = unsafe { ioctl_with_ref(device, VFIO_DEVICE_FEATURE(), &argument) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests;
