//! The state of a unit, to be kept and taken up again: by the same program after a snapshot, or by another.
//!
//! What is remembered of tables is not part of it: whoever takes it up reads them again. Guest memory is not
//! part of it either. The state is meant to be taken while processors and devices stand still.

mod check;
mod format;

use std::ops::Range;

use crate::invalidation::Invalidation;
use crate::mode::{DmaMode, InterruptMode};
use crate::queue::Queue;
use crate::registers::Registers;
use crate::unit::{Outbox, Unit};
use crate::{Capabilities, EntryRange, TableMemory, counters};

/// Bytes that a unit cannot take up as its state. The unit is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// They do not begin as a state does, or end before it does.
    #[error("This is not the state of a remapping unit")]
    NotState,
    /// Another version of this crate has written them.
    #[error("The state has format {0}, and this program reads only format {version}", version = format::VERSION)]
    Version(u32),
    /// They are not what was written.
    #[error("The state is damaged or cut short: its checksum does not fit")]
    Damaged,
    /// The unit it was taken from could do more or less than this one.
    #[error("The state is that of a unit with other capabilities")]
    Capabilities,
    /// No unit can have been in it.
    #[error("The state contradicts itself in {0}")]
    Impossible(&'static str),
}

/// Everything a unit goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    capabilities: Capabilities,
    /// Every register as it is stored.
    words: Vec<u32>,
    dma: DmaMode,
    interrupts: InterruptMode,
    protected: [Range<u64>; 2],
    queue: Queue,
    /// The fault record to use next.
    next_fault: usize,
    counters: counters::State,
}

impl<M: TableMemory + 'static> Unit<M> {
    /// The state of the unit, for [`Self::restore`]: registers, modes, its place in the queue, the ring of
    /// faults, events that are held back, counters.
    pub fn save(&self) -> Vec<u8> {
        let queue = self.lock_queue();
        let _no_page_requests = self.page_requests.lock();
        let (next_fault, (counters, words)) =
            self.faults.snapshot(|| self.counters.snapshot(|| self.registers.words()));
        format::encode(&State {
            capabilities: self.capabilities,
            words,
            dma: self.dma.mode(),
            interrupts: self.interrupts.mode(),
            protected: self.dma.protected().ranges(),
            queue: queue.clone(),
            next_fault,
            counters,
        })
    }

    /// Takes up a state, where another unit or this one left it: a queue half done goes on, and for assigned
    /// functions the host maps what the tables say. The unit has to have its surroundings already (see
    /// [`Self::connect`]).
    ///
    /// # Errors
    ///
    /// Bytes that are damaged, of another format, of a unit with other capabilities or not a state at all
    /// change nothing.
    pub fn restore(&self, bytes: &[u8]) -> Result<(), StateError> {
        let state = format::decode(bytes, self.capabilities)?;
        check::check(&state, &Registers::new(&self.capabilities), &self.faults)?;

        let mut outbox = Outbox::default();
        {
            let mut queue = self.lock_queue();
            self.dma.set_mode(state.dma);
            self.dma.protected().set(state.protected);
            self.interrupts.set_mode(state.interrupts);
            {
                let _no_page_requests = self.page_requests.lock();
                self.faults.replace(state.next_fault, || {
                    self.counters
                        .replace(&self.registers, &state.counters, || self.registers.load(&state.words));
                });
            }
            *queue = state.queue;
            self.invalidate(&mut queue, &Invalidation::Everything, &mut outbox);
            self.drain_if_due(&mut queue);
            self.invalidate_interrupts(EntryRange::All);
            if queue.has_more(&self.registers) && !self.resumes_later() {
                self.run_queue(&mut queue, &mut outbox);
            }
        }
        self.send(&outbox);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
