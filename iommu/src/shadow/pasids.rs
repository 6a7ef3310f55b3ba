//! What requests with PASID reach: each PASID has an address space of its own, and goes its own way from one to
//! another.
//!
//! The host tells apart which PASID a request has, but of a group it cannot tell which function sends it. So PASIDs
//! are followed for a function that is alone in its group, and no others.

use std::collections::{BTreeMap, BTreeSet};

use super::Tables;
use super::assignment::compare;
use super::audit::Audit;
use super::group::GroupId;
use super::member::{Member, Verdict};
use super::operation::{Host, Operation, Whom};
use super::regime::{Content, PASID_LIMIT, Regime, present_pasids};
use super::report::{Hearer, Report};
use super::space::AddressSpace;
use super::spaces::{SpaceKey, Spaces};
use crate::invalidation::Invalidation;
use crate::{AssignedFunction, DomainId, HostGroup, MapError, Pasid, TableMemory};

/// The most second-stage tables that a function's PASIDs are in. One invalidation may have the unit go through all of
/// them; drivers want one or two.
pub(super) const TABLE_LIMIT: usize = 8;

/// The PASIDs of a group that mean anything.
#[derive(Default)]
pub(super) struct Pasids {
    entries: BTreeMap<Pasid, Entry>,
    /// Where the last look at all of them was cut short.
    cut_short: Option<Pasid>,
    moves: u64,
    refused_moves: u64,
}

/// One of them.
struct Entry {
    regime: Regime,
    verdict: Verdict,
    /// None where nothing is reached.
    place: Option<SpaceKey>,
}

/// The PASIDs that there is to look at.
pub(super) enum Named<'a> {
    All,
    /// Those that invalidations name.
    By(&'a [Invalidation]),
}

/// The same, for one function.
enum Looks {
    All,
    At(BTreeSet<Pasid>),
}

impl Named<'_> {
    /// What entries of `function` may have changed. An entry is looked at whatever domain it is announced under: a
    /// unit may forget more than it is told to.
    fn looks(&self, function: Option<&dyn AssignedFunction>) -> Looks {
        let Some(function) = function else { return Looks::All };
        let Self::By(batch) = self else { return Looks::All };
        let mut pasids = BTreeSet::new();
        for what in *batch {
            match *what {
                Invalidation::Everything
                | Invalidation::ContextGlobal
                | Invalidation::ContextDomain(_)
                | Invalidation::PasidCacheGlobal
                | Invalidation::PasidCacheDomain(_) => return Looks::All,
                Invalidation::ContextDevice { source, mask } => {
                    if function.source_id().0 | mask == source.0 | mask {
                        return Looks::All;
                    }
                }
                Invalidation::PasidCachePasid(_, pasid) => {
                    pasids.insert(pasid);
                }
                Invalidation::IotlbGlobal
                | Invalidation::IotlbDomain(_)
                | Invalidation::IotlbPages { .. }
                | Invalidation::PasidIotlb(..)
                | Invalidation::PasidIotlbPages { .. } => {}
            }
        }
        Looks::At(pasids)
    }

    /// Whether to ask the host again for what it has refused a PASID of this domain.
    fn again(&self, of: DomainId) -> bool {
        let Self::By(batch) = self else { return true };
        batch.iter().any(|what| match *what {
            Invalidation::IotlbDomain(domain)
            | Invalidation::IotlbPages { domain, .. }
            | Invalidation::PasidIotlb(domain, _)
            | Invalidation::PasidIotlbPages { domain, .. } => domain == of,
            _ => true,
        })
    }
}

