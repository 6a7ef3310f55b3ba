//! A unit with its guest, driven through its public face alone.

use std::sync::Arc;

use iommu::{Capabilities, GuestAddress, Iova, Request, Unit};
use vm_memory::GuestMemoryMmap;

use super::capability::Caps;
use super::fault::Record;
use super::memory::{Memory, agrees};
use super::second_stage::World;
use super::trace::{Answer, Outcome};

pub const GCMD: u64 = 0x18;
pub const GSTS: u64 = 0x1C;
pub const RTADDR: u64 = 0x20;
pub const FSTS: u64 = 0x34;

pub const FECTL: u64 = 0x38;
pub const IQH: u64 = 0x80;
pub const IQT: u64 = 0x88;
pub const IQA: u64 = 0x90;
pub const ICS: u64 = 0x9C;
pub const IECTL: u64 = 0xA0;
pub const IQERCD: u64 = 0xB0;
pub const IRTA: u64 = 0xB8;

pub const TE: u32 = 1 << 31;
pub const SRTP: u32 = 1 << 30;
pub const QIE: u32 = 1 << 26;
pub const IRE: u32 = 1 << 25;
pub const SIRTP: u32 = 1 << 24;
pub const CFI: u32 = 1 << 23;

/// The unit and both copies of memory.
pub struct Rig {
    pub unit: Unit<Arc<GuestMemoryMmap>>,
    pub memory: Memory,
    pub caps: Caps,
    command: u32,
}

impl Rig {
    /// A unit fresh from power-on over `memory`.
    pub fn new(capabilities: Capabilities, memory: Memory) -> Self {
        let unit = Unit::new(memory.real(), capabilities);
        Self { unit, memory, caps: Caps::of(&capabilities), command: 0 }
    }

    pub fn read32(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.unit.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    pub fn read64(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.unit.read(offset, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    pub fn write32(&self, offset: u64, value: u32) {
        self.unit.write(offset, &value.to_le_bytes());
    }

    pub fn write64(&self, offset: u64, value: u64) {
        self.unit.write(offset, &value.to_le_bytes());
    }

    /// Gives a global command, as software must: the level bits repeated.
    pub fn command(&mut self, one_shot: u32, level: u32) {
        self.command |= level;
        self.write32(GCMD, self.command | one_shot);
    }

    /// Turns translation on with what RTADDR_REG is to hold.
    pub fn translate_with(&mut self, root: u64) {
        self.write64(RTADDR, root);
        self.command(SRTP, 0);
        self.command(0, TE);
        assert_eq!(self.read32(GSTS), TE | SRTP, "TES and RTPS");
    }

    /// Clears every fault record, and what FSTS_REG holds besides.
    pub fn clear_faults(&self) {
        for index in 0..self.caps.fault_record_count() {
            self.write64(self.caps.fault_records() + 16 * index + 8, 1 << 63);
        }
        self.write32(FSTS, self.read32(FSTS));
        assert_eq!(self.read32(FSTS) & 0xFF, 0, "no fault is left");
    }

    pub fn world(&self) -> World<'_> {
        World { memory: &self.memory, caps: &self.caps }
    }

    /// Lets the device ask, and tells where the unit let it and for how many bytes, or the reason.
    pub fn access(&self, request: &Request, address: u64, length: u64) -> Result<(u64, u64), u8> {
        self.unit
            .access(request, Iova(address), length, |GuestAddress(address), length| (address, length))
            .map_err(|blocked| blocked.reason)
    }

    /// The pending fault records, in the order of their registers.
    pub fn records(&self) -> Vec<Record> {
        (0..self.caps.fault_record_count())
            .filter_map(|index| {
                let at = self.caps.fault_records() + 16 * index;
                Record::decode(self.read64(at), self.read64(at + 8))
            })
            .collect()
    }

    /// Lets the device ask and holds everything that comes of it against what is permitted.
    pub fn check_access(
        &mut self,
        request: &Request,
        address: u64,
        length: u64,
        permitted: &[Outcome],
    ) -> Result<(), String> {
        let result = self.access(request, address, length);
        let records = self.records();
        let changes = self.memory.take_changes();
        let fits = permitted.iter().any(|outcome| {
            answers(&outcome.answer, result, length)
                && records == expected_records(&outcome.answer, request, address)
                && agrees(&changes, &outcome.must, &outcome.may)
        });
        if fits && self.read32(FSTS) == u32::from(!records.is_empty()) << 1 {
            return Ok(());
        }
        Err(format!(
            "{request:x?} for {length} bytes at {address:#x}: {result:x?}, {records:x?}, FSTS {:#x}, wrote \
             {changes:x?}; permitted: {permitted:#x?}",
            self.read32(FSTS)
        ))
    }
}

pub fn answers(answer: &Answer, result: Result<(u64, u64), u8>, length: u64) -> bool {
    match (*answer, result) {
        (Answer::Reaches { address, at_most }, Ok((at, bytes))) => {
            at == address && bytes <= length.min(at_most) && (bytes > 0 || length == 0)
        }
        (Answer::Blocked { reason, .. }, Err(given)) => reason == given,
        (Answer::Aborted, Err(_)) => true,
        _ => false,
    }
}

pub fn expected_records(answer: &Answer, request: &Request, address: u64) -> Vec<Record> {
    match *answer {
        Answer::Blocked { reason, recorded: true } if (0x20..0x2A).contains(&reason) => {
            vec![Record::of_interrupt(request.source.0, 0, reason)]
        }
        Answer::Blocked { reason, recorded: true } => vec![Record::of_memory(request, address, reason)],
        _ => Vec::new(),
    }
}
