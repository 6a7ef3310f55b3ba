//! Sequences of edits of interrupt remapping entries, invalidations and requests (§6.5.2.7): what an invalidation
//! has named is never used again.

use std::collections::BTreeSet;

use iommu::{Capabilities, Feature, MsiMessage, Profile, SourceId};
use proptest::prelude::*;

use crate::bits::mask;
use crate::dispatch::LEGACY;
use crate::interrupt::{Remapping, Verdict, judge};
use crate::memory::{Memory, Words};
use crate::queue::{Command, decode};
use crate::rig::{IQA, IQH, IQT, IRE, IRTA, QIE, Rig, SIRTP};
use crate::second_stage::World;
use crate::walks::config;

/// Entries there are: neighbours, and some further away.
const INDICES: [u64; 6] = [0, 1, 2, 7, 8, 0x100];

#[derive(Clone, Debug)]
enum Step {
    /// An entry of one of the tables gets another vector, or goes.
    Edit {
        table: usize,
        index: usize,
        vector: u8,
        present: bool,
    },
    /// IEC: all, or 2^mask of them.
    Invalidate {
        all: bool,
        index: usize,
        mask: u64,
    },
    Request(usize),
    /// Another table is taken into use.
    Table(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = 0..INDICES.len();
    let step = prop_oneof![
        5 => (0..2_usize, index.clone(), any::<u8>(), proptest::bool::weighted(0.9))
            .prop_map(|(table, index, vector, present)| Step::Edit { table, index, vector, present }),
        3 => (proptest::bool::weighted(0.1), index.clone(), 0..4_u64)
            .prop_map(|(all, index, mask)| Step::Invalidate { all, index, mask }),
        8 => index.prop_map(Step::Request),
        1 => (0..2_usize).prop_map(Step::Table),
    ];
    proptest::collection::vec(step, 0..80)
}

/// Memory in which one entry is what it was.
struct Held<'a> {
    memory: &'a Memory,
    at: u64,
    entry: [u64; 2],
}

impl Words for Held<'_> {
    fn read(&self, address: u64) -> Option<u64> {
        if address & !8 == self.at {
            Some(self.entry[(address >> 3 & 1) as usize])
        } else {
            self.memory.read(address)
        }
    }
}

struct Sequence {
    rig: Rig,
    tables: [u64; 2],
    unit: Remapping,
    queue: u64,
    tail: u64,
    /// Entries that have been used since an invalidation has named them.
    held: BTreeSet<(u64, [u64; 2])>,
}

impl Sequence {
    fn new(invalidates: bool) -> Self {
        let builder = Capabilities::builder(Profile::Legacy, 48);
        let builder = if invalidates {
            builder.with(Feature::SirtpInvalidates)
        } else {
            builder.without(Feature::SirtpInvalidates)
        };
        let mut memory = Memory::new();
        let (tables, queue) = ([memory.pages(4, false), memory.pages(4, false)], memory.pages(1, false));
        for (which, table) in tables.iter().enumerate() {
            for index in INDICES {
                memory.write(table + 16 * index, (index & 0xFF | 0x10) << 16 | (which as u64) << 40 | 1);
            }
        }
        let mut rig = Rig::new(builder.build().unwrap(), memory);
        rig.write64(IQA, queue);
        rig.command(0, QIE);
        let unit = Remapping { table: tables[0] | 9, enabled: true, compatibility: false };
        rig.write64(IRTA, unit.table);
        rig.command(SIRTP, 0);
        rig.command(0, IRE);
        Self { rig, tables, unit, queue, tail: 0, held: BTreeSet::new() }
    }

    fn request(&mut self, index: u64) -> Result<(), TestCaseError> {
        let message = MsiMessage { address: 0xFEE0_0010 | index << 5, data: 0 };
        let at = (self.unit.table & mask(63, 12)) + 16 * index;
        let now = [0, 8].map(|offset| self.rig.memory.read(at + offset).unwrap());
        let held = self.held.iter().filter(|(of, _)| *of == index).map(|(_, entry)| *entry);
        let entries: BTreeSet<_> = held.chain([now]).collect();
        let outcome = self.rig.unit.remap(SourceId(8), message, |message| message);
        self.rig.clear_faults();
        let fits = |entry: &[u64; 2]| {
            let memory = Held { memory: &self.rig.memory, at, entry: *entry };
            match judge(World { memory: &memory, caps: &self.rig.caps }, &self.unit, 8, message) {
                Verdict::Remapped(expected) => outcome == Ok(Some(expected)),
                Verdict::Blocked { reason, .. } => outcome.is_err_and(|blocked| blocked.reason == reason),
                Verdict::Unchanged | Verdict::Posted { .. } => false,
            }
        };
        let used: Vec<_> = entries.iter().copied().filter(fits).collect();
        prop_assert!(!used.is_empty(), "{index:#x}: {outcome:x?}, {entries:x?}");
        // What is not there is not held.
        let present = used.into_iter().filter(|entry| entry[0] & 1 != 0);
        self.held.extend(present.map(|entry| (index, entry)));
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Edit { table, index, vector, present } => {
                let at = self.tables[table] + 16 * INDICES[index];
                self.rig.memory.write(at, u64::from(vector) << 16 | u64::from(present));
            }
            Step::Invalidate { all, index, mask } => {
                let words = [4 | u64::from(!all) << 4 | mask << 27 | INDICES[index] << 32, 0];
                for (offset, word) in [(0, words[0]), (8, words[1])] {
                    self.rig.memory.write(self.queue + self.tail + offset, word);
                }
                self.tail = (self.tail + 16) % 4096;
                self.rig.write64(IQT, self.tail);
                prop_assert_eq!(self.rig.read64(IQH), self.tail);
                let Ok(Command::InterruptEntries(scope)) = decode(&self.rig.caps, LEGACY, &words) else {
                    return Err(TestCaseError::fail("the descriptor is right"));
                };
                self.held.retain(|(index, _)| scope.is_some_and(|scope| !scope.contain(*index)));
            }
            Step::Request(index) => self.request(INDICES[index])?,
            Step::Table(which) => {
                self.unit.table = self.tables[which] | 9;
                self.rig.write64(IRTA, self.unit.table);
                self.rig.command(SIRTP, 0);
                if self.rig.caps.sirtp_invalidates() {
                    self.held.clear();
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_interrupt_entry_that_invalidations_name_is_used_again(invalidates in any::<bool>(), steps in steps()) {
        let mut sequence = Sequence::new(invalidates);
        for step in &steps {
            sequence.take(step)?;
        }
    }
}
