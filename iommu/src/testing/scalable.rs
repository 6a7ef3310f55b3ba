//! Tables of scalable mode.

use super::Machine;
use crate::spec::registers::Global;
use crate::spec::second_stage::Level;
use crate::{Iova, SourceId};

/// Bits of a first-stage entry.
pub(crate) const P: u64 = 1;
pub(crate) const WRITABLE: u64 = 2;
pub(crate) const USER: u64 = 4;
pub(crate) const ACCESSED: u64 = 1 << 5;
pub(crate) const DIRTY: u64 = 1 << 6;
pub(crate) const EXTENDED: u64 = 1 << 10;
pub(crate) const NO_EXECUTE: u64 = 1 << 63;
/// What leads to tables, and most pages.
pub(crate) const PWU: u64 = P | WRITABLE | USER;

/// Marks of a second-stage entry.
pub(crate) const SECOND_ACCESSED: u64 = 1 << 8;
pub(crate) const SECOND_DIRTY: u64 = 1 << 9;

/// The first word of a PASID table entry: FPD, PGTT, AW of 48 bits, SSADE.
pub(crate) const FPD: u64 = 2;
pub(crate) const FIRST_STAGE: u64 = 1 << 6;
pub(crate) const SECOND_STAGE: u64 = 2 << 6;
pub(crate) const NESTED: u64 = 3 << 6;
pub(crate) const PASS_THROUGH: u64 = 4 << 6;
pub(crate) const WIDTH_48: u64 = 2 << 2;
pub(crate) const SECOND_STAGE_DIRTY: u64 = 1 << 9;
/// The second word: PWSNP.
pub(crate) const WALK_SNOOP: u64 = 1 << 23;
/// The third word: SRE, ERE, WPE, EAFE.
pub(crate) const SUPERVISOR: u64 = 1;
pub(crate) const EXECUTE: u64 = 1 << 1;
/// FSPM of five levels.
pub(crate) const PASID_MODE_5: u64 = 1 << 2;
pub(crate) const WRITE_PROTECT: u64 = 1 << 4;
pub(crate) const EXTENDED_ENABLE: u64 = 1 << 7;

/// A context entry: DTE, PASIDE, PRE.
pub(crate) const DEVICE_TLB: u64 = 1 << 2;
pub(crate) const PASIDS: u64 = 1 << 3;
pub(crate) const PAGE_REQUESTS: u64 = 1 << 4;

impl Machine {
    /// Writes a context entry, and a root entry where there is none.
    pub(crate) fn scalable_context(&self, source: SourceId, entry: [u64; 4]) {
        let root_entry = self.scalable_root_entry(source);
        if self.read_memory(root_entry) == 0 {
            self.write_memory(root_entry, self.table() | 1);
        }
        let context_table = self.read_memory(root_entry) & !0xFFF;
        let address = context_table + u64::from(source.devfn() & 0x7F) * 32;
        for (index, word) in entry.iter().enumerate().rev() {
            self.write_memory(address + index as u64 * 8, *word);
        }
    }

    /// Where the half of a root entry for `source` lies.
    pub(crate) fn scalable_root_entry(&self, source: SourceId) -> u64 {
        self.root + u64::from(source.bus()) * 16 + u64::from(source.devfn() >> 7) * 8
    }

    /// Writes a PASID table entry, and a directory entry where there is none.
    pub(crate) fn pasid_entry(&self, directory: u64, pasid: u64, entry: [u64; 8]) {
        let directory_entry = directory + (pasid >> 6) * 8;
        if self.read_memory(directory_entry) == 0 {
            self.write_memory(directory_entry, self.table() | 1);
        }
        let address = (self.read_memory(directory_entry) & !0xFFF) + (pasid & 63) * 64;
        for (index, word) in entry.iter().enumerate().rev() {
            self.write_memory(address + index as u64 * 8, *word);
        }
    }

    /// Takes the root table into use in scalable mode, and switches translation on.
    pub(crate) fn enable_scalable(&self) {
        self.set_table_mode(1);
        self.command(Global::TRANSLATION, Global::empty());
    }

    /// Where the entry of `level` for `iova` lies in a first-stage table; tables on the way are made.
    pub(crate) fn first_stage_entry(&self, table: u64, levels: u8, iova: u64, level: Level) -> u64 {
        let (mut table, mut at) = (table, Level::from_number(levels).unwrap());
        while at > level {
            let entry = table + at.offset(Iova(iova));
            if self.read_memory(entry) & P == 0 {
                self.write_memory(entry, self.table() | PWU);
            }
            table = self.read_memory(entry) & 0x000F_FFFF_FFFF_F000;
            at = at.below().unwrap();
        }
        table + level.offset(Iova(iova))
    }

    /// Maps a 4 KiB page in a first-stage table of four levels.
    pub(crate) fn map_first_stage(&self, table: u64, iova: u64, entry: u64) {
        self.write_memory(self.first_stage_entry(table, 4, iova, Level::PAGE), entry);
    }
}
