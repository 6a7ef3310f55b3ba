//! Second-stage tables of three to five levels (§3.7, §9.8), in legacy mode, in scalable mode and under
//! first-stage tables.

use iommu::Access;

use super::bits::{field, in_interrupt_range, mask};
use super::capability::Caps;
use super::memory::{Step, Tag, Words};
use super::trace::Trace;

/// What the model looks at.
#[derive(Clone, Copy)]
pub struct World<'a> {
    pub memory: &'a dyn Words,
    pub caps: &'a Caps,
}

/// What a request needs of the last entry and of all above it.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    pub read: bool,
    pub write: bool,
    /// Either of the two is enough: a read of zero bytes where CAP.ZLR is set.
    pub any: bool,
}

impl Need {
    pub const READ: Self = Self { read: true, write: false, any: false };

    /// What an access of `length` bytes needs. To be executed, a page has to be readable in any case.
    pub fn of(access: Access, length: u64, execute: bool, caps: &Caps) -> Self {
        let any = access == Access::Read && length == 0 && !execute && caps.zero_length_reads();
        Self { read: access != Access::Write && !any, write: access != Access::Read, any }
    }
}

/// The fault reasons of a walk: the same conditions have others in each mode.
#[derive(Clone, Copy, Debug)]
pub struct Reasons {
    /// The input address is too large.
    pub limit: u8,
    /// The top table cannot be read.
    pub top: u8,
    /// Another entry cannot be read.
    pub entry: u8,
    /// R = W = 0; none where it is reported as a missing permission.
    pub absent: Option<u8>,
    pub reserved: u8,
    pub no_read: u8,
    pub no_write: u8,
    /// The output address is in the interrupt range.
    pub interrupt: u8,
}

/// LGN, LCT.4, LSS (§7.1.3).
pub const LEGACY: Reasons = Reasons {
    limit: 0x04,
    top: 0x03,
    entry: 0x07,
    absent: None,
    reserved: 0x0C,
    no_read: 0x06,
    no_write: 0x05,
    interrupt: 0x0E,
};

/// SGN, SSS (§7.1.3).
pub const SCALABLE: Reasons = Reasons {
    limit: 0x84,
    top: 0x7B,
    entry: 0x78,
    absent: Some(0x79),
    reserved: 0x7A,
    no_read: 0x86,
    no_write: 0x85,
    interrupt: 0x87,
};

/// SFS.5 to SFS.7 (§7.1.3): on the way to the top first-stage table, or to another.
pub fn under_first_stage(top: bool) -> Reasons {
    Reasons { limit: 0x74, no_read: if top { 0x75 } else { 0x76 }, ..SCALABLE }
}

/// The update of an accessed or dirty bit is needed, but the walk does not snoop (SSS.5).
const UPDATE_WITHOUT_SNOOP: u8 = 0x7C;

const R: u64 = 1 << 0;
const W: u64 = 1 << 1;
const PS: u64 = 1 << 7;
const A: u64 = 1 << 8;
pub const D: u64 = 1 << 9;
const SNP: u64 = 1 << 11;
/// Once TM; reserved since, though not all agree at which levels.
const TM: u64 = 1 << 62;

/// A tree of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tables {
    /// SSPTPTR.
    pub base: u64,
    pub levels: u32,
    /// DID.
    pub domain: u16,
    /// SSADE.
    pub marks: bool,
    /// PWSNP: accessed and dirty bits can be set.
    pub snoops: bool,
}

impl Tables {
    /// What the translations are tagged with (§6.2.4).
    pub fn tag(&self) -> Tag {
        Tag { domain: self.domain, pasid: None, nested: false }
    }
}

/// A page found.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Where the input address leads, with its offset.
    pub address: u64,
    /// The size of the page.
    pub size: u64,
    /// Where the leaf stands, and what it was.
    pub leaf: (u64, u64),
    /// The tables allow writing.
    pub writable: bool,
}

impl Page {
    /// How many bytes are left in the page.
    pub fn rest(&self) -> u64 {
        self.size - (self.address & (self.size - 1))
    }
}

