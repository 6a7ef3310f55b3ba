//! What a unit asks of its surroundings.

use crate::MsiMessage;

/// Interrupt remapping entries, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryRange {
    /// Every entry, and the decision whether remapping is on at all.
    All,
    /// `count` entries from `first` on.
    Some {
        /// The lowest index.
        first: u16,
        /// How many; never 0. `first + count` does not exceed 65536.
        count: u32,
    },
}

/// Where the unit's effects go.
pub trait Platform: Send + Sync {
    /// Delivers one of the unit's own event messages (fault, invalidation completion). These are never
    /// remapped. Called with no lock of the unit held.
    fn signal(&self, message: MsiMessage);

    /// Interrupt remapping entries, or whether remapping is on, may have changed. Everything derived from
    /// them must be re-derived (through `Unit::resolve`) before this returns: the
    /// guest is told right after that the change is in force. Called with the queue mutex held; it must not
    /// write a register.
    fn interrupt_entries_changed(&self, entries: EntryRange);

    /// The queue has kept its vCPU for longer than is good for anyone else who waits for the unit, and there
    /// is more in it. Whoever arranges for [`Unit::resume`](crate::Unit::resume) to be called soon, by
    /// another thread, says `true`; otherwise, as by default, the unit goes on at once. Called with the queue
    /// mutex held.
    fn resume_later(&self) -> bool {
        false
    }
}