impl Pasids {
    /// Puts every PASID that is `named` where the tables ask for. Where that is where it is already, nothing is
    /// touched.
    #[expect(clippy::too_many_arguments, reason = "It is one step of an operation on everything there is")]
    pub(super) fn settle(
        &mut self,
        named: &Named<'_>,
        id: GroupId,
        members: &[Member],
        (host, group): (Host<'_>, &dyn HostGroup),
        spaces: &mut Spaces,
        tables: &Tables<impl TableMemory>,
        operation: &mut Operation,
    ) {
        let function = sender(members);
        if function.is_none() && self.entries.is_empty() {
            return;
        }
        let mut said: BTreeMap<Pasid, Regime> = BTreeMap::new();
        match (named.looks(function), function) {
            (Looks::All, function) => {
                let found = function.map(|function| present_pasids(function, tables));
                let (present, cut_short) = found.unwrap_or_default();
                if let Some(pasid) = cut_short
                    && self.cut_short != cut_short
                {
                    told_too_many(id, pasid, operation);
                }
                self.cut_short = cut_short;
                said.extend(self.entries.keys().map(|&pasid| (pasid, Regime::BLOCKED)));
                let regimes = function.into_iter().flat_map(|function| {
                    present.iter().map(|&pasid| (pasid, Regime::of_pasid(function, pasid, tables)))
                });
                said.extend(regimes);
            }
            (Looks::At(pasids), Some(function)) => {
                let regime = |pasid| (pasid, Regime::of_pasid(function, pasid, tables));
                said.extend(pasids.into_iter().filter(|pasid| pasid.0 != 0).map(regime));
            }
            (Looks::At(_), None) => {}
        }
        for (&pasid, entry) in &self.entries {
            if entry.is_left_out() && named.again(entry.regime.domain) {
                said.entry(pasid).or_insert(entry.regime);
            }
        }
        // What goes, goes first.
        let (going, staying): (Vec<_>, Vec<_>) = said
            .into_iter()
            .map(|(pasid, regime)| (pasid, regime, Verdict::of_one(&regime, host.iommu.nests())))
            .partition(|(_, _, verdict)| *verdict == Verdict::Blocked);
        for (pasid, ..) in going {
            self.leave(pasid, group, spaces);
        }
        // A table is read before the host is asked, and a host may refuse every PASID.
        let mut refused = 0;
        for (pasid, regime, verdict) in staying {
            let room = if refused < TABLE_LIMIT {
                self.room_for(pasid, verdict, host, spaces)
            } else {
                Err(MapError::Host(format!("the host has refused {TABLE_LIMIT} PASIDs already")))
            };
            if self.entries.len() >= PASID_LIMIT && !self.entries.contains_key(&pasid) {
                told_too_many(id, pasid, operation);
                continue;
            }
            let vacant = Entry { regime, verdict: Verdict::Blocked, place: None };
            let entry = self.entries.entry(pasid).or_insert(vacant);
            let changed = entry.verdict != verdict;
            (entry.regime, entry.verdict) = (regime, verdict);
            if !changed && !entry.is_left_out() {
                continue;
            }
            let mut report = Report::default();
            match verdict.content() {
                None => {
                    entry.vacate(pasid, group, spaces);
                    report.unfollowed();
                }
                Some(content) => {
                    let asked = room.is_ok();
                    let entered = room.and_then(|()| {
                        entry.enter(pasid, content, (host, group), spaces, tables, operation, &mut report)
                    });
                    match entered {
                        Ok(()) => self.moves += 1,
                        Err(error) => {
                            entry.vacate(pasid, group, spaces);
                            self.refused_moves += 1;
                            refused += usize::from(asked);
                            // Once for all attempts.
                            if changed {
                                report.move_failed(error);
                            }
                        }
                    }
                }
            }
            operation.add(Whom::Pasid(id, pasid), report);
        }
    }

    /// Whether `pasid` may have what it asks for, going by the tables that the others are in.
    fn room_for(
        &self,
        pasid: Pasid,
        verdict: Verdict,
        host: Host<'_>,
        spaces: &Spaces,
    ) -> Result<(), MapError> {
        let Some(content @ Content::Table(..)) = verdict.content() else { return Ok(()) };
        let others = self.entries.iter().filter(|(other, _)| **other != pasid);
        let followed: BTreeSet<_> = others
            .filter_map(|(_, entry)| entry.place)
            .filter(|key| spaces.get(*key).is_some_and(AddressSpace::follows_a_table))
            .collect();
        let shared =
            || spaces.find(host.iommu, content, host.identity).is_some_and(|key| followed.contains(&key));
        if followed.len() < TABLE_LIMIT || shared() {
            return Ok(());
        }
        Err(MapError::Host(format!("no more than {TABLE_LIMIT} second-stage tables of PASIDs are followed")))
    }

    /// Takes a PASID from the group: its requests reach nothing.
    fn leave(&mut self, pasid: Pasid, group: &dyn HostGroup, spaces: &mut Spaces) {
        if let Some(mut entry) = self.entries.remove(&pasid) {
            entry.vacate(pasid, group, spaces);
        }
    }

    /// Takes all of them.
    pub(super) fn leave_all(&mut self, group: &dyn HostGroup, spaces: &mut Spaces) {
        for (pasid, mut entry) in std::mem::take(&mut self.entries) {
            entry.vacate(pasid, group, spaces);
        }
    }

    /// Takes those in a space that cannot be relied on any more out of it.
    pub(super) fn evict(
        &mut self,
        key: SpaceKey,
        error: &MapError,
        id: GroupId,
        group: &dyn HostGroup,
        spaces: &mut Spaces,
        operation: &mut Operation,
    ) {
        for (&pasid, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.place == Some(key)) {
            entry.vacate(pasid, group, spaces);
            let mut report = Report::default();
            report.move_failed(error.clone());
            operation.add(Whom::Pasid(id, pasid), report);
        }
    }

    /// Whether any is in this space.
    pub(super) fn are_in(&self, key: SpaceKey) -> bool {
        self.entries.values().any(|entry| entry.place == Some(key))
    }

    /// Whether invalidations of translations under this name are for any.
    pub(super) fn are_of(&self, domain: DomainId) -> bool {
        self.entries.values().any(|entry| entry.regime.domain == domain)
    }

    /// Those who are told of what happens in a space.
    pub(super) fn hearers_in(&self, key: SpaceKey, members: &[Member]) -> Vec<Hearer> {
        let inside = self.entries.iter().filter(|(_, entry)| entry.place == Some(key));
        let hearers = inside.flat_map(|(&pasid, entry)| {
            members.iter().map(move |member| member.hearer_of(Some(pasid), &entry.regime))
        });
        hearers.collect()
    }

    /// The one who is told of what happens to requests with `pasid`.
    pub(super) fn hearer_of(&self, pasid: Pasid, members: &[Member]) -> Option<Hearer> {
        let unknown = Regime { scalable: true, ..Regime::BLOCKED };
        let regime = self.entries.get(&pasid).map_or(unknown, |entry| entry.regime);
        members.first().map(|member| member.hearer_of(Some(pasid), &regime))
    }

    /// What is mapped for each, against what the tables say now.
    pub(super) fn audits(
        &self,
        members: &[Member],
        host: Host<'_>,
        spaces: &Spaces,
        tables: &Tables<impl TableMemory>,
    ) -> Vec<Audit> {
        let function = sender(members);
        let present = function.map(|function| present_pasids(function, tables).0).unwrap_or_default();
        let pasids: BTreeSet<_> = self.entries.keys().copied().chain(present).collect();
        let mut compared = Vec::new();
        for pasid in pasids {
            let regime = function.map_or(Regime::BLOCKED, |it| Regime::of_pasid(it, pasid, tables));
            let content = Verdict::of_one(&regime, host.iommu.nests()).content();
            let entry = self.entries.get(&pasid);
            let comparison =
                (entry.and_then(|entry| entry.place), content, entry.is_some_and(Entry::is_left_out));
            if !compared.contains(&comparison) {
                compared.push(comparison);
            }
        }
        let audit = |(place, content, is_left_out): (Option<SpaceKey>, Option<Content>, bool)| {
            let space = place.and_then(|key| spaces.get(key));
            match content {
                // As many tables as there are PASIDs would take too long to read.
                Some(Content::Table(table, _)) if space.and_then(AddressSpace::content) != content => {
                    Audit::of_table_apart(table, space.map(|space| space.commitment().present()), is_left_out)
                }
                _ => compare(place, content, is_left_out, host.identity, spaces, tables),
            }
        };
        compared.into_iter().map(audit).collect()
    }

    /// How often any went into another address space, and could not.
    pub(super) const fn moves(&self) -> (u64, u64) {
        (self.moves, self.refused_moves)
    }
}

impl Entry {
    /// Whether it asked for a space and is in none.
    fn is_left_out(&self) -> bool {
        self.place.is_none() && self.verdict.content().is_some()
    }

