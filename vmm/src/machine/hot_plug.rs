//! Functions of the host that come and go while the machine runs, and the requests that have them do so.
//!
//! All of it happens on the event loop's thread. A function leaves in this order: the guest reaches nothing of
//! it and it sends nothing any more; its interrupts end and it is reset; its mappings and routes go; the host
//! has it back.

mod mailbox;
mod slot;

use std::sync::Arc;

use devices::Remapping;
use devices::vfio::VfioFunction;
use event_manager::{EventOps, EventSet, EventSubscriber, Events, MutEventSubscriber};
use iommu::{Audit, Extent, Statistics};
use pci::RootComplex;
use serde_json::{Value, json};

use mailbox::Step;
pub(super) use mailbox::{Mailbox, Port};
use slot::Occupant;
pub(super) use slot::{HotSlot, Plan};

use super::Parts;
use super::functions::Settled;
use super::host::FromHost;
use crate::config::{HostFunction, Placement, VfioSource, VfioSpec};
use crate::control::{Answer, Asked, Control, Happening, Request};
use crate::host_dma::Taken;

/// Marks of the event loop's events. Those of the functions are below.
mod mark {
    pub(super) const MAIL: u32 = 0x100;
    pub(super) const CONTROL: u32 = 0x200;
}

/// The mark of the control socket's first event.
pub(super) const FIRST_CONTROL_MARK: u32 = mark::CONTROL;

/// How often the host asks for a function, once every ten seconds, until it gets it in spite of the guest.
const MOST_REQUESTS: u32 = 3;

/// The slots, what is in them, and who may ask for what.
pub(super) struct HotPlug {
    parts: Parts,
    pci: Arc<RootComplex>,
    host: FromHost,
    /// By their numbers.
    slots: Vec<HotSlot>,
    /// Functions that stay where they are.
    fixed: Vec<Arc<VfioFunction>>,
    mailbox: Arc<Mailbox>,
    control: Option<Control>,
}

impl HotPlug {
    /// No slot yet. `host` is where functions come from.
    pub(super) fn new(
        parts: Parts,
        pci: Arc<RootComplex>,
        host: FromHost,
        mailbox: Arc<Mailbox>,
        control: Option<Control>,
    ) -> Self {
        Self { parts, pci, host, slots: Vec::new(), fixed: Vec::new(), mailbox, control }
    }

    /// Adds a slot.
    pub(super) fn add_slot(&mut self, slot: HotSlot) {
        self.slots.push(slot);
        self.slots.sort_by_key(|slot| slot.number);
    }

    /// Notes a function that is in its place as the machine starts. What stays there is the machine's to hold.
    pub(super) fn settle(&mut self, settled: Settled, taken: Taken) -> Option<(Arc<VfioFunction>, Taken)> {
        let Settled { function, slot, .. } = settled;
        if let Some(mut slot) = slot {
            slot.occupy(function, taken);
            self.add_slot(slot);
            return None;
        }
        self.fixed.push(function.clone());
        Some((function, taken))
    }

    /// Does what is asked, as far as it can be done at once.
    fn carry_out(&mut self, request: Request, ops: &mut EventOps) -> Result<Value, String> {
        match request {
            Request::Add { vfio, slot } => self.add(&vfio, slot, ops),
            Request::Remove { slot, vfio, force } => self.remove(slot, vfio.as_deref(), force, ops),
            Request::List {} => Ok(json!({
                "slots": self.slots.iter().map(|slot| slot.describe(&self.pci)).collect::<Vec<_>>(),
                "fixed": self.fixed.iter().map(|function| function.name()).collect::<Vec<_>>(),
            })),
            Request::Audit {} => Ok(self
                .functions()
                .map(|function| describe_audit(function.name(), function.audit()))
                .collect()),
            Request::Statistics {} => Ok(self
                .functions()
                .map(|function| describe_statistics(function.name(), function.statistics()))
                .collect()),
        }
    }

    /// Takes a function from the host and puts it into a slot.
    fn add(&mut self, vfio: &str, number: Option<u16>, ops: &mut EventOps) -> Result<Value, String> {
        let source: HostFunction = vfio.parse()?;
        if self.functions().any(|function| function.name() == source.to_string()) {
            return Err(format!("The guest has {source} already"));
        }
        let index = self.empty_slot(number)?;
        let spec = VfioSpec { source: VfioSource::Address(source), placement: Some(Placement::Port) };
        let taken = self.host.open(&spec).map_err(|error| sentence(&error))?;
        let name = taken.name.clone();
        let number = self.fill(index, taken, ops)?;
        self.tell(&Happening::Added { slot: number, vfio: name }, ops);
        Ok(json!({ "slot": number }))
    }

