//! One group: its functions, and the address space that they are in.

use std::sync::Arc;

use super::Tables;
use super::audit::Audit;
use super::extent::Extent;
use super::group::GroupId;
use super::member::{Member, Verdict};
use super::operation::{Host, Operation, Whom};
use super::pasids::{Named, Pasids};
use super::regime::Content;
use super::report::{Hearer, Report};
use super::space::{AddressSpace, wanted};
use super::spaces::{SpaceKey, Spaces};
use super::statistics::Statistics;
use crate::invalidation::Invalidation;
use crate::{DomainId, HostGroup, HostIommu, MapError, Pasid, TableMemory};

/// A group.
pub(super) struct Assignment {
    pub(super) members: Vec<Member>,
    /// What its functions asked for when they were last looked at.
    verdict: Verdict,
    seat: Seat,
    /// Guest memory, as its address spaces are over.
    identity: Vec<Extent>,
    /// What requests with PASID reach.
    pasids: Pasids,
    moves: u64,
    refused_moves: u64,
}

/// What becomes of the group's DMA.
pub(super) enum Seat {
    /// This space, which is the group's alone, decides, and is changed as the group needs it.
    Own(SpaceKey),
    /// The space that it is in decides.
    Movable {
        iommu: Arc<dyn HostIommu>,
        group: Box<dyn HostGroup>,
        /// None where nothing is reached.
        place: Option<SpaceKey>,
    },
}

impl Seat {
    /// Whether the host's unit walks first-stage tables.
    fn nests(&self) -> bool {
        match self {
            Self::Own(_) => false,
            Self::Movable { iommu, .. } => iommu.nests(),
        }
    }
}

impl Assignment {
    /// A group without functions, which reaches nothing.
    pub(super) fn new(seat: Seat, identity: Vec<Extent>) -> Self {
        let (members, verdict) = (Vec::new(), Verdict::Blocked);
        Self { members, verdict, seat, identity, pasids: Pasids::default(), moves: 0, refused_moves: 0 }
    }

    /// The space that it is in.
    pub(super) const fn place(&self) -> Option<SpaceKey> {
        match self.seat {
            Seat::Own(key) => Some(key),
            Seat::Movable { place, .. } => place,
        }
    }

    /// Whether any of its requests go by this space.
    pub(super) fn is_in(&self, key: SpaceKey) -> bool {
        self.place() == Some(key) || self.pasids.are_in(key)
    }

    /// Whether invalidations of translations under this name are for it.
    pub(super) fn is_of(&self, domain: DomainId) -> bool {
        self.members.iter().any(|member| member.is_of(domain)) || self.pasids.are_of(domain)
    }

    /// All who are told of what happens to requests that go by this space.
    pub(super) fn hearers_in(&self, key: SpaceKey) -> Vec<Hearer> {
        let mut hearers = self.pasids.hearers_in(key, &self.members);
        if self.place() == Some(key) {
            hearers.extend(self.members.iter().map(Member::hearer));
        }
        hearers
    }

    /// Who is told of what happens to requests with `pasid`.
    pub(super) fn hearer_of(&self, pasid: Pasid) -> Option<Hearer> {
        self.pasids.hearer_of(pasid, &self.members)
    }

    /// Looks at the functions that invalidations name, each once; tells whether the group is to try again what
    /// the host has refused it.
    pub(super) fn hear(&mut self, batch: &[Invalidation], tables: &Tables<impl TableMemory>) -> bool {
        let mut looked = false;
        for member in &mut self.members {
            looked |= batch.iter().any(|what| member.hear(what, tables));
        }
        looked
            || batch.iter().any(|what| match *what {
                Invalidation::IotlbGlobal => true,
                Invalidation::IotlbDomain(domain)
                | Invalidation::IotlbPages { domain, .. }
                | Invalidation::PasidIotlb(domain, _)
                | Invalidation::PasidIotlbPages { domain, .. } => self.is_of(domain),
                _ => false,
            })
    }

    /// Puts the group where its functions ask for. If that is where it is already, nothing is touched: the guest
    /// has not said that what its tables map has changed. `again` says whether to ask the host for what it has
    /// refused.
    pub(super) fn settle(
        &mut self,
        whom: Whom,
        again: bool,
        spaces: &mut Spaces,
        tables: &Tables<impl TableMemory>,
        operation: &mut Operation,
    ) {
        let verdict = Verdict::of(&self.members, self.seat.nests());
        let changed = verdict != self.verdict;
        let is_due = changed || again && self.is_left_out();
        if !is_due {
            return;
        }
        self.verdict = verdict;
        let mut report = Report::default();
        match verdict {
            Verdict::Unfollowed => report.unfollowed(),
            Verdict::Contradiction => report.contradicted(),
            Verdict::Blocked | Verdict::Content(_) => {}
        }
        let content = verdict.content();
        match (&self.seat, content) {
            (&Seat::Own(key), _) => {
                operation.on_space(key, |report| spaces.follow(key, content, tables, report));
            }
            (Seat::Movable { .. }, None) => self.block(spaces),
            (Seat::Movable { .. }, Some(content)) => {
                if let Err(error) = self.enter(content, spaces, tables, operation, &mut report) {
                    self.block(spaces);
                    self.refused_moves += 1;
                    // Once for all attempts.
                    if changed {
                        report.move_failed(error);
                    }
                }
            }
        }
        operation.add(whom, report);
    }

