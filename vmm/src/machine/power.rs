//! How the machine ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use devices::platform::{Power, PowerRequest};

use crate::event_loop::Ender;
use crate::kvm::vcpu::Stopped;

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

impl Outcome {
    /// What `run`, the run of one processor, means for the machine; `None` if it was asked to stop.
    ///
    /// A mistake of this program's that panics ends the machine too: without one of its processors the guest
    /// would hang, and its devices stay taken.
    pub(super) fn of_processor(run: impl FnOnce() -> Stopped) -> Option<Self> {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Stopped::Asked) => None,
            Ok(Stopped::TripleFault) => {
                Some(Self::Failed("The guest shut a processor down (triple fault)".into()))
            }
            Ok(Stopped::Failed(message)) => Some(Self::Failed(message)),
            Err(_) => Some(Self::Failed("The program made the mistake named above: please report it".into())),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_that_does_not_stop_as_asked_ends_the_machine() {
        assert_eq!(Outcome::of_processor(|| Stopped::Asked), None);
        for run in [|| Stopped::TripleFault, || Stopped::Failed("why".into()), || panic!("a mistake")] {
            let run: fn() -> Stopped = run;
            assert!(matches!(Outcome::of_processor(run), Some(Outcome::Failed(_))));
        }
    }
}
