//! KVM's knowledge of VFIO groups and devices.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use kvm_bindings::{
    KVM_DEV_VFIO_FILE, KVM_DEV_VFIO_FILE_ADD, KVM_DEV_VFIO_FILE_DEL, kvm_create_device, kvm_device_attr,
    kvm_device_type_KVM_DEV_TYPE_VFIO,
};
use kvm_ioctls::{DeviceFd, VmFd};
use vfio_ioctls::VfioDeviceFd;

use super::HostError;

/// KVM's VFIO device: it learns which groups and devices the guest has, and what they can do (whether DMA can
/// be incoherent, and that interrupts may be posted). Containers made with it tell it of every group that
/// joins them, and keep it.
#[derive(Clone, Debug)]
pub struct KvmVfio(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    groups: Arc<VfioDeviceFd>,
    files: DeviceFd,
}

impl KvmVfio {
    /// The machine's; there can be one.
    pub fn new(vm: &VmFd) -> Result<Self, HostError> {
        let mut device = kvm_create_device { type_: kvm_device_type_KVM_DEV_TYPE_VFIO, ..Default::default() };
        let device = vm
            .create_device(&mut device)
            .map_err(|error| HostError::step("make KVM's VFIO device")(error.into()))?;
        let groups = VfioDeviceFd::new_from_kvm(device);
        let files = groups
            .try_clone()
            .and_then(VfioDeviceFd::to_kvm)
            .map_err(|error| HostError::step("duplicate KVM's VFIO device")(io::Error::other(error)))?;
        Ok(Self(Arc::new(Handles { groups: Arc::new(groups), files })))
    }

    /// For [`vfio_ioctls::VfioContainer::new`].
    pub(super) fn handle(&self) -> Arc<VfioDeviceFd> {
        self.0.groups.clone()
    }

    /// Tells KVM of a device, by its own file. KVM keeps the file open until it is removed.
    pub(super) fn add(&self, device: &File) -> io::Result<()> {
        self.tell(device, KVM_DEV_VFIO_FILE_ADD)
    }

    /// Takes back what [`add`](Self::add) said.
    pub(super) fn remove(&self, device: &File) -> io::Result<()> {
        self.tell(device, KVM_DEV_VFIO_FILE_DEL)
    }

    fn tell(&self, device: &File, what: u32) -> io::Result<()> {
        let number = device.as_raw_fd();
        let attribute = kvm_device_attr {
            group: KVM_DEV_VFIO_FILE,
            attr: what.into(),
            addr: std::ptr::from_ref(&number) as u64,
            flags: 0,
        };
        self.0.files.set_device_attr(&attribute).map_err(Into::into)
    }
}
