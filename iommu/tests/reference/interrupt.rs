//! Interrupt remapping (§5.1, §9.9): what an interrupt request comes to.

use iommu::MsiMessage;

use super::bits::{bit, field, mask};
use super::second_stage::World;

/// IRTA_REG in use and the state of the unit.
#[derive(Clone, Copy, Debug)]
pub struct Remapping {
    /// What IRTA_REG held when SIRTP was given.
    pub table: u64,
    /// IRES.
    pub enabled: bool,
    /// CFIS.
    pub compatibility: bool,
}

impl Remapping {
    /// EIME, which does not exist without ECAP.EIM.
    fn extended(&self, world: World) -> bool {
        world.caps.extended_interrupt_mode() && bit(self.table, 11)
    }
}

/// What an interrupt request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is delivered as it came.
    Unchanged,
    /// It is delivered as the entry says.
    Remapped(MsiMessage),
    /// It is blocked.
    Blocked {
        reason: u8,
        recorded: bool,
        /// The entry asked for; none where it is not specified what is reported.
        index: Option<u16>,
    },
}

/// An entry, as far as it is common to both formats.
struct Entry {
    low: u64,
    high: u64,
}

/// Judges the request `message` of `source`.
pub fn judge(world: World, unit: &Remapping, source: u16, message: MsiMessage) -> Verdict {
    let blocked = |reason, recorded, index| Verdict::Blocked { reason, recorded, index };
    if !unit.enabled {
        return Verdict::Unchanged;
    }
    if !bit(message.address, 4) {
        let passes = unit.compatibility && !unit.extended(world);
        return if passes { Verdict::Unchanged } else { blocked(0x25, true, None) };
    }
    let subhandle = bit(message.address, 3);
    if subhandle && message.data >> 16 != 0 {
        return blocked(0x20, true, None);
    }
    let handle = field(message.address, 19, 5) | field(message.address, 2, 2) << 15;
    let index = handle + if subhandle { u64::from(message.data & 0xFFFF) } else { 0 };
    let known = u16::try_from(index).ok();
    if index >= 2 << field(unit.table, 3, 0) {
        return blocked(0x21, true, known);
    }
    let at = (unit.table & mask(63, 12)) + 16 * index;
    let (Some(low), Some(high)) = (world.memory.read(at), world.memory.read(at + 8)) else {
        return blocked(0x23, true, known);
    };
    let entry = Entry { low, high };
    let recorded = !bit(low, 1);
    if !bit(low, 0) {
        return blocked(0x22, recorded, known);
    }
    if entry.is_invalid(unit.extended(world)) {
        return blocked(0x24, recorded, known);
    }
    if !entry.accepts(source) {
        return blocked(0x26, recorded, known);
    }
    Verdict::Remapped(entry.message(unit.extended(world)))
}

impl Entry {
    /// Reserved bits, reserved values, or the posted format.
    fn is_invalid(&self, extended: bool) -> bool {
        let destination = if extended { 0 } else { mask(63, 48) | mask(39, 32) };
        self.low & (mask(15, 12) | mask(31, 24) | destination) != 0
            || self.high & mask(63, 20) != 0
            || matches!(field(self.low, 7, 5), 0b011 | 0b110)
            || field(self.high, 19, 18) == 3
    }

    /// SVT, SQ, SID.
    fn accepts(&self, source: u16) -> bool {
        let sid = field(self.high, 15, 0) as u16;
        match field(self.high, 19, 18) {
            0 => true,
            1 => {
                let compared = [0xFFFF, 0xFFFB, 0xFFF9, 0xFFF8][field(self.high, 17, 16) as usize];
                sid & compared == source & compared
            }
            _ => (sid >> 8..=sid & 0xFF).contains(&(source >> 8)),
        }
    }

    /// The interrupt that the entry stands for.
    fn message(&self, extended: bool) -> MsiMessage {
        let id = if extended { field(self.low, 63, 32) } else { field(self.low, 47, 40) };
        let level = if bit(self.low, 4) { 0b11 << 14 } else { 0 };
        let mode = field(self.low, 3, 3) << 3 | field(self.low, 2, 2) << 2;
        MsiMessage {
            address: 0xFEE0_0000 | (id & 0xFF) << 12 | (id >> 8) << 40 | mode,
            data: (field(self.low, 23, 16) | field(self.low, 7, 5) << 8 | level) as u32,
        }
    }
}
