//! Random work of a whole guest, with a model of what its tables have allowed since it last announced them: at
//! every single call to the host no function reaches what they have not allowed, and after the wait none reaches
//! what they do not allow any more. Several functions, groups of both kinds of host, domains, tables, and a host
//! that refuses any call.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use iommu::{
    Attachment, Capabilities, Feature, GroupAudit, GuestAddress, MapError, Permissions, Profile, SourceId,
};
use proptest::collection::vec;
use proptest::prelude::*;
use support::guest::{Device, PAGE, PAGE_2M, RAM, Table};
use support::machine::*;
use support::world::{Act, Reach, World};

mod support;

/// Functions, and the group of the host that each is in.
const FUNCTIONS: [(SourceId, usize); 4] =
    [(SourceId(0x0100), 0), (SourceId(0x0200), 1), (SourceId(0x0300), 2), (SourceId(0x0301), 2)];
const GROUPS: usize = 3;
const TABLES: usize = 3;
const DOMAINS: [u16; 3] = [2, 3, 4];

/// Two pages of 2 MiB.
const BASE: u64 = 2 * PAGE_2M;
const SLOT_PAGES: usize = 512;
const PAGES: usize = 2 * SLOT_PAGES;
/// Where they lead, give or take a shift.
const TARGET: u64 = 0x1000_0000;
/// A shift to where there is no memory.
const NOWHERE: u64 = 0xC800_0000 - TARGET;
/// The pages that are looked at: those around edges, and two within.
const PROBES: [Range<usize>; 5] = [0..10, 255..256, 506..520, 767..768, 1014..1024];
/// What may be kept from addresses that nothing translates: half of the pages.
const PROTECTED: Range<u64> = BASE..BASE + PAGE_2M;

const PLMBASE: u64 = 0x68;
const PLMLIMIT: u64 = 0x6C;
const PMEN: u64 = 0x64;

/// What a page leads to.
type Meaning = (u64, Permissions);

/// What the tables say of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    Absent,
    Translated { table: usize, domain: u16 },
    PassThrough { domain: u16 },
}

impl Context {
    /// The name of its invalidations.
    fn domain(self) -> u16 {
        match self {
            Self::Absent => 0,
            Self::Translated { domain, .. } | Self::PassThrough { domain } => domain,
        }
    }
}

#[derive(Clone, Debug)]
enum Edit {
    /// Maps or unmaps small pages; a large one around them becomes small ones.
    Pages {
        table: usize,
        first: usize,
        count: usize,
        to: Option<(u64, Permissions)>,
    },
    /// Makes a slot one large page, or nothing.
    Large {
        table: usize,
        slot: usize,
        to: Option<(u64, Permissions)>,
    },
    Context {
        function: usize,
        context: Context,
    },
}

#[derive(Clone, Debug)]
enum Announce {
    /// Exactly what one of the edits has changed.
    Edit(usize),
    Domain(u16),
    Global,
    Contexts,
    ContextsOf(u16),
    Function(usize),
}

#[derive(Clone, Debug)]
enum Step {
    /// Edits, then what is announced of them in one queue segment; a call that the host refuses, this far in.
    Segment {
        edits: Vec<Edit>,
        announced: Vec<Announce>,
        refusal: Option<(usize, MapError)>,
    },
    BusMaster {
        function: usize,
        on: bool,
    },
    Translation(bool),
    Protection(bool),
    /// Everything is announced, and the host refuses nothing.
    Settle,
}

fn target() -> impl Strategy<Value = Option<(u64, Permissions)>> {
    let shift = prop_oneof![8 => Just(0), 3 => Just(PAGE_2M), 1 => Just(NOWHERE)];
    let permissions = prop_oneof![4 => Just(BOTH), 1 => Just(Permissions::READ)];
    prop_oneof![2 => (shift, permissions).prop_map(Some), 1 => Just(None)]
}

