//! Interrupt remapping (chapter 5): from a device's interrupt request to what is delivered or posted.

mod post;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::interrupt_entry::InterruptEntryCache;
use crate::cache::table::Epoch;
use crate::counters::Tally;
use crate::drain::Sections;
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
    sections: Sections,
    /// Whether entries may have posted format.
    posting: bool,
}

/// What an interrupt request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// The index that the request names, if it has one that is not beyond the table's limits.
    pub(crate) index: Option<u16>,
    pub(crate) outcome: Result<Verdict, Fault>,
}

/// What is to be done with an interrupt request that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This is delivered.
    Deliver(MsiMessage),
    /// It is posted as this entry says, which is present and has posted format.
    Post(InterruptEntry),
}

/// An interrupt request that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefusedInterrupt {
    /// The index for the record of the fault: 0 if the request has none.
    pub(crate) index: u16,
    pub(crate) fault: Fault,
}

/// An entry that keeps changing is taken as it comes after so many attempts to see it twice alike.
const SNAPSHOT_ATTEMPTS: usize = 4;

impl<M: TableMemory> InterruptRemapping<M> {
    /// `posting`: whether entries may have posted format.
    pub(crate) fn new(memory: Arc<M>, posting: bool) -> Self {
        let mode = AtomicU64::new(InterruptMode::default().0);
        let cache = InterruptEntryCache::new();
        Self { memory, mode, cache, sections: Sections::default(), posting }
    }

    pub(crate) fn mode(&self) -> InterruptMode {
        InterruptMode(self.mode.load(Ordering::Acquire))
    }

    /// Requests from now on go by `mode`; what is remembered is to be invalidated next.
    pub(crate) fn set_mode(&self, mode: InterruptMode) {
        self.mode.store(mode.0, Ordering::Release);
    }

    /// Forgets `entries`, and waits until every request that may have used them has been delivered or posted
    /// (interrupt draining, §6.5.6).
    pub(crate) fn invalidate(&self, entries: EntryRange) {
        self.cache.invalidate(entries);
        self.sections.drain();
    }

    /// Does with `request` what is to be done: has `deliver` take a message if one comes of it, and gives its
    /// answer, before an invalidation can complete that names the entry used. Lookups are noted in `tally`.
    pub(crate) fn carry_out<R>(
        &self,
        source: SourceId,
        request: MsiMessage,
        tally: Option<&Tally>,
        deliver: impl FnOnce(MsiMessage) -> R,
    ) -> Result<Option<R>, RefusedInterrupt> {
        let _section = self.sections.enter();
        let Judgement { index, outcome } = self.judge(source, request, tally);
        let refused = |fault| RefusedInterrupt { index: index.unwrap_or(0), fault };
        match outcome.map_err(refused)? {
            Verdict::Deliver(message) => Ok(Some(deliver(message))),
            Verdict::Post(entry) => {
                let notification = self.post(entry).map_err(refused)?;
                Ok(notification.map(deliver))
            }
        }
    }

    /// Decides what becomes of `request`; lookups are noted in `tally`.
    pub(crate) fn judge(&self, source: SourceId, request: MsiMessage, tally: Option<&Tally>) -> Judgement {
        let epoch = self.cache.epoch();
        let mode = self.mode();
        let unqualified = |reason| Err(Fault::new(reason, false));
        if !mode.remapping() {
            return Judgement { index: None, outcome: Ok(Verdict::Deliver(request)) };
        }
        let (index, reserved) = match InterruptRequest::decode(request) {
            InterruptRequest::Compatibility => {
                let outcome = if mode.compatibility_passes() {
                    Ok(Verdict::Deliver(request))
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
                if !entry.accepts(source) {
                    Err(qualified(entry, FaultReason::SourceMismatch))
                } else if entry.is_posted() {
                    Ok(Verdict::Post(entry))
                } else {
                    Ok(Verdict::Deliver(entry.message(mode.table().extended())))
                }
            })
        };
        Judgement { index: Some(short_index), outcome }
    }

    /// The entry `index`, present and without reserved bits.
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
            note(if entry.is_posted() { Event::InterruptHitPosted } else { Event::InterruptHit });
            Ok(entry)
        } else {
            self.fetch(epoch, table, index)
        }
    }

    /// The same from memory, to be remembered.
    fn fetch(&self, epoch: Epoch, table: TablePointer, index: u16) -> Result<InterruptEntry, Fault> {
        let unqualified = |reason| Fault::new(reason, false);
        let address = table.entry(index).ok_or(unqualified(FaultReason::IndexBeyondTable))?;
        let entry = self.snapshot(address).ok_or(unqualified(FaultReason::InterruptEntryUnreadable))?;
        if !entry.present() {
            return Err(qualified(entry, FaultReason::InterruptEntryNotPresent));
        }
        if entry.reserved(table.extended(), self.posting) {
            return Err(qualified(entry, FaultReason::InterruptEntryReserved));
        }
        self.cache.fill(epoch, index, entry);
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

/// A fault that `entry` may keep to itself.
fn qualified(entry: InterruptEntry, reason: FaultReason) -> Fault {
    Fault::new(reason, entry.fault_processing_disabled())
}

#[cfg(test)]
mod tests;
