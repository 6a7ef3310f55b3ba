//! What the routes need of KVM, small enough that a test can stand in for it.

use std::io;
use std::sync::Arc;

use devices::MsiSink;
use iommu::MsiMessage;
use kvm_bindings::{
    KVM_IRQ_ROUTING_MSI, KVM_MAX_IRQ_ROUTES, KvmIrqRouting, kvm_irq_routing_entry,
    kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_msi, kvm_msi,
};
use kvm_ioctls::VmFd;
use vmm_sys_util::eventfd::EventFd;

/// A global system interrupt and the message KVM delivers for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The number; below 24 they are the IOAPIC's pins.
    pub gsi: u32,
    /// What is delivered.
    pub message: MsiMessage,
}

/// Whether KVM takes a route for `message`: one that it does not take costs the whole table. With 32-bit
/// destinations the low byte of the upper address has no meaning, and a guest can write anything there.
pub(super) const fn is_routable(message: &MsiMessage) -> bool {
    message.address >> 32 & 0xFF == 0
}

/// One more than the highest number a route may have.
pub(super) const MAX_ROUTES: u32 = KVM_MAX_IRQ_ROUTES as u32;

/// The hypervisor's interrupt controllers.
pub trait InterruptChip: Send + Sync {
    /// Replaces all routes. When it returns none of the old ones is in use.
    fn set_routes(&self, routes: &[Route]) -> io::Result<()>;

    /// Delivers `gsi` whenever `trigger` is signalled, and consumes the signals. What was signalled before is
    /// delivered once, but stays in the eventfd.
    fn assign(&self, trigger: &EventFd, gsi: u32) -> io::Result<()>;

    /// Ends that. When it returns, what was consumed has been delivered.
    fn deassign(&self, trigger: &EventFd, gsi: u32) -> io::Result<()>;

    /// Delivers a message.
    fn signal(&self, message: MsiMessage) -> io::Result<()>;
}

/// KVM's.
pub struct KvmChip(Arc<VmFd>);

impl KvmChip {
    /// The controllers of `vm`, whose irqchip is split.
    pub fn new(vm: Arc<VmFd>) -> Self {
        Self(vm)
    }
}

impl InterruptChip for KvmChip {
    fn set_routes(&self, routes: &[Route]) -> io::Result<()> {
        let entries: Vec<_> = routes.iter().map(routing_entry).collect();
        let table =
            KvmIrqRouting::from_entries(&entries).map_err(|error| io::Error::other(format!("{error:?}")))?;
        Ok(self.0.set_gsi_routing(&table)?)
    }

    fn assign(&self, trigger: &EventFd, gsi: u32) -> io::Result<()> {
        Ok(self.0.register_irqfd(trigger, gsi)?)
    }

    fn deassign(&self, trigger: &EventFd, gsi: u32) -> io::Result<()> {
        Ok(self.0.unregister_irqfd(trigger, gsi)?)
    }

    fn signal(&self, message: MsiMessage) -> io::Result<()> {
        let (address_lo, address_hi) = halves(message.address);
        let msi = kvm_msi { address_lo, address_hi, data: message.data, ..Default::default() };
        // The number it returns tells whether a processor took it, which a message on a bus does not learn.
        self.0.signal_msi(msi)?;
        Ok(())
    }
}

/// Messages of emulated devices and of the remapping unit itself: delivered as they are.
pub struct KvmMsi(Arc<dyn InterruptChip>);

impl KvmMsi {
    /// A sink that delivers through `chip`.
    pub fn new(chip: Arc<dyn InterruptChip>) -> Self {
        Self(chip)
    }
}

impl MsiSink for KvmMsi {
    fn deliver(&self, message: MsiMessage) {
        deliver(&*self.0, message);
    }
}

/// Delivers a message. The guest decides what is in it, so one that KVM finds wrong is only worth a note.
pub(super) fn deliver(chip: &dyn InterruptChip, message: MsiMessage) {
    if let Err(error) = chip.signal(message) {
        tracing::debug!(?message, %error, "KVM did not deliver an interrupt");
    }
}

fn routing_entry(route: &Route) -> kvm_irq_routing_entry {
    let (address_lo, address_hi) = halves(route.message.address);
    let msi = kvm_irq_routing_msi { address_lo, address_hi, data: route.message.data, ..Default::default() };
    kvm_irq_routing_entry {
        gsi: route.gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        u: kvm_irq_routing_entry__bindgen_ty_1 { msi },
        ..Default::default()
    }
}

fn halves(address: u64) -> (u32, u32) {
    (address as u32, (address >> 32) as u32)
}
