//! Numbers for routes.

use std::collections::BTreeSet;

use super::pins;
use crate::interrupts::chip::MAX_ROUTES;

/// The numbers above the IOAPIC's pins, each given to one vector at a time.
#[derive(Debug, Default)]
pub(super) struct GsiPool {
    /// Given back, the lowest first.
    free: BTreeSet<u32>,
    /// How many were ever given.
    given: u32,
}

impl GsiPool {
    /// A number nobody has; `None` when KVM allows no more.
    pub(super) fn take(&mut self) -> Option<u32> {
        if let Some(gsi) = self.free.pop_first() {
            return Some(gsi);
        }
        let gsi = pins::COUNT as u32 + self.given;
        (gsi < MAX_ROUTES).then(|| {
            self.given += 1;
            gsi
        })
    }

    pub(super) fn give_back(&mut self, gsi: u32) {
        self.free.insert(gsi);
    }
}
