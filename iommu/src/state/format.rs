//! The bytes of a state: fields of fixed size one after the other, little endian, and a checksum.

use super::{State, StateError};
use crate::mode::{DmaMode, InterruptMode};
use crate::queue::{Queue, Ring};
use crate::{Capabilities, GuestAddress, SourceId, counters};

/// What every state begins with.
const MAGIC: [u8; 8] = *b"VT-d\x1Aunt";
/// The only format so far. A change of any field, or of where a register lies, makes another.
pub(super) const VERSION: u32 = 1;
/// Magic and version.
const HEADER: usize = MAGIC.len() + size_of::<u32>();
const CHECKSUM: usize = size_of::<u64>();

pub(super) fn encode(state: &State) -> Vec<u8> {
    let mut writer = Writer(MAGIC.to_vec());
    writer.u32(VERSION);
    for word in capability_words(&state.capabilities) {
        writer.u64(word);
    }
    writer.u32(state.words.len() as u32);
    for word in &state.words {
        writer.u32(*word);
    }
    writer.u64(state.dma.0);
    writer.u64(state.interrupts.0);
    for range in &state.protected {
        writer.u64(range.start);
        writer.u64(range.end);
    }
    let Queue { ring, stopping, drain_due: _, unanswered } = &state.queue;
    let some = [(1, ring.is_some()), (2, *stopping), (4, unanswered.is_some())];
    writer.u32(some.into_iter().filter(|(_, set)| *set).map(|(bit, _)| bit).sum());
    if let Some(Ring { base, size, width, head }) = ring {
        for field in [base.0, *size, *width, *head] {
            writer.u64(field);
        }
    }
    if let Some(device) = unanswered {
        writer.u32(device.0.into());
    }
    writer.u32(state.next_fault as u32);
    let counters::State { enabled, values } = &state.counters;
    writer.u32(*enabled);
    for value in values {
        writer.u64(*value);
    }
    let checksum = checksum(&writer.0);
    writer.u64(checksum);
    writer.0
}

/// Reads the state of a unit with `capabilities`; whether it makes sense is another matter.
pub(super) fn decode(bytes: &[u8], capabilities: Capabilities) -> Result<State, StateError> {
    let mut header = Reader(bytes);
    if header.take() != Some(MAGIC) {
        return Err(StateError::NotState);
    }
    let version = header.u32()?;
    if version != VERSION {
        return Err(StateError::Version(version));
    }
    let (content, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(StateError::NotState)?;
    let content = content.get(HEADER..).ok_or(StateError::NotState)?;
    if u64::from_le_bytes(*sum) != checksum(&bytes[..bytes.len() - CHECKSUM]) {
        return Err(StateError::Damaged);
    }
    let mut reader = Reader(content);
    for word in capability_words(&capabilities) {
        if reader.u64()? != word {
            return Err(StateError::Capabilities);
        }
    }
    let state = reader.state(capabilities)?;
    // Whatever comes after the last field is none of ours.
    if reader.0.is_empty() { Ok(state) } else { Err(StateError::NotState) }
}

fn capability_words(capabilities: &Capabilities) -> [u64; 3] {
    [capabilities.cap(), capabilities.ecap(), capabilities.host_address_width().into()]
}

/// FNV-1a, 64 bits: against damage, not against intent.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

struct Writer(Vec<u8>);

impl Writer {
    fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn u32(&mut self) -> Result<u32, StateError> {
        self.take().map(u32::from_le_bytes).ok_or(StateError::NotState)
    }

    fn u64(&mut self) -> Result<u64, StateError> {
        self.take().map(u64::from_le_bytes).ok_or(StateError::NotState)
    }

    fn state(&mut self, capabilities: Capabilities) -> Result<State, StateError> {
        // Checked before anything is allocated.
        if u64::from(self.u32()?) * 4 != capabilities.window_size() {
            return Err(StateError::Impossible("its registers"));
        }
        let words = (0..capabilities.window_size() / 4).map(|_| self.u32()).collect::<Result<_, _>>()?;
        let (dma, interrupts) = (DmaMode(self.u64()?), InterruptMode(self.u64()?));
        let protected = [self.u64()?..self.u64()?, self.u64()?..self.u64()?];
        let queue = self.queue()?;
        let next_fault = self.u32()? as usize;
        let mut counters = counters::State { enabled: self.u32()?, ..counters::State::default() };
        for value in &mut counters.values {
            *value = self.u64()?;
        }
        Ok(State { capabilities, words, dma, interrupts, protected, queue, next_fault, counters })
    }

    fn queue(&mut self) -> Result<Queue, StateError> {
        let flags = self.u32()?;
        if flags > 7 {
            return Err(StateError::Impossible("its queue"));
        }
        let mut queue = Queue { stopping: flags & 2 != 0, ..Queue::default() };
        if flags & 1 != 0 {
            let base = GuestAddress(self.u64()?);
            queue.ring = Some(Ring { base, size: self.u64()?, width: self.u64()?, head: self.u64()? });
        }
        if flags & 4 != 0 {
            let device = u16::try_from(self.u32()?).map_err(|_| StateError::Impossible("its queue"))?;
            queue.unanswered = Some(SourceId(device));
        }
        Ok(queue)
    }
}