    /// Whether it asked for a space and is in none.
    fn is_left_out(&self) -> bool {
        self.place().is_none() && self.verdict.content().is_some()
    }

    /// Comes into the space that follows `content`: it is in line with the tables before the group is in it, and
    /// the one that the group was in goes, if nobody is left there, when the group is out of it.
    fn enter(
        &mut self,
        content: Content,
        spaces: &mut Spaces,
        tables: &Tables<impl TableMemory>,
        operation: &mut Operation,
        report: &mut Report,
    ) -> Result<(), MapError> {
        let Seat::Movable { iommu, group, place } = &mut self.seat else { return Ok(()) };
        let found = spaces.find(iommu, content, &self.identity);
        if found.is_none()
            && let Some(own) = *place
            && spaces.has_one_seat(own)
            && spaces.get(own).and_then(AddressSpace::content).is_some_and(|was| was.maps_like(content))
        {
            // Only the name is new.
            operation.on_space(own, |report| spaces.follow(own, Some(content), tables, report));
            return Ok(());
        }
        let host = Host { iommu, identity: &self.identity };
        let key = operation.prepare(content, host, spaces, tables, report)?;
        let entered = match spaces.id(key) {
            Some(id) => group.enter(id),
            None => Ok(()),
        };
        if let Err(error) = entered {
            spaces.discard_if_empty(key);
            return Err(error);
        }
        self.moves += 1;
        spaces.sit(key);
        if let Some(before) = place.replace(key) {
            spaces.leave(before);
        }
        Ok(())
    }

    /// Puts requests with PASID where the tables ask for, for those PASIDs that are `named`.
    pub(super) fn settle_pasids(
        &mut self,
        id: GroupId,
        named: &Named<'_>,
        spaces: &mut Spaces,
        tables: &Tables<impl TableMemory>,
        operation: &mut Operation,
    ) {
        let Seat::Movable { iommu, group, .. } = &self.seat else { return };
        let host = Host { iommu, identity: &self.identity };
        self.pasids.settle(named, id, &self.members, (host, &**group), spaces, tables, operation);
    }

    /// Leaves a space that cannot be relied on any more.
    pub(super) fn evict(
        &mut self,
        key: SpaceKey,
        error: &MapError,
        id: GroupId,
        spaces: &mut Spaces,
        operation: &mut Operation,
    ) {
        if self.place() == Some(key) {
            self.block(spaces);
            let mut report = Report::default();
            report.move_failed(error.clone());
            operation.add(Whom::Group(id), report);
        }
        if let Seat::Movable { group, .. } = &self.seat {
            self.pasids.evict(key, error, id, &**group, spaces, operation);
        }
    }

    /// Puts a group that can move where nothing is reached.
    fn block(&mut self, spaces: &mut Spaces) {
        let Seat::Movable { group, place, .. } = &mut self.seat else { return };
        group.block();
        if let Some(before) = place.take() {
            spaces.leave(before);
        }
    }

    /// Gives the host back what it made for the group, which has no functions any more.
    pub(super) fn disband(mut self, spaces: &mut Spaces) {
        self.block(spaces);
        match &self.seat {
            Seat::Own(key) => spaces.leave(*key),
            Seat::Movable { group, .. } => self.pasids.leave_all(&**group, spaces),
        }
    }

    /// What the host maps for it, against what the tables say now.
    pub(super) fn audit(&self, spaces: &Spaces, tables: &Tables<impl TableMemory>) -> Audit {
        let seen: Vec<_> = self.members.iter().map(|member| member.seen(tables)).collect();
        let content = Verdict::of(&seen, self.seat.nests()).content();
        let mut audit = compare(self.place(), content, self.is_left_out(), &self.identity, spaces, tables);
        if let Seat::Movable { iommu, .. } = &self.seat {
            let host = Host { iommu, identity: &self.identity };
            for of_pasid in self.pasids.audits(&self.members, host, spaces, tables) {
                audit.extend(of_pasid);
            }
        }
        audit
    }

    /// The numbers of its way from one address space to another.
    pub(super) fn moves(&self) -> Statistics {
        let (moves, refused) = self.pasids.moves();
        Statistics {
            moves: self.moves + moves,
            refused_moves: self.refused_moves + refused,
            ..Statistics::default()
        }
    }

    /// The same with those of the address space that it is in.
    pub(super) fn statistics(&self, spaces: &Spaces) -> Statistics {
        let mut statistics = self.moves();
        if let Some(key) = self.place() {
            statistics += spaces.statistics(key);
        }
        statistics
    }
}

/// What is mapped for requests that are in `place`, against what `content` says now. `is_left_out` says whether the
/// host has refused a place.
pub(super) fn compare(
    place: Option<SpaceKey>,
    content: Option<Content>,
    is_left_out: bool,
    identity: &[Extent],
    spaces: &Spaces,
    tables: &Tables<impl TableMemory>,
) -> Audit {
    let (wanted, _) = wanted(content, identity, tables);
    let walked = place.and_then(|key| spaces.walked(key)).map(|named| named.table);
    let said = content.and_then(Content::first_stage);
    let space = place.and_then(|key| spaces.get(key));
    if walked.is_some() || said.is_some() {
        let mapped = space.map(|space| space.commitment().present());
        return Audit::of_first_stage(walked, said, mapped, &wanted, is_left_out);
    }
    match space {
        Some(space) => Audit::of(space.commitment(), &wanted),
        None => Audit::of_nothing(&wanted, is_left_out),
    }
}
