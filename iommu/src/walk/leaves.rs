//! Every page that a second-stage table maps in a range of addresses, found by going through the table
//! rather than asking for one address after another.

use std::ops::{ControlFlow, Range};

use super::second_stage::Table;
use super::{Leaf, Rights};
use crate::spec::second_stage::{Level, SecondStageEntry, Target};
use crate::{Capabilities, GuestAddress, Iova, TableMemory};

#[cfg(test)]
mod tests;

/// How many tables an enumeration may still read. A table is 512 entries, so this bounds the work even
/// where tables point to themselves or to each other and seem to map far more than there is memory.
#[derive(Debug)]
pub(crate) struct Budget(pub(crate) u32);

/// An enumeration that was stopped: everything below this address has been visited, nothing from it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped(pub(crate) Iova);

impl Table {
    /// Calls `visit` with the start of every leaf that overlaps `range`, and the leaf, lowest address first.
    ///
    /// A leaf at an edge is given whole. Entries that are not present, that have reserved bits set or that
    /// lie outside guest memory map nothing. The guest may change the tables meanwhile; each entry is read
    /// once. Ends early when `visit` breaks or the budget is spent.
    pub(crate) fn leaves(
        &self,
        memory: &impl TableMemory,
        capabilities: &Capabilities,
        range: &Range<u64>,
        budget: &mut Budget,
        visit: impl FnMut(Iova, Leaf) -> ControlFlow<()>,
    ) -> Result<(), Stopped> {
        let range = range.start..range.end.min(1 << self.width);
        let mut enumeration = Enumeration { memory, capabilities, range, budget, visit };
        match enumeration.table(self.root, self.top, 0, Rights::ALL) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(stopped) => Err(stopped),
        }
    }
}

struct Enumeration<'a, M, F> {
    memory: &'a M,
    capabilities: &'a Capabilities,
    range: Range<u64>,
    budget: &'a mut Budget,
    visit: F,
}

impl<M: TableMemory, F: FnMut(Iova, Leaf) -> ControlFlow<()>> Enumeration<'_, M, F> {
    /// Visits what the table at `table` maps, whose first entry stands for the address `base`. It calls
    /// itself once per level at most.
    fn table(
        &mut self,
        table: GuestAddress,
        level: Level,
        base: u64,
        rights: Rights,
    ) -> ControlFlow<Stopped> {
        let span = level.span();
        let first = self.range.start.max(base) & !(span - 1);
        let end = self.range.end.min(base + 512 * span);
        if first >= end {
            return ControlFlow::Continue(());
        }
        let Some(left) = self.budget.0.checked_sub(1) else {
            return ControlFlow::Break(Stopped(Iova(first.max(self.range.start))));
        };
        self.budget.0 = left;

        for iova in (first..end).step_by(span as usize) {
            let address = GuestAddress(table.0 | level.offset(Iova(iova)));
            let Ok(entry) = self.memory.read_u64(address).map(SecondStageEntry) else { continue };
            let rights = rights & Rights::of_second_stage(entry);
            if rights.permissions(false).is_empty() {
                continue;
            }
            let Ok(target) = entry.target(level, self.capabilities) else { continue };
            match (target, level.below()) {
                (Target::Table(next), Some(below)) => self.table(next, below, iova, rights)?,
                (Target::Table(guest) | Target::Leaf(guest), _) => {
                    let leaf = Leaf { guest, level, rights };
                    if (self.visit)(Iova(iova), leaf).is_break() {
                        return ControlFlow::Break(Stopped(Iova(iova.max(self.range.start))));
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }
}
