//! What a command block says, and how it is answered.

use iommu::Pasid;

use super::BUFFER_SIZE;
use crate::{Attributes, DmaError};

/// Bytes of a block: the command, then the answer.
pub(super) const BLOCK_SIZE: usize = 128;
/// Where the answer begins.
pub(super) const ANSWER: usize = 64;

/// How often a command may be repeated.
const MOST_REPETITIONS: u32 = 1 << 20;

bitflags::bitflags! {
    /// What the requests of a command carry, and how they are sent.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Flags: u32 {
        /// Requests carry the PASID.
        const PASID = 1;
        /// With supervisor privilege.
        const PRIVILEGED = 1 << 1;
        /// To execute.
        const EXECUTE = 1 << 2;
        /// The address has been translated.
        const TRANSLATED = 1 << 3;
        /// The data are the operand and not the buffer's.
        const IMMEDIATE = 1 << 8;
        /// A script goes on although this command fails.
        const GO_ON = 1 << 9;
    }
}

impl Flags {
    /// What requests carry with these flags.
    pub(super) fn attributes(self, pasid: u32) -> Attributes {
        Attributes {
            pasid: self.contains(Self::PASID).then_some(Pasid(pasid)),
            privileged: self.contains(Self::PRIVILEGED),
            execute: self.contains(Self::EXECUTE),
            translated: self.contains(Self::TRANSLATED),
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Nothing,
    Read,
    Write,
    FetchAdd,
    Swap,
    CompareSwap,
    Interrupt,
}

/// The lengths of an AtomicOp in bytes.
const ATOMIC_LENGTHS: [u32; 2] = [4, 8];
/// Largest PASID.
const PASID_MASK: u32 = 0xF_FFFF;

/// One command, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    pub(super) operation: Operation,
    pub(super) flags: Flags,
    pub(super) pasid: u32,
    pub(super) selector: u32,
    pub(super) address: u64,
    pub(super) length: u32,
    pub(super) offset: u32,
    pub(super) operand: u64,
    pub(super) compare: u64,
    pub(super) repetitions: u32,
    pub(super) stride: u64,
}

impl Command {
    /// Reads the first half of a block; `None` if it makes no sense.
    pub(super) fn parse(block: &[u8; BLOCK_SIZE]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let command = Self {
            operation: match word(0) {
                0 => Operation::Nothing,
                1 => Operation::Read,
                2 => Operation::Write,
                3 => Operation::FetchAdd,
                4 => Operation::Swap,
                5 => Operation::CompareSwap,
                6 => Operation::Interrupt,
                _ => return None,
            },
            flags: Flags::from_bits(word(4))?,
            pasid: word(8),
            selector: word(12),
            address: long(16),
            length: word(24),
            offset: word(28),
            operand: long(32),
            compare: long(40),
            repetitions: word(48).max(1),
            stride: long(56),
        };
        command.makes_sense().then_some(command)
    }

    fn makes_sense(&self) -> bool {
        let fits = match self.operation {
            Operation::Read | Operation::Write => {
                let end = u64::from(self.offset) + u64::from(self.length);
                end <= BUFFER_SIZE as u64
            }
            Operation::FetchAdd | Operation::Swap | Operation::CompareSwap => {
                ATOMIC_LENGTHS.contains(&self.length)
            }
            Operation::Interrupt => u16::try_from(self.selector).is_ok(),
            Operation::Nothing => true,
        };
        fits && self.pasid & !PASID_MASK == 0 && self.repetitions <= MOST_REPETITIONS
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Done,
    /// The command makes no sense.
    Malformed,
    /// Software has not enabled what it needs: bus mastering or a capability.
    NotEnabled,
    /// The unit refused, for this reason.
    Blocked(u8),
    /// Nothing is there.
    Unreachable,
    /// Not an interrupt request, in the interrupt range.
    MalformedInterrupt,
    /// Stopped before it was done.
    Stopped,
}

impl Status {
    /// The status, and the reason that goes with it.
    fn code(self) -> (u32, u32) {
        match self {
            Self::Done => (1, 0),
            Self::Malformed => (2, 0),
            Self::NotEnabled => (3, 0),
            Self::Blocked(reason) => (4, reason.into()),
            Self::Unreachable => (5, 0),
            Self::MalformedInterrupt => (6, 0),
            Self::Stopped => (7, 0),
        }
    }
}

impl From<DmaError> for Status {
    fn from(error: DmaError) -> Self {
        match error {
            DmaError::NotMaster => Self::NotEnabled,
            DmaError::Blocked(blocked) => Self::Blocked(blocked.reason),
            DmaError::Unreachable(_) => Self::Unreachable,
            DmaError::MalformedInterrupt(_) => Self::MalformedInterrupt,
        }
    }
}

/// The second half of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: Status,
    /// What was found: the first bytes read, or what was there before an AtomicOp.
    pub(super) value: u64,
    /// Nanoseconds all repetitions took, and the shortest and the longest of them.
    pub(super) total: u64,
    pub(super) shortest: u64,
    pub(super) longest: u64,
    /// How many repetitions succeeded.
    pub(super) repetitions: u32,
}

impl Answer {
    /// The answer of a command that has not begun.
    pub(super) const fn new(status: Status) -> Self {
        Self { status, value: 0, total: 0, shortest: 0, longest: 0, repetitions: 0 }
    }

    /// The bytes of the answer.
    pub(super) fn bytes(&self) -> [u8; BLOCK_SIZE - ANSWER] {
        let (status, reason) = self.status.code();
        let mut bytes = [0; BLOCK_SIZE - ANSWER];
        let mut put = |at: usize, value: u64, length: usize| {
            bytes[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
        };
        put(0, status.into(), 4);
        put(4, reason.into(), 4);
        put(8, self.value, 8);
        put(24, self.total, 8);
        put(32, self.shortest, 8);
        put(40, self.longest, 8);
        put(48, self.repetitions.into(), 4);
        bytes
    }
}
