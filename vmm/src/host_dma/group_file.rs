//! Files of VFIO groups, by which functions are had that the host can tell apart only together.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::FromRawFd;
use std::sync::Arc;

use vfio_bindings::bindings::vfio::{VFIO_BASE, VFIO_GROUP_FLAGS_VIABLE, VFIO_TYPE, vfio_group_status};
use vmm_sys_util::ioctl::{ioctl_with_mut_ref, ioctl_with_ptr};
use vmm_sys_util::ioctl_io_nr;

use super::kvm::Known;
use super::sysfs::{Found, Neighbour};
use super::{Container, HostError, KvmVfio};

ioctl_io_nr!(VFIO_GROUP_GET_STATUS, VFIO_TYPE.into(), VFIO_BASE + 3);
ioctl_io_nr!(VFIO_GROUP_GET_DEVICE_FD, VFIO_TYPE.into(), VFIO_BASE + 6);

/// A group in a container, which KVM knows. All functions of it share this: what the kernel has to know of the group
/// holds until the last of them has been given back.
pub(super) struct GroupFile {
    /// Dropped first: KVM forgets the group before it leaves.
    _known: Option<Known>,
    file: Arc<File>,
    container: Arc<Container>,
}

impl GroupFile {
    /// Opens the group of the function that was `found`, puts it into `container` and tells `kvm`.
    pub(super) fn open(
        found: &Found,
        container: Arc<Container>,
        kvm: Option<&KvmVfio>,
    ) -> Result<Self, HostError> {
        let file = File::options().read(true).write(true).open(found.group_path());
        let file = file.map_err(|source| group_error(source, found))?;
        let mut status =
            vfio_group_status { argsz: size_of::<vfio_group_status>() as u32, ..Default::default() };
        // SAFETY: the structure is of the size it says.
        if unsafe { ioctl_with_mut_ref(&file, VFIO_GROUP_GET_STATUS(), &mut status) } < 0 {
            return Err(HostError::step("describe the device's IOMMU group")(io::Error::last_os_error()));
        }
        if status.flags & VFIO_GROUP_FLAGS_VIABLE == 0 {
            return Err(not_viable(found));
        }
        container.join(&file).map_err(|source| join_error(source, found))?;
        Self::introduced(file, container, kvm)
    }

    /// Tells `kvm` of a group that has joined. It must know before functions are opened: that is when they learn which
    /// machine they are for.
    fn introduced(file: File, container: Arc<Container>, kvm: Option<&KvmVfio>) -> Result<Self, HostError> {
        let file = Arc::new(file);
        let known = kvm.map(|kvm| kvm.introduce(&file)).transpose();
        let known = known.map_err(HostError::step("tell KVM of an IOMMU group"))?;
        Ok(Self { _known: known, file, container })
    }

    /// Where the group's DMA goes.
    pub(super) const fn container(&self) -> &Arc<Container> {
        &self.container
    }

    /// Takes the function that was `found`. It goes back when every descriptor of it is closed.
    pub(super) fn device(&self, found: &Found) -> Result<File, HostError> {
        let step = HostError::step(format!("hand over {}", found.address));
        let Ok(address) = CString::new(found.address.as_str()) else {
            return Err(step(ErrorKind::InvalidInput.into()));
        };
        // SAFETY: the kernel reads a string that ends with a zero.
        let number = unsafe { ioctl_with_ptr(&*self.file, VFIO_GROUP_GET_DEVICE_FD(), address.as_ptr()) };
        if number < 0 {
            return Err(step(io::Error::last_os_error()));
        }
        // SAFETY: the kernel has made this descriptor for us.
        Ok(unsafe { File::from_raw_fd(number) })
    }
}

/// What it means that a group's file cannot be opened.
fn group_error(source: io::Error, found: &Found) -> HostError {
    let path = found.group_path();
    match source.kind() {
        ErrorKind::NotFound => HostError::NoVfio { path },
        ErrorKind::PermissionDenied => HostError::NotPermitted { path },
        ErrorKind::ResourceBusy => HostError::Busy { address: found.address.clone(), path },
        _ => HostError::Step { action: format!("open {path}"), source },
    }
}

/// What it means that a group cannot join a container: the kernel does not put it behind its IOMMU.
fn join_error(source: io::Error, found: &Found) -> HostError {
    match source.raw_os_error() {
        Some(libc::EBUSY) => not_viable(found),
        Some(libc::EPERM) => HostError::UnsafeInterrupts { module: "vfio_iommu_type1" },
        _ => HostError::Step { action: "put the device behind its IOMMU".into(), source },
    }
}

pub(super) fn not_viable(found: &Found) -> HostError {
    let describe = |neighbour: &Neighbour| {
        format!("{} by {}", neighbour.address, neighbour.driver.as_deref().unwrap_or("nobody"))
    };
    let mut others: Vec<_> =
        found.neighbours.iter().filter(|neighbour| neighbour.in_use()).map(describe).collect();
    if others.is_empty() {
        others = found.neighbours.iter().map(describe).collect();
    }
    HostError::NotViable {
        address: found.address.clone(),
        group: found.group_name(),
        others: others.join(", "),
    }
}

#[cfg(test)]
pub(super) mod tests;