    /// Puts a function that was taken from the host into a slot. With an error it goes back.
    fn fill(&mut self, index: usize, taken: Taken, ops: &mut EventOps) -> Result<u16, String> {
        if let Remapping::Unit(unit) = &self.parts.remapping {
            let width = unit.capabilities().guest_address_width();
            taken
                .group
                .check(width)
                .and_then(|()| taken.group.check_running())
                .map_err(|error| sentence(&error))?;
        }
        let slot = &mut self.slots[index];
        let place = slot.place(&self.pci).map_err(|error| sentence(&error))?;
        let function = match slot.function(&self.parts, taken.name.clone(), &place, &taken, &self.mailbox) {
            Ok(function) => function,
            Err(error) => {
                self.pci.give_up(place);
                return Err(sentence(&error));
            }
        };
        EventSubscriber::init(&*function, ops);
        self.pci.insert(place, function.clone());
        slot.occupy(function, taken);
        Ok(slot.number)
    }

    fn empty_slot(&self, number: Option<u16>) -> Result<usize, String> {
        let found = match number {
            Some(number) => {
                let index = self.slot(number)?;
                if let Some(occupant) = &self.slots[index].occupant {
                    return Err(format!(
                        "{} is in slot {number}: remove it, or name another slot",
                        occupant.name
                    ));
                }
                Some(index)
            }
            None => self.slots.iter().position(|slot| slot.occupant.is_none()),
        };
        found.ok_or_else(|| {
            "No slot is empty: remove something, or start with --hotplug N for more slots".into()
        })
    }

    fn slot(&self, number: u16) -> Result<usize, String> {
        self.slots.iter().position(|slot| slot.number == number).ok_or_else(|| {
            let there: Vec<_> = self.slots.iter().map(|slot| slot.number.to_string()).collect();
            match there.as_slice() {
                [] => "The machine has no slots: start it with --hotplug N".into(),
                there => format!("There is no slot {number}: the slots are {}", there.join(", ")),
            }
        })
    }

    /// Asks the guest to let go of what is in a slot, or pulls it out.
    fn remove(
        &mut self,
        number: Option<u16>,
        vfio: Option<&str>,
        force: bool,
        ops: &mut EventOps,
    ) -> Result<Value, String> {
        let index = match (number, vfio) {
            (Some(number), None) => self.slot(number)?,
            (None, Some(vfio)) => {
                let name = vfio.parse::<HostFunction>()?.to_string();
                let is =
                    |slot: &HotSlot| slot.occupant.as_ref().is_some_and(|occupant| occupant.name == name);
                self.slots.iter().position(is).ok_or_else(|| {
                    if self.fixed.iter().any(|function| function.name() == name) {
                        format!("{name} is in no slot that it could leave: start with --hotplug 0 or more, and without addr=")
                    } else {
                        format!("The guest has no function {name}")
                    }
                })?
            }
            _ => return Err("Name either the slot or the function that is in it".into()),
        };
        let number = self.slots[index].number;
        if self.slots[index].occupant.is_none() {
            return Err(format!("Slot {number} is empty"));
        }
        if force || self.is_released(index) {
            self.take_out(index, ops);
            return Ok(json!({ "slot": number, "removed": true }));
        }
        if !self.slots[index].ask() {
            return Err(format!(
                "The guest was asked to let go of slot {number} a moment ago: wait for its answer, or use force"
            ));
        }
        self.pci.press_button(self.slots[index].bus);
        Ok(json!({ "slot": number, "removed": false }))
    }

    /// Hears what slots have to say.
    fn hear(&mut self, ops: &mut EventOps) {
        for (number, news) in self.mailbox.take() {
            let Ok(index) = self.slot(number) else { continue };
            let Some(occupant) = &self.slots[index].occupant else { continue };
            let (name, present) = (occupant.name.clone(), occupant.function.is_present());
            match news.step(present, self.is_released(index)) {
                Step::Lose => {
                    eprintln!("\rportcullis: {name} is gone or has failed, so the guest loses it");
                    self.take_out(index, ops);
                }
                Step::GiveBack => self.take_out(index, ops),
                Step::Ask => self.return_to_host(index, &name, ops),
                Step::Wait => {}
            }
        }
    }

    /// The host wants a function back: asks the guest, and does not wait for its answer for ever.
    fn return_to_host(&mut self, index: usize, name: &str, ops: &mut EventOps) {
        let slot = &mut self.slots[index];
        slot.requests += 1;
        if slot.requests > MOST_REQUESTS {
            eprintln!("\rportcullis: the guest does not let go of {name}, so it is pulled out");
            self.take_out(index, ops);
        } else if self.is_released(index) {
            self.take_out(index, ops);
        } else if self.slots[index].ask() {
            eprintln!("\rportcullis: the host wants {name} back, so the guest is asked to let go of it");
            self.pci.press_button(self.slots[index].bus);
        }
    }

