//! Functions of the host, taken with their IOMMU groups: the devices the host can tell apart only together.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

use devices::vfio;
use vfio_bindings::bindings::vfio::{VFIO_BASE, VFIO_TYPE};
use vfio_ioctls::{VfioContainer, VfioDevice, VfioError};
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_io_nr;

use super::sysfs::{Found, Neighbour};
use super::{Container, HostError};

ioctl_io_nr!(VFIO_GROUP_SET_CONTAINER, VFIO_TYPE.into(), VFIO_BASE + 4);

/// A function of the host, held with its group; dropping it gives it back.
///
/// The fields are dropped in this order. When [`VfioDevice`] goes, it closes its descriptor and then looks its
/// group up in sysfs, which panics if the host has removed the function by then. It cannot while another
/// descriptor is open, so one is. For the same reason the group stays in its container, and leaves with it.
pub(super) struct GroupedDevice {
    _device: VfioDevice,
    file: File,
}

impl GroupedDevice {
    /// Takes the function that was `found`, and puts its group into `container` unless it is there.
    pub(super) fn open(sysfs: &Path, found: &Found, container: &Container) -> Result<Self, HostError> {
        let path = sysfs.join("bus/pci/devices").join(&found.address);
        let device = VfioDevice::new(&path, container.0.clone(), false).map_err(|error| match error {
            VfioError::GroupSetContainer => join_again(found, &container.0),
            other => open_error(other, found),
        })?;
        // SAFETY: the descriptor is the device's, which is not dropped before it has been duplicated.
        let descriptor = unsafe { BorrowedFd::borrow_raw(device.as_raw_fd()) };
        let file = descriptor
            .try_clone_to_owned()
            .map_err(HostError::step(format!("duplicate the descriptor of {}", found.address)))?
            .into();
        Ok(Self { _device: device, file })
    }

    /// A descriptor of the function, for [`devices::vfio::VfioDevice`].
    pub(super) fn descriptor(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

impl fmt::Debug for GroupedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupedDevice").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Why the group cannot join the container. `vfio_ioctls` says only that it cannot, so this tries once more
/// for the kernel's reason.
fn join_again(found: &Found, container: &VfioContainer) -> HostError {
    let group = File::options().read(true).write(true).open(found.group_path());
    let group = match group {
        Ok(group) => group,
        Err(source) => return group_error(source, found),
    };
    let container: RawFd = container.as_raw_fd();
    // SAFETY: the argument is a pointer to a descriptor number, which the kernel reads.
    if unsafe { ioctl_with_ref(&group, VFIO_GROUP_SET_CONTAINER(), &container) } < 0 {
        return join_error(io::Error::last_os_error(), found);
    }
    attach_error(io::Error::other(VfioError::GroupSetContainer))
}

/// What VFIO's refusal of a function means.
fn open_error(error: VfioError, found: &Found) -> HostError {
    let Found { address, .. } = found;
    match error {
        VfioError::InvalidPath => HostError::NoGroup(address.clone()),
        VfioError::OpenGroup(source, _) => group_error(source, found),
        VfioError::GroupViable => not_viable(found),
        VfioError::ContainerSetIOMMU(source) => attach_error(source.into()),
        VfioError::SetDeviceAttr(source) => HostError::step("tell KVM of an IOMMU group")(source.into()),
        VfioError::GroupGetDeviceFD(source) => HostError::step(format!("hand over {address}"))(source.into()),
        VfioError::VfioDeviceGetInfo(source) => HostError::Device(vfio::VfioError::Step {
            name: address.clone(),
            action: "give a description",
            source: source.into(),
        }),
        VfioError::VfioDeviceGetInfoPCI | VfioError::VfioDeviceGetInfoOther => {
            HostError::Device(vfio::VfioError::NotPci(address.clone()))
        }
        VfioError::GetGroupStatus => {
            HostError::step("describe the device's IOMMU group")(io::Error::other(error))
        }
        other => HostError::step(format!("hand over {address}"))(io::Error::other(other)),
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

/// What it means that a group cannot join a container.
fn join_error(source: io::Error, found: &Found) -> HostError {
    match source.raw_os_error() {
        Some(libc::EBUSY) => not_viable(found),
        _ => attach_error(source),
    }
}

/// What it means that the kernel does not put a group behind its IOMMU.
fn attach_error(source: io::Error) -> HostError {
    match source.raw_os_error() {
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
mod tests;
