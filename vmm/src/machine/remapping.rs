//! The remapping unit in its surroundings: where its registers are, and where its effects go.

use std::sync::Arc;

use devices::{GuestRam, MmioDevice, MsiSink, Remapping, VtdUnit};
use event_manager::{EventOps, EventSubscriber, Events};
use iommu::{EntryRange, Feature, MsiMessage, Platform, Unit};

use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::BuildError;
use super::host::FromHost;
use super::profile::{self, Chosen};
use crate::config::Config;
use crate::event_loop::EventLoop;
use crate::interrupts::{KvmMsi, RouteTable};

/// Makes the unit, as wide as the host can follow and the machine has addresses for, and says which it is
/// where the user has left that open.
pub(super) fn unit(
    config: &Config,
    host: &FromHost,
    memory: &Arc<GuestRam>,
) -> Result<Remapping, BuildError> {
    let Chosen { capabilities, reason } =
        profile::choose(&config.unit, host.circumstances(config.hotplug.is_some())?)
            .map_err(BuildError::Invalid)?;
    host.check(capabilities.guest_address_width())?;
    if let Some(reason) = reason {
        eprintln!("portcullis: {reason}");
    }
    Ok(Remapping::Unit(Arc::new(Unit::new(memory.clone(), capabilities))))
}

/// Whether processors may have x2APICs. Xen takes x2APIC in CPUID for leave to write x2APIC-format remapping
/// entries: where interrupts are remapped it goes together with extended interrupt mode.
pub(super) fn takes_x2apic(remapping: &Remapping) -> bool {
    match remapping {
        Remapping::Absent => true,
        Remapping::Unit(unit) => {
            let capabilities = unit.capabilities();
            !capabilities.has(Feature::InterruptRemapping) || capabilities.has(Feature::ExtendedInterruptMode)
        }
    }
}

/// Tells the unit where interrupts go, and has the event loop take over where a vCPU has worked on the
/// queue for long enough.
pub(super) fn connect(
    remapping: &Remapping,
    msi: Arc<KvmMsi>,
    routes: Arc<RouteTable>,
    event_loop: &mut EventLoop,
) -> std::io::Result<()> {
    if let Remapping::Unit(unit) = remapping {
        let unfinished = EventFd::new(EFD_NONBLOCK)?;
        event_loop.add(Arc::new(Resume { unit: unit.clone(), unfinished: unfinished.try_clone()? }));
        unit.connect(Arc::new(Surroundings { msi, routes, unfinished }));
    }
    Ok(())
}

struct Surroundings {
    msi: Arc<KvmMsi>,
    routes: Arc<RouteTable>,
    unfinished: EventFd,
}

/// Goes on with a queue that was left for later, between other events.
struct Resume {
    unit: Arc<VtdUnit>,
    unfinished: EventFd,
}

impl EventSubscriber for Resume {
    fn process(&self, _events: Events, _ops: &mut EventOps) {
        let _ = self.unfinished.read();
        self.unit.resume();
    }

    fn init(&self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::new(&self.unfinished, EventSet::IN)) {
            tracing::error!("Cannot wait for unfinished invalidation queues: {error:?}");
        }
    }
}

impl Platform for Surroundings {
    fn signal(&self, message: MsiMessage) {
        self.msi.deliver(message);
    }

    fn interrupt_entries_changed(&self, entries: EntryRange) {
        self.routes.entries_changed(entries);
    }

    fn resume_later(&self) -> bool {
        self.unfinished.write(1).is_ok()
    }
}

/// The unit's registers on the bus.
pub(super) struct Registers(pub(super) Arc<VtdUnit>);

impl MmioDevice for Registers {
    fn read(&self, offset: u64, data: &mut [u8]) {
        self.0.read(offset, data);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        self.0.write(offset, data);
    }
}

#[cfg(test)]
mod tests;
