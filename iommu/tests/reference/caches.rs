//! What the caches of a unit may hold (§6.2), and what each invalidation takes away (§6.5.2). The model
//! remembers every entry that requests have used until an invalidation names it.

use std::collections::BTreeSet;

use super::legacy;
use super::memory::{Step, Tag};
use super::queue::{Command, ContextScope, IotlbScope, Pages, PasidScope};
use super::scalable::{self, PasidEntry};
use super::second_stage;

/// A context entry that has been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldContext {
    pub source: u16,
    pub context: AnyContext,
    pub fault_processing_disabled: bool,
}

/// A context entry of either mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnyContext {
    Legacy(legacy::Context),
    Scalable(scalable::Context),
}

/// A PASID table entry that has been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldPasid {
    pub source: u16,
    /// The PASID directory that it was found by.
    pub directory: u64,
    pub pasid: u64,
    pub entry: PasidEntry,
    pub fault_processing_disabled: bool,
}

/// Where a walk began: an entry that names page tables, or says that there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tables {
    Legacy(legacy::Context),
    Scalable(PasidEntry),
}

/// Something that went into a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Tables(Tables),
    SecondStage(second_stage::Tables),
    Entry { address: u64, word: u64 },
}

/// A part of what is cached for a region of addresses: of a translation, or of the way down to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    tag: Tag,
    /// In a paging-structure cache, and not in the IOTLB.
    inner: bool,
    /// The region: this many bits lower than its number.
    shift: u32,
    region: u64,
    part: Part,
}

/// One word that a walk has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    pub step: Step,
    pub address: u64,
    pub word: u64,
    /// It may have been in a cache.
    pub held: bool,
}

impl Used {
    fn is_leaf(&self) -> bool {
        self.step.level == 1 || self.word & 1 << 7 != 0
    }

    fn is_present(&self) -> bool {
        self.word & if self.step.tag.pasid.is_some() { 1 } else { 3 } != 0
    }

    /// log2 of what the entry maps.
    fn shift(&self) -> u32 {
        9 * self.step.level + 3
    }
}

/// Everything that may be held.
#[derive(Debug, Default)]
pub struct Caches {
    pub contexts: BTreeSet<HeldContext>,
    pub pasids: BTreeSet<HeldPasid>,
    held: BTreeSet<Held>,
}

impl Caches {
    /// What `part` of the translations of `step` may be instead of what memory says now.
    pub fn parts(&self, step: Step) -> impl Iterator<Item = Part> {
        self.held
            .iter()
            .filter(move |held| held.tag == step.tag && held.region == step.input >> held.shift)
            .map(|held| held.part)
    }

    /// Remembers what walks have used, in the order of their steps; `begun` is what they have begun with.
    pub fn remember(&mut self, begun: &[(Tag, u64, Part)], used: &[Used]) {
        let mut walks: Vec<_> = begun.iter().map(|(tag, input, _)| (*tag, *input)).collect();
        walks.dedup();
        for (tag, input) in walks {
            let tables = begun.iter().filter(|(of, at, _)| (*of, *at) == (tag, input));
            let walk: Vec<_> = used
                .iter()
                .filter(|used| used.is_present() && (used.step.tag, used.step.input) == (tag, input))
                .collect();
            let of_words = walk
                .iter()
                .map(|used| (used.step.level, Part::Entry { address: used.address, word: used.word }));
            let parts: Vec<_> = tables.map(|(.., part)| (u32::MAX, *part)).chain(of_words).collect();
            // The IOTLB's entry, for the page of the request and, if that is larger, for the page found.
            let leaf = walk.iter().find(|used| used.is_leaf()).map_or(12, |used| used.shift());
            for shift in [12, leaf] {
                self.insert(tag, false, shift, input, parts.iter().copied());
            }
            // A paging-structure entry for each table on the way.
            for used in walk.iter().filter(|used| !used.is_leaf()) {
                let above = parts.iter().copied().filter(|(level, _)| *level >= used.step.level);
                self.insert(tag, true, used.shift(), input, above);
            }
        }
    }

    fn insert(
        &mut self,
        tag: Tag,
        inner: bool,
        shift: u32,
        input: u64,
        parts: impl Iterator<Item = (u32, Part)>,
    ) {
        let held = |(_, part)| Held { tag, inner, shift, region: input >> shift, part };
        self.held.extend(parts.map(held));
    }

    /// Forgets everything: translation has been turned off in scalable mode, or a new root table taken with
    /// ESRTPS.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets what a descriptor names.
    pub fn invalidate(&mut self, command: &Command) {
        match *command {
            Command::Context(scope) => self.contexts.retain(|held| !names_context(scope, held)),
            Command::PasidCache(scope) => self.pasids.retain(|held| match scope {
                PasidScope::All => false,
                PasidScope::Domain(domain) => held.entry.domain() != domain,
                PasidScope::One { domain, pasid } => {
                    (held.entry.domain(), held.pasid) != (domain, u64::from(pasid))
                }
            }),
            Command::Iotlb(scope) => self.held.retain(|held| !names(scope, held)),
            Command::InterruptEntries(_) | Command::Wait(_) | Command::Device => {}
        }
    }
}

fn names_context(scope: ContextScope, held: &HeldContext) -> bool {
    let domain_is = |domain| match &held.context {
        AnyContext::Legacy(context) => context.domain == domain,
        // Scalable context entries have no domain, so they are in all.
        AnyContext::Scalable(_) => true,
    };
    match scope {
        ContextScope::All => true,
        ContextScope::Domain(domain) => domain_is(domain),
        ContextScope::Device { source, ignored, domain } => {
            (held.source ^ source) & !ignored == 0 && domain_is(domain)
        }
    }
}

fn names(scope: IotlbScope, held: &Held) -> bool {
    let tag = held.tag;
    let in_pages = |pages: Pages| {
        !(held.inner && pages.leaves_only) && pages.touch(held.region << held.shift, held.shift)
    };
    match scope {
        IotlbScope::All => true,
        IotlbScope::Domain(domain) => tag.domain == domain,
        IotlbScope::Pages { domain, pages } => {
            tag.domain == domain
                && match (tag.pasid, tag.nested) {
                    (None, _) => in_pages(pages),
                    // Which input addresses lead to the pages is not known. What the way down has of the second
                    // stage is held as its own.
                    (Some(_), true) => !held.inner,
                    (Some(_), false) => false,
                }
        }
        IotlbScope::Pasid { domain, pasid } => (tag.domain, tag.pasid) == (domain, Some(pasid)),
        IotlbScope::PasidPages { domain, pasid, pages } => {
            (tag.domain, tag.pasid) == (domain, Some(pasid)) && in_pages(pages)
        }
    }
}
