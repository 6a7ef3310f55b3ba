//! The PCI functions of the machine, and where they go.

use std::collections::BTreeMap;
use std::sync::Arc;

use devices::vfio::{HostEvent, VfioFunction};
use devices::{BusMaster, Disk, Edu, InterruptLine, InterruptSource, Probe, VirtioFunction};
use iommu::SourceId;
use pci::{BridgeError, Bus, InterruptPin, InterruptWire, PlaceError, RootComplex, Slot};

use super::chipset::Chipset;
use super::hot_plug::{HotSlot, Plan, Port};
use super::{BuildError, Outcome, Parts, PowerSwitch, assigned};
use crate::config::{DeviceKind, DeviceSpec, Placement, VfioSpec};
use crate::event_loop::EventLoop;
use crate::host_dma::Taken;

/// Root ports start here; a device has eight functions, so eight ports share a device number.
const FIRST_PORT_DEVICE: u8 = 1;
/// Functions of one device.
const PORTS_PER_DEVICE: u8 = 8;
/// What a user does not place himself on the root bus goes here or above.
const FIRST_ENDPOINT_DEVICE: u8 = 4;
/// The ISA bridge; devices of the root bus stay below.
const LAST_DEVICE: u8 = 0x1F;

/// A function of the host in its place.
pub(super) struct Settled {
    pub(super) location: pci::Location,
    pub(super) function: Arc<VfioFunction>,
    /// The slot it may leave; none if it stays for as long as the machine runs.
    pub(super) slot: Option<HotSlot>,
}

/// What is done when the host says something of a function that stays where it is.
fn of_fixed(name: String, power: Arc<PowerSwitch>) -> impl Fn(HostEvent) + Send + Sync + 'static {
    move |event| match event {
        HostEvent::Failed => {
            eprintln!("\rportcullis: {name} reported an error it cannot recover from; the guest has lost it");
        }
        HostEvent::Requested => {
            eprintln!("\rportcullis: the host wants {name} back, so the machine stops");
            power.end(Outcome::PowerOff);
        }
        // As where nobody sits in a slot: the machine goes on.
        HostEvent::Gone => eprintln!(
            "\rportcullis: {name} is gone from the host; the guest reads all ones of it, and the host is done with it \
             when the machine ends"
        ),
    }
}

fn port_error(error: BridgeError, name: &str) -> BuildError {
    match error {
        BridgeError::Place(source) => {
            BuildError::Place { device: format!("The root port of {name}"), source }
        }
        other @ BridgeError::NoRoom(_) => BuildError::device(format!("the root port of {name}"))(other),
    }
}

/// Puts functions in their places.
pub(super) struct Builder<'a> {
    pub(super) parts: &'a Parts,
    pub(super) chipset: &'a Chipset,
    pub(super) pci: &'a Arc<RootComplex>,
    pub(super) event_loop: &'a mut EventLoop,
    /// What slots for hot-plug are like, if there are any.
    hot_plug: Option<Plan>,
    ports: u8,
    /// The buses behind PCIe-to-PCI bridges.
    bridges: BTreeMap<Bridge, Bus>,
}

/// What a PCIe-to-PCI bridge is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bridge {
    /// The user has given it this number.
    Numbered(u8),
    /// It keeps together what the host cannot tell apart: the group of this number.
    OfGroup(usize),
}

