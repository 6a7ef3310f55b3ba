//! The address spaces behind one unit, and how many groups are in each.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Tables;
use super::extent::Extent;
use super::regime::Content;
use super::report::Report;
use super::space::AddressSpace;
use super::statistics::Statistics;
use super::walked::{NamedTable, Walked};
use crate::invalidation::Invalidation;
use crate::{HostIommu, HostMapper, MapError, SpaceId, TableMemory};

/// The name of an address space among those of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SpaceKey(u64);

/// Where a space of a host with movable groups is from.
struct Origin {
    iommu: Arc<dyn HostIommu>,
    id: SpaceId,
}

struct Entry {
    body: Body,
    /// None for the space of a group that never leaves it.
    origin: Option<Origin>,
    seats: u64,
}

/// How a space comes to map what it maps.
enum Body {
    /// By what is committed to the host.
    Followed(AddressSpace),
    /// By the guest's own table.
    Walked(Walked),
}

/// All address spaces.
#[derive(Default)]
pub(super) struct Spaces {
    entries: BTreeMap<SpaceKey, Entry>,
    next: u64,
    /// What was asked for in those that are no more.
    past: Statistics,
}

impl Spaces {
    /// Adds the space of a group that never leaves it.
    pub(super) fn add_own(&mut self, mapper: Box<dyn HostMapper>, identity: Vec<Extent>) -> SpaceKey {
        let body = Body::Followed(AddressSpace::new(mapper, identity));
        self.add(Entry { body, origin: None, seats: 1 })
    }

    /// Makes an empty space of `iommu` that follows nothing yet, with nobody in it.
    pub(super) fn make(
        &mut self,
        iommu: &Arc<dyn HostIommu>,
        identity: Vec<Extent>,
    ) -> Result<SpaceKey, MapError> {
        let host = iommu.new_space()?;
        let origin = Some(Origin { iommu: iommu.clone(), id: host.id() });
        Ok(self.add(Entry { body: Body::Followed(AddressSpace::new(host, identity)), origin, seats: 0 }))
    }

    /// Makes a space of a first-stage table that `iommu` walks, with nobody in it.
    pub(super) fn nest(
        &mut self,
        iommu: &Arc<dyn HostIommu>,
        named: NamedTable,
    ) -> Result<SpaceKey, MapError> {
        let walked = Walked::new(&**iommu, named)?;
        let origin = Some(Origin { iommu: iommu.clone(), id: walked.id() });
        Ok(self.add(Entry { body: Body::Walked(walked), origin, seats: 0 }))
    }

    fn add(&mut self, entry: Entry) -> SpaceKey {
        let key = SpaceKey(self.next);
        self.next += 1;
        self.entries.insert(key, entry);
        key
    }

    /// The space of `iommu` that follows this already.
    pub(super) fn find(
        &self,
        iommu: &Arc<dyn HostIommu>,
        content: Content,
        identity: &[Extent],
    ) -> Option<SpaceKey> {
        let fits = |entry: &Entry| {
            entry.origin.as_ref().is_some_and(|origin| Arc::ptr_eq(&origin.iommu, iommu))
                && match &entry.body {
                    Body::Followed(space) => space.content() == Some(content) && space.is_over(identity),
                    Body::Walked(walked) => content == Content::FirstStage(walked.named()),
                }
        };
        self.entries.iter().find(|(_, entry)| fits(entry)).map(|(key, _)| *key)
    }

    pub(super) fn keys(&self) -> Vec<SpaceKey> {
        self.entries.keys().copied().collect()
    }

    /// A space that follows the guest's tables.
    pub(super) fn get(&self, key: SpaceKey) -> Option<&AddressSpace> {
        self.entries.get(&key)?.body.followed()
    }

    pub(super) fn get_mut(&mut self, key: SpaceKey) -> Option<&mut AddressSpace> {
        match &mut self.entries.get_mut(&key)?.body {
            Body::Followed(space) => Some(space),
            Body::Walked(_) => None,
        }
    }

    /// The table of a space, if the host walks it.
    pub(super) fn walked(&self, key: SpaceKey) -> Option<NamedTable> {
        match &self.entries.get(&key)?.body {
            Body::Followed(_) => None,
            Body::Walked(walked) => Some(walked.named()),
        }
    }

    /// Has the host forget what invalidations name in a space whose table it walks.
    pub(super) fn forget(&mut self, key: SpaceKey, batch: &[Invalidation]) -> Result<(), MapError> {
        match self.entries.get_mut(&key).map(|entry| &mut entry.body) {
            Some(Body::Walked(walked)) => walked.forget(batch),
            Some(Body::Followed(_)) | None => Ok(()),
        }
    }

    /// Lets a space follow something else, if it is there.
    pub(super) fn follow(
        &mut self,
        key: SpaceKey,
        content: Option<Content>,
        tables: &Tables<impl TableMemory>,
        report: &mut Report,
    ) {
        if let Some(space) = self.get_mut(key) {
            space.follow(content, tables, report);
        }
    }

    /// The host's name of a space.
    pub(super) fn id(&self, key: SpaceKey) -> Option<SpaceId> {
        self.entries.get(&key)?.origin.as_ref().map(|origin| origin.id)
    }

    /// Whether one group alone is in it.
    pub(super) fn has_one_seat(&self, key: SpaceKey) -> bool {
        self.entries.get(&key).is_some_and(|entry| entry.seats == 1)
    }

    /// A group has come in.
    pub(super) fn sit(&mut self, key: SpaceKey) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.seats += 1;
        }
    }

    /// A group has left, or never came. The host gets a space back that nobody is in.
    pub(super) fn leave(&mut self, key: SpaceKey) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.seats = entry.seats.saturating_sub(1);
        }
        self.discard_if_empty(key);
    }

    /// Gives a space back to the host if nobody is in it.
    pub(super) fn discard_if_empty(&mut self, key: SpaceKey) {
        if self.entries.get(&key).is_some_and(|entry| entry.seats == 0)
            && let Some(entry) = self.entries.remove(&key)
        {
            self.past += entry.statistics().past();
        }
    }

    /// The numbers of one space.
    pub(super) fn statistics(&self, key: SpaceKey) -> Statistics {
        self.entries.get(&key).map_or(Statistics::default(), Entry::statistics)
    }

    /// The numbers of all that there are and were.
    pub(super) fn total(&self) -> Statistics {
        let mut total = self.past;
        for entry in self.entries.values() {
            total += entry.statistics();
        }
        total
    }
}

impl Entry {
    fn statistics(&self) -> Statistics {
        let numbers = match &self.body {
            Body::Followed(space) => *space.commitment().numbers(),
            Body::Walked(walked) => walked.numbers(),
        };
        Statistics { seats: self.seats, ..numbers }
    }
}

impl Body {
    const fn followed(&self) -> Option<&AddressSpace> {
        match self {
            Self::Followed(space) => Some(space),
            Self::Walked(_) => None,
        }
    }
}
