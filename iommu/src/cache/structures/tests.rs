use std::sync::LazyLock;

use super::*;
use crate::cache::table::Keeper;

static KEEPER: LazyLock<Keeper> = LazyLock::new(Keeper::default);

/// Nothing taken.
const NONE: [usize; 0] = [];

const FIVE: DomainId = DomainId(5);
const SIX: DomainId = DomainId(6);

const fn first(domain: DomainId, pasid: u32, root: u64) -> Tag {
    Tag::FirstStage(domain, FirstStageTag { pasid: Pasid(pasid), root })
}

fn level(number: u8) -> Level {
    Level::from_number(number).unwrap()
}

fn inner(table: u64, number: u8) -> Inner {
    Inner { table: GuestAddress(table), level: level(number), rights: Rights::READ | Rights::USER }
}

#[test]
fn the_innermost_table_is_found_by_every_address_it_serves() {
    let structures = Structures::new();
    let put = |number| {
        let found = inner(0x1000 * u64::from(number), number);
        structures.fill(&mut KEEPER.evict(), Tag::SecondStage(FIVE), Iova(0x4000_0000), level(4), &found);
    };
    let get = |iova| structures.get(Tag::SecondStage(FIVE), Iova(iova));
    put(3);
    assert_eq!(get(0x4000_0000), Some(inner(0x3000, 3)));
    put(1);
    put(2);
    assert_eq!(get(0x4000_0000), Some(inner(0x1000, 1)));
    assert_eq!(get(0x401F_FFFF), Some(inner(0x1000, 1)));
    assert_eq!(get(0x4020_0000), Some(inner(0x2000, 2)));
    assert_eq!(get(0x3FFF_FFFF), Some(inner(0x3000, 3)));
    assert_eq!(get(0x80_0000_0000), None);
    assert_eq!(structures.get(Tag::SecondStage(SIX), Iova(0x4000_0000)), None);
}

#[test]
fn the_topmost_table_is_not_remembered() {
    for top in 3..=5 {
        let structures = Structures::new();
        let found = inner(0x1000, top);
        structures.fill(&mut KEEPER.evict(), Tag::SecondStage(FIVE), Iova(0), level(top), &found);
        assert_eq!(structures.get(Tag::SecondStage(FIVE), Iova(0)), None);
    }
}

/// Where entries are remembered: all at the same address, bar the second, the next 2 MiB.
const TAGS: [(Tag, u64); 8] = [
    (Tag::SecondStage(FIVE), 0x20_0000),
    (Tag::SecondStage(FIVE), 0x40_0000),
    (Tag::SecondStage(SIX), 0x20_0000),
    (first(FIVE, 1, 0xF_FFFF_FFFF_F000), 0x20_0000),
    (first(FIVE, 1, 0x1000), 0x20_0000),
    (first(FIVE, 1, 0x1000), 0x40_0000),
    (first(FIVE, 0xF_FFFF, 0x1000), 0x20_0000),
    (first(SIX, 1, 0x1000), 0x20_0000),
];

/// What `what` takes of [`TAGS`], by index.
fn taken(what: &Invalidation) -> Vec<usize> {
    let structures = Structures::new();
    for (index, (tag, iova)) in TAGS.iter().enumerate() {
        let found = inner(index as u64 * 0x1000, 1);
        structures.fill(&mut KEEPER.evict(), *tag, Iova(*iova), level(4), &found);
    }
    for (index, (tag, iova)) in TAGS.iter().enumerate() {
        assert_eq!(structures.get(*tag, Iova(*iova)), Some(inner(index as u64 * 0x1000, 1)));
    }
    structures.invalidate(&mut KEEPER.evict(), what);
    (0..TAGS.len()).filter(|index| structures.get(TAGS[*index].0, Iova(TAGS[*index].1)).is_none()).collect()
}

#[test]
fn every_granularity_takes_what_it_names_and_the_hint_spares_all() {
    let (domain, pasid, iova) = (FIVE, Pasid(1), Iova(0x3F_F000));
    let pages = |address_mask, hint| Invalidation::IotlbPages { domain, iova, address_mask, hint };
    let pasid_pages =
        |address_mask, hint| Invalidation::PasidIotlbPages { domain, pasid, iova, address_mask, hint };
    assert_eq!(taken(&Invalidation::IotlbGlobal), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(taken(&Invalidation::IotlbDomain(FIVE)), [0, 1, 3, 4, 5, 6]);
    // One page is enough to take the table that serves it.
    assert_eq!(taken(&pages(0, false)), [0]);
    assert_eq!(taken(&pages(9, false)), [0]);
    assert_eq!(taken(&pages(11, false)), [0, 1]);
    assert_eq!(taken(&pages(18, true)), NONE);
    assert_eq!(taken(&Invalidation::PasidIotlb(FIVE, Pasid(1))), [3, 4, 5]);
    assert_eq!(taken(&pasid_pages(0, false)), [3, 4]);
    assert_eq!(taken(&pasid_pages(63, false)), [3, 4, 5]);
    assert_eq!(taken(&pasid_pages(63, true)), NONE);
    assert_eq!(taken(&Invalidation::ContextGlobal), NONE);
    assert_eq!(taken(&Invalidation::PasidCacheGlobal), NONE);
}
