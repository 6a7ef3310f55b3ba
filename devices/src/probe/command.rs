//! What a command block says, and how it is answered.

use iommu::{PageResponseCode, Pasid, Permissions, Translation, TranslationError};

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
        /// By translations that the device asks for and keeps.
        const CACHED = 1 << 4;
        /// Where there is no such translation, software is asked for the page.
        const PAGES = 1 << 5;
        /// The data are the operand and not the buffer's.
        const IMMEDIATE = 1 << 8;
        /// A script goes on although this command fails.
        const GO_ON = 1 << 9;
        /// A translation request that does not ask for permission to write.
        const NO_WRITE = 1 << 10;
        /// A page request to read.
        const PAGE_READ = 1 << 12;
        /// A page request to write.
        const PAGE_WRITE = 1 << 13;
        /// The last page request of its group.
        const PAGE_LAST = 1 << 14;
        /// The command ends with the answer to the group.
        const PAGE_WAIT = 1 << 15;
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
    Translate,
    PageRequest,
    Forget,
}

/// The lengths of an AtomicOp in bytes.
const ATOMIC_LENGTHS: [u32; 2] = [4, 8];
/// Largest page request group index.
const MOST_GROUPS: u32 = 511;
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
                7 => Operation::Translate,
                8 => Operation::PageRequest,
                9 => Operation::Forget,
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
            Operation::PageRequest => {
                // A stop marker, which asks for nothing, is not answered; neither is a group that goes on.
                let answered = self.flags.contains(Flags::PAGE_LAST)
                    && self.flags.intersects(Flags::PAGE_READ | Flags::PAGE_WRITE);
                self.selector <= MOST_GROUPS && (answered || !self.flags.contains(Flags::PAGE_WAIT))
            }
            Operation::Nothing | Operation::Translate | Operation::Forget => true,
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
    /// The translation request got the status Unsupported Request.
    Unsupported,
    /// The translation request got the status Completer Abort.
    Aborted,
    /// The translation does not permit it.
    NoPermission,
    /// Software said that the page is not there or not allowed.
    PageRefused,
    /// Software said that something broke.
    PageFailed,
    /// Software did not answer a page request.
    NoAnswer,
    /// More page requests than software lets the device have unanswered.
    TooManyPages,
    /// The translation was taken back again and again.
    Unsettled,
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
            Self::Unsupported => (8, 0),
            Self::Aborted => (9, 0),
            Self::NoPermission => (10, 0),
            Self::PageRefused => (11, 0),
            Self::PageFailed => (12, 0),
            Self::NoAnswer => (13, 0),
            Self::TooManyPages => (14, 0),
            Self::Unsettled => (15, 0),
        }
    }
}

impl From<DmaError> for Status {
    fn from(error: DmaError) -> Self {
        match error {
            DmaError::NotMaster => Self::NotEnabled,
            DmaError::Blocked(blocked) => Self::Blocked(blocked.reason),
            DmaError::Untranslated(TranslationError::Unsupported) => Self::Unsupported,
            DmaError::Untranslated(TranslationError::Aborted) => Self::Aborted,
            DmaError::Unreachable(_) => Self::Unreachable,
            DmaError::MalformedInterrupt(_) => Self::MalformedInterrupt,
        }
    }
}

/// What a command found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The first bytes read, what was there before an AtomicOp, an address, or a response code.
    pub(super) value: u64,
    /// For how many bytes a translation holds.
    pub(super) size: u64,
    /// What it permits.
    pub(super) permissions: u32,
}

impl From<u64> for Found {
    fn from(value: u64) -> Self {
        Self { value, ..Self::default() }
    }
}

impl From<Translation> for Found {
    fn from(translation: Translation) -> Self {
        let Translation { address, size, permissions, privileged, untranslated_only } = translation;
        let bits = [
            permissions.contains(Permissions::READ),
            permissions.contains(Permissions::WRITE),
            permissions.contains(Permissions::EXECUTE),
            privileged,
            untranslated_only,
        ];
        let permissions = bits.iter().rev().fold(0, |word, bit| word << 1 | u32::from(*bit));
        Self { value: address.0, size, permissions }
    }
}

/// A response code as it stands in messages (§7.6.1).
pub(super) const fn response_code(code: PageResponseCode) -> u32 {
    match code {
        PageResponseCode::Success => 0,
        PageResponseCode::InvalidRequest => 1,
        PageResponseCode::Failure => 15,
    }
}

/// The second half of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: Status,
    pub(super) found: Found,
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
        Self {
            status,
            found: Found { value: 0, size: 0, permissions: 0 },
            total: 0,
            shortest: 0,
            longest: 0,
            repetitions: 0,
        }
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
        put(8, self.found.value, 8);
        put(16, self.found.size, 8);
        put(24, self.total, 8);
        put(32, self.shortest, 8);
        put(40, self.longest, 8);
        put(48, self.repetitions.into(), 4);
        put(52, self.found.permissions.into(), 4);
        bytes
    }
}
