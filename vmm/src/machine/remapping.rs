//! The remapping unit in its surroundings: where its registers are, and where its effects go.

use std::sync::Arc;

use devices::{GuestRam, MmioDevice, MsiSink, Remapping, VtdUnit};
use iommu::{Capabilities, EntryRange, MsiMessage, Platform, Unit};

use super::BuildError;
use super::host::FromHost;
use crate::config::Config;
use crate::interrupts::{KvmMsi, RouteTable};

/// The widest unit there is in legacy mode.
const WIDEST: u8 = 48;
/// The narrower width, for hosts that cannot follow.
const NARROW: u8 = 39;

/// Makes the unit, as wide as the host can follow and the machine has addresses for.
pub(super) fn unit(
    config: &Config,
    host: &FromHost,
    memory: &Arc<GuestRam>,
) -> Result<Remapping, BuildError> {
    let followed = host.width()?;
    let width = match config.iommu_width {
        Some(width) => width,
        None if followed.is_none_or(|host| host >= WIDEST) => WIDEST,
        None => NARROW,
    };
    host.check(width, memory)?;
    let capabilities = Capabilities::legacy(width);
    Ok(Remapping::Unit(Arc::new(Unit::new(memory.clone(), capabilities))))
}

/// Tells the unit where interrupts go.
pub(super) fn connect(remapping: &Remapping, msi: Arc<KvmMsi>, routes: Arc<RouteTable>) {
    if let Remapping::Unit(unit) = remapping {
        unit.connect(Arc::new(Surroundings { msi, routes }));
    }
}

struct Surroundings {
    msi: Arc<KvmMsi>,
    routes: Arc<RouteTable>,
}

impl Platform for Surroundings {
    fn signal(&self, message: MsiMessage) {
        self.msi.deliver(message);
    }

    fn interrupt_entries_changed(&self, entries: EntryRange) {
        self.routes.entries_changed(entries);
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
