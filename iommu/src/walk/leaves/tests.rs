use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::walk::Demand;
use crate::{Access, MemoryError};

const CAPABILITIES: Capabilities = Capabilities::legacy(39);
const TOP: Level = Level::PAGE_1G;

/// Memory of which only what has been written is there; the rest of a page that has an entry reads 0.
#[derive(Debug, Default)]
struct Sparse(HashMap<u64, u64>);

impl TableMemory for Sparse {
    fn read_u64(&self, address: GuestAddress) -> Result<u64, MemoryError> {
        Ok(self.0.get(&address.0).copied().unwrap_or(0))
    }

    fn write_u32(&self, address: GuestAddress, _: u32) -> Result<(), MemoryError> {
        Err(MemoryError(address.0))
    }

    fn compare_exchange_u64(
        &self,
        address: GuestAddress,
        _: u64,
        _: u64,
    ) -> Result<Result<u64, u64>, MemoryError> {
        Err(MemoryError(address.0))
    }

    fn fetch_or_u64(&self, address: GuestAddress, _: u64) -> Result<u64, MemoryError> {
        Err(MemoryError(address.0))
    }
}

fn table() -> Table {
    Table::new(GuestAddress(0x1000), TOP, &CAPABILITIES)
}

fn collect(memory: &Sparse, range: Range<u64>, tables: u32) -> (Vec<(u64, Leaf)>, Result<(), Stopped>) {
    let mut found = Vec::new();
    let outcome = table().leaves(memory, &CAPABILITIES, &range, &mut Budget(tables), |iova, leaf| {
        found.push((iova.0, leaf));
        ControlFlow::Continue(())
    });
    (found, outcome)
}

/// One leaf of each size: 1 GiB at 1 GiB, 2 MiB at 6 MiB, 4 KiB at 4 MiB + 12 KiB.
fn three_leaves() -> Sparse {
    Sparse(HashMap::from([
        (0x1000, 0x2003),
        (0x1008, 0x4000_0083),
        (0x2010, 0x3003),
        (0x2018, 0xA0_0083),
        (0x3018, 0x7001),
    ]))
}

#[test]
fn leaves_come_in_order_with_their_size_and_permissions() {
    let (found, outcome) = collect(&three_leaves(), 0..u64::MAX, 10);
    let leaf = |guest, level, rights| Leaf { guest: GuestAddress(guest), level, rights };
    let read_only = Rights::ALL - Rights::ANY_WRITE;
    assert_eq!(
        found,
        [
            (0x40_3000, leaf(0x7000, Level::PAGE, read_only)),
            (0x60_0000, leaf(0xA0_0000, Level::PAGE_2M, Rights::ALL)),
            (0x4000_0000, leaf(0x4000_0000, Level::PAGE_1G, Rights::ALL)),
        ]
    );
    assert_eq!(outcome, Ok(()));
}

#[test]
fn a_range_picks_the_leaves_that_it_touches() {
    const NONE: [u64; 0] = [];
    let memory = three_leaves();
    let starts =
        |range| -> Vec<u64> { collect(&memory, range, 10).0.iter().map(|(iova, _)| *iova).collect() };
    assert_eq!(starts(0..0x40_3000), NONE);
    assert_eq!(starts(0x40_3000..0x40_4000), [0x40_3000]);
    assert_eq!(starts(0x40_4000..0x60_1000), [0x60_0000]);
    assert_eq!(starts(0x7F_F000..0x80_0000), [0x60_0000]);
    assert_eq!(starts(0x80_0000..0x4000_0000), NONE);
    assert_eq!(starts(0x4567_8000..0x4567_9000), [0x4000_0000]);
    assert_eq!(starts(0x8000_0000..u64::MAX), NONE);
    assert_eq!(starts(1 << 39..u64::MAX), NONE, "beyond the width");
    assert_eq!(starts(0x40_3000..0x40_3000), NONE, "empty");
}

#[test]
fn only_tables_in_the_range_are_read() {
    let memory = three_leaves();
    assert_eq!(collect(&memory, 0x4567_8000..0x4567_9000, 1).1, Ok(()), "the top table alone");
    assert_eq!(collect(&memory, 0x60_0000..0x60_1000, 2).1, Ok(()));
}

#[test]
fn a_spent_budget_tells_where_it_ended() {
    let memory = three_leaves();
    assert_eq!(collect(&memory, 0..u64::MAX, 0).1, Err(Stopped(Iova(0))));
    assert_eq!(collect(&memory, 0x40_3000..u64::MAX, 1).1, Err(Stopped(Iova(0x40_3000))));
    let (found, outcome) = collect(&memory, 0..u64::MAX, 2);
    assert_eq!((found.len(), outcome), (0, Err(Stopped(Iova(0x40_0000)))));
}

#[test]
fn a_visitor_that_breaks_ends_it_before_that_leaf() {
    let mut visited = 0;
    let outcome = table().leaves(&three_leaves(), &CAPABILITIES, &(0..u64::MAX), &mut Budget(9), |_, _| {
        visited += 1;
        if visited == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(outcome, Err(Stopped(Iova(0x60_0000))));
}

#[test]
fn a_table_that_points_to_itself_costs_the_budget_and_no_more() {
    let memory = Sparse((0..512).map(|index| (0x1000 + index * 8, 0x1003)).collect());
    let (found, outcome) = collect(&memory, 0..u64::MAX, 5);
    assert_eq!(found.len(), 3 * 512, "two tables on the way, three with leaves");
    assert_eq!(outcome, Err(Stopped(Iova(3 * 512 * 4096))));
}

/// Entries among a handful of pages, some of them tables that point anywhere among them.
fn wild_memory() -> impl Strategy<Value = Sparse> {
    let slot =
        (1..6_u64, prop_oneof![0..4_u64, 510..512_u64]).prop_map(|(page, index)| page << 12 | index << 3);
    let flags = prop_oneof![4 => 0..4_u64, 1 => (0..4_u64).prop_map(|low| low | 0x80), 1 => Just(0x803)];
    let entry =
        (prop_oneof![5 => 0..8_u64, 1 => Just(0x4_0000)], flags).prop_map(|(page, low)| page << 12 | low);
    vec((slot, entry), 0..40).prop_map(|entries| Sparse(entries.into_iter().collect()))
}

proptest! {
    #[test]
    fn leaves_are_what_walks_find(
        memory in wild_memory(),
        probes in vec((0..4_u64, prop_oneof![0..4_u64, 510..512_u64], 0..512_u64), 1..50),
    ) {
        let (found, outcome) = collect(&memory, 0..u64::MAX, 5000);
        prop_assume!(outcome.is_ok());
        for (upper, middle, lower) in probes {
            let iova = Iova(upper << 30 | middle << 21 | lower << 12 | 0x123);
            let covering = found.iter().find(|(start, leaf)| iova.0 & !(leaf.level.span() - 1) == *start);
            for access in [Access::Read, Access::Write] {
                let walked = table().walk(&memory, &CAPABILITIES, iova, Demand::new(access), None);
                let walked = walked.ok().map(|found| found.leaf);
                let listed = covering.map(|(_, leaf)| *leaf).filter(|leaf| Demand::new(access).allowed_by(leaf.rights));
                prop_assert_eq!(walked, listed);
            }
        }
    }
}
