//! Sequences of edits of tables, invalidations and requests: what an invalidation has named is never used again;
//! what none has named may be.

use iommu::{Access, Capabilities, Feature, Pasid, Profile, Request, SourceId};
use proptest::prelude::*;

use crate::bits::{field, mask};
use crate::cached::judge;
use crate::caches::Caches;
use crate::capability::Caps;
use crate::dispatch::{LEGACY, SCALABLE};
use crate::generate::descriptors::Words;
use crate::generate::universe::{ADDRESSES, DOMAINS, Edit, PASIDS, SOURCES, Universe, edit};
use crate::memory::{Memory, agrees};
use crate::queue::decode;
use crate::rig::{FSTS, GCMD, IQA, IQH, IQT, QIE, RTADDR, Rig, SRTP, TE, answers, expected_records};
use crate::walks::config_of_sequences;

/// CCMD_REG.
const CCMD: u64 = 0x28;

#[derive(Clone, Debug)]
enum Step {
    Edit(Edit),
    /// A descriptor.
    Invalidate(Words),
    Request {
        source: usize,
        pasid: Option<u32>,
        privileged: bool,
        access: Access,
        address: usize,
    },
    /// Another root table is taken into use.
    Root(usize),
    /// Translation is turned off and on again.
    Toggle,
}

/// A descriptor that names something of the universe, mostly little.
fn invalidation(scalable: bool) -> impl Strategy<Value = Words> {
    let kind = if scalable {
        prop_oneof![2 => Just(1_u64), 4 => Just(2), 4 => Just(6), 3 => Just(7)].boxed()
    } else {
        prop_oneof![2 => Just(1_u64), 5 => Just(2)].boxed()
    };
    (kind, any::<u64>(), 0..ADDRESSES.len(), 0..SOURCES.len(), 0..DOMAINS.len(), 0..PASIDS).prop_map(
        |(kind, salt, address, source, domain, pasid)| {
            let few = salt % 16 == 0;
            let tag = DOMAINS[domain] << 16;
            let pages =
                ADDRESSES[address] | [0, 0, 0, 1, 9, 18][(salt >> 8) as usize % 6] | (salt >> 16 & 1) << 6;
            let of_source = u64::from(SOURCES[source]) << 32 | (salt >> 24 & 3) << 48;
            let granularity = if few { 1 } else { 2 + (salt >> 32 & 1) };
            match kind {
                1 => [1 | granularity << 4 | tag | of_source, 0, 0, 0],
                2 => [2 | granularity << 4 | tag, if granularity == 3 { pages } else { 0 }, 0, 0],
                6 => {
                    let granularity = 2 + (salt >> 32 & 1);
                    [6 | granularity << 4 | tag | pasid << 32, if granularity == 3 { pages } else { 0 }, 0, 0]
                }
                _ => [
                    7 | [0, 1, 1, 3][if few { 3 } else { salt as usize % 3 }] << 4 | tag | pasid << 32,
                    0,
                    0,
                    0,
                ],
            }
        },
    )
}

fn step(scalable: bool) -> impl Strategy<Value = Step> {
    let pasid = if scalable {
        prop_oneof![2 => Just(None), 3 => (0..PASIDS as u32).prop_map(Some)].boxed()
    } else {
        Just(None).boxed()
    };
    let access = prop_oneof![2 => Just(Access::Read), 2 => Just(Access::Write), 1 => Just(Access::Atomic)];
    let request = (0..SOURCES.len(), pasid, proptest::bool::weighted(0.1), access, 0..ADDRESSES.len());
    prop_oneof![
        16 => edit().prop_map(Step::Edit),
        16 => invalidation(scalable).prop_map(Step::Invalidate),
        40 => request.prop_map(|(source, pasid, privileged, access, address)| {
            Step::Request { source, pasid, privileged, access, address }
        }),
        1 => (0..2_usize).prop_map(Step::Root),
        1 => Just(Step::Toggle),
    ]
}

#[derive(Clone, Debug)]
struct Case {
    capabilities: Capabilities,
    scalable: bool,
    /// Invalidations go through registers, and not through the queue.
    by_registers: bool,
    steps: Vec<Step>,
}

fn cases(profile: Profile, scalable: bool) -> impl Strategy<Value = Case> {
    let removed = [Feature::SrtpInvalidates, Feature::SecondStageDirty, Feature::ExtendedAccessed];
    let capabilities = [proptest::bool::weighted(0.2); 3].prop_map(move |flags| {
        let mut builder = Capabilities::builder(profile, 57);
        for (feature, _) in removed.into_iter().zip(flags).filter(|(_, removed)| *removed) {
            builder = builder.without(feature);
        }
        builder.build().unwrap()
    });
    (capabilities, proptest::collection::vec(step(scalable), 20..80), any::<bool>()).prop_map(
        move |(capabilities, steps, by_registers)| Case {
            capabilities,
            scalable,
            by_registers: by_registers && !scalable,
            steps,
        },
    )
}

/// A unit in the universe, its queue, and what its caches may hold.
struct Sequence {
    rig: Rig,
    universe: Universe,
    caches: Caches,
    queue: u64,
    wide: bool,
    by_registers: bool,
    tail: u64,
    /// What RTADDR_REG held when it was taken into use.
    root: u64,
    checked: usize,
}

