//! MSI-X (PCI Express Base, 7.7.2): the table and the pending bits, apart from any configuration space.
//!
//! The component stands alone so that functions whose configuration space comes from elsewhere, such as
//! assigned ones, can use it: they tell it what the guest wrote to Message Control.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::id;
use crate::config_space::NoRoom;
use crate::{ConfigSpace, Delivery, Message, Register};

/// Message Control: MSI-X is on.
const ENABLE: u16 = 1 << 15;
/// Message Control: every vector is masked.
const FUNCTION_MASK: u16 = 1 << 14;

/// Bytes of a table entry: address, upper address, data, vector control.
const ENTRY: u64 = 16;
/// Which bits of an entry software may write: the low address bits and all but the mask bit of vector
/// control are reserved.
const ENTRY_WRITABLE: u128 = 0x0000_0001_FFFF_FFFF_FFFF_FFFF_FFFF_FFFC;
/// Vector control: the vector is masked.
const VECTOR_MASK: u128 = 1 << 96;

/// The table and pending bits of one function.
pub struct Msix {
    state: Mutex<State>,
}

struct State {
    control: u16,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    raw: u128,
    pending: bool,
}

/// One vector as the guest has set it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorState {
    /// What is to be sent.
    pub message: Message,
    /// Whether it may be sent: MSI-X is on and neither the function nor the vector is masked.
    pub deliverable: bool,
}

/// What a write to the table or to Message Control did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct MsixChange {
    /// The vectors whose [`VectorState`] may have changed: routes made from them have to be made again.
    pub vectors: Range<u16>,
    /// Interrupts that were pending and have to be sent now.
    pub messages: Vec<Message>,
}

impl MsixChange {
    /// Whether nothing happened that anybody needs to know.
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty() && self.messages.is_empty()
    }
}

impl Msix {
    /// A table of `vectors` entries (1–2048), all masked, with MSI-X off.
    pub fn new(vectors: u16) -> Self {
        let entries = vec![Entry::POWER_ON; usize::from(vectors.clamp(1, 2048))];
        Self { state: Mutex::new(State { control: 0, entries }) }
    }

    /// Adds the capability that points to the table at `table` and the pending bits at `pending`, each a
    /// BAR index and an offset that is a multiple of 8; gives its offset.
    pub fn add_capability(
        &self,
        config: &mut ConfigSpace,
        table: (u8, u32),
        pending: (u8, u32),
    ) -> Result<u16, NoRoom> {
        let place = |(bar, offset): (u8, u32)| Register::u32(offset & !7 | u32::from(bar & 7));
        let body = [
            Register::u16(self.vectors() - 1).writable(u32::from(ENABLE | FUNCTION_MASK)),
            place(table),
            place(pending),
        ];
        config.add_capability(id::MSIX, &body)
    }

    /// How many vectors there are.
    pub fn vectors(&self) -> u16 {
        self.state().entries.len() as u16
    }

    /// Bytes of the table.
    pub fn table_length(&self) -> u64 {
        u64::from(self.vectors()) * ENTRY
    }

    /// Bytes of the pending bit array: whole 8-byte words.
    pub fn pending_length(&self) -> u64 {
        u64::from(self.vectors()).div_ceil(64) * 8
    }

    /// Whether MSI-X is on; INTx and MSI must then be quiet.
    pub fn is_enabled(&self) -> bool {
        self.state().control & ENABLE != 0
    }

    /// Message Control as it stands.
    pub fn control(&self) -> u16 {
        let state = self.state();
        state.control | (state.entries.len() as u16 - 1)
    }

    /// Follows a write to Message Control. Only its enable and mask bits count. Nothing stays pending when
    /// MSI-X goes off.
    pub fn set_control(&self, control: u16) -> MsixChange {
        let mut state = self.state();
        let control = control & (ENABLE | FUNCTION_MASK);
        if state.control == control {
            return MsixChange::default();
        }
        state.control = control;
        if control & ENABLE == 0 {
            state.entries.iter_mut().for_each(|entry| entry.pending = false);
        }
        let all = 0..state.entries.len() as u16;
        state.release(all)
    }

