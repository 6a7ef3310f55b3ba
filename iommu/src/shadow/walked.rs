//! An address space by a first-stage table of the guest's, which the host's own unit walks.
//!
//! Nothing of it is followed here. What the guest announces is only passed on, since the host's unit remembers
//! what it has walked.

use super::statistics::Statistics;
use crate::invalidation::Invalidation;
use crate::spec::pasid::FirstStageOptions;
use crate::walk::first_stage;
use crate::{DomainId, FirstStage, Forget, HostIommu, Iova, MapError, NestedSpace, Pasid, SpaceId};

/// The most ranges that the host is told of in one call; where there are more, it forgets everything.
const RANGE_LIMIT: usize = 256;

/// A first-stage table, and the names under which its changes are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NamedTable {
    pub(super) table: FirstStage,
    pub(super) domain: DomainId,
    pub(super) pasid: Pasid,
}

impl FirstStage {
    /// The table as the host is told of it; none if it allows what the host cannot be told.
    pub(super) const fn of(table: &first_stage::Table) -> Option<Self> {
        if table.options.contains(FirstStageOptions::EXECUTE) {
            return None;
        }
        Some(Self {
            table: table.root,
            levels: table.top.number(),
            supervisor: table.options.contains(FirstStageOptions::SUPERVISOR),
            write_protect: table.options.contains(FirstStageOptions::WRITE_PROTECT),
            extended_accessed: table.options.contains(FirstStageOptions::EXTENDED_ACCESSED),
        })
    }
}

/// The address space of one table.
pub(super) struct Walked {
    named: NamedTable,
    host: Box<dyn NestedSpace>,
    numbers: Statistics,
}

impl Walked {
    /// Has `iommu` make it.
    pub(super) fn new(iommu: &dyn HostIommu, named: NamedTable) -> Result<Self, MapError> {
        let numbers = Statistics { spaces: 1, ..Statistics::default() };
        Ok(Self { named, host: iommu.nest(named.table)?, numbers })
    }

    pub(super) const fn named(&self) -> NamedTable {
        self.named
    }

    /// The host's name of it.
    pub(super) fn id(&self) -> SpaceId {
        self.host.id()
    }

    pub(super) const fn numbers(&self) -> Statistics {
        self.numbers
    }

    /// Has the host's unit forget what invalidations name, in one call.
    pub(super) fn forget(&mut self, batch: &[Invalidation]) -> Result<(), MapError> {
        let ranges = self.named.ranges(batch);
        if !ranges.is_empty() {
            self.host.forget(&ranges)?;
            self.numbers.forgets += 1;
        }
        Ok(())
    }
}

impl NamedTable {
    /// What of the table invalidations name.
    fn ranges(&self, batch: &[Invalidation]) -> Vec<Forget> {
        let mut ranges = Vec::new();
        for what in batch {
            let range = match *what {
                Invalidation::Everything | Invalidation::IotlbGlobal => Forget::Everything,
                Invalidation::IotlbDomain(domain) if domain == self.domain => Forget::Everything,
                Invalidation::PasidIotlb(domain, pasid) if self.is(domain, pasid) => Forget::Everything,
                Invalidation::PasidIotlbPages { domain, pasid, iova, address_mask, hint }
                    if self.is(domain, pasid) =>
                {
                    pages(iova, address_mask, hint)
                }
                // Those of others; those that say which table is meant; and those of second stages.
                _ => continue,
            };
            if range == Forget::Everything || ranges.len() == RANGE_LIMIT {
                return vec![Forget::Everything];
            }
            ranges.push(range);
        }
        ranges
    }

    fn is(&self, domain: DomainId, pasid: Pasid) -> bool {
        self.domain == domain && self.pasid == pasid
    }
}

/// The pages that a page-selective invalidation names.
fn pages(iova: Iova, address_mask: u8, leaves: bool) -> Forget {
    // What lies beyond 57 bits is a sign that is repeated.
    match 1_u64.checked_shl(address_mask.into()) {
        Some(count) if count < 1 << 45 => {
            Forget::Pages { iova: Iova(iova.0 & !(count * 4096 - 1)), count, leaves }
        }
        _ => Forget::Everything,
    }
}

#[cfg(test)]
mod tests;
