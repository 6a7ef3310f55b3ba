//! A small world of tables for sequences: a few devices, address spaces and pages, every table twice, and edits
//! of single entries, most of which leave something that can be used.

use proptest::prelude::*;

use crate::bits::field;
use crate::capability::Caps;
use crate::memory::Memory;
use crate::scalable::{FIRST_STAGE, NESTED, PASS_THROUGH, SECOND_STAGE};

/// Requester IDs: two functions of a device, and another on another bus.
pub const SOURCES: [u16; 3] = [0x0008, 0x0009, 0x0110];
pub const PASIDS: u64 = 2;
/// Addresses that requests are for, which share tables as far as possible, or do not.
pub const ADDRESSES: [u64; 5] = [0x4040_0000, 0x4040_1000, 0x4060_0000, 0x8040_0000, 1 << 39 | 0x4040_0000];
/// Domains: those of second stages, and those of the other address spaces.
pub const DOMAINS: [u64; 4] = [1, 2, 3, 4];

const LARGE: u64 = 1 << 7;
const LEVELS: u32 = 5;

/// A tree of tables: two at each level.
#[derive(Clone, Debug)]
struct Tree {
    tables: Vec<[u64; 2]>,
    first_stage: bool,
}

impl Tree {
    fn table(&self, level: u32, which: usize) -> u64 {
        self.tables[level as usize - 1][which & 1]
    }

    /// What an entry is made of: a page or a table at `address`, with rights picked by `salt`.
    fn entry(&self, address: u64, salt: u64) -> u64 {
        let rights = match (self.first_stage, salt % 8) {
            (true, 0) => 0b101,
            (true, 1) => 0b011,
            (true, _) => 0b111,
            (false, 0) => 0b01,
            (false, 1) => 0b10,
            (false, _) => 0b11,
        };
        address | rights
    }

    /// What an entry at `level` says by choice: mostly the next table, or a page; rarely nothing.
    fn choice(&self, level: u32, salt: u64) -> u64 {
        let (kind, which, rights) = (salt % 8, field(salt, 8, 8), field(salt, 23, 16));
        let number = which + 2 * field(salt, 10, 10);
        let page = |level| {
            let shift = 9 * level + 3;
            // What a first stage gives, a second one can take.
            if self.first_stage {
                ADDRESSES[number as usize] >> shift << shift
            } else {
                (number + 5) << shift
            }
        };
        match (level, kind) {
            (_, 0) => 0,
            (1, _) => self.entry(page(1), rights),
            (2 | 3, 1) => self.entry(page(level), rights) | LARGE,
            _ => self.entry(self.table(level - 1, which as usize), rights),
        }
    }
}

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Universe {
    pub caps: Caps,
    pub scalable: bool,
    pub roots: [u64; 2],
    contexts: [u64; 2],
    directories: [u64; 2],
    pasids: [u64; 2],
    /// Two second stages and two first stages.
    trees: Vec<Tree>,
    kinds: Vec<u64>,
}

/// One entry to be written anew.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    pub place: Place,
    pub salt: u64,
}

/// Which entry.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Of a root table, for a bus.
    Root {
        which: u64,
        bus: u64,
    },
    /// Of a context table, for a source.
    Context {
        which: u64,
        source: usize,
    },
    Directory {
        which: u64,
    },
    Pasid {
        which: u64,
        pasid: u64,
    },
    /// Of a second stage, for first-stage tables.
    Window {
        tree: usize,
        which: u64,
    },
    /// Of page tables, for an address.
    Page {
        tree: usize,
        level: u32,
        which: u64,
        address: usize,
    },
}

