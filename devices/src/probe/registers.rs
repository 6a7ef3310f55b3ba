//! The registers of BAR 0 below the buffer.

use std::time::Duration;

use iommu::InvalidationCompletion;

use super::command::{ANSWER, BLOCK_SIZE, Flags};

/// Bytes of registers.
pub(super) const SIZE: u64 = 0x100;

/// `PROB`.
const IDENTIFICATION: u32 = 0x424F_5250;
const VERSION: u32 = 1;
/// Milliseconds the device waits for the answer to a page request, if nothing else is said, and at most.
const PATIENCE: u32 = 5_000;
const MOST_PATIENCE: u32 = 60_000;

/// Offsets.
pub(super) mod at {
    pub(crate) const IDENTIFICATION: u64 = 0x00;
    pub(crate) const VERSION: u64 = 0x04;
    pub(crate) const BUFFER_SIZE: u64 = 0x08;
    pub(crate) const TRANSLATIONS_SIZE: u64 = 0x0C;
    pub(crate) const STATUS: u64 = 0x10;
    pub(crate) const FINISHED: u64 = 0x14;
    pub(crate) const DOORBELL: u64 = 0x18;
    pub(crate) const INTERRUPT: u64 = 0x1C;
    pub(crate) const SCRIPT: u64 = 0x20;
    pub(crate) const SCRIPT_COUNT: u64 = 0x28;
    pub(crate) const SCRIPT_FLAGS: u64 = 0x2C;
    pub(crate) const SCRIPT_PASID: u64 = 0x30;
    pub(crate) const INVALIDATION_ANSWER: u64 = 0x34;
    pub(crate) const PATIENCE: u64 = 0x38;
    pub(crate) const TRANSLATIONS: u64 = 0x40;
    pub(crate) const INVALIDATIONS: u64 = 0x44;
    pub(crate) const INVALIDATION_IOVA: u64 = 0x48;
    pub(crate) const INVALIDATION_IOVA_HIGH: u64 = 0x4C;
    pub(crate) const INVALIDATION_SIZE: u64 = 0x50;
    pub(crate) const INVALIDATION_SIZE_HIGH: u64 = 0x54;
    pub(crate) const INVALIDATION_SCOPE: u64 = 0x58;
    pub(crate) const HITS: u64 = 0x5C;
    pub(crate) const MISSES: u64 = 0x60;
    pub(crate) const PAGE_REQUESTS: u64 = 0x64;
    pub(crate) const RESPONSES: u64 = 0x68;
    pub(crate) const RESPONSE: u64 = 0x6C;
    pub(crate) const RESPONSE_PASID: u64 = 0x70;
    pub(crate) const POP: u64 = 0x74;
    pub(crate) const BLOCK: u64 = 0x80;
}

/// Bits of the status register.
pub(super) mod status {
    pub(crate) const BUSY: u32 = 1;
    pub(crate) const SCRIPT_FAILED: u32 = 1 << 1;
}

/// What a write to the doorbell asks for.
mod doorbell {
    pub(super) const BLOCK: u32 = 1;
    pub(super) const SCRIPT: u32 = 2;
    pub(super) const STOP: u32 = 4;
}

/// The interrupt register: an interrupt at the end of a run.
const INTERRUPT_ENABLE: u32 = 1 << 31;

/// A script in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) address: u64,
    pub(super) count: u32,
    pub(super) flags: Flags,
    pub(super) pasid: u32,
}

/// Work for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// The block in the registers.
    Block([u8; BLOCK_SIZE]),
    Script(Script),
}

/// What a write to a register asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Start(Job),
    Stop,
}

/// What the guest wrote and what came of it.
pub(super) struct Registers {
    words: [u32; SIZE as usize / 4],
}

impl Registers {
    pub(super) fn new() -> Self {
        let mut registers = Self { words: [0; SIZE as usize / 4] };
        registers.set(at::IDENTIFICATION, IDENTIFICATION);
        registers.set(at::VERSION, VERSION);
        registers.set(at::BUFFER_SIZE, super::BUFFER_SIZE as u32);
        registers.set(at::TRANSLATIONS_SIZE, super::TRANSLATIONS as u32);
        registers.set(at::PATIENCE, PATIENCE);
        registers
    }

    /// The register at `offset`, which is aligned.
    pub(super) fn get(&self, offset: u64) -> u32 {
        self.words.get((offset / 4) as usize).copied().unwrap_or(0)
    }

    /// Changes a register as the device itself does.
    pub(super) fn set(&mut self, offset: u64, value: u32) {
        if let Some(word) = self.words.get_mut((offset / 4) as usize) {
            *word = value;
        }
    }

    /// The guest's write.
    pub(super) fn write(&mut self, offset: u64, value: u32) -> Effect {
        let command = at::BLOCK..at::BLOCK + ANSWER as u64;
        match offset {
            at::INTERRUPT..=at::PATIENCE => self.set(offset, value),
            _ if command.contains(&offset) => self.set(offset, value),
            at::DOORBELL => return self.ring(value),
            _ => {}
        }
        Effect::None
    }

    /// The vector to raise at the end of a run, if any.
    pub(super) fn vector(&self) -> Option<u16> {
        let register = self.get(at::INTERRUPT);
        (register & INTERRUPT_ENABLE != 0).then_some(register as u16)
    }

    /// How the device is to answer invalidations.
    pub(super) fn invalidation_answer(&self) -> InvalidationCompletion {
        match self.get(at::INVALIDATION_ANSWER) {
            1 => InvalidationCompletion::Malformed,
            2 => InvalidationCompletion::Silent,
            _ => InvalidationCompletion::Done,
        }
    }

    /// How long the device waits for the answer to a page request.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis(self.get(at::PATIENCE).min(MOST_PATIENCE).into())
    }

    fn ring(&mut self, bell: u32) -> Effect {
        let busy = self.get(at::STATUS) & status::BUSY != 0;
        let job = match bell {
            doorbell::STOP => return Effect::Stop,
            doorbell::BLOCK if !busy => Job::Block(self.block()),
            doorbell::SCRIPT if !busy => Job::Script(self.script()),
            _ => return Effect::None,
        };
        self.set(at::STATUS, status::BUSY);
        self.set(at::FINISHED, 0);
        Effect::Start(job)
    }

    fn script(&self) -> Script {
        Script {
            address: u64::from(self.get(at::SCRIPT)) | u64::from(self.get(at::SCRIPT + 4)) << 32,
            count: self.get(at::SCRIPT_COUNT),
            flags: Flags::from_bits_truncate(self.get(at::SCRIPT_FLAGS)),
            pasid: self.get(at::SCRIPT_PASID),
        }
    }

    fn block(&self) -> [u8; BLOCK_SIZE] {
        let mut block = [0; BLOCK_SIZE];
        for (bytes, offset) in block.chunks_exact_mut(4).zip((at::BLOCK..).step_by(4)) {
            bytes.copy_from_slice(&self.get(offset).to_le_bytes());
        }
        block
    }

    /// Shows the answer to the block.
    pub(super) fn answer(&mut self, bytes: &[u8]) {
        for (bytes, offset) in bytes.chunks_exact(4).zip((at::BLOCK + ANSWER as u64..).step_by(4)) {
            self.set(offset, bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)));
        }
    }
}

#[cfg(test)]
mod tests;
