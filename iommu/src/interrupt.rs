//! Interrupt remapping (chapter 5): from a device's interrupt request to what is delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::interrupt_entry::InterruptEntryCache;
use crate::cache::table::Epoch;
use crate::counters::Tally;
use crate::mode::InterruptMode;
use crate::spec::counters::Event;
use crate::spec::fault::FaultReason;
use crate::spec::interrupt::{InterruptEntry, InterruptRequest, TablePointer};
use crate::walk::Fault;
use crate::{EntryRange, GuestAddress, MsiMessage, SourceId, TableMemory};

/// The interrupt remapping table in guest memory, with the cache over it.
pub(crate) struct InterruptRemapping<M> {
    memory: Arc<M>,
    /// An [`InterruptMode`].
    mode: AtomicU64,
    cache: InterruptEntryCache,
}

/// What an interrupt request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// The index that the request names, if it has one that is not beyond the table's limits.
    pub(crate) index: Option<u16>,
    pub(crate) outcome: Result<MsiMessage, Fault>,
}

/// An entry that keeps changing is taken as it comes after so many attempts to see it twice alike.
const SNAPSHOT_ATTEMPTS: usize = 4;

impl<M: TableMemory> InterruptRemapping<M> {
    pub(crate) fn new(memory: Arc<M>) -> Self {
        let mode = AtomicU64::new(InterruptMode::default().0);
        Self { memory, mode, cache: InterruptEntryCache::new() }
    }

    pub(crate) fn mode(&self) -> InterruptMode {
        InterruptMode(self.mode.load(Ordering::Acquire))
    }

    /// Requests from now on go by `mode`; what is remembered is to be invalidated next.
    pub(crate) fn set_mode(&self, mode: InterruptMode) {
        self.mode.store(mode.0, Ordering::Release);
    }

    pub(crate) fn invalidate(&self, entries: EntryRange) {
        self.cache.invalidate(entries);
    }

    /// Decides what becomes of `request`; lookups are noted in `tally`.
    pub(crate) fn judge(&self, source: SourceId, request: MsiMessage, tally: Option<&Tally>) -> Judgement {
        let epoch = self.cache.epoch();
        let mode = self.mode();
        let unqualified = |reason| Err(Fault::new(reason, false));
        if !mode.remapping() {
            return Judgement { index: None, outcome: Ok(request) };
        }
        let (index, reserved) = match InterruptRequest::decode(request) {
            InterruptRequest::Compatibility => {
                let outcome = if mode.compatibility_passes() {
                    Ok(request)
                } else {
                    unqualified(FaultReason::CompatibilityBlocked)
                };
                return Judgement { index: None, outcome };
            }
            InterruptRequest::Remappable { index, reserved } => (index, reserved),
        };
        let Ok(short_index) = u16::try_from(index) else {
            let reason = if reserved { FaultReason::RequestReserved } else { FaultReason::IndexBeyondTable };
            return Judgement { index: None, outcome: unqualified(reason) };
        };
        let outcome = if reserved {
            unqualified(FaultReason::RequestReserved)
        } else {
            self.entry(epoch, mode.table(), short_index, tally).and_then(|entry| {
                deliver(entry, mode.table(), source)
                    .map_err(|reason| Fault::new(reason, entry.fault_processing_disabled()))
            })
        };
        Judgement { index: Some(short_index), outcome }
    }

    fn entry(
        &self,
        epoch: Epoch,
        table: TablePointer,
        index: u16,
        tally: Option<&Tally>,
    ) -> Result<InterruptEntry, Fault> {
        let note = |event| tally.into_iter().for_each(|tally| tally.note(event));
        note(Event::InterruptLookup);
        if let Some(entry) = self.cache.get(index) {
            note(Event::InterruptHit);
            return Ok(entry);
        }
        let unqualified = |reason| Fault::new(reason, false);
        let address = table.entry(index).ok_or(unqualified(FaultReason::IndexBeyondTable))?;
        let entry = self.snapshot(address).ok_or(unqualified(FaultReason::InterruptEntryUnreadable))?;
        if entry.present() && !entry.reserved(table.extended()) {
            self.cache.fill(epoch, index, entry);
        }
        Ok(entry)
    }

    /// Reads both halves of an entry as they stood at one moment: software replaces entries in use, in one
    /// access.
    fn snapshot(&self, address: GuestAddress) -> Option<InterruptEntry> {
        let read = || {
            let low = self.memory.read_u64(address).ok()?;
            let high = self.memory.read_u64(GuestAddress(address.0 | 8)).ok()?;
            Some([low, high])
        };
        let mut entry = read()?;
        for _ in 0..SNAPSHOT_ATTEMPTS {
            let again = read()?;
            if again == entry {
                break;
            }
            entry = again;
        }
        Some(InterruptEntry(entry))
    }
}

/// What `entry` makes of a request by `source`.
fn deliver(entry: InterruptEntry, table: TablePointer, source: SourceId) -> Result<MsiMessage, FaultReason> {
    if !entry.present() {
        Err(FaultReason::InterruptEntryNotPresent)
    } else if entry.reserved(table.extended()) {
        Err(FaultReason::InterruptEntryReserved)
    } else if !entry.accepts(source) {
        Err(FaultReason::SourceMismatch)
    } else {
        Ok(entry.message(table.extended()))
    }
}

#[cfg(test)]
mod tests;
