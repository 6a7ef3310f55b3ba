use std::sync::LazyLock;

use super::*;
use crate::Pasid;
use crate::cache::table::Keeper;
use crate::spec::second_stage::Level;

static KEEPER: LazyLock<Keeper> = LazyLock::new(Keeper::default);

/// Nothing taken.
const NONE: [usize; 0] = [];

const FIVE: DomainId = DomainId(5);
const SIX: DomainId = DomainId(6);

fn leaf(guest: u64, level: Level) -> Leaf {
    Leaf { guest: GuestAddress(guest), level, rights: Rights::ALL }
}

fn filled(pages: &[(DomainId, u64, Level)]) -> Iotlb {
    let iotlb = Iotlb::new();
    for (domain, iova, level) in pages {
        iotlb.fill(&mut KEEPER.evict(), Tag::SecondStage(*domain), Iova(*iova), &leaf(*iova, *level));
    }
    iotlb
}

fn pages(iova: u64, address_mask: u8) -> Invalidation {
    Invalidation::IotlbPages { domain: FIVE, iova: Iova(iova), address_mask, hint: false }
}

#[test]
fn a_page_is_found_by_every_address_in_it_and_by_no_other() {
    for level in [Level::PAGE, Level::PAGE_2M, Level::PAGE_1G] {
        let base = 0x1234_8000_0000 & !(level.span() - 1);
        let iotlb = filled(&[(FIVE, base, level)]);
        for inside in [base, base + level.span() / 2, base + level.span() - 1] {
            assert_eq!(iotlb.get(Tag::SecondStage(FIVE), Iova(inside)), Some(leaf(base, level)));
        }
        for outside in [base - 1, base + level.span(), base ^ 1 << 56] {
            assert_eq!(iotlb.get(Tag::SecondStage(FIVE), Iova(outside)), None, "{outside:#x}");
        }
        assert_eq!(iotlb.get(Tag::SecondStage(SIX), Iova(base)), None);
    }
}

#[test]
fn rights_come_out_as_they_went_in() {
    let iotlb = Iotlb::new();
    for rights in [Rights::READ, Rights::ANY_WRITE, Rights::ALL, Rights::ALL | Rights::CLEAN] {
        let leaf = Leaf { rights, ..leaf(0xFFFF_FFFF_F000, Level::PAGE) };
        iotlb.fill(&mut KEEPER.evict(), Tag::SecondStage(FIVE), Iova(0x1000), &leaf);
        assert_eq!(iotlb.get(Tag::SecondStage(FIVE), Iova(0x1000)), Some(leaf));
    }
}

#[test]
fn a_domain_selective_invalidation_leaves_other_domains() {
    let iotlb = filled(&[(FIVE, 0x1000, Level::PAGE), (SIX, 0x1000, Level::PAGE)]);
    iotlb.invalidate(&mut KEEPER.evict(), &Invalidation::IotlbDomain(FIVE));
    assert_eq!(iotlb.get(Tag::SecondStage(FIVE), Iova(0x1000)), None);
    assert!(iotlb.get(Tag::SecondStage(SIX), Iova(0x1000)).is_some());
}

#[test]
fn a_page_selective_invalidation_takes_exactly_its_range() {
    for address_mask in 0..=12 {
        let size = 1_u64 << address_mask;
        let first: u64 = 0x7_0000 & !(size - 1);
        let around = first - 2..first + size + 2;
        let iotlb = Iotlb::new();
        let probe = |page: &u64| Iova(page << 12);
        // The cache may be too small for all of them at once.
        for page in around.clone().filter(|page| page.abs_diff(first) < 40 || *page > first + size - 3) {
            iotlb.fill(
                &mut KEEPER.evict(),
                Tag::SecondStage(FIVE),
                probe(&page),
                &leaf(page << 12, Level::PAGE),
            );
            iotlb.fill(
                &mut KEEPER.evict(),
                Tag::SecondStage(SIX),
                probe(&page),
                &leaf(page << 12, Level::PAGE),
            );
        }
        let before: Vec<_> =
            around.clone().filter(|page| iotlb.get(Tag::SecondStage(FIVE), probe(page)).is_some()).collect();
        let others: Vec<_> =
            around.clone().filter(|page| iotlb.get(Tag::SecondStage(SIX), probe(page)).is_some()).collect();
        assert!(before.len() >= 5);
        // Any address in the range names it.
        iotlb.invalidate(&mut KEEPER.evict(), &pages((first + size - 1) << 12, address_mask));
        let after: Vec<_> =
            around.clone().filter(|page| iotlb.get(Tag::SecondStage(FIVE), probe(page)).is_some()).collect();
        let expected: Vec<_> =
            before.into_iter().filter(|page| !(first..first + size).contains(page)).collect();
        assert_eq!(after, expected, "{address_mask}");
        assert!(others.iter().all(|page| iotlb.get(Tag::SecondStage(SIX), probe(page)).is_some()));
    }
}

