//! Page requests into a queue that software serves as it likes.

use std::sync::Arc;

use iommu::{Capabilities, Feature, Iova, MsiMessage, PageRequest, Pasid, Profile, SourceId};
use proptest::prelude::*;

use crate::dispatch::{LEGACY, SCALABLE};
use crate::event::Messages;
use crate::fault::{Kind, Record};
use crate::memory::{Memory, Words};
use crate::page_request::{Fate, Queue, SIZE, answer, recorded, refusals};
use crate::rig::Rig;
use crate::walks::config;

const PQH: u64 = 0xC0;
const PQT: u64 = 0xC8;
const PQA: u64 = 0xD0;
const PRS: u64 = 0xDC;
const PECTL: u64 = 0xE0;
const PEDATA: u64 = 0xE4;
const PEADDR: u64 = 0xE8;
const MESSAGE: MsiMessage = MsiMessage { address: 0xFEE0_1000, data: 0x55 };

/// What the context entries of the devices say: P, FPD, DTE, PASIDE, PRE; the last is not present.
const CONTEXTS: [u64; 6] = [0b1_1101, 0b1_1101, 0b0_1101, 0b0_1111, 0b1_0101, 0];

#[derive(Clone, Debug)]
enum Step {
    Request(PageRequest),
    /// Software moves the head by so many descriptors, if there are as many.
    Serve(u64),
    /// Software clears PPR, PRO.
    Clear(bool, bool),
    /// Software writes IM.
    Mask(bool),
}

