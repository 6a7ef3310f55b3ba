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

    /// Empty first-stage tables (§9.7): links let everyone through.
    pub(crate) fn first_stage(bench: &Rc<Bench>, levels: u8) -> Self {
        Self { bench: Rc::clone(bench), root: bench.page(), levels, link: 7 }
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

/// Structures of scalable mode. Fields stand where the specification has them; what they refer to is made.
pub(crate) mod scalable {
    use iommu::SourceId;

    use super::{Bench, Tables};

    /// Bits of the first word of a context entry (§9.4).
    pub(crate) const DTE: u64 = 1 << 2;
    pub(crate) const PASIDE: u64 = 1 << 3;
    pub(crate) const PRE: u64 = 1 << 4;
    /// Fault processing disable, in context entries, directory entries and PASID table entries.
    pub(crate) const FPD: u64 = 1 << 1;

    /// Bits of the third word of a PASID table entry (§9.6).
    pub(crate) const SRE: u64 = 1 << 0;
    pub(crate) const ERE: u64 = 1 << 1;
    pub(crate) const WPE: u64 = 1 << 4;
    pub(crate) const EAFE: u64 = 1 << 7;
    /// Of its first word.
    pub(crate) const SSADE: u64 = 1 << 9;
    /// PWSNP, of its second word.
    const PWSNP: u64 = 1 << 23;

    pub(crate) type PasidEntry = [u64; 8];

    /// PGTT = 001.
    pub(crate) fn first_stage(tables: &Tables, domain: u64) -> PasidEntry {
        let five_levels = u64::from(tables.levels == 5) << 2;
        [1 | 1 << 6, domain | PWSNP, tables.root | five_levels, 0, 0, 0, 0, 0]
    }

    /// PGTT = 010.
    pub(crate) fn second_stage(tables: &Tables, domain: u64) -> PasidEntry {
        [tables.root | 1 | tables.width() << 2 | 2 << 6, domain | PWSNP, 0, 0, 0, 0, 0, 0]
    }

    /// PGTT = 011.
    pub(crate) fn nested(first: &Tables, second: &Tables, domain: u64) -> PasidEntry {
        let [_, _, options, ..] = first_stage(first, domain);
        [second.root | 1 | second.width() << 2 | 3 << 6, domain | PWSNP, options, 0, 0, 0, 0, 0]
    }

    /// PGTT = 100.
    pub(crate) const fn pass_through(domain: u64) -> PasidEntry {
        [1 | 4 << 6, domain, 0, 0, 0, 0, 0, 0]
    }

    /// The PASID table entry with these bits more in its words.
    pub(crate) fn with(mut entry: PasidEntry, word: usize, bits: u64) -> PasidEntry {
        entry[word] |= bits;
        entry
    }

    impl Bench {
        /// Where the context entry of `source` lies; a table for it is made.
        pub(crate) fn scalable_context_of(&self, source: SourceId) -> u64 {
            let half = u64::from(source.devfn() >> 7);
            let root = self.root + u64::from(source.bus()) * 16 + half * 8;
            if self.load(root) & 1 == 0 {
                self.store(root, self.page() | 1);
            }
            (self.load(root) & !0xFFF) + u64::from(source.devfn() & 0x7F) * 32
        }

        /// Writes a context entry with these bits in its first word, and a directory of 512 entries, which it gives.
        pub(crate) fn set_scalable_context(&self, source: SourceId, bits: u64) -> u64 {
            let (at, directory) = (self.scalable_context_of(source), self.page());
            self.store_all(at, &[directory | 2 << 9 | bits | 1, 0, 0, 0]);
            directory
        }

        /// Where the entry of `pasid` lies by way of a directory; a PASID table is made.
        pub(crate) fn pasid_entry_of(&self, directory: u64, pasid: u64) -> u64 {
            let at = directory + (pasid >> 6) * 8;
            if self.load(at) & 1 == 0 {
                self.store(at, self.page() | 1);
            }
            (self.load(at) & !0xFFF) + (pasid & 63) * 64
        }

        /// Writes a PASID table entry.
        pub(crate) fn set_pasid(&self, directory: u64, pasid: u64, entry: PasidEntry) {
            self.store_all(self.pasid_entry_of(directory, pasid), &entry);
        }
    }
}
