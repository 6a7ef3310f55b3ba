//! KVM's knowledge of VFIO groups.

use std::sync::Arc;

use kvm_bindings::{kvm_create_device, kvm_device_type_KVM_DEV_TYPE_VFIO};
use kvm_ioctls::VmFd;
use vfio_ioctls::VfioDeviceFd;

use super::HostError;

/// KVM's VFIO device: it learns which groups the guest has, and what they can do (whether DMA can be
/// incoherent, and that interrupts may be posted). Containers made with it tell it of every group that
/// joins them, and keep it.
#[derive(Clone, Debug)]
pub struct KvmVfio(Arc<VfioDeviceFd>);

impl KvmVfio {
    /// The machine's; there can be one.
    pub fn new(vm: &VmFd) -> Result<Self, HostError> {
        let mut device = kvm_create_device { type_: kvm_device_type_KVM_DEV_TYPE_VFIO, ..Default::default() };
        let device = vm
            .create_device(&mut device)
            .map_err(|error| HostError::step("make KVM's VFIO device")(error.into()))?;
        Ok(Self(Arc::new(VfioDeviceFd::new_from_kvm(device))))
    }

    /// For [`vfio_ioctls::VfioContainer::new`].
    pub(super) fn handle(&self) -> Arc<VfioDeviceFd> {
        self.0.clone()
    }
}
