//! With every edit of the tables announced as it should be, caches make no difference.

use proptest::prelude::*;

use crate::spec::second_stage::Level;
use crate::testing::descriptor::{
    context_device, context_domain, context_global, iotlb_domain, iotlb_global, iotlb_pages,
};
use crate::testing::{DATA, LARGE, Machine, RW};
use crate::walk::{Demand, Mapping, View, legacy};
use crate::{Access, GuestAddress, Iova, Permissions, SourceId};

const SOURCES: [SourceId; 4] = [SourceId(0x0100), SourceId(0x0101), SourceId(0x0104), SourceId(0x0200)];
const TABLES: usize = 3;
/// Addresses are drawn from so many small pages, at both ends of a large one.
const PAGES: u64 = 6;

#[derive(Clone, Debug)]
enum Step {
    /// Map a small page, or with no permission unmap it.
    Page {
        table: usize,
        page: u64,
        target: u64,
        permissions: u64,
    },
    /// Replace what covers the first 2 MiB, or the first 1 GiB, by one large page.
    Large {
        table: usize,
        level: Level,
        permissions: u64,
    },
    /// Point a function to a table, to pass-through, or to nothing.
    Context {
        source: usize,
        table: Option<usize>,
        pass_through: bool,
    },
    Access {
        source: usize,
        page: u64,
        offset: u64,
        access: Access,
    },
}

/// How an edit is announced: by what names it exactly, or by something coarser.
#[derive(Clone, Copy, Debug)]
enum Announce {
    Exactly,
    ByDomain,
    Globally,
}

fn step() -> impl Strategy<Value = (Step, Announce)> {
    let permissions = 0..=RW;
    let table = 0..TABLES;
    let source = 0..SOURCES.len();
    let access = prop_oneof![Just(Access::Read), Just(Access::Write)];
    let level = prop_oneof![Just(Level::PAGE_2M), Just(Level::PAGE_1G)];
    let announce = prop_oneof![Just(Announce::Exactly), Just(Announce::ByDomain), Just(Announce::Globally)];
    let step = prop_oneof![
        3 => (table.clone(), 0..PAGES, 0..8_u64, permissions.clone())
            .prop_map(|(table, page, target, permissions)| Step::Page { table, page, target, permissions }),
        1 => (table.clone(), level, permissions)
            .prop_map(|(table, level, permissions)| Step::Large { table, level, permissions }),
        1 => (source.clone(), proptest::option::of(table), any::<bool>())
            .prop_map(|(source, table, pass_through)| Step::Context { source, table, pass_through }),
        6 => (source, 0..PAGES, 0..0x1000_u64, access)
            .prop_map(|(source, page, offset, access)| Step::Access { source, page, offset, access }),
    ];
    (step, announce)
}

/// The address of a page: the first few and the last few of 2 MiB.
fn address(page: u64) -> u64 {
    if page < PAGES / 2 { page << 12 } else { 0x1F_F000 - ((page - PAGES / 2) << 12) }
}

/// A domain for each table, so that equal tags mean equal tables.
fn domain(table: usize) -> u64 {
    10 + table as u64
}

/// The same translation by the tables alone.
fn by_the_tables(machine: &Machine, source: SourceId, iova: u64, access: Access) -> Result<u64, u8> {
    let View { translating, root, capabilities } = machine.unit.dma.view();
    assert!(translating);
    let view = View { translating, root, capabilities };
    let context = legacy::context(&view, &machine.memory, source).map_err(|fault| fault.reason as u8)?;
    match context.space.mapping {
        Mapping::PassThrough => Ok(iova),
        Mapping::FirstStage(_) | Mapping::Nested(..) => unreachable!(),
        Mapping::SecondStage(table) => table
            .walk(&machine.memory, &capabilities, Iova(iova), Demand::new(access), None)
            .map(|found| found.leaf.output(Iova(iova)).0)
            .map_err(|reason| reason as u8),
    }
}

/// Makes a large page of what covers address 0 at `level`, or takes it away.
fn make_large(machine: &Machine, table: u64, level: Level, permissions: u64) {
    let entry = machine.entry(table, 4, 0, level);
    machine.write_memory(entry, if permissions == 0 { 0 } else { LARGE | permissions });
}

/// A small page at `iova`, below no large one.
fn make_small(machine: &Machine, table: u64, iova: u64, target: u64, permissions: u64) {
    machine.map(table, iova, (DATA + target * 0x1000) | permissions);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn cached_and_uncached_translation_agree(steps in prop::collection::vec(step(), 1..80)) {
        let machine = Machine::new();
        let tables: Vec<u64> = (0..TABLES).map(|_| machine.table()).collect();
        for source in SOURCES {
            machine.context(source, [0, 0]);
        }
        machine.enable_translation();
        machine.enable_queue();
        for (step, announce) in steps {
            match step {
                Step::Page { table, page, target, permissions } => {
                    make_small(&machine, tables[table], address(page), target, permissions);
                    // A table may have come in place of a large page of 1 GiB.
                    machine.submit(&[match announce {
                        Announce::Exactly => iotlb_pages(domain(table), 0, 18),
                        Announce::ByDomain => iotlb_domain(domain(table)),
                        Announce::Globally => iotlb_global(),
                    }]);
                }
                Step::Large { table, level, permissions } => {
                    make_large(&machine, tables[table], level, permissions);
                    machine.submit(&[match announce {
                        Announce::Exactly => iotlb_pages(domain(table), 0, 18),
                        Announce::ByDomain => iotlb_domain(domain(table)),
                        Announce::Globally => iotlb_global(),
                    }]);
                }
                Step::Context { source, table, pass_through } => {
                    let entry = match table {
                        None => [0, 0],
                        Some(table) if pass_through => [2 << 2 | 1, 2 | domain(table) << 8],
                        Some(table) => [tables[table] | 1, 2 | domain(table) << 8],
                    };
                    machine.context(SOURCES[source], entry);
                    let source = u64::from(SOURCES[source].0);
                    match announce {
                        Announce::Exactly => machine.submit(&[context_device(0, source, 0)]),
                        Announce::ByDomain => {
                            machine.submit(&[0, 1, 2].map(|table| context_domain(domain(table))));
                        }
                        Announce::Globally => machine.submit(&[context_global()]),
                    }
                }
                Step::Access { source, page, offset, access } => {
                    let iova = address(page) + offset;
                    let expected = by_the_tables(&machine, SOURCES[source], iova, access);
                    let found = machine.translate_as(SOURCES[source], iova, access);
                    prop_assert_eq!(found, expected);
                }
            }
            prop_assert!(machine.queue_is_done());
        }
    }

    /// A small page that is announced by its own address, with no table coming or going, is enough too.
    #[test]
    fn a_single_page_is_announced_by_its_address(
        edits in prop::collection::vec((0..PAGES, 0..8_u64, 0..=RW), 1..60),
    ) {
        let (machine, table) = Machine::translating();
        for page in 0..PAGES {
            machine.map(table, address(page), 0);
        }
        for (page, target, permissions) in edits {
            let iova = address(page);
            machine.map(table, iova, (DATA + target * 0x1000) | permissions);
            machine.submit(&[iotlb_pages(5, iova, 0)]);
            let allowed = Permissions::from_bits_truncate(permissions as u8);
            for (access, reason) in [(Access::Read, 6), (Access::Write, 5)] {
                let target = GuestAddress(DATA + target * 0x1000).0;
                let expected = if allowed.allows(access) { Ok(target) } else { Err(reason) };
                prop_assert_eq!(machine.translate(iova, access), expected);
            }
        }
    }
}
