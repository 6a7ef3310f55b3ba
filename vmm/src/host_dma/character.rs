//! Functions of the host as character devices, which belong to an iommufd.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iommu::Pasid;
use vfio_bindings::bindings::vfio::{
    VFIO_BASE, VFIO_DEVICE_ATTACH_PASID, VFIO_DEVICE_DETACH_PASID, VFIO_TYPE, vfio_device_attach_iommufd_pt,
    vfio_device_bind_iommufd, vfio_device_detach_iommufd_pt, vfio_device_info,
};
use vmm_sys_util::ioctl::{ioctl_with_mut_ref, ioctl_with_ref};
use vmm_sys_util::ioctl_io_nr;

use super::group_file::not_viable;
use super::iommufd::{Attachable, Iommufd};
use super::kvm::Known;
use super::sysfs::{Found, Neighbour};
use super::{HostError, KvmVfio};

ioctl_io_nr!(VFIO_DEVICE_GET_INFO, VFIO_TYPE.into(), VFIO_BASE + 7);
ioctl_io_nr!(VFIO_DEVICE_BIND_IOMMUFD, VFIO_TYPE.into(), VFIO_BASE + 18);
ioctl_io_nr!(VFIO_DEVICE_ATTACH_IOMMUFD_PT, VFIO_TYPE.into(), VFIO_BASE + 19);
ioctl_io_nr!(VFIO_DEVICE_DETACH_IOMMUFD_PT, VFIO_TYPE.into(), VFIO_BASE + 20);

/// A function that is bound to an iommufd. Dropping it attaches it to nothing and lets KVM forget it; it goes
/// back to the host when every other descriptor of it is closed too.
#[derive(Debug)]
pub(super) struct CharacterDevice {
    file: Arc<File>,
    number: u32,
    pasid_bits: u8,
    /// The PASIDs that are attached to something.
    pasids: Mutex<BTreeSet<u32>>,
    _known: Option<Known>,
}

/// Finds the character device of the function that was `found`; none where the kernel has no such devices.
pub(super) fn path(sysfs: &Path, dev: &Path, found: &Found) -> Option<PathBuf> {
    let folder = sysfs.join("bus/pci/devices").join(&found.address).join("vfio-dev");
    let name = folder.read_dir().ok()?.find_map(|entry| entry.ok()?.file_name().into_string().ok())?;
    Some(dev.join("vfio/devices").join(name))
}

/// Opens a character device.
pub(super) fn open(path: &Path, found: &Found) -> Result<File, HostError> {
    File::options().read(true).write(true).open(path).map_err(|source| {
        let path = path.display().to_string();
        match source.kind() {
            ErrorKind::NotFound => HostError::NoVfio { path },
            ErrorKind::PermissionDenied => HostError::NotPermitted { path },
            _ => HostError::Step { action: format!("open {path} for {}", found.address), source },
        }
    })
}

impl CharacterDevice {
    /// Binds an open character device to `iommufd`. The function is attached to nothing yet.
    pub(super) fn bind(
        file: File,
        found: &Found,
        path: &str,
        iommufd: &Iommufd,
        kvm: Option<&KvmVfio>,
    ) -> Result<Arc<Self>, HostError> {
        check_unbound(&file, found)?;
        // KVM's wish to know comes first: binding is when the function learns which machine it is for.
        let file = Arc::new(file);
        let known = kvm.map(|kvm| kvm.introduce(&file)).transpose();
        let known = known.map_err(HostError::step("tell KVM of a device"))?;
        let mut argument = vfio_device_bind_iommufd {
            argsz: size_of::<vfio_device_bind_iommufd>() as u32,
            iommufd: iommufd.descriptor().map_or(-1, AsRawFd::as_raw_fd),
            ..Default::default()
        };
        // SAFETY: the structure is of the size it says.
        if unsafe { ioctl_with_mut_ref(&file, VFIO_DEVICE_BIND_IOMMUFD(), &mut argument) } < 0 {
            return Err(bind_error(io::Error::last_os_error(), found, path));
        }
        let number = argument.out_devid;
        let pasid_bits = iommufd.pasid_bits(number);
        Ok(Arc::new(Self { file, number, pasid_bits, pasids: Mutex::default(), _known: known }))
    }

