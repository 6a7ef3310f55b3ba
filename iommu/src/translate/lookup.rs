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
    /// Whether the address is one that the table can translate at all; a walk finds the fault if not.
    covered: bool,
}

impl<M: TableMemory> DmaRemapping<M> {
    pub(super) fn legacy_context(
        &self,
        look: Look,
        view: &View,
        source: SourceId,
    ) -> Result<legacy::Context, Fault> {
        look.note(Event::ContextLookup);
        if let Some(context) = self.caches.contexts.legacy(source) {
            look.note(Event::ContextHit);
            return Ok(context);
        }
        let context = legacy::context(view, &self.tables(look), source)?;
        if let Some(mut change) = self.caches.fill(look.epoch) {
            self.caches.contexts.fill_legacy(&mut change, source, &context);
        }
        Ok(context)
    }

    pub(super) fn scalable_context(
        &self,
        look: Look,
        view: &View,
        source: SourceId,
    ) -> Result<scalable::Context, Fault> {
        look.note(Event::ContextLookup);
        if let Some(context) = self.caches.contexts.scalable(source) {
            look.note(Event::ContextHit);
            return Ok(context);
        }
        let context = scalable::context(view, &self.tables(look), source)?;
        if let Some(mut change) = self.caches.fill(look.epoch) {
            self.caches.contexts.fill_scalable(&mut change, source, &context);
        }
        Ok(context)
    }

    /// The address space of a PASID that `context` has given.
    pub(super) fn pasid_space(
        &self,
        look: Look,
        view: &View,
        source: SourceId,
        context: &scalable::Context,
        pasid: Pasid,
    ) -> Result<AddressSpace, Fault> {
        look.note(Event::PasidLookup);
        if let Some(space) = self.caches.pasids.get(source, pasid) {
            look.note(Event::PasidHit);
            return Ok(space);
        }
        let space = scalable::address_space(view, &self.tables(look), context, pasid)?;
        if let Some(mut change) = self.caches.fill(look.epoch) {
            self.caches.pasids.fill(&mut change, source, pasid, &space);
        }
        Ok(space)
    }

    /// The page that `iova` lies in, if `demand` may use it; none where addresses pass through.
    #[inline]
    pub(super) fn leaf(
        &self,
        look: Look,
        space: &AddressSpace,
        iova: Iova,
        demand: Demand,
    ) -> Result<Option<Leaf>, FaultReason> {
        let leaf = match &space.mapping {
            Mapping::PassThrough => return Ok(None),
            Mapping::SecondStage(table) => self.second_stage_page(look, space.domain, table, iova, demand)?,
            Mapping::FirstStage(table) => self.first_stage_page(look, space, table, iova, demand)?,
            Mapping::Nested(first, second) => self.nested_page(look, space, first, second, iova, demand)?,
        };
        Ok(Some(leaf))
    }

    fn second_stage_page(
        &self,
        look: Look,
        domain: DomainId,
        table: &second_stage::Table,
        iova: Iova,
        demand: Demand,
    ) -> Result<Leaf, FaultReason> {
        let place = Place { tag: Tag::SecondStage(domain), top: table.top, covered: table.covers(iova) };
        self.page(look, place, iova, demand, |start| {
            table.walk(&self.tables(look), &self.capabilities, iova, demand, start)
        })
    }

    fn first_stage_page(
        &self,
        look: Look,
        space: &AddressSpace,
        table: &first_stage::Table,
        iova: Iova,
        demand: Demand,
    ) -> Result<Leaf, FaultReason> {
        let tag = Tag::FirstStage(space.domain, FirstStageTag::new(space.pasid, table));
        let place = Place { tag, top: table.top, covered: table.covers(iova) };
        self.page(look, place, iova, demand, |start| {
            table.walk(&self.tables(look), &first_stage::Memory, &self.capabilities, iova, demand, start)
        })
    }

    fn nested_page(
        &self,
        look: Look,
        space: &AddressSpace,
        first: &first_stage::Table,
        second: &second_stage::Table,
        iova: Iova,
        demand: Demand,
    ) -> Result<Leaf, FaultReason> {
        let tag = Tag::Nested(space.domain, FirstStageTag::new(space.pasid, first));
        let place = Place { tag, top: first.top, covered: first.covers(iova) };
        self.page(look, place, iova, demand, |start| {
            let second = |iova, demand| self.second_stage_page(look, space.domain, second, iova, demand);
            nested::walk(first, second, &self.tables(look), &self.capabilities, iova, demand, start)
        })
    }

    /// The page that `iova` lies in, if `demand` may use it: what is remembered, or else what `walk` finds
    /// from where what is remembered of the way ends. A remembered page that does not allow the request is
    /// no answer: the tables may have come to allow more, or it has to be marked dirty.
    #[inline]
    fn page(
        &self,
        look: Look,
        place: Place,
        iova: Iova,
        demand: Demand,
        walk: impl FnOnce(Option<Inner>) -> Result<Found, FaultReason>,
    ) -> Result<Leaf, FaultReason> {
        let Place { tag, top, covered } = place;
        // One domain may serve tables of different widths; what one of them reaches is no business of others.
        if !covered {
            return Ok(walk(None)?.leaf);
        }
        look.note(Event::IotlbLookup);
        if let Some(leaf) = self.caches.iotlb.get(tag, iova)
            && demand.met_by(leaf.rights)
        {
            look.note(Event::IotlbHit);
            return Ok(leaf);
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
