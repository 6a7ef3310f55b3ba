//! Descriptors through the queue of a fresh unit: which are refused and how, what waits write, and what the
//! registers say then.

use std::collections::BTreeMap;

use iommu::{Capabilities, Profile};
use proptest::prelude::*;

use crate::capability::Caps;
use crate::dispatch::{LEGACY, SCALABLE};
use crate::generate::capabilities::capabilities;
use crate::generate::descriptors::{Words, descriptor};
use crate::memory::Memory;
use crate::queue::{ALIGNMENT, Command, FETCH, TAIL, Wait, check_mode, decode};
use crate::rig::{FECTL, FSTS, ICS, IECTL, IQA, IQERCD, IQH, IQT, QIE, RTADDR, Rig, SRTP};
use crate::walks::config;

/// Where statuses go, and where there is no memory.
const STATUS: u64 = 0x1_0010_0000;
const NOWHERE: u64 = 0x4000_0000;

const IQE: u32 = 1 << 4;
const PENDING: u32 = 1 << 30;

#[derive(Clone, Debug)]
struct Case {
    capabilities: Capabilities,
    descriptors: Vec<Words>,
    wide: bool,
    /// TTM.
    mode: u64,
    /// Where the queue is, if it is not in memory.
    lost: bool,
    /// What is added to the tail.
    tail: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    const PROFILES: &[Profile] = &[Profile::Legacy, Profile::SecondStage, Profile::FirstStage, Profile::Full];
    let mode = prop_oneof![4 => Just(LEGACY), 6 => Just(SCALABLE), 1 => 0..4_u64];
    let tail = prop_oneof![20 => Just(0), 1 => Just(0x10), 1 => Just(0x1000)];
    let descriptors = proptest::collection::vec(descriptor(STATUS), 0..8);
    (capabilities(PROFILES), descriptors, any::<bool>(), mode, proptest::bool::weighted(0.03), tail).prop_map(
        |(capabilities, descriptors, wide, mode, lost, tail)| {
            let caps = Caps::of(&capabilities);
            let can_be_wide = caps.scalable() || caps.abort_mode();
            let wide = can_be_wide && (wide || mode == SCALABLE);
            Case { capabilities, descriptors, wide, mode, lost, tail }
        },
    )
}

/// What the model expects of a queue by now.
#[derive(Debug, Default, PartialEq, Eq)]
struct Progress {
    head: u64,
    error: Option<u8>,
    interrupted: bool,
    statuses: BTreeMap<u64, u32>,
}

impl Progress {
    /// Takes descriptors up to the tail. Nothing comes back where the specification is open.
    fn go_on(&mut self, case: &Case, descriptors: &[Words], tail: u64) -> Option<()> {
        let caps = Caps::of(&case.capabilities);
        let size = if case.wide { 32 } else { 16 };
        self.error = None;
        let mode = check_mode(&caps, case.mode, case.wide);
        let bad_tail = tail >= 0x1000 || case.wide && tail & 0x10 != 0;
        if mode.is_err() && (bad_tail || self.head == tail) {
            return None;
        }
        if tail >= 0x1000 {
            self.error = Some(TAIL);
            return Some(());
        }
        if case.wide && tail & 0x10 != 0 {
            self.error = Some(ALIGNMENT);
            return Some(());
        }
        while self.head != tail {
            let words = descriptors.get((self.head / size) as usize).copied().unwrap_or_default();
            let words = &words[..if case.wide { 4 } else { 2 }];
            let command =
                mode.and_then(|()| if case.lost { Err(FETCH) } else { decode(&caps, case.mode, words) });
            match command {
                Err(reason) => {
                    self.error = Some(reason);
                    return Some(());
                }
                Ok(Command::Device | Command::Wait(Wait { empty: true, .. })) => return None,
                Ok(Command::Wait(wait)) => {
                    if let Some((address, data)) = wait.status {
                        if address & !0xFFF != STATUS {
                            return None;
                        }
                        self.statuses.insert(address, data);
                    }
                    self.interrupted |= wait.interrupt;
                }
                Ok(_) => {}
            }
            self.head += size;
        }
        Some(())
    }