impl std::fmt::Display for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Numbered(number) => write!(f, "bridge {number}"),
            Self::OfGroup(_) => f.write_str("the bridge of an IOMMU group"),
        }
    }
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        parts: &'a Parts,
        chipset: &'a Chipset,
        pci: &'a Arc<RootComplex>,
        event_loop: &'a mut EventLoop,
        hot_plug: Option<Plan>,
    ) -> Self {
        Self { parts, chipset, pci, event_loop, hot_plug, ports: 0, bridges: BTreeMap::new() }
    }

    /// Makes an emulated function and plugs it in.
    pub(super) fn emulated(&mut self, spec: &DeviceSpec) -> Result<(), BuildError> {
        let name = match &spec.kind {
            DeviceKind::Edu { .. } => "edu",
            DeviceKind::Probe => "probe",
            DeviceKind::VirtioBlk { .. } => "virtio-blk",
        };
        let slot = self.slot(name, spec.placement)?;
        let kind = slot.express();
        match &spec.kind {
            DeviceKind::Edu { dma_mask } => {
                let line = self.line(&slot, Edu::PIN)?;
                let edu =
                    Edu::new(self.master(&slot), line, kind, *dma_mask).map_err(BuildError::device(name))?;
                self.pci.plug(slot, Arc::new(edu));
            }
            DeviceKind::Probe => {
                let probe = Probe::new(self.master(&slot), kind).map_err(BuildError::device(name))?;
                self.pci.plug(slot, Arc::new(probe));
            }
            DeviceKind::VirtioBlk { path, read_only } => {
                let disk = Disk::open(path, *read_only).map_err(BuildError::device(name))?;
                let line = self.line(&slot, VirtioFunction::PIN)?;
                let id = format!("portcullis-{}", slot.location().bdf());
                let block = VirtioFunction::block(self.master(&slot), line, kind, disk, &id)
                    .map_err(BuildError::device(name))?;
                let block = Arc::new(block);
                self.event_loop.add(block.clone());
                self.pci.plug(slot, block);
            }
        }
        Ok(())
    }

    /// Puts a function of the host in its place, behind the remapping unit. Where there are slots for
    /// hot-plug, what would be behind a port is in one.
    ///
    /// `group` is the number of its group if the host cannot tell it from others of the machine: unless the
    /// user wants it otherwise, the guest cannot either, and so has them all in one domain.
    pub(super) fn assigned(
        &mut self,
        spec: &VfioSpec,
        taken: &Taken,
        group: Option<usize>,
    ) -> Result<Settled, BuildError> {
        let name = taken.name.clone();
        let slot = match (spec.placement, group, self.hot_plug.clone()) {
            (None, Some(group), _) => self.slot_behind(&name, Bridge::OfGroup(group))?,
            (None | Some(Placement::Port), _, Some(plan)) => return self.in_slot(name, &plan, taken),
            (placement, ..) => self.slot(&name, placement.unwrap_or(Placement::Port))?,
        };
        let location = slot.location();
        let events = of_fixed(name.clone(), self.parts.power.clone());
        let line = self.line(&slot, InterruptPin::A)?;
        let function = assigned::make(self.parts, name, &slot, line, taken, Box::new(events))?;
        self.event_loop.add(function.clone());
        self.pci.plug(slot, function.clone());
        Ok(Settled { location, function, slot: None })
    }

    /// Puts a function of the host in a slot for hot-plug.
    fn in_slot(&mut self, name: String, plan: &Plan, taken: &Taken) -> Result<Settled, BuildError> {
        let slot = self.hot_plug_slot(plan, &name)?;
        let place =
            slot.place(self.pci).map_err(|source| BuildError::Place { device: name.clone(), source })?;
        let location = place.location();
        let function = slot.function(self.parts, name, &place, taken, &plan.mailbox)?;
        self.pci.plug(place, function.clone());
        Ok(Settled { location, function, slot: Some(slot) })
    }

    /// Adds an empty slot for hot-plug.
    pub(super) fn hot_plug_slot(&mut self, plan: &Plan, name: &str) -> Result<HotSlot, BuildError> {
        let (device, function) = self.next_port();
        let wire = InterruptWire { device, pin: InterruptPin::A };
        let line = || {
            self.chipset
                .pci_line(wire)
                .ok_or_else(|| BuildError::Invalid("The IOAPIC has no pin for a PCI interrupt".into()))
        };
        let number = u16::from(pci::Bdf::new(0, device, function).0 as u8);
        let interrupts = InterruptSource::new(self.parts.remapping.clone(), self.parts.msi.clone());
        let source = SourceId(pci::Bdf::new(0, device, function).0);
        let listener = Port::new(number, source, interrupts, line()?, plan.mailbox.clone());
        let bus = self
            .pci
            .add_hot_plug_port(device, function, plan.reserve, Arc::new(listener))
            .map_err(|error| port_error(error, name))?;
        plan.mailbox.open(number);
        Ok(HotSlot::new(number, bus, line()?))
    }

    /// Finds the place that a function is to have.
    pub(super) fn slot(&mut self, name: &str, placement: Placement) -> Result<Slot, BuildError> {
        let place = |source| BuildError::Place { device: name.into(), source };
        let root = self.pci.root_bus();
        match placement {
            Placement::Root(Some((device, function))) => self.pci.slot(root, device, function).map_err(place),
            Placement::Root(None) => {
                for device in FIRST_ENDPOINT_DEVICE..LAST_DEVICE {
                    match self.pci.slot(root, device, 0) {
                        Ok(slot) => return Ok(slot),
                        Err(PlaceError::Taken { .. }) => {}
                        Err(error) => return Err(place(error)),
                    }
                }
                Err(BuildError::Invalid(format!("The root bus has no place left for {name}: use port=on")))
            }
            Placement::Port => {
                let bus = self.port(name)?;
                self.pci.slot(bus, 0, 0).map_err(place)
            }
            Placement::Bridge(number) => self.slot_behind(name, Bridge::Numbered(number)),
        }
    }

    /// Finds a place behind a PCIe-to-PCI bridge, which is added, behind a root port of its own, for the first
    /// function that wants to be there.
    fn slot_behind(&mut self, name: &str, bridge: Bridge) -> Result<Slot, BuildError> {
        let bus = if let Some(bus) = self.bridges.get(&bridge) {
            *bus
        } else {
            let link = self.port(&bridge.to_string())?;
            let added = self.pci.add_pci_bridge(link, 0, 0);
            let bus = added.map_err(BuildError::device(bridge.to_string()))?;
            self.bridges.insert(bridge, bus);
            bus
        };
        let device = self.pci.free_device(bus).ok_or_else(|| {
            BuildError::Invalid(format!("There is no place left for {name} behind {bridge}: use another"))
        })?;
        let place = |source| BuildError::Place { device: name.into(), source };
        self.pci.slot(bus, device, 0).map_err(place)
    }

    /// Adds a root port of its own for `name`.
    fn port(&mut self, name: &str) -> Result<Bus, BuildError> {
        let (device, function) = self.next_port();
        self.pci.add_root_port(device, function).map_err(|error| port_error(error, name))
    }

    /// Where the next root port goes.
    fn next_port(&mut self) -> (u8, u8) {
        let place = (FIRST_PORT_DEVICE + self.ports / PORTS_PER_DEVICE, self.ports % PORTS_PER_DEVICE);
        self.ports += 1;
        place
    }

    /// The bus master of a function in `slot`.
    pub(super) fn master(&self, slot: &Slot) -> BusMaster {
        let parts = self.parts;
        BusMaster::new(slot.location(), parts.memory.clone(), parts.remapping.clone(), parts.msi.clone())
    }

    /// The wire of a function in `slot`.
    pub(super) fn line(&self, slot: &Slot, pin: InterruptPin) -> Result<Arc<dyn InterruptLine>, BuildError> {
        self.chipset
            .pci_line(slot.interrupt_wire(pin))
            .ok_or_else(|| BuildError::Invalid("The IOAPIC has no pin for a PCI interrupt".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_survives_hardware_that_is_gone_and_not_a_host_that_wants_it_back() {
        let power = Arc::new(PowerSwitch::new(EventLoop::new().unwrap().ender().unwrap()));
        let events = of_fixed("0000:03:00.0".into(), power.clone());
        events(HostEvent::Gone);
        events(HostEvent::Failed);
        assert_eq!(power.outcome(), None);
        events(HostEvent::Requested);
        assert_eq!(power.outcome(), Some(Outcome::PowerOff));
    }
}