/// The number of levels that a field AW names.
pub fn levels(address_width: u64) -> u32 {
    address_width as u32 + 2
}

/// Which entry of the table at `level` an address selects.
pub fn entry_address(base: u64, input: u64, level: u32) -> u64 {
    base + 8 * field(input, 9 * level + 11, 9 * level + 3)
}

/// Walks `tables` for `input`. Nothing comes back if the walk ends in a fault.
pub fn walk(
    world: World,
    trace: &mut Trace,
    tables: &Tables,
    reasons: &Reasons,
    need: Need,
    input: u64,
) -> Option<Page> {
    let tables = &world.memory.second_stage(*tables, input);
    let width = world.caps.guest_width().min(9 * tables.levels + 12);
    if input & mask(63, width) != 0 {
        return trace.stop(&[reasons.limit]);
    }
    let (mut base, mut rights, mut denied) = (tables.base, R | W, false);
    for level in (1..=tables.levels).rev() {
        let at = entry_address(base, input, level);
        let Some(entry) = world.memory.entry(at, Step { tag: tables.tag(), input, level }) else {
            return trace.stop(&[if level == tables.levels { reasons.top } else { reasons.entry }]);
        };
        if entry & (R | W) == 0 {
            return trace.stop(&absent(need, reasons));
        }
        rights &= entry;
        let mut lacking = lacking(need, rights, reasons);
        if rights & (R | W) == 0 {
            lacking.extend(absent(need, reasons));
        }
        if reserved(world.caps, entry, level) {
            lacking.push(reasons.reserved);
            return trace.stop(&lacking);
        }
        if entry & TM != 0 {
            trace.may_fault(&[reasons.reserved]);
        }
        denied |= !lacking.is_empty();
        trace.deny(&lacking);

        let leaf = level == 1 || entry & PS != 0;
        let size = 1 << (9 * level + 3);
        let address =
            if leaf { entry & mask(51, 9 * level + 3) | input & (size - 1) } else { entry & mask(51, 12) };
        if leaf && in_interrupt_range(address) {
            return trace.stop(&[reasons.interrupt]);
        }
        if tables.marks {
            let wanted = if leaf && need.write && !denied { A | D } else { A };
            set(trace, tables, at, wanted & !entry)?;
        }
        if leaf {
            let writable = rights & W != 0;
            return (!denied).then_some(Page { address, size, leaf: (at, entry), writable });
        }
        base = address;
    }
    unreachable!("entries of the last level are leaves")
}

/// Sets accessed and dirty bits of an entry, as far as the walk can.
pub fn set(trace: &mut Trace, tables: &Tables, at: u64, missing: u64) -> Option<()> {
    if missing != 0 {
        if !tables.snoops {
            return trace.stop(&[UPDATE_WITHOUT_SNOOP]);
        }
        trace.mark(at, missing);
    }
    Some(())
}

fn absent(need: Need, reasons: &Reasons) -> Vec<u8> {
    reasons.absent.map_or_else(|| lacking(need, 0, reasons), |reason| vec![reason])
}

fn lacking(need: Need, rights: u64, reasons: &Reasons) -> Vec<u8> {
    let mut lacking = Vec::new();
    if need.read && rights & R == 0 || need.any && rights & (R | W) == 0 {
        lacking.push(reasons.no_read);
    }
    if need.write && rights & W == 0 {
        lacking.push(reasons.no_write);
    }
    lacking
}

/// Whether an entry has reserved bits set (§9.8).
fn reserved(caps: &Caps, entry: u64, level: u32) -> bool {
    let large = level > 1 && entry & PS != 0;
    let size_missing = match level {
        2 => !caps.second_stage_2m(),
        3 => !caps.second_stage_1g(),
        _ => true,
    };
    let mut reserved = caps.beyond_host_in_paging_entry();
    if large {
        if size_missing {
            return true;
        }
        reserved |= mask(9 * level + 2, 12);
    }
    let leaf = level == 1 || large;
    if !leaf || !caps.snoop_control() {
        reserved |= SNP;
    }
    entry & reserved != 0
}
