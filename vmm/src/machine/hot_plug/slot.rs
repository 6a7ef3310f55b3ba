//! One slot, and what is in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use devices::InterruptLine;
use devices::vfio::VfioFunction;
use pci::{Bus, Indicator, PlaceError, Reserve, RootComplex, Slot};
use serde_json::{Value, json};

use super::Mailbox;
use crate::config::HotPlugSpec;
use crate::host_dma::Taken;
use crate::machine::{BuildError, Parts, assigned};

/// A second press of the attention button within five seconds takes the first back (PCI Express Base, 6.7.1.5),
/// and a busy guest is given some more.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prefetchable memory of a slot, where there is a window above 4 GiB: most devices have less.
const PREFETCHABLE: u64 = 1 << 30;
/// Where there is none.
const PREFETCHABLE_BELOW: u64 = 16 << 20;
/// Bridges pass ports on in pieces of this size; with more slots than this, there are too few for all.
const PORTS: u64 = 0x1000;
const MOST_WITH_PORTS: usize = 8;

/// What slots are to be like.
#[derive(Clone)]
pub(in crate::machine) struct Plan {
    /// The addresses that each keeps.
    pub(in crate::machine) reserve: Reserve,
    /// Where they say what happens.
    pub(in crate::machine) mailbox: Arc<Mailbox>,
}

impl Plan {
    /// What `spec` comes to for so many slots, on a machine with or without a window above 4 GiB.
    pub(in crate::machine) fn new(
        spec: &HotPlugSpec,
        slots: usize,
        high: bool,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        let usual = if high { PREFETCHABLE } else { PREFETCHABLE_BELOW };
        let reserve = Reserve {
            memory: spec.memory,
            prefetchable: spec.prefetchable.unwrap_or(usual),
            ports: if slots <= MOST_WITH_PORTS { PORTS } else { 0 },
        };
        Self { reserve, mailbox }
    }
}

/// A function in a slot.
pub(super) struct Occupant {
    pub(super) name: String,
    pub(super) function: Arc<VfioFunction>,
    /// Given back when the guest's function is gone.
    pub(super) taken: Taken,
}

/// A slot for hot-plug.
pub(in crate::machine) struct HotSlot {
    pub(super) number: u16,
    pub(super) bus: Bus,
    line: Arc<dyn InterruptLine>,
    pub(super) occupant: Option<Occupant>,
    /// When the guest was last asked to let go of it.
    asked: Option<Instant>,
    /// How often the host has asked for it.
    pub(super) requests: u32,
}

impl HotSlot {
    /// An empty slot: the bus behind its port, and the wire that its pins come out on.
    pub(in crate::machine) fn new(number: u16, bus: Bus, line: Arc<dyn InterruptLine>) -> Self {
        Self { number, bus, line, occupant: None, asked: None, requests: 0 }
    }

    /// Reserves the place behind its port.
    pub(in crate::machine) fn place(&self, pci: &RootComplex) -> Result<Slot, PlaceError> {
        pci.slot(self.bus, 0, 0)
    }

    /// Makes the function of the guest's that `taken` will be in this slot.
    pub(in crate::machine) fn function(
        &self,
        parts: &Parts,
        name: String,
        place: &Slot,
        taken: &Taken,
        mailbox: &Arc<Mailbox>,
    ) -> Result<Arc<VfioFunction>, BuildError> {
        let (mailbox, number) = (mailbox.clone(), self.number);
        let events = Box::new(move |event| mailbox.host(number, event));
        assigned::make(parts, name, place, self.line.clone(), taken, events)
    }

    /// Notes what is in the slot now.
    pub(in crate::machine) fn occupy(&mut self, function: Arc<VfioFunction>, taken: Taken) {
        self.occupant = Some(Occupant { name: function.name().to_owned(), function, taken });
        self.asked = None;
        self.requests = 0;
    }

    /// Notes that the guest is asked now; false if it has been asked a moment ago.
    pub(super) fn ask(&mut self) -> bool {
        let waiting = self.asked.is_some_and(|asked| asked.elapsed() < PATIENCE);
        if !waiting {
            self.asked = Some(Instant::now());
        }
        !waiting
    }

    /// What there is to tell of it.
    pub(super) fn describe(&self, pci: &RootComplex) -> Value {
        let state = pci.slot_state(self.bus);
        let indicator = match state.map(|state| state.indicator) {
            Some(Indicator::On) => "on",
            Some(Indicator::Blinking) => "blinking",
            Some(Indicator::Off) | None => "off",
        };
        json!({
            "slot": self.number,
            "vfio": self.occupant.as_ref().map(|occupant| &occupant.name),
            "powered": state.is_some_and(|state| state.powered),
            "indicator": indicator,
        })
    }
}

#[cfg(test)]
mod tests;
