//! Surroundings for the tests of platform devices.

use std::sync::{Arc, Mutex};

use iommu::MsiMessage;

use super::{Power, PowerRequest};
use crate::{InterruptLine, MsiSink};

/// Remembers what it was told, in order.
pub(crate) struct Recorder<T>(Mutex<Vec<T>>);

impl<T> Recorder<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    pub(crate) fn push(&self, item: T) {
        self.0.lock().unwrap().push(item);
    }

    /// What came since the last call.
    pub(crate) fn taken(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(crate) type RecordedPower = Recorder<PowerRequest>;

impl Power for RecordedPower {
    fn request(&self, request: PowerRequest) {
        self.push(request);
    }
}

pub(crate) type RecordedLine = Recorder<bool>;

impl InterruptLine for RecordedLine {
    fn set(&self, asserted: bool) {
        self.push(asserted);
    }
}

pub(crate) type RecordedMessages = Recorder<MsiMessage>;

impl MsiSink for RecordedMessages {
    fn deliver(&self, message: MsiMessage) {
        self.push(message);
    }
}
