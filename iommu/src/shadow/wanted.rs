//! What the guest's tables ask for.

use std::ops::{ControlFlow, Range};

use super::Tables;
use super::extent::Extent;
use crate::walk::leaves::{Budget, Stopped};
use crate::walk::second_stage::Table;
use crate::{Iova, TableMemory};

/// The most tables that one operation reads: four times what the leaves below fill, and little enough that a
/// guest whose tables go in circles does not stop its processor for long.
const TABLE_LIMIT: u32 = 1 << 13;

/// The most leaves that are followed: 4 GiB in pages of 4 KiB. VFIO's own limit is a sixteenth of that.
pub(super) const LEAF_LIMIT: usize = 1 << 20;

/// A range is part of a leaf, or of several.
#[derive(Debug)]
pub(super) struct NotOneLeaf;

/// Goes through a table for one operation, within limits.
pub(super) struct Reader<'a, M> {
    table: Table,
    tables: &'a Tables<M>,
    budget: Budget,
    leaves_left: usize,
    cut_short: Option<Iova>,
}

impl<'a, M: TableMemory> Reader<'a, M> {
    pub(super) const fn new(table: Table, tables: &'a Tables<M>) -> Self {
        let budget = Budget(TABLE_LIMIT);
        Self { table, tables, budget, leaves_left: LEAF_LIMIT, cut_short: None }
    }

    /// The leaves that overlap `range`, sorted; a leaf at its edge whole. What lies beyond a limit is left
    /// out, as if the tables did not map it.
    pub(super) fn leaves(&mut self, range: &Range<u64>) -> Vec<Extent> {
        let mut found = Vec::new();
        let left = &mut self.leaves_left;
        let outcome = self.table.leaves(
            self.tables.memory(),
            &self.tables.view().capabilities,
            range,
            &mut self.budget,
            |iova, leaf| {
                let Some(rest) = left.checked_sub(1) else { return ControlFlow::Break(()) };
                *left = rest;
                found.extend(Extent::of_leaf(iova, leaf).usable());
                ControlFlow::Continue(())
            },
        );
        if let Err(Stopped(iova)) = outcome {
            self.cut_short.get_or_insert(iova);
        }
        found
    }

    /// The leaf that `range` is, or none if it is nothing; an error if it is anything else.
    pub(super) fn leaf(&mut self, range: &Range<u64>) -> Result<Option<Extent>, NotOneLeaf> {
        let mut first = None;
        let capabilities = self.tables.view().capabilities;
        let memory = self.tables.memory();
        let outcome = self.table.leaves(memory, &capabilities, range, &mut self.budget, |iova, leaf| {
            first = Some(Extent::of_leaf(iova, leaf));
            ControlFlow::Break(())
        });
        match (first, outcome) {
            (Some(leaf), _) if leaf.range() == *range && leaf.usable().eq([leaf]) => Ok(Some(leaf)),
            (None, Ok(())) => Ok(None),
            _ => Err(NotOneLeaf),
        }
    }

    /// The same, with leaves at the edges cut there.
    pub(super) fn leaves_within(&mut self, range: &Range<u64>) -> Vec<Extent> {
        if range.is_empty() {
            return Vec::new();
        }
        let leaves = self.leaves(range);
        leaves.into_iter().filter_map(|leaf| leaf.clipped(range)).collect()
    }

    /// Where a limit was met, if one was.
    pub(super) const fn cut_short(&self) -> Option<Iova> {
        self.cut_short
    }
}
