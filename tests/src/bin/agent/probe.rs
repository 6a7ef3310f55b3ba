//! Commands of the probe, as `devices/src/probe.rs` documents them.

use anyhow::ensure;

/// Registers of BAR 0.
pub(crate) mod register {
    pub(crate) const IDENTITY: usize = 0x00;
    pub(crate) const STATUS: usize = 0x10;
    pub(crate) const FINISHED: usize = 0x14;
    pub(crate) const DOORBELL: usize = 0x18;
    pub(crate) const SCRIPT: usize = 0x20;
    pub(crate) const SCRIPT_COUNT: usize = 0x28;
    pub(crate) const INVALIDATIONS: usize = 0x44;
    pub(crate) const PAGE_REQUESTS: usize = 0x64;
}

/// `PROB`.
pub(crate) const IDENTITY: u32 = 0x424F_5250;

/// Flags of a command.
pub(crate) mod flag {
    pub(crate) const PASID: u32 = 1 << 0;
    pub(crate) const PRIVILEGED: u32 = 1 << 1;
    pub(crate) const EXECUTE: u32 = 1 << 2;
    /// By translations of the device's own.
    pub(crate) const CACHED: u32 = 1 << 4;
    /// Asking for missing pages.
    pub(crate) const PAGES: u32 = 1 << 5;
    pub(crate) const IMMEDIATE: u32 = 1 << 8;
    pub(crate) const GO_ON: u32 = 1 << 9;
    pub(crate) const PAGE_READ: u32 = 1 << 12;
    pub(crate) const PAGE_LAST: u32 = 1 << 14;
    pub(crate) const PAGE_WAIT: u32 = 1 << 15;
}

/// How a command ended.
pub(crate) mod status {
    pub(crate) const DONE: u32 = 1;
    pub(crate) const BLOCKED: u32 = 4;
    pub(crate) const UNSUPPORTED: u32 = 8;
    pub(crate) const NO_PERMISSION: u32 = 10;
    pub(crate) const PAGE_REFUSED: u32 = 11;
}

const READ: u32 = 1;
const WRITE: u32 = 2;
const FETCH_ADD: u32 = 3;
const INTERRUPT: u32 = 6;
const TRANSLATE: u32 = 7;
const PAGE_REQUEST: u32 = 8;

/// A command block: the command, then its answer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Block {
    operation: u32,
    flags: u32,
    pub(crate) pasid: u32,
    selector: u32,
    address: u64,
    length: u32,
    offset: u32,
    operand: u64,
    compare: u64,
    repetitions: u32,
    reserved: u32,
    stride: u64,
    pub(crate) status: u32,
    pub(crate) reason: u32,
    pub(crate) value: u64,
    pub(crate) size: u64,
    pub(crate) total: u64,
    pub(crate) shortest: u64,
    pub(crate) longest: u64,
    pub(crate) succeeded: u32,
    pub(crate) permissions: u32,
    reserved_too: u64,
}

/// Bytes of a block.
pub(crate) const SIZE: usize = size_of::<Block>();
const _: () = assert!(SIZE == 128, "A block has 128 bytes");

impl Block {
    /// Reads, and tells the first 8 bytes.
    pub(crate) fn read(address: u64, length: usize) -> Self {
        let length = length as u32;
        Self { operation: READ, flags: flag::IMMEDIATE, address, length, ..Self::default() }
    }

    /// Writes `mark` over and over.
    pub(crate) fn write(address: u64, length: usize, mark: u64) -> Self {
        Self { operation: WRITE, operand: mark, ..Self::read(address, length) }
    }

    /// Adds one to a word, `repetitions` times.
    pub(crate) fn add(address: u64, repetitions: u32) -> Self {
        Self { operation: FETCH_ADD, operand: 1, repetitions, ..Self::read(address, 8) }
    }

    /// Raises an MSI-X vector.
    pub(crate) fn interrupt(vector: u32) -> Self {
        Self { operation: INTERRUPT, selector: vector, ..Self::default() }
    }

    /// Asks where an address leads.
    pub(crate) fn translate(address: u64) -> Self {
        Self { operation: TRANSLATE, address, ..Self::default() }
    }

    /// Asks software for a page to read, and tells its response code.
    pub(crate) fn page_request(address: u64) -> Self {
        let flags = flag::PAGE_READ | flag::PAGE_LAST | flag::PAGE_WAIT;
        Self { operation: PAGE_REQUEST, flags, address, ..Self::default() }
    }

    /// With more flags.
    pub(crate) fn with(self, flags: u32) -> Self {
        Self { flags: self.flags | flags, ..self }
    }

    /// By requests with a PASID.
    pub(crate) fn of_pasid(self, pasid: u32) -> Self {
        Self { pasid, ..self.with(flag::PASID) }
    }

    /// Into the device's buffer, or out of it, from `offset` on.
    pub(crate) fn buffered(self, offset: usize) -> Self {
        Self { flags: self.flags & !flag::IMMEDIATE, offset: offset as u32, ..self }
    }

    /// Fails unless this is how the command ended.
    pub(crate) fn expect(&self, status: u32) -> anyhow::Result<()> {
        let Self { operation, address, reason, .. } = self;
        ensure!(
            self.status == status,
            "operation {operation} at {address:#x} ended with status {}, reason {reason:#x}, not with {status}",
            self.status
        );
        Ok(())
    }

    /// As it lies in memory.
    pub(crate) fn bytes(&self) -> [u8; SIZE] {
        // SAFETY: both are of one size, and the structure consists of integers without gaps.
        unsafe { std::mem::transmute(*self) }
    }

    /// From memory.
    pub(crate) fn from_bytes(bytes: [u8; SIZE]) -> Self {
        // SAFETY: both are of one size, and any bytes make integers.
        unsafe { std::mem::transmute(bytes) }
    }
}
