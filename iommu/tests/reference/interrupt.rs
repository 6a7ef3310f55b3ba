//! Interrupt remapping (§5.1, §9.9): what an interrupt request comes to.

use iommu::MsiMessage;

use super::bits::{bit, field, mask};
use super::second_stage::World;

/// IRTA_REG in use and the state of the unit.
#[derive(Clone, Copy, Debug, Default)]
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
    /// It becomes a bit of a posted-interrupt descriptor: the changes of words, by address, and the message
    /// that tells of it.
    Posted { changes: [(u64, u64); 2], notification: Option<MsiMessage> },
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
    let posted = bit(low, 15) && world.caps.posted_interrupts();
    if if posted { entry.is_invalid_posted() } else { entry.is_invalid(unit.extended(world)) } {
        return blocked(0x24, recorded, known);
    }
    if !entry.accepts(source) {
        return blocked(0x26, recorded, known);
    }
    if !posted {
        return Verdict::Remapped(entry.message(unit.extended(world)));
    }
    match entry.post(world, unit.extended(world)) {
        Ok(verdict) => verdict,
        Err(reason) => blocked(reason, recorded, known),
    }
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

    /// The same of the posted format (§9.10).
    fn is_invalid_posted(&self) -> bool {
        self.low & (mask(7, 2) | mask(13, 12) | mask(37, 24)) != 0
            || self.high & mask(31, 20) != 0
            || field(self.high, 19, 18) == 3
    }

    /// What becomes of the descriptor (§9.11); the reason if it cannot be used.
    fn post(&self, world: World, extended: bool) -> Result<Verdict, u8> {
        let descriptor = field(self.low, 63, 38) << 6 | field(self.high, 63, 32) << 32;
        let mut words = [0; 8];
        for (index, word) in words.iter_mut().enumerate() {
            *word = world.memory.read(descriptor + 8 * index as u64).ok_or(0x27)?;
        }
        let control = words[4];
        let destination = if extended { 0 } else { mask(63, 48) | mask(39, 32) };
        if control & (mask(15, 2) | mask(31, 24) | destination) != 0 {
            return Err(0x28);
        }
        let vector = field(self.low, 23, 16);
        let request = (descriptor + 8 * (vector / 64), 1 << (vector % 64) & !words[vector as usize / 64]);
        let (outstanding, suppressed, urgent) = (bit(control, 0), bit(control, 1), bit(self.low, 14));
        let notify = !outstanding && (urgent || !suppressed);
        let id = if extended { field(control, 63, 32) } else { field(control, 47, 40) };
        let message = MsiMessage {
            address: 0xFEE0_0000 | (id & 0xFF) << 12 | (id >> 8) << 40,
            data: field(control, 23, 16) as u32,
        };
        Ok(Verdict::Posted {
            changes: [request, (descriptor + 32, u64::from(notify))],
            notification: notify.then_some(message),
        })
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
