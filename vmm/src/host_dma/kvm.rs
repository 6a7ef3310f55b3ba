//! KVM's knowledge of VFIO groups.

use std::os::fd::AsRawFd;

use kvm_bindings::{
    KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_ADD, kvm_create_device, kvm_device_attr,
    kvm_device_type_KVM_DEV_TYPE_VFIO,
};
use kvm_ioctls::{DeviceFd, VmFd};

use super::{Group, HostError};

/// KVM's VFIO device: it learns which groups the guest has, and what they can do (whether DMA can be
/// incoherent, and that interrupts may be posted). Keep it as long as the machine.
#[derive(Debug)]
pub struct KvmVfio(DeviceFd);

impl KvmVfio {
    /// The machine's; there can be one.
    pub fn new(vm: &VmFd) -> Result<Self, HostError> {
        let mut device = kvm_create_device { type_: kvm_device_type_KVM_DEV_TYPE_VFIO, ..Default::default() };
        let device = vm
            .create_device(&mut device)
            .map_err(|error| HostError::step("make KVM's VFIO device")(error.into()))?;
        Ok(Self(device))
    }

    /// Tells KVM of a group.
    pub fn add(&self, group: &Group) -> Result<(), HostError> {
        let file = group.as_raw_fd();
        let attribute = kvm_device_attr {
            flags: 0,
            group: KVM_DEV_VFIO_GROUP,
            attr: u64::from(KVM_DEV_VFIO_GROUP_ADD),
            addr: &raw const file as u64,
        };
        self.0
            .set_device_attr(&attribute)
            .map_err(|error| HostError::step("tell KVM of an IOMMU group")(error.into()))
    }
}