impl Sequence {
    fn new(case: &Case) -> Self {
        let caps = Caps::of(&case.capabilities);
        let mut memory = Memory::new();
        let universe = Universe::new(&mut memory, &caps, case.scalable);
        let queue = memory.pages(1, true);
        let mut rig = Rig::new(case.capabilities, memory);
        let wide = caps.scalable();
        let root = universe.roots[0] | if case.scalable { SCALABLE } else { LEGACY } << 10;
        rig.write64(IQA, queue | u64::from(wide) << 11);
        if !case.by_registers {
            rig.command(0, QIE);
        }
        rig.write64(RTADDR, root);
        rig.command(SRTP, 0);
        rig.command(0, TE);
        Self {
            rig,
            universe,
            caches: Caches::default(),
            queue,
            wide,
            by_registers: case.by_registers,
            tail: 0,
            root,
            checked: 0,
        }
    }

    /// Has the unit carry out a descriptor.
    fn invalidate(&mut self, words: &Words) -> Result<(), String> {
        let mode = self.root >> 10 & 3;
        let words = &words[..if self.wide { 4 } else { 2 }];
        let command =
            decode(&self.rig.caps, mode, words).map_err(|reason| format!("{words:x?}: {reason}"))?;
        self.caches.invalidate(&command);
        if self.by_registers { self.write_registers(words) } else { self.queue(words) }
    }

    /// The same by registers: what was done is as much as was asked for, or more (§11.4.6).
    fn write_registers(&mut self, words: &[u64]) -> Result<(), String> {
        let (granularity, domain) = (field(words[0], 5, 4), field(words[0], 31, 16));
        let done = if field(words[0], 3, 0) == 1 {
            let of_source = field(words[0], 49, 32) << 16;
            self.rig.write64(CCMD, 1 << 63 | granularity << 61 | of_source | domain);
            field(self.rig.read64(CCMD), 63, 59) & 0b10011
        } else {
            let registers = self.rig.caps.iotlb_registers();
            self.rig.write64(registers, words[1]);
            self.rig.write64(registers + 8, 1 << 63 | granularity << 60 | domain << 32);
            field(self.rig.read64(registers + 8), 63, 57) & 0b100_0011
        };
        let enough = (1..=granularity).contains(&done);
        enough.then_some(()).ok_or_else(|| format!("{words:x?} by registers: {done:#x} was done"))
    }

    fn queue(&mut self, words: &[u64]) -> Result<(), String> {
        for word in words {
            self.rig.memory.write(self.queue + self.tail, *word);
            self.tail = (self.tail + 8) % 4096;
        }
        self.rig.write64(IQT, self.tail);
        if self.rig.read64(IQH) != self.tail || self.rig.read32(FSTS) & 0x7F != 0 {
            return Err(format!("{words:x?} was not carried out, FSTS {:#x}", self.rig.read32(FSTS)));
        }
        Ok(())
    }

    /// Has a device ask, and checks what comes of it.
    fn request(&mut self, request: &Request, address: u64, length: u64) -> Result<(), String> {
        let Some(ways) =
            judge(&self.rig.memory, &self.rig.caps, &self.caches, self.root, request, (address, length))
        else {
            return Ok(());
        };
        let result = self.rig.access(request, address, length);
        let records = self.rig.records();
        self.rig.clear_faults();
        let changes = self.rig.memory.take_changes();
        let mut fits = ways
            .iter()
            .filter(|way| {
                let outcome = &way.outcome;
                answers(&outcome.answer, result, length)
                    && records == expected_records(&outcome.answer, request, address)
                    && agrees(&changes, &outcome.must, &outcome.may)
            })
            .peekable();
        if fits.peek().is_none() {
            let outcomes: Vec<_> = ways.iter().map(|way| &way.outcome).collect();
            return Err(format!(
                "{request:x?} at {address:#x}: {result:x?}, {records:x?}, wrote {changes:x?}; permitted: \
                 {outcomes:x?}"
            ));
        }
        for way in fits {
            self.caches.remember_way(&self.rig.memory, way);
        }
        self.checked += 1;
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Edit(edit) => self.universe.apply(&mut self.rig.memory, &edit),
            Step::Invalidate(words) => self.invalidate(&words)?,
            Step::Request { source, pasid, privileged, access, address } => {
                let request = Request {
                    pasid: pasid.map(Pasid),
                    privileged,
                    ..Request::new(SourceId(SOURCES[source]), access)
                };
                self.request(&request, ADDRESSES[address] + 0x10, 8)?;
            }
            Step::Root(which) => {
                self.root = self.root & mask(11, 0) | self.universe.roots[which];
                self.rig.write64(RTADDR, self.root);
                self.rig.command(SRTP, 0);
                if self.rig.caps.srtp_invalidates() {
                    self.caches.clear();
                }
            }
            Step::Toggle => {
                let queue = if self.by_registers { 0 } else { QIE };
                self.rig.write32(GCMD, queue);
                self.rig.write32(GCMD, queue | TE);
                if self.rig.caps.scalable() {
                    self.caches.clear();
                }
            }
        }
        Ok(())
    }
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let mut sequence = Sequence::new(case);
    for (index, step) in case.steps.iter().enumerate() {
        sequence.take(step).map_err(|error| TestCaseError::fail(format!("step {index}: {error}")))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(config_of_sequences())]

    /// By the queue, or by registers.
    #[test]
    fn nothing_that_legacy_invalidations_name_is_used_again(case in cases(Profile::Legacy, false)) {
        check(&case)?;
    }

    #[test]
    fn nothing_that_second_stage_invalidations_name_is_used_again(case in cases(Profile::SecondStage, true)) {
        check(&case)?;
    }

    #[test]
    fn nothing_that_first_stage_invalidations_name_is_used_again(case in cases(Profile::FirstStage, true)) {
        check(&case)?;
    }

    #[test]
    fn nothing_that_invalidations_name_is_used_again(case in cases(Profile::Full, true)) {
        check(&case)?;
    }
}
