//! One request through a unit that may use what its caches hold: the model tries every choice between that and
//! what memory says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::discriminant;

use iommu::Request;

use super::bits::field;
use super::caches::{AnyContext, Caches, HeldContext, HeldPasid, Part, Tables, Used};
use super::capability::Caps;
use super::dispatch::{ABORT, LEGACY, SCALABLE};
use super::memory::{Memory, Step, Tag, Words};
use super::second_stage::World;
use super::trace::{Marks, Outcome, Trace, merge};
use super::{bits::mask, legacy, scalable, second_stage};

/// A, D and EA of either stage's entries, which are no difference between two entries.
const MARKS: u64 = 0b11 << 8 | 0b11 << 5 | 1 << 10;
/// D of either stage's.
const DIRTY: u64 = 1 << 9 | 1 << 6;
const ACCESSED: u64 = MARKS & !DIRTY;

/// A permitted outcome, and what has been used to come to it.
#[derive(Clone, Debug)]
pub struct Way {
    pub outcome: Outcome,
    used: Everything,
}

/// What a request has used.
#[derive(Clone, Debug, Default)]
struct Everything {
    context: Option<HeldContext>,
    pasid: Option<HeldPasid>,
    begun: Vec<(Tag, u64, Part)>,
    words: Vec<Used>,
}

/// Which choices to make, and how many there were to choose from.
#[derive(Default)]
struct Script {
    choices: Vec<(usize, usize)>,
    next: usize,
}

impl Script {
    fn choose(&mut self, among: usize) -> usize {
        if self.next == self.choices.len() {
            self.choices.push((0, among));
        }
        self.next += 1;
        self.choices[self.next - 1].0
    }

    /// Goes on to the next choices; tells whether there are any.
    fn advance(&mut self) -> bool {
        self.next = 0;
        while let Some((chosen, among)) = self.choices.last_mut() {
            *chosen += 1;
            if chosen < among {
                return true;
            }
            self.choices.pop();
        }
        false
    }
}

/// A word, and whether a cache may hold it.
type Choice = (u64, bool);

/// Memory and caches, with choices made.
struct Remembered<'a> {
    memory: &'a Memory,
    caches: &'a Caches,
    script: RefCell<Script>,
    /// What has been looked up, since that does not depend on choices.
    known: RefCell<BTreeMap<(u64, Step), Vec<Choice>>>,
    begun: RefCell<Vec<(Tag, u64, Part)>>,
    words: RefCell<Vec<Used>>,
}

impl Words for Remembered<'_> {
    fn read(&self, address: u64) -> Option<u64> {
        self.memory.read(address)
    }

    fn entry(&self, address: u64, step: Step) -> Option<u64> {
        let mut known = self.known.borrow_mut();
        let words = known.entry((address, step)).or_insert_with(|| self.words_of(address, step));
        let (word, held) = *words.get(self.choose(words.len()))?;
        self.words.borrow_mut().push(Used { step, address, word, held });
        Some(word)
    }

    fn second_stage(&self, tables: second_stage::Tables, input: u64) -> second_stage::Tables {
        let tag = tables.tag();
        match self.begin(tag, input, Part::SecondStage(tables)) {
            Part::SecondStage(held) => {
                // The flags are no part of what is found by the tag.
                let second_stage::Tables { marks, snoops, .. } =
                    if self.choose(1 + usize::from(held != tables)) == 0 { tables } else { held };
                second_stage::Tables { marks, snoops, ..held }
            }
            _ => unreachable!("parts are chosen among those of a kind"),
        }
    }
}

