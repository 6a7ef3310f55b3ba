//! One vector: what VFIO signals, what the guest asked for, what KVM was told.

use std::ops::RangeInclusive;
use std::sync::Arc;

use devices::vfio::Signal;
use iommu::{MsiMessage, SourceId};
use pci::Location;
use vmm_sys_util::eventfd::EventFd;

use super::Judge;
use crate::interrupts::chip::{Route, is_routable};

/// A function's number in the table, and its vector's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct VectorId {
    pub(super) function: u32,
    pub(super) vector: u16,
}

impl VectorId {
    pub(super) const MIN: Self = Self { function: 0, vector: 0 };
    pub(super) const MAX: Self = Self { function: u32::MAX, vector: u16::MAX };

    /// Every vector a function can have.
    pub(super) const fn all_of(function: u32) -> RangeInclusive<Self> {
        Self { function, vector: 0 }..=Self { function, vector: u16::MAX }
    }

    /// As a number, for the event loop.
    pub(super) const fn key(self) -> u64 {
        (self.function as u64) << 16 | self.vector as u64
    }

    /// The other way round.
    pub(super) const fn from_key(key: u64) -> Self {
        Self { function: (key >> 16) as u32, vector: key as u16 }
    }
}

pub(super) struct Vector {
    pub(super) eventfd: Arc<EventFd>,
    location: Location,
    pub(super) signal: Signal,
    /// The remapping entry that last decided.
    pub(super) entry: Option<u16>,
    /// The message the guest gets, as last judged; `None` if none, or one that KVM does not take, or if not
    /// the unit's entry alone says what becomes of a signal.
    pub(super) target: Option<MsiMessage>,
    /// The number of its route, if it has a target and there was one left.
    pub(super) gsi: Option<u32>,
    /// The number its irqfd is on: KVM reads the eventfd.
    pub(super) live: Option<u32>,
    /// Signalled while held.
    pub(super) pending: bool,
}

impl Vector {
    pub(super) fn new(eventfd: Arc<EventFd>, location: Location) -> Self {
        Self {
            eventfd,
            location,
            signal: Signal::default(),
            entry: None,
            target: None,
            gsi: None,
            live: None,
            pending: false,
        }
    }

    /// The requester ID of this moment.
    pub(super) fn source(&self) -> SourceId {
        SourceId(self.location.requester_id().0)
    }

    /// Finds out what the guest gets now.
    pub(super) fn judge(&mut self, judge: &dyn Judge) {
        (self.entry, self.target) = match self.signal {
            Signal::Send(message) => {
                let resolution = judge.resolve(self.source(), message);
                (resolution.entry, resolution.message().filter(is_routable))
            }
            Signal::Discard | Signal::Hold => (None, None),
        };
    }

    /// Follows the guest's wish. What was held is signalled again as soon as it may be sent, and forgotten
    /// when the vector goes off.
    pub(super) fn change(&mut self, signal: Signal) {
        self.signal = signal;
        match signal {
            Signal::Hold => {}
            Signal::Discard => self.pending = false,
            Signal::Send(_) => {
                if std::mem::take(&mut self.pending) {
                    // It fails only where the counter is full, and then it is signalled anyhow.
                    let _ = self.eventfd.write(1);
                }
            }
        }
    }

    /// The route it asks for.
    pub(super) fn route(&self) -> Option<Route> {
        Some(Route { gsi: self.gsi?, message: self.target? })
    }

    /// Empties the eventfd; whether there was anything in it.
    pub(super) fn take_signals(&self) -> bool {
        // It does not block: an error says that it is empty.
        self.eventfd.read().is_ok()
    }
}
