//! Guest memory twice: the real one that the unit uses, and a plain copy that the model reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::trace::Marks;

/// Where memory is: below 4 GiB, and above.
const REGIONS: [(u64, u64); 2] = [(0, 0x20_0000), (0x1_0000_0000, 0x20_0000)];
const PAGE: u64 = 4096;

/// Both copies.
pub struct Memory {
    real: Arc<GuestMemoryMmap>,
    words: BTreeMap<u64, u64>,
    pages: BTreeSet<u64>,
    next: [u64; 2],
}

impl Memory {
    /// Memory full of zeros.
    pub fn new() -> Self {
        let regions = REGIONS.map(|(start, length)| (GuestAddress(start), length as usize));
        Self {
            real: Arc::new(GuestMemoryMmap::from_ranges(&regions).unwrap()),
            words: BTreeMap::new(),
            pages: BTreeSet::new(),
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

    /// The word at `address`; none where there is no memory.
    pub fn read(&self, address: u64) -> Option<u64> {
        assert_eq!(address % 8, 0);
        is_memory(address).then(|| self.words.get(&address).copied().unwrap_or(0))
    }

    /// Writes both copies; nothing happens where there is no memory.
    pub fn write(&mut self, address: u64, word: u64) {
        if is_memory(address) {
            self.real.write_obj(word.to_le(), GuestAddress(address)).unwrap();
            self.words.insert(address, word);
            self.pages.insert(address & !(PAGE - 1));
        }
    }

    /// What the unit has written since the model last looked. Only pages that something has been put into
    /// are looked at. The model takes it over.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for page in &self.pages {
            let mut bytes = [0; PAGE as usize];
            self.real.read_slice(&mut bytes, GuestAddress(*page)).unwrap();
            let real: Vec<_> =
                bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
            let mut copy = vec![0; real.len()];
            for (address, word) in self.words.range(*page..page + PAGE) {
                copy[((address - page) / 8) as usize] = *word;
            }
            for (index, (before, after)) in copy.into_iter().zip(real).enumerate() {
                if before != after {
                    changes.push(Change { address: page + 8 * index as u64, before, after });
                }
            }
        }
        for change in &changes {
            self.words.insert(change.address, change.after);
        }
        changes
    }
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
