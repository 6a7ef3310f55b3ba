//! KVM's knowledge of VFIO groups and devices.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use kvm_bindings::{
    KVM_DEV_VFIO_FILE, KVM_DEV_VFIO_FILE_ADD, KVM_DEV_VFIO_FILE_DEL, kvm_create_device, kvm_device_attr,
    kvm_device_type_KVM_DEV_TYPE_VFIO,
};
use kvm_ioctls::{DeviceFd, VmFd};

use super::HostError;

/// KVM's VFIO device: it learns by their files which groups and devices the guest has, and what they can do (whether DMA
/// can be incoherent, and that interrupts may be posted).
#[derive(Clone)]
pub struct KvmVfio(Arc<dyn Listener>);

/// Who is told of files.
trait Listener: Send + Sync {
    fn tell(&self, file: RawFd, what: u32) -> io::Result<()>;
}

/// A file that KVM knows, and keeps open, until this is dropped.
pub(super) struct Known {
    kvm: KvmVfio,
    file: Arc<File>,
}

impl KvmVfio {
    /// The machine's; there can be one.
    pub fn new(vm: &VmFd) -> Result<Self, HostError> {
        let mut device = kvm_create_device { type_: kvm_device_type_KVM_DEV_TYPE_VFIO, ..Default::default() };
        let device = vm
            .create_device(&mut device)
            .map_err(|error| HostError::step("make KVM's VFIO device")(error.into()))?;
        Ok(Self(Arc::new(device)))
    }

    /// Tells KVM of a group's or a device's file.
    pub(super) fn introduce(&self, file: &Arc<File>) -> io::Result<Known> {
        self.0.tell(file.as_raw_fd(), KVM_DEV_VFIO_FILE_ADD)?;
        Ok(Known { kvm: self.clone(), file: file.clone() })
    }
}

impl Listener for DeviceFd {
    fn tell(&self, file: RawFd, what: u32) -> io::Result<()> {
        let attribute = kvm_device_attr {
            group: KVM_DEV_VFIO_FILE,
            attr: what.into(),
            addr: std::ptr::from_ref(&file) as u64,
            flags: 0,
        };
        self.set_device_attr(&attribute).map_err(Into::into)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        if let Err(error) = self.kvm.0.tell(self.file.as_raw_fd(), KVM_DEV_VFIO_FILE_DEL) {
            tracing::warn!(
                "KVM does not forget a device ({error}), so the host gets it back with the machine's end"
            );
        }
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Known").field(&self.file).finish()
    }
}

#[cfg(test)]
pub(super) mod fake;