fn request() -> impl Strategy<Value = PageRequest> {
    let device = prop_oneof![8 => 0..2_u16, 1 => 0..CONTEXTS.len() as u16, 1 => Just(0x300)];
    let pasid = prop_oneof![
        1 => Just(None),
        3 => (0..0x10_0000_u32).prop_map(|pasid| Some(Pasid(pasid))),
    ];
    (device, pasid, [any::<bool>(); 5], 0..0x200_u16, any::<u64>()).prop_map(
        |(device, pasid, [privileged, execute, read, write, last], group, iova)| PageRequest {
            source: SourceId(device),
            pasid,
            privileged,
            execute,
            read,
            write,
            last,
            group,
            iova: Iova(iova),
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => request().prop_map(Step::Request),
        2 => (0..6_u64).prop_map(Step::Serve),
        2 => any::<(bool, bool)>().prop_map(|(pending, overflow)| Step::Clear(pending, overflow)),
        1 => any::<bool>().prop_map(Step::Mask),
    ];
    proptest::collection::vec(step, 0..60)
}

#[derive(Clone, Debug)]
struct Case {
    capabilities: Capabilities,
    /// TTM.
    mode: u64,
    /// Where head and tail are at first.
    start: u64,
    /// How many descriptors are waiting then.
    waiting: u64,
    steps: Vec<Step>,
}

fn cases() -> impl Strategy<Value = Case> {
    let capabilities = any::<bool>().prop_map(|stop_markers| {
        let builder = Capabilities::builder(Profile::Full, 48);
        let builder = if stop_markers { builder } else { builder.without(Feature::StopMarker) };
        builder.build().unwrap()
    });
    let mode = prop_oneof![12 => Just(SCALABLE), 1 => Just(LEGACY)];
    (capabilities, mode, 0..128_u64, 100..128_u64, steps()).prop_map(
        |(capabilities, mode, start, waiting, steps)| Case { capabilities, mode, start, waiting, steps },
    )
}

/// A unit with its queue, and what the queue is expected to be.
struct Sequence {
    rig: Rig,
    root: u64,
    messages: Arc<Messages>,
    queue: Queue,
}

impl Sequence {
    fn new(case: &Case) -> Self {
        let mut memory = Memory::new();
        let (root, contexts, directory) =
            (memory.pages(1, false), memory.pages(1, false), memory.pages(1, false));
        memory.write(root, contexts | 1);
        for (index, word) in CONTEXTS.iter().enumerate() {
            // The second device has few PASIDs.
            let size = if index == 1 { 0 } else { 7 << 9 };
            memory.write(contexts + 32 * index as u64, directory | size | word);
        }
        let address = memory.pages(1, true);
        memory.write(address, 0);
        let mut rig = Rig::new(case.capabilities, memory);
        let messages = Arc::new(Messages::default());
        rig.unit.connect(messages.clone());
        rig.write32(PEDATA, MESSAGE.data);
        rig.write32(PEADDR, MESSAGE.address as u32);
        rig.write32(PECTL, 0);
        let head = case.start * SIZE;
        let tail = (case.start + case.waiting) % 128 * SIZE;
        rig.write64(PQH, head);
        rig.write64(PQT, tail);
        rig.write64(PQA, address);
        let root = root | case.mode << 10;
        rig.translate_with(root);
        Self { rig, root, messages, queue: Queue { address, head, tail, ..Queue::default() } }
    }

    fn request(&mut self, request: &PageRequest) -> Result<(), TestCaseError> {
        let fates = refusals(self.rig.world(), self.root, request);
        let given = self.rig.unit.page_request(request);
        let records = self.rig.records();
        self.rig.clear_faults();
        let changes = self.rig.memory.take_changes();
        let fate = if fates.is_empty() {
            self.queue.take(request)
        } else {
            let fits = |fate: &&Fate| {
                let Fate::Fault { reason, recorded: true } = **fate else { return records.is_empty() };
                let expected = Record::of_memory(&recorded(request), request.iova.0, reason);
                // What AT is of such a request is not specified.
                let expected = |at| Record { kind: Kind::PageRequest, address_type: at, ..expected };
                records == [expected(0)] || records == [expected(1)]
            };
            let fate = fates.iter().find(fits);
            prop_assert!(fate.is_some(), "{request:x?}: {records:x?}; permitted: {fates:x?}");
            *fate.unwrap()
        };
        prop_assert!(matches!(fate, Fate::Fault { .. }) || records.is_empty(), "{records:x?}");
        prop_assert_eq!(given, answer(request, fate));
        match fate {
            Fate::Queued { address, words } => {
                let found = [0, 8, 16, 24].map(|offset| self.rig.memory.read(address + offset).unwrap());
                prop_assert_eq!(found, words);
                let inside = |at: u64| (address..address + SIZE).contains(&at);
                prop_assert!(changes.iter().all(|change| inside(change.address)), "{changes:x?}");
            }
            _ => prop_assert!(changes.is_empty(), "{changes:x?}"),
        }
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Request(request) => self.request(request)?,
            Step::Serve(count) => {
                for _ in 0..*count {
                    if self.queue.head != self.queue.tail {
                        self.queue.head = (self.queue.head + SIZE) % 4096;
                    }
                }
                self.rig.write64(PQH, self.queue.head);
            }
            Step::Clear(pending, overflow) => {
                self.rig.write32(PRS, u32::from(*pending) | u32::from(*overflow) << 1);
                self.queue.clear(*pending, *overflow);
            }
            Step::Mask(masked) => {
                self.rig.write32(PECTL, u32::from(*masked) << 31);
                self.queue.event.mask(*masked);
            }
        }
        Ok(())
    }

    /// Everything that software sees of the queue.
    fn check(&self) -> Result<(), TestCaseError> {
        let (status, control) = (self.rig.read32(PRS), self.rig.read32(PECTL));
        let mut seen = self.queue.clone();
        seen.head = self.rig.read64(PQH);
        seen.tail = self.rig.read64(PQT);
        (seen.pending, seen.overflow) = (status & 1 != 0, status & 2 != 0);
        (seen.event.masked, seen.event.pending) = (control >> 31 != 0, control >> 30 & 1 != 0);
        seen.event.sent = self.messages.count(MESSAGE);
        prop_assert_eq!(&seen, &self.queue);
        Ok(())
    }
}

proptest! {
    #![proptest_config(config())]

    /// Page requests are in the queue, in order, until it is full; the rest are answered at once.
    #[test]
    fn page_requests_are_queued_or_answered(case in cases()) {
        let mut sequence = Sequence::new(&case);
        for step in &case.steps {
            sequence.take(step)?;
            sequence.check()?;
        }
    }
}

/// The property above means something: requests come to every end.
#[test]
fn page_request_cases_come_to_every_end() {
    let mut ends = std::collections::BTreeSet::new();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..500 {
        use proptest::strategy::ValueTree;
        let case = cases().new_tree(&mut runner).unwrap().current();
        let mut sequence = Sequence::new(&case);
        for step in &case.steps {
            if let Step::Request(request) = step {
                let refusals = refusals(sequence.rig.world(), sequence.root, request);
                ends.insert(
                    match refusals.first().copied().unwrap_or_else(|| sequence.queue.clone().take(request)) {
                        Fate::Fault { reason, recorded } => format!("{reason:x} {recorded}"),
                        Fate::Dropped => "dropped".into(),
                        Fate::Queued { .. } => "queued".into(),
                    },
                );
            }
            sequence.take(step).unwrap();
        }
    }
    for end in
        ["32 true", "39 true", "41 true", "45 true", "46 true", "47 true", "47 false", "dropped", "queued"]
    {
        assert!(ends.contains(end), "no case for {end}: {ends:?}");
    }
}
