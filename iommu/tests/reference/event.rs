//! Event messages of the unit (§11.4.7): when one is sent, and when it is kept back.

use std::sync::Mutex;

use iommu::{EntryRange, MsiMessage, Platform};

/// What an event control register and what it sends are expected to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// IM.
    pub masked: bool,
    /// IP.
    pub pending: bool,
    /// How many messages there have been.
    pub sent: usize,
}

impl Event {
    /// The condition has arisen.
    pub fn raise(&mut self) {
        self.pending = true;
        self.settle();
    }

    /// Software writes IM.
    pub fn mask(&mut self, masked: bool) {
        self.masked = masked;
        self.settle();
    }

    /// Software has seen to every status of the event.
    pub fn serviced(&mut self) {
        self.pending = false;
    }

    fn settle(&mut self) {
        if self.pending && !self.masked {
            self.pending = false;
            self.sent += 1;
        }
    }
}

/// Takes the messages that the unit sends.
#[derive(Default)]
pub struct Messages(Mutex<Vec<MsiMessage>>);

impl Messages {
    /// How many have been sent with this address and data.
    pub fn count(&self, message: MsiMessage) -> usize {
        self.0.lock().unwrap().iter().filter(|sent| **sent == message).count()
    }
}

impl Platform for Messages {
    fn signal(&self, message: MsiMessage) {
        self.0.lock().unwrap().push(message);
    }

    fn interrupt_entries_changed(&self, _: EntryRange) {}
}
