use super::*;

const FIVE: DomainId = DomainId(5);
const SIX: DomainId = DomainId(6);

fn leaf(guest: u64, level: Level) -> Leaf {
    Leaf { guest: GuestAddress(guest), level, rights: Rights::ALL }
}

fn filled(pages: &[(DomainId, u64, Level)]) -> Iotlb {
    let iotlb = Iotlb::new();
    for (domain, iova, level) in pages {
        iotlb.fill(iotlb.epoch(), *domain, Iova(*iova), &leaf(*iova, *level));
    }
    iotlb
}

fn pages(iova: u64, address_mask: u8) -> Invalidation {
    Invalidation::IotlbPages { domain: FIVE, iova: Iova(iova), address_mask, hint: false }
}

#[test]
fn a_page_is_found_by_every_address_in_it_and_by_no_other() {
    for level in LEAF_LEVELS {
        let base = 0x1234_8000_0000 & !(level.span() - 1);
        let iotlb = filled(&[(FIVE, base, level)]);
        for inside in [base, base + level.span() / 2, base + level.span() - 1] {
            assert_eq!(iotlb.get(FIVE, Iova(inside)), Some(leaf(base, level)));
        }
        for outside in [base - 1, base + level.span(), base ^ 1 << 56] {
            assert_eq!(iotlb.get(FIVE, Iova(outside)), None, "{outside:#x}");
        }
        assert_eq!(iotlb.get(SIX, Iova(base)), None);
    }
}

#[test]
fn rights_come_out_as_they_went_in() {
    let iotlb = Iotlb::new();
    for rights in [Rights::READ, Rights::ANY_WRITE, Rights::ALL, Rights::ALL | Rights::CLEAN] {
        let leaf = Leaf { rights, ..leaf(0xFFFF_FFFF_F000, Level::PAGE) };
        iotlb.fill(iotlb.epoch(), FIVE, Iova(0x1000), &leaf);
        assert_eq!(iotlb.get(FIVE, Iova(0x1000)), Some(leaf));
    }
}

#[test]
fn a_domain_selective_invalidation_leaves_other_domains() {
    let iotlb = filled(&[(FIVE, 0x1000, Level::PAGE), (SIX, 0x1000, Level::PAGE)]);
    iotlb.invalidate(&Invalidation::IotlbDomain(FIVE));
    assert_eq!(iotlb.get(FIVE, Iova(0x1000)), None);
    assert!(iotlb.get(SIX, Iova(0x1000)).is_some());
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
            iotlb.fill(iotlb.epoch(), FIVE, probe(&page), &leaf(page << 12, Level::PAGE));
            iotlb.fill(iotlb.epoch(), SIX, probe(&page), &leaf(page << 12, Level::PAGE));
        }
        let before: Vec<_> = around.clone().filter(|page| iotlb.get(FIVE, probe(page)).is_some()).collect();
        let others: Vec<_> = around.clone().filter(|page| iotlb.get(SIX, probe(page)).is_some()).collect();
        assert!(before.len() >= 5);
        // Any address in the range names it.
        iotlb.invalidate(&pages((first + size - 1) << 12, address_mask));
        let after: Vec<_> = around.clone().filter(|page| iotlb.get(FIVE, probe(page)).is_some()).collect();
        let expected: Vec<_> =
            before.into_iter().filter(|page| !(first..first + size).contains(page)).collect();
        assert_eq!(after, expected, "{address_mask}");
        assert!(others.iter().all(|page| iotlb.get(SIX, probe(page)).is_some()));
    }
}

#[test]
fn a_page_selective_invalidation_takes_the_large_page_around_it() {
    for level in [Level::PAGE_2M, Level::PAGE_1G] {
        for address_mask in [0, 5, 7, 9] {
            let iotlb = filled(&[(FIVE, 0, level), (FIVE, level.span(), level)]);
            iotlb.invalidate(&pages(level.span() - 0x1000, address_mask));
            assert_eq!(iotlb.get(FIVE, Iova(0)), None, "{level:?} {address_mask}");
            assert!(iotlb.get(FIVE, Iova(level.span())).is_some());
        }
    }
}

#[test]
fn a_large_range_takes_the_pages_of_every_size_in_it() {
    let inside = [(0x4000_0000, Level::PAGE), (0x4020_0000, Level::PAGE_2M), (0x7FFF_F000, Level::PAGE)];
    let outside = [(0x3FFF_F000, Level::PAGE), (0x8000_0000, Level::PAGE_2M), (0xC000_0000, Level::PAGE_1G)];
    let all: Vec<_> = inside.iter().chain(&outside).map(|(iova, level)| (FIVE, *iova, *level)).collect();
    let iotlb = filled(&all);
    iotlb.invalidate(&pages(0x4000_0000, 18));
    assert!(inside.iter().all(|(iova, _)| iotlb.get(FIVE, Iova(*iova)).is_none()));
    assert!(outside.iter().all(|(iova, _)| iotlb.get(FIVE, Iova(*iova)).is_some()));
}

#[test]
fn masks_and_addresses_at_their_limits_do_no_harm() {
    let iotlb = filled(&[(FIVE, 0x1000, Level::PAGE), (SIX, 0x1000, Level::PAGE)]);
    for address_mask in [18, 51] {
        iotlb.invalidate(&pages(!0xFFF, address_mask));
    }
    assert!(iotlb.get(FIVE, Iova(0x1000)).is_some());
    for address_mask in [52, 63] {
        let iotlb = filled(&[(FIVE, 0x1000, Level::PAGE), (SIX, 0x1000, Level::PAGE)]);
        iotlb.invalidate(&pages(!0xFFF, address_mask));
        assert_eq!(iotlb.get(FIVE, Iova(0x1000)), None);
        assert!(iotlb.get(SIX, Iova(0x1000)).is_some());
    }
}

#[test]
fn invalidations_of_contexts_leave_pages() {
    let iotlb = filled(&[(FIVE, 0x1000, Level::PAGE)]);
    iotlb.invalidate(&Invalidation::ContextGlobal);
    iotlb.invalidate(&Invalidation::ContextDomain(FIVE));
    assert!(iotlb.get(FIVE, Iova(0x1000)).is_some());
    iotlb.invalidate(&Invalidation::IotlbGlobal);
    assert_eq!(iotlb.get(FIVE, Iova(0x1000)), None);
}