#[test]
fn a_page_selective_invalidation_takes_the_large_page_around_it() {
    for level in [Level::PAGE_2M, Level::PAGE_1G] {
        for address_mask in [0, 5, 7, 9] {
            let iotlb = filled(&[(FIVE, 0, level), (FIVE, level.span(), level)]);
            iotlb.invalidate(&mut KEEPER.evict(), &pages(level.span() - 0x1000, address_mask));
            assert_eq!(iotlb.get(Tag::SecondStage(FIVE), Iova(0)), None, "{level:?} {address_mask}");
            assert!(iotlb.get(Tag::SecondStage(FIVE), Iova(level.span())).is_some());
        }
    }
}

#[test]
fn a_large_range_takes_the_pages_of_every_size_in_it() {
    let inside = [(0x4000_0000, Level::PAGE), (0x4020_0000, Level::PAGE_2M), (0x7FFF_F000, Level::PAGE)];
    let outside = [(0x3FFF_F000, Level::PAGE), (0x8000_0000, Level::PAGE_2M), (0xC000_0000, Level::PAGE_1G)];
    let all: Vec<_> = inside.iter().chain(&outside).map(|(iova, level)| (FIVE, *iova, *level)).collect();
    let iotlb = filled(&all);
    iotlb.invalidate(&mut KEEPER.evict(), &pages(0x4000_0000, 18));
    assert!(inside.iter().all(|(iova, _)| iotlb.get(Tag::SecondStage(FIVE), Iova(*iova)).is_none()));
    assert!(outside.iter().all(|(iova, _)| iotlb.get(Tag::SecondStage(FIVE), Iova(*iova)).is_some()));
}

#[test]
fn masks_and_addresses_at_their_limits_do_no_harm() {
    let iotlb = filled(&[(FIVE, 0x1000, Level::PAGE), (SIX, 0x1000, Level::PAGE)]);
    for address_mask in [18, 44] {
        iotlb.invalidate(&mut KEEPER.evict(), &pages(!0xFFF, address_mask));
    }
    assert!(iotlb.get(Tag::SecondStage(FIVE), Iova(0x1000)).is_some());
    for address_mask in [45, 52, 63] {
        let iotlb = filled(&[(FIVE, 0x1000, Level::PAGE), (SIX, 0x1000, Level::PAGE)]);
        iotlb.invalidate(&mut KEEPER.evict(), &pages(!0xFFF, address_mask));
        assert_eq!(iotlb.get(Tag::SecondStage(FIVE), Iova(0x1000)), None);
        assert!(iotlb.get(Tag::SecondStage(SIX), Iova(0x1000)).is_some());
    }
}

#[test]
fn invalidations_of_contexts_leave_pages() {
    let iotlb = filled(&[(FIVE, 0x1000, Level::PAGE)]);
    iotlb.invalidate(&mut KEEPER.evict(), &Invalidation::ContextGlobal);
    iotlb.invalidate(&mut KEEPER.evict(), &Invalidation::ContextDomain(FIVE));
    assert!(iotlb.get(Tag::SecondStage(FIVE), Iova(0x1000)).is_some());
    iotlb.invalidate(&mut KEEPER.evict(), &Invalidation::IotlbGlobal);
    assert_eq!(iotlb.get(Tag::SecondStage(FIVE), Iova(0x1000)), None);
}

const fn first(domain: DomainId, pasid: u32) -> Tag {
    Tag::FirstStage(domain, FirstStageTag { pasid: Pasid(pasid), root: 0x1000 })
}

const fn nested(domain: DomainId, pasid: u32) -> Tag {
    Tag::Nested(domain, FirstStageTag { pasid: Pasid(pasid), root: 0x1000 })
}