    /// Comes into the space that follows `content`, and out of the one it was in.
    #[expect(clippy::too_many_arguments, reason = "It is one step of an operation on everything there is")]
    fn enter(
        &mut self,
        pasid: Pasid,
        content: Content,
        (host, group): (Host<'_>, &dyn HostGroup),
        spaces: &mut Spaces,
        tables: &Tables<impl TableMemory>,
        operation: &mut Operation,
        report: &mut Report,
    ) -> Result<(), MapError> {
        let key = operation.prepare(content, host, spaces, tables, report)?;
        let entered = spaces.id(key).map_or(Ok(()), |id| group.enter_pasid(pasid, id));
        if let Err(error) = entered {
            spaces.discard_if_empty(key);
            return Err(error);
        }
        spaces.sit(key);
        if let Some(before) = self.place.replace(key) {
            spaces.leave(before);
        }
        Ok(())
    }

    /// Comes out of its space into none.
    fn vacate(&mut self, pasid: Pasid, group: &dyn HostGroup, spaces: &mut Spaces) {
        if let Some(before) = self.place.take() {
            group.leave_pasid(pasid);
            spaces.leave(before);
        }
    }
}

/// The function that sends requests with PASID, if one can be told.
fn sender(members: &[Member]) -> Option<&dyn AssignedFunction> {
    match members {
        [only] if only.function().pasid_bits() > 0 => Some(only.function()),
        _ => None,
    }
}

/// Reports that from `pasid` on there are more than are followed.
fn told_too_many(id: GroupId, pasid: Pasid, operation: &mut Operation) {
    let mut report = Report::default();
    report
        .move_failed(MapError::Host(format!("no more than {PASID_LIMIT} PASIDs of a function are followed")));
    operation.add(Whom::Pasid(id, pasid), report);
}
