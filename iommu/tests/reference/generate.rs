//! Tables that are nearly valid: built as software builds them, then damaged here and there.

pub mod capabilities;
pub mod descriptors;
pub mod interrupts;
pub mod mappings;
pub mod requests;
pub mod scalable;
pub mod spaces;
pub mod universe;

use proptest::prelude::*;

use super::bits::mask;
use super::memory::{Memory, Words};

/// What makes one case of tables differ from another, beside their shape.
#[derive(Clone, Debug)]
pub struct Seasoning {
    /// One number for each entry: where it stands, which ignored bits it has, what it does not allow. 0 is
    /// plain.
    salts: Vec<u64>,
    /// What is done to entries afterwards.
    damage: Vec<(usize, Damage)>,
}

/// What is done to a word that was right.
#[derive(Clone, Debug)]
enum Damage {
    Flip(u32),
    Clear,
    /// Its address becomes another.
    Point(u64),
}

/// Seasoning for `salts` entries.
pub fn seasoning(salts: usize) -> impl Strategy<Value = Seasoning> {
    let salt = prop_oneof![1 => Just(0), 2 => any::<u64>()];
    let flip = prop_oneof![2 => 0..13_u32, 2 => 0..64_u32];
    let place = prop_oneof![
        Just(0xFEE0_0000),
        Just(0x20_0000),
        Just(1 << 38),
        Just(1 << 47),
        Just(1 << 51),
        (0..64_u32).prop_map(|bit| 1 << bit)
    ];
    let damage = prop_oneof![
        10 => flip.prop_map(Damage::Flip),
        1 => Just(Damage::Clear),
        2 => place.prop_map(Damage::Point),
    ];
    let amount = prop_oneof![5 => Just(0..=0_usize), 4 => Just(1..=1), 2 => Just(2..=4)];
    let damage = amount
        .prop_flat_map(move |amount| proptest::collection::vec((any::<usize>(), damage.clone()), amount));
    (proptest::collection::vec(salt, salts), damage).prop_map(|(salts, damage)| Seasoning { salts, damage })
}

impl Seasoning {
    /// Plain tables with one bit of one of their words turned around.
    pub fn one_bit(word: usize, bit: u32) -> Self {
        Self { salts: vec![0], damage: vec![(word, Damage::Flip(bit))] }
    }
}

/// Memory that is being filled with tables.
pub struct Builder {
    pub memory: Memory,
    seasoning: Seasoning,
    next_salt: usize,
    words: Vec<u64>,
}

impl Builder {
    /// Empty memory.
    pub fn new(seasoning: Seasoning) -> Self {
        Self { memory: Memory::new(), seasoning, next_salt: 0, words: Vec::new() }
    }

    /// The next number that makes an entry special.
    pub fn salt(&mut self) -> u64 {
        let salt = self.seasoning.salts[self.next_salt % self.seasoning.salts.len()];
        self.next_salt += 1;
        salt
    }

    /// A page for a table.
    pub fn page(&mut self) -> u64 {
        self.pages(1)
    }

    /// Pages for a table.
    pub fn pages(&mut self, count: u64) -> u64 {
        let high = self.salt() & 1 << 63 != 0;
        self.memory.pages(count, high)
    }

    /// The root table, or rarely an address where there is no memory.
    pub fn root(&mut self, table: u64) -> u64 {
        if rarely(self.salt(), 20, 9) { 0x4000_0000 } else { table }
    }

    /// Puts a word of a table in place.
    pub fn put(&mut self, address: u64, word: u64) {
        self.memory.write(address, word);
        self.words.push(address);
    }

    /// Memory with the tables, damaged.
    pub fn finish(mut self) -> Memory {
        let damage = self.seasoning.damage.iter().filter(|_| !self.words.is_empty());
        for (index, damage) in damage {
            let address = self.words[index % self.words.len()];
            let word = self.memory.read(address).unwrap_or(0);
            let damaged = match damage {
                Damage::Flip(bit) => word ^ 1 << bit,
                Damage::Clear => 0,
                Damage::Point(address) => word & !mask(51, 12) | address,
            };
            self.memory.write(address, damaged);
        }
        self.memory
    }
}

/// Whether a number from 0 to 15 in `salt`, at bit `at`, is `wanted`: one time of sixteen, and never in 0.
pub fn rarely(salt: u64, at: u32, wanted: u64) -> bool {
    salt >> at & 15 == wanted
}
