//! The time that one register write spends on the queue.

use std::time::{Duration, Instant};

/// After so long the rest of the queue is left for later. A guest's own driver is done in microseconds; a
/// queue full of flushes over large tables would take hours.
pub(super) const SLICE: Duration = Duration::from_millis(20);

/// So many descriptors that take no time to speak of may come between two looks at the clock, which itself
/// takes as long as one of them.
const QUICK: u32 = 64;

/// Begins with the first look at the clock.
#[derive(Default)]
pub(super) struct Slice {
    started: Option<Instant>,
    quick: u32,
}

impl Slice {
    /// A descriptor is about to be done, which may take long or not.
    pub(super) fn begin(&mut self, may_take_long: bool) {
        self.quick = if may_take_long { QUICK } else { self.quick + 1 };
        if self.looks() {
            self.started.get_or_insert_with(Instant::now);
        }
    }

    /// Whether it is time to stop. To be asked after each descriptor.
    pub(super) fn is_over(&mut self) -> bool {
        if !self.looks() {
            return false;
        }
        self.quick = 0;
        self.started.is_some_and(|started| started.elapsed() > SLICE)
    }

    fn looks(&self) -> bool {
        self.quick >= QUICK
    }
}
