//! The time that one register write spends on the queue.

use std::time::{Duration, Instant};

/// After so long the rest of the queue is left for later. A guest's own driver is done in microseconds; a
/// queue full of flushes over large tables would take hours.
pub(super) const SLICE: Duration = Duration::from_millis(20);

/// What may come between two looks at the clock, which itself takes as long as a quick descriptor.
const BETWEEN_LOOKS: u32 = 64;

/// How long something takes, as far as that is known before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// No time to speak of.
    Quick,
    /// A call of the host, for which a driver waits while its device does nothing.
    Call,
    /// As long as others make it.
    Unknown,
}

impl Weight {
    const fn number(self) -> u32 {
        match self {
            Self::Quick => 1,
            Self::Call => 8,
            Self::Unknown => BETWEEN_LOOKS,
        }
    }
}

/// Begins with the first look at the clock.
#[derive(Default)]
pub(super) struct Slice {
    started: Option<Instant>,
    since_look: u32,
}

impl Slice {
    /// Something is about to be done.
    pub(super) fn begin(&mut self, weight: Weight) {
        self.since_look += weight.number();
        if self.looks() {
            self.started.get_or_insert_with(Instant::now);
        }
    }

    /// Whether it is time to stop. To be asked after each descriptor.
    pub(super) fn is_over(&mut self) -> bool {
        if !self.looks() {
            return false;
        }
        self.since_look = 0;
        self.started.is_some_and(|started| started.elapsed() > SLICE)
    }

    fn looks(&self) -> bool {
        self.since_look >= BETWEEN_LOOKS
    }
}