    /// Whether the guest has let go of what is in a slot, or never took it.
    fn is_released(&self, index: usize) -> bool {
        self.pci.slot_state(self.slots[index].bus).is_some_and(|state| state.is_released())
    }

    /// Takes out what is in a slot, and gives it back to the host.
    fn take_out(&mut self, index: usize, ops: &mut EventOps) {
        let orderly = self.is_released(index);
        let slot = &mut self.slots[index];
        let Some(Occupant { name, function, taken }) = slot.occupant.take() else { return };
        let number = slot.number;
        self.pci.remove(slot.bus);
        function.unwatch(ops);
        function.stop();
        self.mailbox.forget(number);
        // With it go its routes and the host's mappings.
        drop(function);
        drop(taken);
        self.tell(&Happening::Removed { slot: number, vfio: name, orderly }, ops);
    }

    /// Every assigned function.
    fn functions(&self) -> impl Iterator<Item = &Arc<VfioFunction>> {
        let in_slots = self.slots.iter().filter_map(|slot| Some(&slot.occupant.as_ref()?.function));
        self.fixed.iter().chain(in_slots)
    }

    fn tell(&mut self, happening: &Happening, ops: &mut EventOps) {
        if let Some(control) = &mut self.control {
            control.tell(happening, ops);
        }
    }

    fn serve_control(&mut self, mark: u32, set: EventSet, ops: &mut EventOps) {
        let asked = self.control.as_mut().map_or_else(Vec::new, |control| control.ready(mark, set, ops));
        for Asked { client, request } in asked {
            let answer = match request.and_then(|request| self.carry_out(request, ops)) {
                Ok(value) => Answer::Answer(value),
                Err(error) => Answer::Error(error),
            };
            if let Some(control) = &mut self.control {
                control.answer(client, &answer, ops);
            }
        }
    }
}

impl MutEventSubscriber for HotPlug {
    fn process(&mut self, events: Events, ops: &mut EventOps) {
        match events.data() {
            mark::MAIL => self.hear(ops),
            mark @ mark::CONTROL.. => self.serve_control(mark, events.event_set(), ops),
            // A function that has nothing to read does nothing.
            _ => {
                for slot in &self.slots {
                    if let Some(occupant) = &slot.occupant {
                        EventSubscriber::process(&*occupant.function, events, ops);
                    }
                }
            }
        }
    }

    fn init(&mut self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::with_data(&self.mailbox.bell, mark::MAIL, EventSet::IN)) {
            tracing::error!("Hot-plug slots cannot be watched: {error}");
        }
        if let Some(control) = &self.control {
            control.init(ops);
        }
        for slot in &self.slots {
            if let Some(occupant) = &slot.occupant {
                EventSubscriber::init(&*occupant.function, ops);
            }
        }
    }
}

impl Drop for HotPlug {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            if let Some(occupant) = slot.occupant.take() {
                self.pci.remove(slot.bus);
                occupant.function.stop();
            }
        }
    }
}

fn describe_audit(name: &str, audit: Option<Audit>) -> Value {
    let list = |extents: &[Extent]| extents.iter().map(describe_extent).collect::<Vec<_>>();
    match audit {
        None => json!({ "vfio": name, "audit": "no remapping unit" }),
        Some(audit) if audit.is_exact() => json!({ "vfio": name, "audit": "exact" }),
        Some(audit) => json!({
            "vfio": name,
            "audit": "different",
            "excess": list(&audit.excess),
            "missing": list(&audit.missing),
            "refused": list(&audit.refused),
        }),
    }
}

fn describe_extent(extent: &Extent) -> Value {
    json!({
        "iova": format!("{:#x}", extent.iova.0),
        "guest": format!("{:#x}", extent.guest.0),
        "length": extent.length,
        "permissions": format!("{:?}", extent.permissions),
    })
}

fn describe_statistics(name: &str, statistics: Option<Statistics>) -> Value {
    let Some(statistics) = statistics else { return json!({ "vfio": name }) };
    json!({
        "vfio": name,
        "maps": statistics.maps,
        "unmaps": statistics.unmaps,
        "splits": statistics.splits,
        "failed": statistics.failed,
        "retries": statistics.retries,
        "rebuilds": statistics.rebuilds,
        "extents": statistics.extents,
        "bytes": statistics.bytes,
        "moves": statistics.moves,
    })
}

/// An error and its causes on one line.
fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
