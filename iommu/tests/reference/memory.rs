//! Guest memory twice: the real one that the unit uses, and a plain copy that the model reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::second_stage::Tables;
use super::trace::Marks;

/// Where memory is: below 4 GiB, and above.
const REGIONS: [(u64, u64); 2] = [(0, 0x20_0000), (0x1_0000_0000, 0x20_0000)];
const PAGE: u64 = 4096;

/// Where the model's walks find tables.
pub trait Words {
    /// The word at `address`; none where there is no memory.
    fn read(&self, address: u64) -> Option<u64>;

    /// The same of an entry of page tables, which `step` needs.
    fn entry(&self, address: u64, _step: Step) -> Option<u64> {
        self.read(address)
    }

    /// The second stage that a walk for `input` begins with: the one that it should.
    fn second_stage(&self, tables: Tables, _input: u64) -> Tables {
        tables
    }
}

/// One step of a walk through page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    pub tag: Tag,
    /// The address that the walk is for.
    pub input: u64,
    pub level: u32,
}

/// What distinguishes translations of the same address (§6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    pub domain: u16,
    /// None for those of a second stage, which all PASIDs share.
    pub pasid: Option<u32>,
    /// The output is one that a second stage has translated.
    pub nested: bool,
}

/// Both copies.
pub struct Memory {
    real: Arc<GuestMemoryMmap>,
    /// What has been written into pages, by their addresses; all others are full of zeros.
    pages: BTreeMap<u64, Vec<u8>>,
    next: [u64; 2],
}

impl Memory {
    /// Memory full of zeros.
    pub fn new() -> Self {
        let regions = REGIONS.map(|(start, length)| (GuestAddress(start), length as usize));
        Self {
            real: Arc::new(GuestMemoryMmap::from_ranges(&regions).unwrap()),
            pages: BTreeMap::new(),
            next: REGIONS.map(|(start, _)| start + PAGE),
        }
    }

    /// What the unit uses.
    pub fn real(&self) -> Arc<GuestMemoryMmap> {
        self.real.clone()
    }

    /// `count` pages in a row that nobody uses yet, above 4 GiB if `high`.
    pub fn pages(&mut self, count: u64, high: bool) -> u64 {
        let next = &mut self.next[usize::from(high)];
        let first = *next;
        *next += count * PAGE;
        assert!(is_memory(*next), "the generator asks for more pages than there are");
        first
    }

    /// Writes both copies; nothing happens where there is no memory.
    pub fn write(&mut self, address: u64, word: u64) {
        if is_memory(address) {
            self.real.write_obj(word.to_le(), GuestAddress(address)).unwrap();
            let page = self.pages.entry(address & !(PAGE - 1)).or_insert_with(|| vec![0; PAGE as usize]);
            page[offset(address)..][..8].copy_from_slice(&word.to_le_bytes());
        }
    }

    /// What the unit has written since the model last looked. Only pages that something has been put into
    /// are looked at. The model takes it over.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (page, copy) in &mut self.pages {
            let mut real = vec![0; PAGE as usize];
            self.real.read_slice(&mut real, GuestAddress(*page)).unwrap();
            if *copy == real {
                continue;
            }
            for at in (*page..page + PAGE).step_by(8) {
                let (before, after) = (word(copy, at), word(&real, at));
                if before != after {
                    changes.push(Change { address: at, before, after });
                }
            }
            *copy = real;
        }
        changes
    }
}

impl Words for Memory {
    fn read(&self, address: u64) -> Option<u64> {
        assert_eq!(address % 8, 0);
        let page = self.pages.get(&(address & !(PAGE - 1)));
        is_memory(address).then(|| page.map_or(0, |page| word(page, address)))
    }
}

/// Where in its page `address` is.
fn offset(address: u64) -> usize {
    (address % PAGE) as usize
}

/// The word at `address` of its page.
fn word(page: &[u8], address: u64) -> u64 {
    u64::from_le_bytes(page[offset(address)..][..8].try_into().unwrap())
}

/// One word that the unit has written.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub address: u64,
    pub before: u64,
    pub after: u64,
}

/// Whether `changes` sets all of `must`, and nothing that is not in `must` or `may`.
pub fn agrees(changes: &[Change], must: &Marks, may: &Marks) -> bool {
    let set: Marks = changes.iter().map(|change| (change.address, change.after & !change.before)).collect();
    let bits = |marks: &Marks, address: &u64| marks.get(address).copied().unwrap_or(0);
    changes.iter().all(|change| change.before & !change.after == 0)
        && must.iter().all(|(address, wanted)| wanted & !bits(&set, address) == 0)
        && set.iter().all(|(address, bits_set)| bits_set & !(bits(must, address) | bits(may, address)) == 0)
}

fn is_memory(address: u64) -> bool {
    REGIONS.iter().any(|(start, length)| (*start..start + length).contains(&address))
}
