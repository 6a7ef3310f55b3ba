//! Every group and every address space behind one unit, and what operations do to them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::Tables;
use super::assignment::{Assignment, Seat};
use super::audit::{Audit, GroupAudit};
use super::group::{GroupId, MemberId};
use super::member::Member;
use super::operation::{Operation, Whom};
use super::pasids::Named;
use super::regime::Content;
use super::report::{Hearer, Report, Told};
use super::space::{AddressSpace, identity};
use super::spaces::{SpaceKey, Spaces};
use super::statistics::Statistics;
use crate::invalidation::Invalidation;
use crate::{AssignedFunction, DomainId, GuestAddress, HostDma, Iova, MapError, TableMemory};

/// All groups and address spaces.
#[derive(Default)]
pub(super) struct Assignments {
    groups: BTreeMap<GroupId, Assignment>,
    spaces: Spaces,
    next: u64,
    /// How often groups that are no more went into other spaces, and could not.
    past: Statistics,
}

impl Assignments {
    /// Adds a group without functions.
    pub(super) fn add_group(&mut self, host: HostDma, ram: Vec<(GuestAddress, u64)>) -> GroupId {
        let identity = identity(ram);
        let seat = match host {
            HostDma::Fixed(mapper) => Seat::Own(self.spaces.add_own(mapper, identity.clone())),
            HostDma::Movable { iommu, group } => Seat::Movable { iommu, group, place: None },
        };
        let id = GroupId(self.next_number());
        self.groups.insert(id, Assignment::new(seat, identity));
        id
    }

    /// Adds a function to a group; nothing is done for it yet.
    pub(super) fn join(&mut self, group: GroupId, function: Arc<dyn AssignedFunction>) -> MemberId {
        let id = MemberId(self.next_number());
        if let Some(group) = self.groups.get_mut(&group) {
            group.members.push(Member::new(id, function));
        }
        id
    }

    fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whether there is any function that the host's mappings are kept for.
    pub(super) fn has_members(&self) -> bool {
        self.groups.values().any(|group| !group.members.is_empty())
    }

    /// Looks at a function and at what the tables say of it.
    pub(super) fn refresh(
        &mut self,
        group: GroupId,
        member: MemberId,
        tables: &Tables<impl TableMemory>,
    ) -> Told {
        self.change(group, tables, |members| {
            members.iter_mut().filter(|other| other.id == member).for_each(|member| member.look(tables));
        })
    }

    /// Forgets a function.
    pub(super) fn detach(
        &mut self,
        group: GroupId,
        member: MemberId,
        tables: &Tables<impl TableMemory>,
    ) -> Told {
        self.change(group, tables, |members| members.retain(|other| other.id != member))
    }

    fn change(
        &mut self,
        id: GroupId,
        tables: &Tables<impl TableMemory>,
        change: impl FnOnce(&mut Vec<Member>),
    ) -> Told {
        let mut operation = Operation::default();
        if let Some(group) = self.groups.get_mut(&id) {
            change(&mut group.members);
            group.settle(Whom::Group(id), true, &mut self.spaces, tables, &mut operation);
            group.settle_pasids(id, &Named::All, &mut self.spaces, tables, &mut operation);
        }
        self.address(operation)
    }

    /// Forgets a group.
    pub(super) fn disband(&mut self, id: GroupId) {
        if let Some(group) = self.groups.remove(&id) {
            self.past += group.moves();
            group.disband(&mut self.spaces);
        }
    }

    /// Does what invalidations ask for: first groups go where they belong now, then every space that is named is
    /// compared with the tables, once.
    pub(super) fn apply(&mut self, batch: &[Invalidation], tables: &Tables<impl TableMemory>) -> Told {
        let mut operation = Operation::default();
        for (&id, group) in &mut self.groups {
            let again = group.hear(batch, tables);
            group.settle(Whom::Group(id), again, &mut self.spaces, tables, &mut operation);
            group.settle_pasids(id, &Named::By(batch), &mut self.spaces, tables, &mut operation);
        }
        for key in self.spaces.keys() {
            if operation.is_fresh(key) {
                continue;
            }
            if let Err(error) = self.spaces.forget(key, batch) {
                self.evict(key, &error, &mut operation);
            }
            let scope = self.scope(key, batch);
            let mut report = Report::default();
            if let Some(space) = self.spaces.get_mut(key) {
                match scope {
                    Scope::Everything => space.resync(tables, &mut report),
                    Scope::Pages(ranges) if ranges.is_empty() => {}
                    Scope::Pages(ranges) => space.resync_pages(&ranges, tables, &mut report),
                }
            }
            operation.add(Whom::Space(key), report);
        }
        self.address(operation)
    }

