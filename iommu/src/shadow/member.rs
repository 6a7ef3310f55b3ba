//! The functions of a group, and what they ask for together.

use std::sync::Arc;

use super::Tables;
use super::group::MemberId;
use super::regime::{Content, Kind, Regime};
use super::report::Hearer;
use super::walked::NamedTable;
use crate::invalidation::Invalidation;
use crate::{AssignedFunction, DomainId, Pasid, TableMemory};

/// An assigned function, and how its DMA was to be treated when it was last looked at.
pub(super) struct Member {
    pub(super) id: MemberId,
    function: Arc<dyn AssignedFunction>,
    regime: Regime,
    /// Whether it may send anything.
    sends: bool,
}

impl Member {
    /// A function that nothing is known of yet.
    pub(super) fn new(id: MemberId, function: Arc<dyn AssignedFunction>) -> Self {
        Self { id, function, regime: Regime::BLOCKED, sends: false }
    }

    /// Looks at it, and at what the tables say of it.
    pub(super) fn look(&mut self, tables: &Tables<impl TableMemory>) {
        self.regime = self.regime_now(tables);
        self.sends = self.function.bus_master();
    }

    /// The same without taking note, as an audit does it.
    pub(super) fn seen(&self, tables: &Tables<impl TableMemory>) -> Self {
        let mut seen = Self::new(self.id, self.function.clone());
        seen.look(tables);
        seen
    }

    /// Looks if an invalidation names it; tells whether it did.
    pub(super) fn hear(&mut self, what: &Invalidation, tables: &Tables<impl TableMemory>) -> bool {
        let named = match *what {
            Invalidation::Everything | Invalidation::ContextGlobal | Invalidation::PasidCacheGlobal => true,
            Invalidation::ContextDomain(domain) => self.is_of(domain),
            Invalidation::ContextDevice { source, mask } => {
                self.function.source_id().0 | mask == source.0 | mask
            }
            Invalidation::PasidCacheDomain(domain) => self.entry_is_of(domain, None, tables),
            Invalidation::PasidCachePasid(domain, pasid) => self.entry_is_of(domain, Some(pasid), tables),
            // What a table says has changed, not which it is.
            Invalidation::IotlbGlobal
            | Invalidation::IotlbDomain(_)
            | Invalidation::IotlbPages { .. }
            | Invalidation::PasidIotlb(..)
            | Invalidation::PasidIotlbPages { .. } => false,
        };
        if named {
            self.look(tables);
        }
        named
    }

    /// Whether invalidations of its translations name this domain.
    pub(super) fn is_of(&self, domain: DomainId) -> bool {
        self.regime.domain == domain
    }

    /// Whether a PASID-cache invalidation names what the tables say now, or what they said: an entry that was not
    /// present is announced by what it says now, one that is replaced by what it said.
    fn entry_is_of(&self, domain: DomainId, pasid: Option<Pasid>, tables: &Tables<impl TableMemory>) -> bool {
        self.regime.is_of(domain, pasid) || self.regime_now(tables).is_of(domain, pasid)
    }

    fn regime_now(&self, tables: &Tables<impl TableMemory>) -> Regime {
        Regime::of(&*self.function, tables)
    }

    /// The function.
    pub(super) fn function(&self) -> &dyn AssignedFunction {
        &*self.function
    }

    /// It as one who is told of what happens to its DMA.
    pub(super) fn hearer(&self) -> Hearer {
        self.hearer_of(None, &self.regime)
    }

    /// The same for requests with a PASID, which are treated by a regime of their own.
    pub(super) fn hearer_of(&self, pasid: Option<Pasid>, regime: &Regime) -> Hearer {
        let &Regime { scalable, recorded, .. } = regime;
        Hearer { source: self.function.source_id(), pasid, scalable, recorded }
    }
}

/// What is to become of a group's DMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is reached.
    Blocked,
    /// Nothing is reached: the host cannot be made to go by the guest's tables.
    Unfollowed,
    /// Nothing is reached: the functions are to be treated differently, and the host cannot tell them apart.
    Contradiction,
    /// This is reached.
    Content(Content),
}

impl Verdict {
    /// What functions ask for together, if the host's unit walks first-stage tables or not. Only those count that
    /// may send something, if there are any; where none may and they differ, nothing needs to be reached.
    pub(super) fn of(members: &[Member], nests: bool) -> Self {
        Self::together(members).possible(nests)
    }

    /// What one regime asks for.
    pub(super) fn of_one(regime: &Regime, nests: bool) -> Self {
        Self::of_regime(regime).possible(nests)
    }

    fn possible(self, nests: bool) -> Self {
        match self {
            // Software does not announce what it adds to a first stage.
            Self::Content(Content::FirstStage(_)) if !nests => Self::Unfollowed,
            verdict => verdict,
        }
    }

    fn together(members: &[Member]) -> Self {
        let anyone_sends = members.iter().any(|member| member.sends);
        let mut said = members
            .iter()
            .filter(|member| member.sends || !anyone_sends)
            .map(|member| Self::of_regime(&member.regime));
        let Some(first) = said.next() else { return Self::Blocked };
        if said.all(|other| other == first) {
            first
        } else if anyone_sends {
            Self::Contradiction
        } else {
            Self::Blocked
        }
    }

    const fn of_regime(regime: &Regime) -> Self {
        match regime.kind {
            Kind::Blocked => Self::Blocked,
            Kind::Unfollowed => Self::Unfollowed,
            Kind::Identity => Self::Content(Content::Identity),
            Kind::Translated(table) => Self::Content(Content::Table(table, regime.domain)),
            Kind::FirstStage(table) => match regime.pasid {
                Some(pasid) => {
                    Self::Content(Content::FirstStage(NamedTable { table, domain: regime.domain, pasid }))
                }
                None => Self::Unfollowed,
            },
        }
    }

    /// What an address space for it has to follow; none if nothing is reached.
    pub(super) const fn content(self) -> Option<Content> {
        match self {
            Self::Content(content) => Some(content),
            Self::Blocked | Self::Unfollowed | Self::Contradiction => None,
        }
    }
}
