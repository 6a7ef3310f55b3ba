//! How a function of the host becomes one of the guest's.

use std::sync::Arc;

use devices::vfio::{HostEvent, VfioDevice, VfioFunction};
use devices::{InterruptLine, Remapping};
use pci::Slot;

use super::{BuildError, Parts};
use crate::host_dma::{Peers, Taken};
use crate::kvm::slots::BarSlots;

/// Makes the function of the guest's that `taken` will be in `slot`, with its pin on `line`, behind the
/// remapping unit. What the host says of it goes to `events`.
pub(super) fn make(
    parts: &Parts,
    name: String,
    slot: &Slot,
    line: Arc<dyn InterruptLine>,
    taken: &Taken,
    events: Box<dyn Fn(HostEvent) + Send + Sync>,
) -> Result<Arc<VfioFunction>, BuildError> {
    let host = taken.device.descriptor().map_err(BuildError::at("duplicate a VFIO descriptor"))?;
    let location = slot.location();
    let function = devices::vfio::Parts {
        host: Arc::new(VfioDevice::new(host, &name).map_err(BuildError::device(&name))?),
        kind: slot.express(),
        pasid_bits: match &parts.remapping {
            Remapping::Absent => 0,
            Remapping::Unit(unit) => taken.pasid_bits.min(unit.capabilities().pasid_bits()),
        },
        routes: Box::new(parts.routes.function(location.clone())),
        location,
        line: Some(line),
        slots: Arc::new(BarSlots { slots: parts.slots.clone(), peers: peers(parts, taken) }),
        events,
        name: name.clone(),
    };
    let function = VfioFunction::new(function, |requester| match &parts.remapping {
        Remapping::Absent => None,
        Remapping::Unit(unit) => Some(unit.attach(requester, &taken.group.behind(unit))),
    });
    function.map_err(BuildError::device(name))
}

/// How others reach the BARs of a function; none where there are no others.
fn peers(parts: &Parts, taken: &Taken) -> Option<Peers> {
    let unit = match &parts.remapping {
        Remapping::Absent => None,
        Remapping::Unit(unit) => Some(unit),
    };
    taken.group.peers(unit).filter(|_| parts.has_peers)
}
