//! Surroundings for the tests of platform devices.

use std::sync::{Arc, Mutex};

use super::{Power, PowerRequest};

/// Remembers what was asked of the machine.
pub(crate) struct RecordedPower(Mutex<Vec<PowerRequest>>);

impl RecordedPower {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    /// The requests since the last call.
    pub(crate) fn taken(&self) -> Vec<PowerRequest> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Power for RecordedPower {
    fn request(&self, request: PowerRequest) {
        self.0.lock().unwrap().push(request);
    }
}
