//! A first stage with a second stage behind it (§3.8): the first-stage tables and the pages they lead to are
//! all at addresses that the second stage translates.

use super::first_stage::{Behind, Table};
use super::{Demand, Found, Inner, Leaf};
use crate::spec::fault::FaultReason;
use crate::{Access, Capabilities, GuestAddress, Iova, TableMemory};

/// Finds the page that `iova` lies in, if `demand` may use it. `second` finds, for an address that the first
/// stage gives, the page of the second stage and marks it, whether by a walk or from what is remembered.
///
/// The work is bounded: five levels ask the second stage, no more than a few times each, and so does the
/// page.
pub(crate) fn walk(
    first: &Table,
    second: impl Fn(Iova, Demand) -> Result<Leaf, FaultReason>,
    memory: &impl TableMemory,
    capabilities: &Capabilities,
    iova: Iova,
    demand: Demand,
    start: Option<Inner>,
) -> Result<Found, FaultReason> {
    first.walk(memory, &SecondStage(second), capabilities, iova, demand, start)
}

/// A second stage behind a first.
struct SecondStage<F>(F);

impl<F: Fn(Iova, Demand) -> Result<Leaf, FaultReason>> SecondStage<F> {
    fn table(&self, entry: GuestAddress, access: Access) -> Result<GuestAddress, FaultReason> {
        let entry = Iova(entry.0);
        Ok((self.0)(entry, Demand::new(access))?.output(entry))
    }
}

impl<F: Fn(Iova, Demand) -> Result<Leaf, FaultReason>> Behind for SecondStage<F> {
    fn readable(&self, entry: GuestAddress, top: bool) -> Result<GuestAddress, FaultReason> {
        self.table(entry, Access::Read).map_err(|reason| match reason {
            FaultReason::ScalableBeyondWidth => FaultReason::NestedTableBeyondWidth,
            FaultReason::ScalableReadDenied if top => FaultReason::NestedTopReadDenied,
            FaultReason::ScalableReadDenied => FaultReason::NestedEntryReadDenied,
            reason => reason,
        })
    }

    fn writable(&self, entry: GuestAddress) -> Result<GuestAddress, FaultReason> {
        self.table(entry, Access::Write).map_err(|reason| match reason {
            FaultReason::ScalableBeyondWidth => FaultReason::NestedTableBeyondWidth,
            FaultReason::ScalableWriteDenied => FaultReason::NestedEntryWriteDenied,
            reason => reason,
        })
    }

    fn page(&self, leaf: Leaf, output: GuestAddress, demand: Demand) -> Result<Leaf, FaultReason> {
        let output = Iova(output.0);
        let second = (self.0)(output, demand.behind(leaf.rights))?;
        let level = leaf.level.min(second.level);
        let guest = GuestAddress(second.output(output).0 & !(level.span() - 1));
        Ok(Leaf { guest, level, rights: leaf.rights.behind(second.rights) })
    }
}

#[cfg(test)]
mod tests;