    /// Blocks the groups in a space of which the host does not say that it has forgotten what it must.
    fn evict(&mut self, key: SpaceKey, error: &MapError, operation: &mut Operation) {
        for (&id, group) in &mut self.groups {
            group.evict(key, error, id, &mut self.spaces, operation);
        }
    }

    /// Guest addresses that led nowhere lead somewhere: what was refused for that is asked for again.
    pub(super) fn target_appeared(&mut self, target: &Range<u64>, tables: &Tables<impl TableMemory>) -> Told {
        self.for_each_space(|space, report| space.target_appeared(target, tables, report))
    }

    /// Guest addresses lead nowhere any more: no space keeps a mapping of them.
    pub(super) fn target_disappeared(
        &mut self,
        target: &Range<u64>,
        tables: &Tables<impl TableMemory>,
    ) -> Told {
        self.for_each_space(|space, report| space.target_disappeared(target, tables, report))
    }

    fn for_each_space(&mut self, mut work: impl FnMut(&mut AddressSpace, &mut Report)) -> Told {
        let mut operation = Operation::default();
        for key in self.spaces.keys() {
            if let Some(space) = self.spaces.get_mut(key) {
                let mut report = Report::default();
                work(space, &mut report);
                operation.add(Whom::Space(key), report);
            }
        }
        self.address(operation)
    }

    /// What of a space invalidations name.
    fn scope(&self, key: SpaceKey, batch: &[Invalidation]) -> Scope {
        let content = self.spaces.get(key).and_then(AddressSpace::content);
        let names = |named: DomainId| match content {
            Some(Content::Table(_, domain)) => domain == named,
            _ => self.groups.values().any(|group| group.is_in(key) && group.is_of(named)),
        };
        let mut ranges = Vec::new();
        for what in batch {
            match *what {
                Invalidation::Everything | Invalidation::IotlbGlobal => return Scope::Everything,
                Invalidation::IotlbDomain(domain) if names(domain) => return Scope::Everything,
                // The hint would allow to keep what is known of non-leaf entries; nothing is kept.
                Invalidation::IotlbPages { domain, iova, address_mask, hint: _ } if names(domain) => {
                    ranges.push(pages(iova, address_mask));
                }
                // Those of others; those that say which table is meant and not what it maps; and those of first
                // stages and addresses that pass through, where nothing changes but with the entry of the PASID.
                _ => {}
            }
        }
        Scope::Pages(ranges)
    }

    /// Finds out whom reports are for.
    fn address(&self, operation: Operation) -> Told {
        let mut told = Told::default();
        for (whom, report) in operation.into_reports() {
            let hearers: Vec<Hearer> = match whom {
                Whom::Group(id) => hearers(self.groups.get(&id)),
                Whom::Space(key) => self.groups.values().flat_map(|group| group.hearers_in(key)).collect(),
                Whom::Pasid(id, pasid) => {
                    self.groups.get(&id).and_then(|group| group.hearer_of(pasid)).into_iter().collect()
                }
            };
            told.add(hearers, report);
        }
        told
    }

    pub(super) fn statistics(&self, group: GroupId) -> Statistics {
        self.groups.get(&group).map_or(Statistics::default(), |group| group.statistics(&self.spaces))
    }

    /// The numbers of all groups and spaces that there are and were.
    pub(super) fn total(&self) -> Statistics {
        let mut total = self.past;
        total += self.spaces.total();
        for group in self.groups.values() {
            total += group.moves();
        }
        total
    }

    /// All groups against what the tables say now.
    pub(super) fn audits(&self, tables: &Tables<impl TableMemory>) -> Vec<GroupAudit> {
        let of_group = |group: &Assignment| GroupAudit {
            functions: hearers([group]).iter().map(|hearer| hearer.source).collect(),
            statistics: group.statistics(&self.spaces),
            audit: group.audit(&self.spaces, tables),
        };
        self.groups.values().map(of_group).collect()
    }

    pub(super) fn audit(&self, group: GroupId, tables: &Tables<impl TableMemory>) -> Audit {
        self.groups.get(&group).map_or(Audit::default(), |group| group.audit(&self.spaces, tables))
    }
}

/// What of a space is to be compared with the tables.
enum Scope {
    Everything,
    Pages(Vec<Range<u64>>),
}

/// The range that a page-selective invalidation names.
fn pages(iova: Iova, address_mask: u8) -> Range<u64> {
    match 1_u64.checked_shl(12 + u32::from(address_mask)) {
        Some(length) => {
            let start = iova.0 & !(length - 1);
            start..start.saturating_add(length)
        }
        None => 0..u64::MAX,
    }
}

/// The functions of groups.
fn hearers<'a>(groups: impl IntoIterator<Item = &'a Assignment>) -> Vec<Hearer> {
    groups.into_iter().flat_map(|group| group.members.iter().map(Member::hearer)).collect()
}
