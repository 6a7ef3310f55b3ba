//! Routes for the IOAPIC's pins, which only tell KVM whose EOI to report.

use iommu::{EntryRange, MsiMessage, SourceId};

use super::Judge;
use crate::interrupts::chip::Route;

/// Pins of the IOAPIC: KVM keeps these numbers for them.
pub(super) const COUNT: usize = 24;

#[derive(Clone, Copy, Default)]
struct Pin {
    /// What the IOAPIC sends, if the pin is level-triggered.
    request: Option<MsiMessage>,
    entry: Option<u16>,
    target: Option<MsiMessage>,
    /// Whether `request` has changed since it was judged.
    stale: bool,
}

pub(super) struct Pins {
    ioapic: SourceId,
    pins: [Pin; COUNT],
}

impl Pins {
    pub(super) fn new(ioapic: SourceId) -> Self {
        Self { ioapic, pins: [Pin::default(); COUNT] }
    }

    pub(super) fn set(&mut self, messages: &[Option<MsiMessage>; COUNT]) {
        for (pin, message) in self.pins.iter_mut().zip(messages) {
            if pin.request != *message {
                pin.request = *message;
                pin.stale = true;
            }
        }
    }

    /// Judges the pins that have changed, and those that `entries` decided about.
    pub(super) fn judge(&mut self, judge: &dyn Judge, entries: Option<EntryRange>) {
        for pin in &mut self.pins {
            let named = match (entries, pin.entry) {
                (None, _) | (Some(EntryRange::Some { .. }), None) => false,
                (Some(EntryRange::All), _) => true,
                (Some(EntryRange::Some { first, count }), Some(entry)) => {
                    entry.checked_sub(first).is_some_and(|distance| u32::from(distance) < count)
                }
            };
            if named || pin.stale {
                let resolution = pin.request.map(|request| judge.resolve(self.ioapic, request));
                pin.entry = resolution.and_then(|resolution| resolution.entry);
                pin.target = resolution.and_then(|resolution| resolution.message());
                pin.stale = false;
            }
        }
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = Route> {
        let route = |(gsi, pin): (usize, &Pin)| Some(Route { gsi: gsi as u32, message: pin.target? });
        self.pins.iter().enumerate().filter_map(route)
    }
}
