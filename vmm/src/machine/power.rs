//! How the machine ends.

use std::sync::Mutex;
use std::sync::PoisonError;

use devices::platform::{Power, PowerRequest};

use crate::event_loop::Ender;

/// What ended a machine's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest powered off.
    PowerOff,
    /// The guest asked to start anew.
    Reboot,
    /// The guest ended the program with this exit code.
    Exit(u8),
    /// The user did, at the terminal.
    Quit,
    /// The machine could not go on; the sentence says why.
    Failed(String),
}

/// Takes the first reason to end, and ends the event loop with it.
pub struct PowerSwitch {
    outcome: Mutex<Option<Outcome>>,
    ender: Ender,
}

impl PowerSwitch {
    /// A switch that ends the loop behind `ender`.
    pub fn new(ender: Ender) -> Self {
        Self { outcome: Mutex::default(), ender }
    }

    /// Ends the machine; only the first reason counts.
    pub fn end(&self, outcome: Outcome) {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(outcome);
        self.ender.end();
    }

    /// Why the machine ended.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Power for PowerSwitch {
    fn request(&self, request: PowerRequest) {
        self.end(match request {
            PowerRequest::Off => Outcome::PowerOff,
            PowerRequest::Reboot => Outcome::Reboot,
            PowerRequest::Exit(code) => Outcome::Exit(code),
        });
    }
}