/// Edits, most of them of page tables.
pub fn edit() -> impl Strategy<Value = Edit> {
    let which = 0..2_u64;
    let level = prop_oneof![4 => Just(1_u32), 3 => Just(2), 2 => Just(3), 1 => Just(4), 1 => Just(5)];
    let place = prop_oneof![
        1 => (which.clone(), 0..2_u64).prop_map(|(which, bus)| Place::Root { which, bus }),
        3 => (which.clone(), 0..SOURCES.len()).prop_map(|(which, source)| Place::Context { which, source }),
        1 => which.clone().prop_map(|which| Place::Directory { which }),
        4 => (which.clone(), 0..PASIDS).prop_map(|(which, pasid)| Place::Pasid { which, pasid }),
        1 => (0..2_usize, which.clone()).prop_map(|(tree, which)| Place::Window { tree, which }),
        8 => (0..4_usize, level, which, 0..ADDRESSES.len())
            .prop_map(|(tree, level, which, address)| Place::Page { tree, level, which, address }),
    ];
    (place, any::<u64>()).prop_map(|(place, salt)| Edit { place, salt })
}

impl Universe {
    /// Builds everything, so that most requests succeed.
    pub fn new(memory: &mut Memory, caps: &Caps, scalable: bool) -> Self {
        let mut pair = || [memory.pages(1, false), memory.pages(1, false)];
        let (roots, contexts, directories, pasids) = (pair(), pair(), pair(), pair());
        let trees = (0..4)
            .map(|index| Tree { tables: (0..LEVELS).map(|_| pair()).collect(), first_stage: index > 1 })
            .collect();
        let kinds = [
            (caps.second_stage(), SECOND_STAGE),
            (caps.first_stage(), FIRST_STAGE),
            (caps.nested(), NESTED),
            (caps.pass_through(), PASS_THROUGH),
        ];
        let kinds = kinds.into_iter().filter(|(has, _)| *has).map(|(_, kind)| kind).collect();
        let new = Self { caps: *caps, scalable, roots, contexts, directories, pasids, trees, kinds };
        new.build(memory);
        new
    }

    fn build(&self, memory: &mut Memory) {
        for which in 0..2 {
            for bus in 0..2 {
                self.apply(memory, &Edit { place: Place::Root { which, bus }, salt: 1 + (which << 8) });
            }
            for source in 0..SOURCES.len() {
                let salt = 1 + (which << 8) + ((source as u64 / 2) << 9);
                self.apply(memory, &Edit { place: Place::Context { which, source }, salt });
            }
            self.apply(memory, &Edit { place: Place::Directory { which }, salt: 1 + (which << 8) });
            for pasid in 0..PASIDS {
                let salt = 1 + (which << 8) + ((pasid + 2 * which) << 16) + (0xFF << 32);
                self.apply(memory, &Edit { place: Place::Pasid { which, pasid }, salt });
            }
        }
        for (index, tree) in self.trees.iter().enumerate() {
            for which in 0..2 {
                for level in 1..=LEVELS {
                    for address in 0..ADDRESSES.len() {
                        let salt = 7 + (which << 8) + ((index as u64 & 1) << 10) + (7 << 16);
                        let place = Place::Page { tree: index, level, which, address };
                        self.apply(memory, &Edit { place, salt });
                    }
                }
                // The second stages reach the tables where they are, so that first stages can be nested.
                memory.write(tree.table(3, which as usize), tree.entry(tree.table(2, 0), 7));
                memory.write(tree.table(2, which as usize), tree.entry(LARGE, 7));
            }
        }
    }