    /// What the unit shows of itself.
    fn seen(rig: &mut Rig) -> Self {
        let mut statuses = BTreeMap::new();
        for change in rig.memory.take_changes() {
            for (address, before, after) in [
                (change.address, change.before as u32, change.after as u32),
                (change.address + 4, (change.before >> 32) as u32, (change.after >> 32) as u32),
            ] {
                if before != after {
                    statuses.insert(address, after);
                }
            }
        }
        let failed = rig.read32(FSTS) & IQE != 0;
        Self {
            head: rig.read64(IQH),
            error: failed.then(|| (rig.read64(IQERCD) & 15) as u8),
            interrupted: rig.read32(ICS) & 1 != 0,
            statuses,
        }
    }
}

fn put(rig: &mut Rig, case: &Case, queue: u64, index: usize, words: &Words) {
    let count = if case.wide { 4 } else { 2 };
    for (word, value) in words.iter().enumerate().take(count) {
        rig.memory.write(queue + 8 * (index * count + word) as u64, *value);
    }
}

/// Puts a case through a unit.
fn check(case: &Case) -> Result<(), TestCaseError> {
    let mut memory = Memory::new();
    let queue = if case.lost { NOWHERE } else { memory.pages(1, true) };
    // So that the copies of it are compared.
    memory.write(STATUS, 0);
    let mut rig = Rig::new(case.capabilities, memory);
    let mut descriptors = case.descriptors.clone();
    for (index, words) in descriptors.iter().enumerate() {
        put(&mut rig, case, queue, index, words);
    }
    rig.write64(RTADDR, 0x10_0000 | case.mode << 10);
    rig.command(SRTP, 0);
    rig.write64(IQA, queue | u64::from(case.wide) << 11);
    rig.command(0, QIE);
    let size = if case.wide { 32 } else { 16 };
    let tail = descriptors.len() as u64 * size + case.tail;
    rig.write64(IQT, tail);

    let mut expected = Progress::default();
    for _ in 0..3 {
        prop_assume!(expected.go_on(case, &descriptors, tail).is_some());
        let statuses = std::mem::take(&mut expected.statuses);
        let written = statuses.into_iter().filter(|(_, data)| *data != 0).collect();
        prop_assert_eq!(Progress::seen(&mut rig), Progress { statuses: written, ..expected });
        let pending = |register| rig.read32(register) & PENDING != 0;
        prop_assert_eq!(pending(FECTL), expected.error.is_some(), "the fault event is held back");
        prop_assert_eq!(pending(IECTL), expected.interrupted, "and so is the completion event");
        // Software puts a wait in place of what was refused.
        let index = (expected.head / size) as usize;
        if expected.error.is_none() || index >= descriptors.len() || case.lost {
            break;
        }
        let wait = [5 | 1 << 6, 0, 0, 0];
        descriptors[index] = wait;
        put(&mut rig, case, queue, index, &wait);
        rig.write32(FSTS, IQE);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    /// The queue stops at the first descriptor that is refused, says why, and goes on when that has been
    /// replaced and the error cleared.
    #[test]
    fn queues_end_as_their_descriptors_say(case in cases()) {
        check(&case)?;
    }
}

/// Every bit of every descriptor, one at a time.
#[test]
fn each_bit_of_each_descriptor_means_what_it_says() {
    let plain = [
        [1 | 1 << 4, 0, 0, 0],
        [1 | 3 << 4, 0, 0, 0],
        [2 | 1 << 4, 0, 0, 0],
        [2 | 3 << 4, 0, 0, 0],
        [4, 0, 0, 0],
        [4 | 1 << 4, 0, 0, 0],
        [5 | 1 << 5 | 7 << 32, STATUS, 0, 0],
        [6 | 2 << 4, 0, 0, 0],
        [6 | 3 << 4, 0, 0, 0],
        [7, 0, 0, 0],
        [7 | 1 << 4, 0, 0, 0],
    ];
    for (profile, mode, wide) in [
        (Profile::Legacy, LEGACY, false),
        (Profile::SecondStage, LEGACY, true),
        (Profile::Full, SCALABLE, true),
    ] {
        let capabilities = Capabilities::new(profile, 48);
        for words in &plain {
            for bit in 0..if wide { 256 } else { 128 } {
                let mut words = *words;
                words[bit / 64] ^= 1 << (bit % 64);
                let case = Case { capabilities, descriptors: vec![words], wide, mode, lost: false, tail: 0 };
                match check(&case) {
                    Ok(()) | Err(TestCaseError::Reject(_)) => {}
                    Err(error) => panic!("{case:x?}: {error}"),
                }
            }
        }
    }
}
