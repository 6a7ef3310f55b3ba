//! Page tables of both stages, built as software builds them.

use super::{Builder, rarely};
use crate::bits::{field, mask};
use crate::memory::Words;

/// Where a page of some size leads.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Where the input address is to lead, as far as it is a multiple of the page's size.
    pub output: u64,
    /// The level of the leaf: 1, 2 (2 MiB) or 3 (1 GiB).
    pub leaf: u32,
}

/// One stage's way of writing entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    First,
    Second,
}

const LARGE: u64 = 1 << 7;

impl Stage {
    /// What an entry allows and which ignored, accessed and dirty bits it has set.
    fn flags(self, salt: u64) -> u64 {
        let ignored = salt & salt << 7;
        match self {
            Self::First => {
                let allowed = match salt >> 40 & 15 {
                    1 => 0b101,
                    2 => 0b011,
                    3 => 0b001,
                    _ => 0b111,
                };
                let never = if rarely(salt, 44, 1) { 1 << 63 } else { 0 };
                allowed | never | ignored & (mask(62, 52) | mask(11, 8) | mask(6, 3))
            }
            Self::Second => {
                let allowed = match salt >> 40 & 15 {
                    1 => 0b01,
                    2 => 0b10,
                    _ => 0b11,
                };
                allowed | ignored & (1 << 63 | mask(61, 52) | mask(10, 8) | mask(6, 2))
            }
        }
    }
}

/// The output address of a page at `level`, from any number.
pub fn aligned(output: u64, level: u32, host_width: u32) -> u64 {
    output & mask(host_width - 1, 9 * level + 3)
}

impl Builder {
    /// Makes the table tree at `base`, whose tables `at` turns from the addresses in entries to memory, map
    /// `input` to `target`. `allocate` gives the address of a new table as entries have it.
    pub fn map_through(
        &mut self,
        stage: Stage,
        (base, levels): (u64, u32),
        input: u64,
        target: Target,
        at: impl Fn(u64) -> u64,
        mut allocate: impl FnMut(&mut Self) -> u64,
    ) {
        let mut table = base;
        for level in (1..=levels).rev() {
            let slot = at(table) + 8 * field(input, 9 * level + 11, 9 * level + 3);
            let entry = self.memory.read(slot).expect("tables are in memory");
            let salt = self.salt();
            if level == target.leaf {
                let size = if level > 1 { LARGE } else { 0 };
                self.put(slot, target.output | size | stage.flags(salt));
                return;
            }
            if entry == 0 {
                table = allocate(self);
                self.put(slot, table | stage.flags(salt));
            } else {
                table = entry & mask(51, 12);
            }
        }
    }

    /// The same with tables whose addresses are those of memory.
    pub fn map(&mut self, stage: Stage, tree: (u64, u32), input: u64, target: Target) {
        self.map_through(stage, tree, input, target, |table| table, Self::page);
    }
}