    fn pasids(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.pasids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A descriptor of the function, for [`devices::vfio::VfioDevice`].
    pub(super) fn descriptor(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

impl Attachable for CharacterDevice {
    fn number(&self) -> u32 {
        self.number
    }

    fn pasid_bits(&self) -> u8 {
        self.pasid_bits
    }

    fn attach(&self, table: u32, pasid: Option<Pasid>) -> io::Result<()> {
        let mut argument = vfio_device_attach_iommufd_pt {
            argsz: size_of::<vfio_device_attach_iommufd_pt>() as u32,
            flags: pasid.map_or(0, |_| VFIO_DEVICE_ATTACH_PASID),
            pt_id: table,
            pasid: pasid.map_or(0, |pasid| pasid.0),
        };
        // SAFETY: the structure is of the size it says.
        match unsafe { ioctl_with_mut_ref(&self.file, VFIO_DEVICE_ATTACH_IOMMUFD_PT(), &mut argument) } {
            0 => {
                self.pasids().extend(pasid.map(|pasid| pasid.0));
                Ok(())
            }
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn detach(&self, pasid: Option<Pasid>) -> io::Result<()> {
        let argument = vfio_device_detach_iommufd_pt {
            argsz: size_of::<vfio_device_detach_iommufd_pt>() as u32,
            flags: pasid.map_or(0, |_| VFIO_DEVICE_DETACH_PASID),
            pasid: pasid.map_or(0, |pasid| pasid.0),
        };
        // SAFETY: the structure is of the size it says.
        match unsafe { ioctl_with_ref(&self.file, VFIO_DEVICE_DETACH_IOMMUFD_PT(), &argument) } {
            0 => {
                if let Some(pasid) = pasid {
                    self.pasids().remove(&pasid.0);
                }
                Ok(())
            }
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for CharacterDevice {
    fn drop(&mut self) {
        // Refused only to a function that is attached to nothing.
        let pasids = std::mem::take(&mut *self.pasids());
        for pasid in pasids {
            let _ = self.detach(Some(Pasid(pasid)));
        }
        let _ = self.detach(None);
    }
}

/// Before it is bound a character device of VFIO answers nothing, but not as a file of another kind would.
fn check_unbound(file: &File, found: &Found) -> Result<(), HostError> {
    let mut info = vfio_device_info { argsz: size_of::<vfio_device_info>() as u32, ..Default::default() };
    // SAFETY: the structure is of the size it says.
    if unsafe { ioctl_with_mut_ref(file, VFIO_DEVICE_GET_INFO(), &mut info) } >= 0 {
        return Err(HostError::AlreadyBound(found.address.clone()));
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EINVAL) => Ok(()),
        _ => Err(HostError::NotCharacterDevice(found.address.clone())),
    }
}

/// What it means that a character device cannot be bound.
fn bind_error(source: io::Error, found: &Found, path: &str) -> HostError {
    let address = found.address.clone();
    match source.raw_os_error() {
        // Two of the kernel's checks answer the same; a driver of the host's in the group tells them apart.
        Some(libc::EBUSY) if found.neighbours.iter().any(Neighbour::in_use) => not_viable(found),
        Some(libc::EBUSY) => HostError::Busy { address, path: found.group_path() },
        // This descriptor is not bound, so another one of the device is.
        Some(libc::EINVAL) => HostError::Busy { address, path: path.into() },
        Some(libc::EPERM) => HostError::UnsafeInterrupts { module: "iommufd" },
        Some(libc::ENODEV) => HostError::Gone(address),
        _ => HostError::Step { action: format!("bind {address} to iommufd"), source },
    }
}

#[cfg(test)]
mod tests;