fn context() -> impl Strategy<Value = Context> {
    let domain = || (0..DOMAINS.len()).prop_map(|index| DOMAINS[index]);
    prop_oneof![
        1 => Just(Context::Absent),
        6 => (0..TABLES, domain()).prop_map(|(table, domain)| Context::Translated { table, domain }),
        1 => domain().prop_map(|domain| Context::PassThrough { domain }),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let first = prop_oneof![0..8_usize, 505..520_usize, 1016..1023_usize];
    prop_oneof![
        6 => (0..TABLES, first, 1..8_usize, target()).prop_map(|(table, first, count, to)| {
            Edit::Pages { table, first, count: count.min(PAGES - first), to }
        }),
        2 => (0..TABLES, 0..2_usize, target()).prop_map(|(table, slot, to)| Edit::Large { table, slot, to }),
        3 => (0..FUNCTIONS.len(), context())
            .prop_map(|(function, context)| Edit::Context { function, context }),
    ]
}

fn announce() -> impl Strategy<Value = Announce> {
    let domain = || (0..DOMAINS.len()).prop_map(|index| DOMAINS[index]);
    prop_oneof![
        12 => any::<usize>().prop_map(Announce::Edit),
        1 => domain().prop_map(Announce::Domain),
        1 => Just(Announce::Global),
        1 => Just(Announce::Contexts),
        1 => domain().prop_map(Announce::ContextsOf),
        1 => (0..FUNCTIONS.len()).prop_map(Announce::Function),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let errors = prop_oneof![Just(MapError::Full), Just(MapError::Host("as a test asked".into()))];
    let refusal = prop_oneof![3 => Just(None), 1 => (0..8_usize, errors).prop_map(Some)];
    prop_oneof![
        12 => (vec(edit(), 1..4), vec(announce(), 1..6), refusal)
            .prop_map(|(edits, announced, refusal)| Step::Segment { edits, announced, refusal }),
        2 => (0..FUNCTIONS.len(), any::<bool>())
            .prop_map(|(function, on)| Step::BusMaster { function, on }),
        1 => any::<bool>().prop_map(Step::Translation),
        1 => any::<bool>().prop_map(Step::Protection),
        2 => Just(Step::Settle),
    ]
}

fn address(page: usize) -> u64 {
    BASE + page as u64 * PAGE
}

fn probes() -> impl Iterator<Item = usize> {
    PROBES.into_iter().flatten()
}

/// All that a function may reach at this moment: what was true at some time since it was last announced. The last
/// of each list is what is true now.
struct Model {
    /// What each page of each table leads to.
    tables: Vec<Vec<Option<Meaning>>>,
    /// By table, domain and page.
    views: Vec<Vec<Vec<Vec<Option<Meaning>>>>>,
    contexts: Vec<Vec<Context>>,
    translating: Vec<bool>,
    protecting: Vec<bool>,
    /// Whether the function may send anything.
    sends: Vec<bool>,
    /// The host has refused something, and may not have been asked again.
    doubtful: bool,
}

impl Model {
    fn new() -> Self {
        Self {
            tables: vec![vec![None; PAGES]; TABLES],
            views: vec![vec![vec![vec![None]; PAGES]; DOMAINS.len()]; TABLES],
            contexts: vec![vec![Context::Absent]; FUNCTIONS.len()],
            translating: vec![true],
            protecting: vec![false],
            sends: vec![true; FUNCTIONS.len()],
            doubtful: false,
        }
    }

    fn set(&mut self, table: usize, page: usize, meaning: Option<Meaning>) {
        self.tables[table][page] = meaning;
        for of_domain in &mut self.views[table] {
            let view = &mut of_domain[page];
            if view.last() != Some(&meaning) {
                view.push(meaning);
            }
        }
    }

    /// An announcement of pages under a domain has been carried out.
    fn settle_pages(&mut self, domain: u16, pages: Range<usize>) {
        let index = DOMAINS.iter().position(|other| *other == domain).unwrap();
        for (table, views) in self.views.iter_mut().enumerate() {
            for page in pages.clone() {
                views[index][page] = vec![self.tables[table][page]];
            }
        }
    }

    fn settle_all_pages(&mut self) {
        for domain in DOMAINS {
            self.settle_pages(domain, 0..PAGES);
        }
    }

    fn settle_function(&mut self, function: usize) {
        let contexts = &mut self.contexts[function];
        contexts.drain(..contexts.len() - 1);
    }

    fn settle_everything(&mut self) {
        self.settle_all_pages();
        (0..FUNCTIONS.len()).for_each(|function| self.settle_function(function));
        self.translating.drain(..self.translating.len() - 1);
        self.protecting.drain(..self.protecting.len() - 1);
    }

    /// Whether nothing is unannounced.
    fn is_settled(&self) -> bool {
        self.contexts.iter().all(|contexts| contexts.len() == 1)
            && self.views.iter().flatten().flatten().all(|view| view.len() == 1)
    }

    fn identity(page: usize, protecting: bool) -> Option<Meaning> {
        (!protecting || !PROTECTED.contains(&address(page))).then_some((address(page), BOTH))
    }

    /// Whether a function may reach this at the moment.
    fn allows(&self, function: usize, page: usize, meaning: Meaning) -> bool {
        let identity =
            || self.protecting.iter().any(|protecting| Self::identity(page, *protecting) == Some(meaning));
        self.translating.contains(&false) && identity()
            || self.translating.contains(&true)
                && self.contexts[function].iter().any(|context| match *context {
                    Context::Absent => false,
                    Context::PassThrough { .. } => identity(),
                    Context::Translated { table, domain } => {
                        let index = DOMAINS.iter().position(|other| *other == domain).unwrap();
                        self.views[table][index][page].contains(&Some(meaning))
                    }
                })
    }

    /// What the functions of a group ask for together, if they agree: as a context that is not absent.
    fn wish(&self, group: usize) -> Context {
        let members = || (0..FUNCTIONS.len()).filter(|function| FUNCTIONS[*function].1 == group);
        let anyone_sends = members().any(|function| self.sends[function]);
        let wish_of = |function: usize| match *self.contexts[function].last().unwrap() {
            _ if !self.translating.last().unwrap() && self.sends[function] => {
                Context::PassThrough { domain: 0 }
            }
            _ if !self.translating.last().unwrap() => Context::Absent,
            Context::PassThrough { .. } if self.sends[function] => Context::PassThrough { domain: 0 },
            Context::PassThrough { .. } => Context::Absent,
            context => context,
        };
        let mut wishes = members().filter(|function| self.sends[*function] || !anyone_sends).map(wish_of);
        let first = wishes.next().unwrap();
        if wishes.all(|wish| wish == first) { first } else { Context::Absent }
    }

    /// What a group reaches when all is announced and nothing refused.
    fn expected(&self, group: usize, page: usize) -> Option<Meaning> {
        match self.wish(group) {
            Context::Absent => None,
            Context::PassThrough { .. } => Self::identity(page, *self.protecting.last().unwrap()),
            Context::Translated { table, .. } => {
                self.tables[table][page].filter(|(target, _)| *target < RAM[0].end)
            }
        }
    }

    /// Nobody reaches what he may not.
    fn check(&self, reach: &Reach) {
        for group in 0..GROUPS {
            let members: Vec<_> =
                (0..FUNCTIONS.len()).filter(|function| FUNCTIONS[*function].1 == group).collect();
            for page in probes() {
                let Some(meaning) = reach.of(group, address(page)) else { continue };
                for &function in &members {
                    assert!(
                        !self.sends[function] && members.len() > 1 || self.allows(function, page, meaning),
                        "function {function} reaches {meaning:x?} by page {page}"
                    );
                }
            }
        }
    }

    /// Nothing is taken away from a table's space that could stay.
    fn check_needed(&self, act: &Act, gone: &[iommu::Extent], reach: &Reach) {
        let Act::Unmap { space, .. } = *act else { return };
        let group = (0..GROUPS).find(|group| reach.place(*group) == Some(space));
        let Some(Context::Translated { table, .. }) = group.map(|group| self.wish(group)) else { return };
        if self.doubtful || !self.is_settled_but_for_pages() {
            return;
        }
        for extent in gone {
            let first = (extent.iova.0 - BASE) / PAGE;
            let changed = |index: u64| {
                let meaning = (extent.guest.0 + index * PAGE, extent.permissions);
                self.tables[table][(first + index) as usize] != Some(meaning)
            };
            assert!((0..extent.length / PAGE).any(changed), "{extent:?} was taken away for nothing");
        }
    }

    /// The unit's own opinion when it completed the queue: what is mapped is what may be, but for what has not been
    /// announced, or was refused.
    fn check_audit(&self, found: &[GroupAudit]) {
        if self.is_settled() {
            assert!(found.iter().all(|group| group.audit.excess.is_empty()), "{found:?}");
            let all_there = found.iter().all(|group| group.audit.missing.is_empty());
            assert!(self.doubtful || all_there, "{found:?}");
        }
    }

    fn is_settled_but_for_pages(&self) -> bool {
        self.contexts.iter().all(|contexts| contexts.len() == 1)
            && self.translating.len() == 1
            && self.protecting.len() == 1
    }
}

/// The guest, and its functions.
struct Driver {
    machine: Machine,
    world: World,
    model: Arc<Mutex<Model>>,
    tables: Vec<Table>,
    devices: Vec<Arc<Device>>,
    attachments: Vec<Attachment>,
    /// Where the entry of each function is, in scalable mode.
    entries: Option<Vec<u64>>,
    /// What the unit has found when it last completed a queue.
    audited: Arc<Mutex<Vec<GroupAudit>>>,
}

impl Driver {
    fn new(scalable: bool, movable: [bool; GROUPS]) -> Self {
        let capabilities = if scalable {
            Capabilities::new(Profile::SecondStage, 48)
        } else {
            let builder = Capabilities::builder(Profile::Legacy, 48);
            builder.with(Feature::ProtectedLowMemory).build().unwrap()
        };
        let machine = Machine::with(capabilities);
        let world = World::new(&RAM);
        let iommu = world.iommu();
        let groups = movable.map(|movable| {
            let (_, dma) = if movable { world.movable(&iommu) } else { world.fixed() };
            let ram = RAM.iter().map(|range| (GuestAddress(range.start), range.end - range.start)).collect();
            machine.unit.group(dma, ram)
        });
        let entries =
            scalable.then(|| FUNCTIONS.map(|(source, _)| scalable_entry(&machine, source)).to_vec());
        let tables = (0..TABLES).map(|_| machine.guest.table(4)).collect();
        let model = Arc::new(Mutex::new(Model::new()));
        machine.bring_up();
        let (mut devices, mut attachments) = (Vec::new(), Vec::new());
        for (source, group) in FUNCTIONS {
            let device = Device::new(source);
            device.set_bus_master(true);
            attachments.push(machine.unit.attach(device.clone(), &groups[group]));
            devices.push(device);
        }
        let watching = model.clone();
        world.observe(move |act, gone, reach| {
            let model = watching.lock().unwrap();
            model.check(reach);
            model.check_needed(act, gone, reach);
        });
        let audited = Arc::<Mutex<Vec<GroupAudit>>>::default();
        let last = audited.clone();
        machine.unit.audit_always(move |found| *last.lock().unwrap() = found.to_vec());
        Self { machine, world, model, tables, devices, attachments, entries, audited }
    }

    fn change<R>(&self, change: impl FnOnce(&mut Model) -> R) -> R {
        change(&mut self.model.lock().unwrap())
    }

    fn edit(&self, edit: &Edit) {
        let guest = &self.machine.guest;
        match *edit {
            Edit::Pages { table, first, count, to } => {
                for page in first..first + count {
                    let meaning = to.map(|(shift, permissions)| (target_of(page, shift), permissions));
                    self.change(|model| model.set(table, page, meaning));
                    match meaning {
                        Some((target, permissions)) => {
                            guest.map(&self.tables[table], address(page), target, PAGE, permissions);
                        }
                        None => guest.unmap(&self.tables[table], address(page), PAGE),
                    }
                }
            }
            Edit::Large { table, slot, to } => {
                let pages = slot * SLOT_PAGES..(slot + 1) * SLOT_PAGES;
                let start = pages.start;
                for page in pages {
                    let meaning = to.map(|(shift, permissions)| (target_of(page, shift), permissions));
                    self.change(|model| model.set(table, page, meaning));
                }
                match to {
                    Some((shift, permissions)) => guest.map(
                        &self.tables[table],
                        address(start),
                        target_of(start, shift),
                        PAGE_2M,
                        permissions,
                    ),
                    None => guest.unmap(&self.tables[table], address(start), PAGE_2M),
                }
            }
            Edit::Context { function, context } => {
                self.change(|model| model.contexts[function].push(context));
                self.write_context(function, context);
            }
        }
    }

    fn write_context(&self, function: usize, context: Context) {
        let guest = &self.machine.guest;
        let source = FUNCTIONS[function].0;
        let Some(entries) = &self.entries else {
            return match context {
                Context::Absent => guest.clear_context(source),
                Context::Translated { table, domain } => {
                    guest.set_domain(source, &self.tables[table], domain);
                }
                Context::PassThrough { domain } => guest.set_pass_through(source, domain),
            };
        };
        // A PASID entry: the domain while it is not present, then what makes it so.
        let entry = entries[function];
        guest.write(entry, 0);
        guest.write(entry + 8, context.domain().into());
        match context {
            Context::Absent => {}
            Context::Translated { table, .. } => {
                guest.write(entry, self.tables[table].root | 2 << 6 | 2 << 2 | 1);
            }
            Context::PassThrough { .. } => guest.write(entry, 4 << 6 | 2 << 2 | 1),
        }
    }

    /// The descriptors of an announcement, and what is settled when they have been carried out.
    fn announce(&self, announced: &Announce, edits: &[Edit]) -> (Vec<Descriptor>, Vec<Settled>) {
        match *announced {
            Announce::Edit(index) => match &edits[index % edits.len()] {
                Edit::Pages { first, count, .. } => pages_of(*first..first + count),
                Edit::Large { slot, .. } => pages_of(slot * SLOT_PAGES..(slot + 1) * SLOT_PAGES),
                Edit::Context { function, .. } => self.entry_of(*function),
            },
            Announce::Domain(domain) => (vec![iotlb_domain(domain)], vec![Settled::Pages(domain, 0..PAGES)]),
            Announce::Global => {
                let settled = DOMAINS.map(|domain| Settled::Pages(domain, 0..PAGES));
                (vec![IOTLB_GLOBAL], settled.to_vec())
            }
            Announce::Contexts => {
                let global = if self.entries.is_some() { PASID_CACHE_GLOBAL } else { CONTEXT_GLOBAL };
                (vec![global], (0..FUNCTIONS.len()).map(Settled::Function).collect())
            }
            Announce::ContextsOf(domain) => {
                let descriptor = match self.entries {
                    Some(_) => [7 | u64::from(domain) << 16, 0],
                    None => [1 | 2 << 4 | u64::from(domain) << 16, 0],
                };
                (vec![descriptor], (0..FUNCTIONS.len()).map(|one| Settled::FunctionOf(one, domain)).collect())
            }
            Announce::Function(function) => self.entry_of(function),
        }
    }

    fn entry_of(&self, function: usize) -> (Vec<Descriptor>, Vec<Settled>) {
        let contexts = self.change(|model| model.contexts[function].clone());
        let descriptors = match self.entries {
            // By all that it has said, and by what it says.
            Some(_) => contexts.iter().map(|context| pasid_cache(context.domain(), 0)).collect(),
            None => vec![context_device(contexts[0].domain(), FUNCTIONS[function].0)],
        };
        (descriptors, vec![Settled::Function(function)])
    }

    fn make(&mut self, step: &Step) {
        match step {
            Step::Segment { edits, announced, refusal } => {
                for edit in edits {
                    self.edit(edit);
                }
                let parts: Vec<_> =
                    announced.iter().map(|announced| self.announce(announced, edits)).collect();
                let descriptors: Vec<_> =
                    parts.iter().flat_map(|(descriptors, _)| descriptors).copied().collect();
                if let Some((nth, error)) = refusal {
                    self.change(|model| model.doubtful = true);
                    let calls = std::iter::repeat_n(None, *nth).chain([Some(error.clone())]);
                    self.world.refuse_next(calls);
                }
                self.machine.submit(&descriptors);
                self.world.refuse_next([]);
                for settled in parts.into_iter().flat_map(|(_, settled)| settled) {
                    self.change(|model| settled.apply(model));
                }
            }
            Step::BusMaster { function, on } => {
                // The hardware is let go after the mappings are there, and stopped before they go.
                if !on {
                    self.change(|model| model.sends[*function] = false);
                }
                self.devices[*function].set_bus_master(*on);
                let alone = FUNCTIONS.iter().filter(|other| other.1 == FUNCTIONS[*function].1).count() == 1;
                if alone {
                    self.change(|model| model.sends[*function] = *on);
                }
                self.attachments[*function].refresh();
                // What the unit found in its entry counts, so that is settled too.
                self.change(|model| {
                    model.sends[*function] = *on;
                    model.settle_function(*function);
                });
            }
            Step::Translation(on) => {
                self.change(|model| model.translating.push(*on));
                let is_on = self.machine.read(GSTS) & TE != 0;
                match (is_on, on) {
                    (false, true) => self.machine.command(TE),
                    (true, false) => self.machine.switch_translation_off(),
                    _ => {}
                }
                if is_on == *on {
                    self.change(|model| model.translating.truncate(1));
                } else {
                    self.change(Model::settle_everything);
                }
            }
            Step::Protection(on) if self.entries.is_none() => {
                let before = self.machine.read(PMEN) != 0;
                self.machine.write(PLMBASE, PROTECTED.start as u32);
                self.machine.write(PLMLIMIT, (PROTECTED.end - 1) as u32);
                self.change(|model| model.protecting.push(*on));
                self.machine.write(PMEN, u32::from(*on) << 31);
                if before == *on {
                    self.change(|model| model.protecting.truncate(1));
                } else {
                    self.change(Model::settle_everything);
                }
            }
            Step::Protection(_) => {}
            Step::Settle => {
                let global = if self.entries.is_some() { PASID_CACHE_GLOBAL } else { CONTEXT_GLOBAL };
                self.machine.submit(&[global, IOTLB_GLOBAL]);
                self.change(|model| {
                    model.settle_everything();
                    model.doubtful = false;
                });
            }
        }
        self.check();
    }

    /// What is true after every wait.
    fn check(&self) {
        self.world.assert_lawful();
        let reach = self.world.reach();
        self.change(|model| {
            model.check(&reach);
            model.check_audit(&std::mem::take(&mut *self.audited.lock().unwrap()));
            if model.doubtful || !model.is_settled() {
                return;
            }
            for group in 0..GROUPS {
                for page in probes() {
                    let expected = model.expected(group, page);
                    assert_eq!(reach.of(group, address(page)), expected, "group {group}, page {page}");
                }
            }
        });
        let statistics = self.machine.unit.shadow_statistics();
        assert_eq!(statistics.spaces, self.world.spaces() as u64);
        let spaces: std::collections::BTreeSet<_> =
            (0..GROUPS).filter_map(|group| reach.place(group)).collect();
        assert_eq!(spaces.len(), self.world.spaces(), "nobody is in some space");
        let bytes = |space| {
            let group = (0..GROUPS).find(|group| reach.place(*group) == Some(space)).unwrap();
            reach.mappings(group).iter().map(|extent| extent.length).sum::<u64>()
        };
        assert_eq!(statistics.bytes, spaces.into_iter().map(bytes).sum::<u64>());
    }

    fn end(mut self) {
        self.make(&Step::Settle);
        for attachment in &self.attachments {
            let audit = attachment.audit();
            assert!(audit.excess.is_empty() && audit.missing.is_empty(), "{audit:?}");
        }
        // A function that is taken away has no say any more.
        self.world.stop_observing();
        self.attachments.clear();
        assert!((0..GROUPS).all(|group| self.world.mappings(group).is_empty()));
        self.world.assert_lawful();
    }
}

/// What an announcement settles.
#[derive(Clone)]
enum Settled {
    Pages(u16, Range<usize>),
    Function(usize),
    /// If the function was of this domain all the time.
    FunctionOf(usize, u16),
}

impl Settled {
    fn apply(self, model: &mut Model) {
        match self {
            Self::Pages(domain, pages) => model.settle_pages(domain, pages),
            Self::Function(function) => model.settle_function(function),
            Self::FunctionOf(function, domain) => {
                if model.contexts[function].iter().all(|context| context.domain() == domain) {
                    model.settle_function(function);
                }
            }
        }
    }
}

fn target_of(page: usize, shift: u64) -> u64 {
    TARGET + page as u64 * PAGE + shift
}

/// Descriptors for a range of pages under every domain, rounded up as Linux does it.
fn pages_of(pages: Range<usize>) -> (Vec<Descriptor>, Vec<Settled>) {
    let first = BASE / PAGE + pages.start as u64;
    let last = BASE / PAGE + pages.end as u64 - 1;
    let mask = (first ^ last).checked_ilog2().map_or(0, |bit| bit + 1);
    let start = first >> mask << mask;
    let descriptors = DOMAINS.map(|domain| iotlb_pages(domain, start * PAGE, 1 << mask, false));
    let settled = DOMAINS.map(|domain| Settled::Pages(domain, pages.clone()));
    (descriptors.to_vec(), settled.to_vec())
}

/// Makes tables of scalable mode for `source`, with an entry of PASID 0 that is not present; gives where that is.
fn scalable_entry(machine: &Machine, source: SourceId) -> u64 {
    let guest = &machine.guest;
    let root = guest.root + u64::from(source.bus()) * 16;
    if guest.read(root) == 0 {
        guest.write(root, guest.page() | 1);
    }
    let [directory, pasids] = [(); 2].map(|()| guest.page());
    guest.write(directory, pasids | 1);
    let context = (guest.read(root) & !0xFFF) + u64::from(source.devfn()) * 32;
    guest.write(context, directory | 1);
    pasids
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn no_function_ever_reaches_what_its_tables_have_not_allowed(
        scalable in any::<bool>(),
        movable in any::<[bool; GROUPS]>(),
        steps in vec(step(), 1..24),
    ) {
        let mut driver = Driver::new(scalable, movable);
        for step in steps {
            driver.make(&step);
        }
        driver.end();
    }
}
