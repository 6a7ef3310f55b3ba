//! Tables by what is remembered of them, or else by a walk, which is remembered.

use super::{DmaRemapping, Look};
use crate::cache::tag::{FirstStageTag, Tag};
use crate::spec::counters::Event;
use crate::spec::fault::FaultReason;
use crate::spec::second_stage::Level;
use crate::walk::{
    AddressSpace, Demand, Fault, Found, Inner, Leaf, Mapping, View, first_stage, legacy, nested, scalable,
    second_stage,
};
use crate::{DomainId, Iova, Pasid, SourceId, TableMemory};

/// Where a page is to be looked for.
#[derive(Clone, Copy)]
struct Place {
    tag: Tag,
    /// The topmost level of the table.
    top: Level,
    /// Whether the address is one that the table can translate at all; a walk finds the fault if not. One
    /// domain may serve tables of different widths: what one of them reaches is no business of others.
    covered: bool,
}

impl Place {
    #[inline]
    fn second_stage(domain: DomainId, table: &second_stage::Table, iova: Iova) -> Self {
        Self { tag: Tag::SecondStage(domain), top: table.top, covered: table.covers(iova) }
    }

    #[inline]
    fn first_stage(space: &AddressSpace, table: &first_stage::Table, iova: Iova) -> Self {
        let tag = Tag::FirstStage(space.domain, FirstStageTag::new(space.pasid, table));
        Self { tag, top: table.top, covered: table.covers(iova) }
    }

    #[inline]
    fn nested(space: &AddressSpace, first: &first_stage::Table, iova: Iova) -> Self {
        let tag = Tag::Nested(space.domain, FirstStageTag::new(space.pasid, first));
        Self { tag, top: first.top, covered: first.covers(iova) }
    }
}

/// What is remembered is used where it lies: an address space has many small parts, and moving it about takes
/// longer than finding it.
impl<M: TableMemory> DmaRemapping<M> {
    /// Does `work` with the context of a requester in legacy mode.
    #[inline]
    pub(super) fn with_legacy_context<R>(
        &self,
        look: Look,
        view: &View,
        source: SourceId,
        work: impl FnOnce(&legacy::Context) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let found;
        look.note(Event::ContextLookup);
        let remembered = self.caches.contexts.legacy(source);
        let context = if let Some(context) = &remembered {
            look.note(Event::ContextHit);
            context
        } else {
            found = legacy::context(view, &self.tables(look), source)?;
            if let Some(mut change) = self.caches.fill(look.epoch) {
                self.caches.contexts.fill_legacy(&mut change, source, &found);
            }
            &found
        };
        work(context)
    }

    /// Does `work` with the context of a requester in scalable mode.
    #[inline]
    pub(super) fn with_scalable_context<R>(
        &self,
        look: Look,
        view: &View,
        source: SourceId,
        work: impl FnOnce(&scalable::Context) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let found;
        look.note(Event::ContextLookup);
        let remembered = self.caches.contexts.scalable(source);
        let context = if let Some(context) = &remembered {
            look.note(Event::ContextHit);
            context
        } else {
            found = scalable::context(view, &self.tables(look), source)?;
            if let Some(mut change) = self.caches.fill(look.epoch) {
                self.caches.contexts.fill_scalable(&mut change, source, &found);
            }
            &found
        };
        work(context)
    }

    /// Does `work` in the address space of a PASID that `context` has given.
    #[inline]
    pub(super) fn with_pasid<R>(
        &self,
        look: Look,
        view: &View,
        source: SourceId,
        context: &scalable::Context,
        pasid: Pasid,
        work: impl FnOnce(&AddressSpace) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let found;
        look.note(Event::PasidLookup);
        let remembered = self.caches.pasids.get(source, pasid);
        let space = if let Some(space) = &remembered {
            look.note(Event::PasidHit);
            space
        } else {
            found = scalable::address_space(view, &self.tables(look), context, pasid)?;
            if let Some(mut change) = self.caches.fill(look.epoch) {
                self.caches.pasids.fill(&mut change, source, pasid, &found);
            }
            &found
        };
        work(space)
    }

