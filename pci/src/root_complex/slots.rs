//! Hot-plug slots: functions that come and go while the machine runs.

use std::sync::Arc;
use std::time::Duration;

use super::{BridgeError, RootComplex};
use crate::root_port::RootPort;
use crate::topology::Node;
use crate::{BAR_COUNT, Bus, Function, Reserve, Slot, SlotListener, SlotState};

/// How long to wait between looks at whether an access is still under way.
const GLANCE: Duration = Duration::from_micros(50);

impl RootComplex {
    /// Adds a root port with a hot-plug slot to the root bus; gives the bus behind it. Its slot has the number
    /// of its place, and [`RootComplex::assign_resources`] keeps at least `reserve` for what comes into it.
    pub fn add_hot_plug_port(
        &self,
        device: u8,
        function: u8,
        reserve: Reserve,
        listener: Arc<dyn SlotListener>,
    ) -> Result<Bus, BridgeError> {
        self.add_port(device, function, |slot| RootPort::with_hot_plug(slot, reserve, listener))
    }

    /// Gives a reserved place up: nothing has come into it.
    pub fn give_up(&self, slot: Slot) {
        self.topology().give_up(&slot);
        drop(slot);
    }

    /// Puts a function in a hot-plug slot while the machine runs, and presses the slot's attention button. The
    /// guest gives it power, numbers and addresses when it wants to.
    pub fn insert(&self, slot: Slot, function: Arc<dyn Function>) {
        let mut topology = self.topology();
        let bus = slot.bus;
        topology.plug(slot, function);
        // Where the slot has power already, the guest may look as soon as it has been told.
        self.refresh(&mut topology);
        if let Some(port) = topology.port_above(bus) {
            port.insert();
        }
    }

    /// Presses the attention button of a hot-plug slot: asks the guest to let go of what is in it. The guest
    /// answers through [`SlotListener::released`], in its own time; a second press takes the first back.
    pub fn press_button(&self, bus: Bus) {
        if let Some(port) = self.topology().port_above(bus) {
            port.press_button();
        }
    }

    /// The slot that leads to `bus`; `None` if it is not one for hot-plug.
    pub fn slot_state(&self, bus: Bus) -> Option<SlotState> {
        self.topology().port_above(bus)?.slot_state()
    }

    /// Takes everything out of the hot-plug slot that leads to `bus`, whether the guest has let go of it or
    /// not. On return the guest reaches nothing of it, no access to it is under way, and what it sends goes
    /// nowhere.
    pub fn remove(&self, bus: Bus) {
        let removed = {
            let mut topology = self.topology();
            if topology.port_above(bus).is_none_or(|port| port.slot_state().is_none()) {
                return;
            }
            let removed = topology.clear(bus);
            // Before anybody else is told that its addresses are free.
            removed.iter().for_each(cut_off);
            // From here on no access finds the way to it.
            self.refresh(&mut topology);
            if let Some(port) = topology.port_above(bus) {
                port.remove();
            }
            removed
        };
        for node in removed {
            // An access that found the way earlier ends by itself: none waits for a lock of this crate.
            while !node.held.is_last() {
                std::thread::sleep(GLANCE);
            }
        }
    }
}

/// Takes the rest of its ways away from a function that the topology no longer has.
fn cut_off(node: &Node) {
    if node.told != [None; BAR_COUNT] {
        node.function.reachable(&[None; BAR_COUNT]);
    }
    if node.upstream {
        node.function.upstream(false);
    }
}