    /// Writes an entry.
    pub fn apply(&self, memory: &mut Memory, Edit { place, salt }: &Edit) {
        let (kind, which) = (salt % 16, field(*salt, 8, 8) as usize);
        let present = u64::from(kind != 0);
        match *place {
            Place::Root { which: of, bus } => {
                memory.write(self.roots[of as usize] + 16 * bus, self.contexts[which] | present);
            }
            Place::Context { which: of, source } => {
                let source = u64::from(SOURCES[source]);
                let words = if self.scalable { self.scalable_context(*salt) } else { self.context(*salt) };
                let devfn = source & if self.scalable { 0x7F } else { 0xFF };
                let at = self.contexts[of as usize] + 8 * words.len() as u64 * devfn;
                put(memory, at, &words);
            }
            Place::Directory { which: of } => {
                memory.write(self.directories[of as usize], self.pasids[which] | present);
            }
            Place::Pasid { which: of, pasid } => {
                put(memory, self.pasids[of as usize] + 64 * pasid, &self.pasid(*salt));
            }
            Place::Window { tree, which } => {
                // Mostly where they are.
                let word = match salt % 8 {
                    0 => 0,
                    1 => 0x1_0000_0000 | LARGE | 3,
                    2 => LARGE | 1,
                    _ => LARGE | 3,
                };
                memory.write(self.trees[tree].table(2, which as usize), word);
            }
            Place::Page { tree, level, which: of, address } => {
                let tree = &self.trees[tree];
                let index = field(ADDRESSES[address], 9 * level + 11, 9 * level + 3);
                memory.write(tree.table(level, of as usize) + 8 * index, tree.choice(level, *salt));
            }
        }
    }

    /// FPD is rare.
    fn present(salt: u64) -> u64 {
        if salt.is_multiple_of(16) { 0 } else { 1 | u64::from(salt % 16 == 5) << 1 }
    }

    fn context(&self, salt: u64) -> Vec<u64> {
        let tree = &self.trees[field(salt, 8, 8) as usize];
        let width = self.width(salt);
        let translation = if self.caps.pass_through() && field(salt, 15, 13) == 7 { 2 } else { 0 };
        let low = tree.table(width as u32 + 2, 0) | translation << 2 | Self::present(salt);
        let domain = if field(salt, 39, 38) == 0 { field(salt, 9, 9) } else { field(salt, 8, 8) };
        vec![low, DOMAINS[domain as usize] << 8 | width]
    }

    /// AW: mostly four levels.
    fn width(&self, salt: u64) -> u64 {
        match field(salt, 27, 25) {
            6 if self.caps.has_width(1) => 1,
            7 if self.caps.has_width(3) => 3,
            _ => 2,
        }
    }

    fn scalable_context(&self, salt: u64) -> Vec<u64> {
        let pasids = u64::from(self.caps.pasid() && field(salt, 12, 10) != 7) << 3;
        let rid_pasid = if self.caps.rid_pasid() { field(salt, 13, 13) } else { 0 };
        let low = self.directories[field(salt, 8, 8) as usize] | pasids | Self::present(salt);
        vec![low, rid_pasid, 0, 0]
    }

    fn pasid(&self, salt: u64) -> Vec<u64> {
        let kind = self.kinds[field(salt, 23, 16) as usize % self.kinds.len()];
        let pick = |at| field(salt, at, at);
        let flag = |has: bool, at: u32, bit: u32| u64::from(has && pick(at) == 1) << bit;
        let second_stage = matches!(kind, SECOND_STAGE | NESTED);
        let first_stage = matches!(kind, FIRST_STAGE | NESTED);
        // Software must not give two second stages the same domain, nor make them differ within one.
        let domain = DOMAINS[if second_stage { pick(8) } else { 2 + pick(9) } as usize];
        let width = self.width(salt >> 20);
        let low = if second_stage { self.trees[pick(8) as usize].table(width as u32 + 2, 0) } else { 0 };
        let five = u64::from(self.caps.first_stage_5_levels() && pick(30) == 1);
        let high = if first_stage { self.trees[2 + pick(10) as usize].table(4 + five as u32, 0) } else { 0 };
        let caps = &self.caps;
        vec![
            low | width << 2
                | kind << 6
                | flag(caps.second_stage_dirty() && second_stage, 8, 9)
                | Self::present(salt),
            domain | u64::from(caps.walk_snoop()) << 23,
            high | five << 2
                | flag(caps.supervisor(), 33, 0)
                | flag(first_stage, 34, 4)
                | flag(caps.extended_accessed(), 35, 7),
            0,
            0,
            0,
            0,
            0,
        ]
    }
}

fn put(memory: &mut Memory, at: u64, words: &[u64]) {
    for (index, word) in words.iter().enumerate() {
        memory.write(at + 8 * index as u64, *word);
    }
}