impl Remembered<'_> {
    /// What an entry may be.
    fn words_of(&self, address: u64, step: Step) -> Vec<Choice> {
        let mut words: Vec<_> = self.memory.read(address).into_iter().map(|word| (word, false)).collect();
        for part in self.caches.parts(step) {
            match part {
                Part::Entry { address: at, word: held } if at == address => {
                    for (word, is_held) in &mut words {
                        *is_held |= (*word ^ held) & !MARKS == 0;
                    }
                    if !words.iter().any(|(word, _)| *word == held) {
                        words.push((held, true));
                    }
                }
                _ => {}
            }
        }
        words
    }

    fn choose(&self, among: usize) -> usize {
        if among < 2 { 0 } else { self.script.borrow_mut().choose(among) }
    }

    /// The context entry in memory, or one that is held.
    fn context(&self, caps: &Caps, trace: &mut Trace, root: u64, source: u16) -> Option<AnyContext> {
        let held: Vec<_> = self.caches.contexts.iter().filter(|held| held.source == source).collect();
        let chosen = self.choose(held.len() + 1);
        if chosen > 0 {
            trace.fault_processing_disabled |= held[chosen - 1].fault_processing_disabled;
            return Some(held[chosen - 1].context);
        }
        let world = World { memory: self, caps };
        let tables = root & mask(63, 12);
        match field(root, 11, 10) {
            LEGACY => legacy::context(world, trace, tables, source, false).map(AnyContext::Legacy),
            SCALABLE if caps.scalable() => {
                scalable::context(world, trace, tables, source).map(AnyContext::Scalable)
            }
            ABORT if caps.abort_mode() => {
                trace.abort();
                None
            }
            _ => trace.stop(&[0x30]),
        }
    }

    /// The PASID table entry in memory, or one that is held.
    fn pasid(
        &self,
        caps: &Caps,
        trace: &mut Trace,
        context: &scalable::Context,
        (source, pasid): (u16, u64),
    ) -> Option<HeldPasid> {
        let directory = context.directory;
        let fits =
            |held: &&HeldPasid| held.pasid == pasid && (held.source == source || held.directory == directory);
        let held: Vec<_> = self.caches.pasids.iter().filter(fits).collect();
        let chosen = self.choose(held.len() + 1);
        if chosen > 0 {
            trace.fault_processing_disabled |= held[chosen - 1].fault_processing_disabled;
            return Some(HeldPasid { source, directory, ..*held[chosen - 1] });
        }
        let world = World { memory: self, caps };
        let entry = scalable::pasid_entry(world, trace, context, pasid)?;
        let fault_processing_disabled = trace.fault_processing_disabled;
        Some(HeldPasid { source, directory, pasid, entry, fault_processing_disabled })
    }

    /// What the translations with `tag` begin with: `part`, or another of its kind that did.
    fn begin(&self, tag: Tag, input: u64, part: Part) -> Part {
        let mut all = vec![part];
        for held in self.caches.parts(Step { tag, input, level: u32::MAX }) {
            if discriminant(&held) == discriminant(&part) && !all.contains(&held) {
                all.push(held);
            }
        }
        let part = all[self.choose(all.len())];
        self.begun.borrow_mut().push((tag, input, part));
        part
    }

    /// One request, with the choices of the script.
    fn judge(
        &self,
        caps: &Caps,
        trace: &mut Trace,
        used: &mut Everything,
        (root, request): (u64, &Request),
        (address, length): (u64, u64),
    ) -> Option<()> {
        let mode = field(root, 11, 10);
        let source = request.source.0;
        if mode == LEGACY && request.pasid.is_some() {
            return trace.stop(&[0x31]);
        }
        let context = self.context(caps, trace, root, source)?;
        let fault_processing_disabled = trace.fault_processing_disabled;
        used.context = Some(HeldContext { source, context, fault_processing_disabled });
        let world = World { memory: self, caps };
        match context {
            AnyContext::Legacy(context) => {
                let tag = Tag { domain: context.domain, pasid: None, nested: false };
                let tables = self.begin(tag, address, Part::Tables(Tables::Legacy(context)));
                let Part::Tables(Tables::Legacy(context)) = tables else { return None };
                legacy::translate(world, trace, &context, request, address, length)
            }
            AnyContext::Scalable(context) => {
                context.accept(trace, request, false)?;
                let pasid = context.pasid_of(request);
                let held = self.pasid(caps, trace, &context, (source, pasid))?;
                used.pasid = Some(held);
                let rights = context.rights_of(request);
                held.entry.accept(trace, request, rights)?;
                let tag = held.entry.tag(pasid);
                let tables = self.begin(tag, address, Part::Tables(Tables::Scalable(held.entry)));
                let Part::Tables(Tables::Scalable(entry)) = tables else { return None };
                entry.translate(world, trace, tag, request, rights, (address, length))
            }
        }
    }
}

/// More ways than this are too many to tell a right one from a wrong one.
const TOO_MANY: usize = 1000;

/// Every way in which a request may end with the root table address register `root`; none if there are too many.
pub fn judge(
    memory: &Memory,
    caps: &Caps,
    caches: &Caches,
    root: u64,
    request: &Request,
    wanted: (u64, u64),
) -> Option<Vec<Way>> {
    let run = Remembered {
        memory,
        caches,
        script: RefCell::default(),
        known: RefCell::default(),
        begun: RefCell::default(),
        words: RefCell::default(),
    };
    let mut ways: Vec<Way> = Vec::new();
    // What the unit may have marked before it found that it has to look again.
    let mut redone = Marks::new();
    for _ in 0..TOO_MANY {
        let (mut trace, mut used) = (Trace::default(), Everything::default());
        run.judge(caps, &mut trace, &mut used, (root, request), wanted);
        used.words = run.words.take();
        used.begun = run.begun.take();
        for outcome in trace.outcomes {
            match settle(memory, outcome, &used.words) {
                Ok(outcome) => ways.push(Way { outcome, used: used.clone() }),
                Err(marks) => redone.extend(marks),
            }
        }
        if !run.script.borrow_mut().advance() {
            for way in &mut ways {
                merge(&mut way.outcome.may, &redone);
            }
            return Some(ways);
        }
    }
    None
}

/// Takes out of an outcome the bits that are set already. An entry that is held need not be marked as accessed
/// again; one that memory has no longer cannot become dirty, so there the unit has to look again, after what it
/// has marked.
fn settle(memory: &Memory, mut outcome: Outcome, words: &[Used]) -> Result<Outcome, Marks> {
    for used in words {
        let now = memory.read(used.address).unwrap_or(0);
        let is_stale = |used: &Used| (now ^ used.word) & !MARKS != 0;
        let mut uses = words.iter().filter(|other| other.address == used.address);
        if uses.clone().all(is_stale) {
            let bits = outcome.must.remove(&used.address).unwrap_or(0);
            if bits & DIRTY != 0 {
                outcome.must.insert(used.address, bits | ACCESSED);
                return Err(outcome.must);
            }
            outcome.may.remove(&used.address);
        } else if let Some(bits) = outcome.must.get_mut(&used.address) {
            *bits &= !now;
            if uses.any(|used| used.held) {
                *outcome.may.entry(used.address).or_default() |= *bits & ACCESSED;
                *bits &= !ACCESSED;
            }
        }
    }
    Ok(outcome)
}

impl Caches {
    /// Remembers what a way has used, after the unit has set its bits in memory.
    pub fn remember_way(&mut self, memory: &Memory, way: &Way) {
        let Everything { context, pasid, begun, words } = &way.used;
        self.contexts.extend(context);
        self.pasids.extend(pasid);
        let marked = |used: &Used| {
            let now = memory.read(used.address).unwrap_or(0);
            let same = (now ^ used.word) & !MARKS == 0;
            Used { word: if same { now } else { used.word }, ..*used }
        };
        let words: Vec<_> = words.iter().map(marked).collect();
        self.remember(begun, &words);
    }
}