    /// Reads the table; beyond its end are zeros.
    pub fn table_read(&self, offset: u64, data: &mut [u8]) {
        let state = self.state();
        for (byte, at) in data.iter_mut().zip(offset..) {
            *byte = state.entry(at).map_or(0, |entry| (entry.raw >> shift(at)) as u8);
        }
    }

    /// Writes the table. Any size and alignment will do, though guests may only count on aligned words of 4
    /// and 8 bytes.
    pub fn table_write(&self, offset: u64, data: &[u8]) -> MsixChange {
        let mut state = self.state();
        let mut changed: Option<Range<u16>> = None;
        for (&byte, at) in data.iter().zip(offset..) {
            let Some(entry) = state.entry_mut(at) else { break };
            let writable = ENTRY_WRITABLE & 0xFF << shift(at);
            let raw = entry.raw & !writable | u128::from(byte) << shift(at) & writable;
            if raw != entry.raw {
                entry.raw = raw;
                let vector = (at / ENTRY) as u16;
                let first = changed.map_or(vector, |range| range.start);
                changed = Some(first..vector + 1);
            }
        }
        changed.map_or_else(MsixChange::default, |vectors| state.release(vectors))
    }

    /// Reads the pending bits; beyond the last vector are zeros. Writes to them do nothing.
    pub fn pending_read(&self, offset: u64, data: &mut [u8]) {
        let state = self.state();
        for (byte, at) in data.iter_mut().zip(offset..) {
            let first = usize::try_from(at).unwrap_or(usize::MAX).saturating_mul(8);
            let vectors = state.entries.iter().skip(first).take(8);
            *byte = vectors.enumerate().fold(0, |bits, (bit, entry)| bits | u8::from(entry.pending) << bit);
        }
    }

    /// Raises `vector`.
    pub fn raise(&self, vector: u16) -> Delivery {
        let mut state = self.state();
        let control = state.control;
        let Some(entry) = state.entries.get_mut(usize::from(vector)) else {
            return Delivery::Off;
        };
        if control & ENABLE == 0 {
            return Delivery::Off;
        }
        if !entry.is_deliverable(control) {
            entry.pending = true;
            return Delivery::Pending;
        }
        Delivery::Send(entry.message())
    }

    /// Takes the pending bit of `vector` back, when the reason to interrupt is gone.
    pub fn withdraw(&self, vector: u16) {
        if let Some(entry) = self.state().entries.get_mut(usize::from(vector)) {
            entry.pending = false;
        }
    }

    /// How `vector` is set up, if there is one.
    pub fn vector(&self, vector: u16) -> Option<VectorState> {
        let state = self.state();
        let entry = state.entries.get(usize::from(vector))?;
        Some(VectorState { message: entry.message(), deliverable: entry.is_deliverable(state.control) })
    }

    /// Brings everything back to the state after power-on. All routes have to be made again.
    pub fn reset(&self) {
        let mut state = self.state();
        state.control = 0;
        state.entries.fill(Entry::POWER_ON);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn entry(&self, offset: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(offset / ENTRY).ok()?)
    }

    fn entry_mut(&mut self, offset: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(offset / ENTRY).ok()?)
    }

    /// Takes out what is pending and deliverable among `vectors`.
    fn release(&mut self, vectors: Range<u16>) -> MsixChange {
        let control = self.control;
        let range = usize::from(vectors.start)..usize::from(vectors.end);
        let entries = self.entries.get_mut(range).unwrap_or_default();
        let messages = entries
            .iter_mut()
            .filter_map(|entry| {
                let ready = entry.is_deliverable(control) && std::mem::take(&mut entry.pending);
                ready.then(|| entry.message())
            })
            .collect();
        MsixChange { vectors, messages }
    }
}

impl Entry {
    const POWER_ON: Self = Self { raw: VECTOR_MASK, pending: false };

    fn message(self) -> Message {
        Message { address: self.raw as u64, data: (self.raw >> 64) as u32 }
    }

    fn is_deliverable(self, control: u16) -> bool {
        control & (ENABLE | FUNCTION_MASK) == ENABLE && self.raw & VECTOR_MASK == 0
    }
}

/// Where the byte at `offset` of the table is in its entry.
fn shift(offset: u64) -> u32 {
    (offset % ENTRY) as u32 * 8
}

#[cfg(test)]
mod tests;
