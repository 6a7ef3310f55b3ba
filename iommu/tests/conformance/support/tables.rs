//! Tables, built by plain writes to memory.

use std::rc::Rc;

use super::Bench;

/// Levels of paging tables, by their number.
pub(crate) mod level {
    pub(crate) const PAGE: u8 = 1;
    pub(crate) const PAGE_2M: u8 = 2;
    pub(crate) const PAGE_1G: u8 = 3;
}

/// Bit PS of a paging entry.
const LARGE: u64 = 1 << 7;

/// Paging tables of either stage, which differ in what a link from one table to the next has to have.
#[derive(Clone)]
pub(crate) struct Tables {
    bench: Rc<Bench>,
    pub(crate) root: u64,
    levels: u8,
    link: u64,
}

impl Tables {
    /// Empty second-stage tables (§9.8): links let reads and writes through.
    pub(crate) fn second_stage(bench: &Rc<Bench>, levels: u8) -> Self {
        Self { bench: Rc::clone(bench), root: bench.page(), levels, link: 3 }
    }

    /// AW, as context and PASID table entries name these levels.
    pub(crate) const fn width(&self) -> u64 {
        self.levels as u64 - 2
    }

    /// Where the entry of `level` for `iova` lies. Tables on the way are made.
    pub(crate) fn entry(&self, iova: u64, level: u8) -> u64 {
        let (mut table, mut at) = (self.root, self.levels);
        loop {
            let entry = table + (iova >> (3 + 9 * u32::from(at)) & 511) * 8;
            if at == level {
                return entry;
            }
            if self.bench.load(entry) & 1 == 0 {
                self.bench.store(entry, self.bench.page() | self.link);
            }
            table = self.bench.load(entry) & 0x000F_FFFF_FFFF_F000;
            at -= 1;
        }
    }

    /// Maps a page of 4 KiB; `entry` is its address and its bits.
    pub(crate) fn map(&self, iova: u64, entry: u64) {
        self.map_at(iova, entry, level::PAGE);
    }

    /// Maps a page of any size.
    pub(crate) fn map_at(&self, iova: u64, entry: u64, level: u8) {
        let large = if level > level::PAGE { LARGE } else { 0 };
        self.bench.store(self.entry(iova, level), entry | large);
    }
}

/// Context entries of legacy mode (§9.3).
pub(crate) mod context {
    use super::Tables;

    /// To be translated by `tables` (TT = 00).
    pub(crate) const fn translated(tables: &Tables, domain: u64) -> [u64; 2] {
        [tables.root | 1, tables.width() | domain << 8]
    }

    /// Passed through (TT = 10).
    pub(crate) const fn pass_through(domain: u64) -> [u64; 2] {
        [1 | 2 << 2, 2 | domain << 8]
    }
}
