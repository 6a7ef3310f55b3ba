//! Accessed and dirty bits of table entries.

use crate::{GuestAddress, TableMemory};

/// What becomes of them during a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marks {
    /// Entries have none.
    Absent,
    /// They are to be set, but the walk does not see the processors' caches (PWSNP), so it must not.
    Forbidden,
    /// They are set.
    Kept,
}

/// How often one walk looks again at entries that the guest changes meanwhile.
const RETRIES: u32 = 16;

/// Sets marks during one walk.
pub(crate) struct Marker {
    marks: Marks,
    retries: u32,
}

/// What has become of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// All marks are set.
    Done,
    /// It is no longer what was read, and must be read again.
    Changed,
}

/// Marks that must be set and cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkError {
    /// The walk must not write.
    NotSnooped,
    /// The memory does not let itself be written, or the guest changed the entry over and over.
    Failed,
}

impl Marker {
    pub(crate) const fn new(marks: Marks) -> Self {
        Self { marks, retries: RETRIES }
    }

    /// Whether marks that are in `wanted` and not in `entry` have to be set.
    pub(crate) fn must_write(&self, entry: u64, wanted: u64) -> bool {
        self.marks != Marks::Absent && entry & wanted != wanted
    }

    /// Sets the bits `wanted` in the entry at `address` if it still is `entry`.
    pub(crate) fn set(
        &mut self,
        memory: &impl TableMemory,
        address: GuestAddress,
        entry: u64,
        wanted: u64,
    ) -> Result<Marked, MarkError> {
        if !self.must_write(entry, wanted) {
            return Ok(Marked::Done);
        }
        if self.marks == Marks::Forbidden {
            return Err(MarkError::NotSnooped);
        }
        match memory.compare_exchange_u64(address, entry, entry | wanted) {
            Ok(Ok(_)) => Ok(Marked::Done),
            Ok(Err(_)) if self.retries > 0 => {
                self.retries -= 1;
                Ok(Marked::Changed)
            }
            Ok(Err(_)) | Err(_) => Err(MarkError::Failed),
        }
    }
}