/// One of the first pages of everything, and of some the next.
const TAGS: [(Tag, u64); 10] = [
    (Tag::SecondStage(FIVE), 0x1000),
    (Tag::SecondStage(FIVE), 0x2000),
    (Tag::SecondStage(SIX), 0x1000),
    (first(FIVE, 1), 0x1000),
    (first(FIVE, 1), 0x2000),
    (first(FIVE, 0xF_FFFF), 0x1000),
    (first(SIX, 1), 0x1000),
    (nested(FIVE, 1), 0x1000),
    (nested(FIVE, 1), 0x2000),
    (nested(FIVE, 0xF_FFFF), 0x1000),
];

/// What `what` takes of [`TAGS`], by index.
fn taken(what: &Invalidation) -> Vec<usize> {
    let iotlb = Iotlb::new();
    for (guest, (tag, iova)) in TAGS.iter().enumerate() {
        iotlb.fill(&mut KEEPER.evict(), *tag, Iova(*iova), &leaf((guest as u64) << 12, Level::PAGE));
    }
    for (guest, (tag, iova)) in TAGS.iter().enumerate() {
        assert_eq!(iotlb.get(*tag, Iova(*iova)), Some(leaf((guest as u64) << 12, Level::PAGE)));
    }
    iotlb.invalidate(&mut KEEPER.evict(), what);
    (0..TAGS.len()).filter(|index| iotlb.get(TAGS[*index].0, Iova(TAGS[*index].1)).is_none()).collect()
}

#[test]
fn every_granularity_takes_what_it_names_and_leaves_the_rest() {
    let (domain, pasid, iova) = (FIVE, Pasid(1), Iova(0x1000));
    let pages = |address_mask, hint| Invalidation::IotlbPages { domain, iova, address_mask, hint };
    let pasid_pages =
        |address_mask, hint| Invalidation::PasidIotlbPages { domain, pasid, iova, address_mask, hint };
    assert_eq!(taken(&Invalidation::IotlbGlobal), (0..10).collect::<Vec<_>>());
    assert_eq!(taken(&Invalidation::Everything), (0..10).collect::<Vec<_>>());
    assert_eq!(taken(&Invalidation::IotlbDomain(FIVE)), [0, 1, 3, 4, 5, 7, 8, 9]);
    assert_eq!(taken(&Invalidation::IotlbDomain(SIX)), [2, 6]);
    for hint in [false, true] {
        // Nested pages go by another address, so all of the domain go.
        assert_eq!(taken(&pages(0, hint)), [0, 7, 8, 9]);
        assert_eq!(taken(&pages(18, hint)), [0, 1, 7, 8, 9]);
        assert_eq!(taken(&pasid_pages(0, hint)), [3, 7]);
        // First-stage addresses have no limit to the mask.
        for address_mask in [2, 18, 44, 45, 52, 63] {
            assert_eq!(taken(&pasid_pages(address_mask, hint)), [3, 4, 7, 8], "{address_mask}");
        }
    }
    assert_eq!(taken(&Invalidation::PasidIotlb(FIVE, Pasid(1))), [3, 4, 7, 8]);
    assert_eq!(taken(&Invalidation::PasidIotlb(FIVE, Pasid(0xF_FFFF))), [5, 9]);
    assert_eq!(taken(&Invalidation::PasidIotlb(FIVE, Pasid(0))), NONE);
    for what in [
        Invalidation::ContextGlobal,
        Invalidation::PasidCacheGlobal,
        Invalidation::PasidCacheDomain(FIVE),
        Invalidation::PasidCachePasid(FIVE, Pasid(1)),
    ] {
        assert_eq!(taken(&what), NONE, "{what:?}");
    }
}

#[test]
fn addresses_of_the_upper_half_are_told_from_those_of_the_lower_and_invalidated() {
    let iotlb = Iotlb::new();
    let upper = 0xFFFF_8000_0000_1000_u64;
    for iova in [upper, 0x1000] {
        iotlb.fill(
            &mut KEEPER.evict(),
            first(FIVE, 1),
            Iova(iova),
            &leaf(iova & 0xFFFF_FFFF_F000, Level::PAGE),
        );
    }
    let what = Invalidation::PasidIotlbPages {
        domain: FIVE,
        pasid: Pasid(1),
        iova: Iova(upper),
        address_mask: 0,
        hint: false,
    };
    iotlb.invalidate(&mut KEEPER.evict(), &what);
    assert_eq!(iotlb.get(first(FIVE, 1), Iova(upper)), None);
    assert!(iotlb.get(first(FIVE, 1), Iova(0x1000)).is_some());
}
