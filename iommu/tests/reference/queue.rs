//! Invalidation descriptors (§6.5.2): which are accepted, and what they name.

use super::bits::{bit, field, mask};
use super::capability::Caps;
use super::device;
use super::dispatch::{ABORT, LEGACY, SCALABLE};

/// What an accepted descriptor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Context(ContextScope),
    Iotlb(IotlbScope),
    PasidCache(PasidScope),
    /// These interrupt remapping entries; none for all.
    InterruptEntries(Option<Entries>),
    Wait(Wait),
    /// Something for a device, or for the devices' sake.
    Device,
}

/// Interrupt remapping entries: those that agree with `index` but for so many low bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries {
    index: u64,
    mask: u64,
}

impl Entries {
    /// Whether `index` is among them.
    pub fn contain(&self, index: u64) -> bool {
        (self.index ^ index) >> self.mask == 0
    }
}

/// Which context entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextScope {
    All,
    Domain(u16),
    /// The sources that agree in all bits but these, in this domain.
    Device {
        source: u16,
        ignored: u16,
        domain: u16,
    },
}

/// Which translations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IotlbScope {
    All,
    Domain(u16),
    Pages { domain: u16, pages: Pages },
    Pasid { domain: u16, pasid: u32 },
    PasidPages { domain: u16, pasid: u32, pages: Pages },
}

/// Aligned pages, a power of two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    address: u64,
    mask: u64,
    /// IH: only leaves are dropped.
    pub leaves_only: bool,
}

impl Pages {
    /// Whether one of the pages is in the region of 2^`shift` bytes at `address`, or the other way round.
    pub fn touch(&self, address: u64, shift: u32) -> bool {
        let shift = shift.max(12 + self.mask as u32);
        shift > 63 || (self.address ^ address) >> shift == 0
    }
}

/// Which PASID table entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasidScope {
    All,
    Domain(u16),
    One { domain: u16, pasid: u32 },
}

/// A wait descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The status address and data, with SW.
    pub status: Option<(u64, u32)>,
    /// IF.
    pub interrupt: bool,
    /// Neither SW nor IF nor FN: whether there is such a descriptor is open.
    pub empty: bool,
}

/// IQEI (§11.4.9.9).
pub const TAIL: u8 = 1;
pub const FETCH: u8 = 2;
const TYPE: u8 = 3;
const RESERVED: u8 = 4;
pub const WIDTH: u8 = 5;
pub const ALIGNMENT: u8 = 6;
pub const MODE: u8 = 7;

/// Whether the table mode goes with the queue's width; the reason if not.
pub fn check_mode(caps: &Caps, mode: u64, wide: bool) -> Result<(), u8> {
    match mode {
        LEGACY => Ok(()),
        SCALABLE if caps.scalable() => {
            if wide {
                Ok(())
            } else {
                Err(WIDTH)
            }
        }
        ABORT if caps.abort_mode() => {
            if wide {
                Ok(())
            } else {
                Err(WIDTH)
            }
        }
        _ => Err(MODE),
    }
}

/// What the descriptor `words` asks for in table mode `mode`; the reason why it is refused.
pub fn decode(caps: &Caps, mode: u64, words: &[u64]) -> Result<Command, u8> {
    let scalable = mode != LEGACY;
    let kind = field(words[0], 11, 9) << 4 | field(words[0], 3, 0);
    let known = match kind {
        1 | 2 | 5 => true,
        3 => caps.device_tlb(),
        4 => caps.interrupt_remapping(),
        6 | 7 => scalable,
        8 => scalable && caps.device_tlb(),
        9 => scalable && caps.page_requests(),
        _ => false,
    };
    if !known {
        return Err(TYPE);
    }
    let reserved = match kind {
        1 => [mask(8, 6) | mask(15, 12) | mask(63, 50), u64::MAX],
        2 => [mask(8, 8) | mask(15, 12) | mask(63, 32), mask(11, 7)],
        4 => [mask(8, 5) | mask(26, 12) | mask(63, 48), u64::MAX],
        5 => {
            let drain = if caps.page_request_drain() { 0 } else { 1 << 7 };
            [drain | mask(8, 8) | mask(31, 12), mask(1, 0)]
        }
        6 => [mask(8, 6) | mask(15, 12) | mask(63, 52), mask(11, 7)],
        7 => [mask(8, 6) | mask(15, 12) | mask(63, 52), u64::MAX],
        _ => device::reserved(kind),
    };
    let reserved_set = words[0] & reserved[0] != 0 || words[1] & reserved[1] != 0;
    if reserved_set || words[2..].iter().any(|word| *word != 0) {
        return Err(RESERVED);
    }
    let granularity = field(words[0], 5, 4);
    let domain = field(words[0], 31, 16) as u16;
    let pasid = field(words[0], 51, 32) as u32;
    let address_mask = field(words[1], 5, 0);
    let pages = Pages { address: words[1] & mask(63, 12), mask: address_mask, leaves_only: bit(words[1], 6) };
    Ok(match (kind, granularity) {
        (1, 1) => Command::Context(ContextScope::All),
        (1, 2) => Command::Context(ContextScope::Domain(domain)),
        (1, 3) => Command::Context(ContextScope::Device {
            source: field(words[0], 47, 32) as u16,
            ignored: [0, 0b100, 0b110, 0b111][field(words[0], 49, 48) as usize],
            domain,
        }),
        (2, 1) => Command::Iotlb(IotlbScope::All),
        (2, 2) => Command::Iotlb(IotlbScope::Domain(domain)),
        (2, 3) if caps.page_selective() && address_mask <= caps.max_address_mask() => {
            Command::Iotlb(IotlbScope::Pages { domain, pages })
        }
        (6, 2) => Command::Iotlb(IotlbScope::Pasid { domain, pasid }),
        (6, 3) => Command::Iotlb(IotlbScope::PasidPages { domain, pasid, pages }),
        (7, 0) => Command::PasidCache(PasidScope::Domain(domain)),
        (7, 1) => Command::PasidCache(PasidScope::One { domain, pasid }),
        (7, 3) => Command::PasidCache(PasidScope::All),
        (4, _) => {
            let index_mask = field(words[0], 31, 27);
            if bit(words[0], 4) && index_mask > caps.max_index_mask() {
                return Err(RESERVED);
            }
            let entries = Entries { index: field(words[0], 47, 32), mask: index_mask };
            Command::InterruptEntries(bit(words[0], 4).then_some(entries))
        }
        (5, _) => Command::Wait(Wait {
            status: bit(words[0], 5).then(|| (words[1], field(words[0], 63, 32) as u32)),
            interrupt: bit(words[0], 4),
            empty: field(words[0], 6, 4) == 0,
        }),
        (3 | 8 | 9, _) => Command::Device,
        _ => return Err(RESERVED),
    })
}