    /// The page that `iova` lies in, if it is remembered and `demand` may use it. One that does not allow the
    /// request is no answer: the tables may have come to allow more, or it has to be marked dirty.
    #[inline]
    pub(super) fn remembered(
        &self,
        look: Look,
        space: &AddressSpace,
        iova: Iova,
        demand: Demand,
    ) -> Option<Leaf> {
        let place = match &space.mapping {
            Mapping::PassThrough => return None,
            Mapping::SecondStage(table) => Place::second_stage(space.domain, table, iova),
            Mapping::FirstStage(table) => Place::first_stage(space, table, iova),
            Mapping::Nested(first, _) => Place::nested(space, first, iova),
        };
        self.page(look, place, iova, demand)
    }

    #[inline]
    fn page(
        &self,
        look: Look,
        Place { tag, covered, .. }: Place,
        iova: Iova,
        demand: Demand,
    ) -> Option<Leaf> {
        if !covered {
            return None;
        }
        look.note(Event::IotlbLookup);
        let leaf = self.caches.iotlb.get(tag, iova).filter(|leaf| demand.met_by(leaf.rights))?;
        look.note(Event::IotlbHit);
        Some(leaf)
    }

    /// The page that `iova` lies in, by a walk, if `demand` may use it; none where addresses pass through.
    #[inline(never)]
    pub(super) fn find(
        &self,
        look: Look,
        space: &AddressSpace,
        iova: Iova,
        demand: Demand,
    ) -> Result<Option<Leaf>, FaultReason> {
        let (memory, capabilities) = (&self.tables(look), &self.capabilities);
        let leaf = match &space.mapping {
            Mapping::PassThrough => return Ok(None),
            Mapping::SecondStage(table) => self.find_second_stage(look, space.domain, table, iova, demand)?,
            Mapping::FirstStage(table) => {
                self.walk(look, Place::first_stage(space, table, iova), iova, |start| {
                    table.walk(memory, &first_stage::Memory, capabilities, iova, demand, start)
                })?
            }
            Mapping::Nested(first, second) => {
                let second = |iova, demand| {
                    let place = Place::second_stage(space.domain, second, iova);
                    match self.page(look, place, iova, demand) {
                        Some(leaf) => Ok(leaf),
                        None => self.find_second_stage(look, space.domain, second, iova, demand),
                    }
                };
                self.walk(look, Place::nested(space, first, iova), iova, |start| {
                    nested::walk(first, second, memory, capabilities, iova, demand, start)
                })?
            }
        };
        Ok(Some(leaf))
    }

    fn find_second_stage(
        &self,
        look: Look,
        domain: DomainId,
        table: &second_stage::Table,
        iova: Iova,
        demand: Demand,
    ) -> Result<Leaf, FaultReason> {
        self.walk(look, Place::second_stage(domain, table, iova), iova, |start| {
            table.walk(&self.tables(look), &self.capabilities, iova, demand, start)
        })
    }

    /// What `walk` finds from where what is remembered of the way ends.
    fn walk(
        &self,
        look: Look,
        Place { tag, top, covered }: Place,
        iova: Iova,
        walk: impl FnOnce(Option<Inner>) -> Result<Found, FaultReason>,
    ) -> Result<Leaf, FaultReason> {
        if !covered {
            return Ok(walk(None)?.leaf);
        }
        let Found { leaf, inner } = walk(self.inner(look, tag, iova))?;
        if let Some(mut change) = self.caches.fill(look.epoch) {
            self.caches.structures.fill(&mut change, tag, iova, top, &inner);
            self.caches.iotlb.fill(&mut change, tag, iova, &leaf);
        }
        Ok(leaf)
    }

    /// Where what is remembered of the way to `iova` ends.
    fn inner(&self, look: Look, tag: Tag, iova: Iova) -> Option<Inner> {
        let (lookup, hit) = match tag {
            Tag::SecondStage(_) => (Event::SecondStageLookup, Event::SecondStageHit),
            Tag::FirstStage(..) | Tag::Nested(..) => (Event::FirstStageLookup, Event::FirstStageHit),
        };
        look.note(lookup);
        let inner = self.caches.structures.get(tag, iova);
        if inner.is_some() {
            look.note(hit);
        }
        inner
    }
}
