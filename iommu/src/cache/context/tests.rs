use std::sync::LazyLock;

use super::*;
use crate::cache::table::Keeper;

static KEEPER: LazyLock<Keeper> = LazyLock::new(Keeper::default);

const CAPABILITIES: Capabilities = Capabilities::legacy(48);

fn context(domain: u16, mapping: Mapping) -> legacy::Context {
    let fault_processing_disabled = domain % 2 == 1;
    let space = AddressSpace { domain: DomainId(domain), pasid: None, fault_processing_disabled, mapping };
    legacy::Context { space, device_tlb: domain > 1 }
}

fn table(root: u64, levels: u8) -> Mapping {
    let top = Level::from_number(levels).unwrap();
    Mapping::SecondStage(Table::new(GuestAddress(root), top, &CAPABILITIES))
}

/// The sources 0x0110 to 0x0117, of which the odd ones are in domain 7 and the others in domain 8.
fn filled() -> ContextCache {
    let cache = ContextCache::new(CAPABILITIES);
    for source in 0x0110..0x0118 {
        let context = context(8 - source % 2, table(0x1000 * u64::from(source), 4));
        cache.fill_legacy(&mut KEEPER.evict(), SourceId(source), &context);
    }
    cache
}

fn left(cache: &ContextCache) -> Vec<u16> {
    (0..=u16::MAX).filter(|source| cache.legacy(SourceId(*source)).is_some()).collect()
}

#[test]
fn what_is_put_in_comes_out_as_it_was() {
    let cache = ContextCache::new(CAPABILITIES);
    for (source, mapping) in [
        (0, Mapping::PassThrough),
        (1, table(0, 4)),
        (0xFFFF, table(0xFFFF_FFFF_F000, 3)),
        (0xFF00, table(0x1000, 4)),
    ] {
        for domain in [0, 1, 0xFFFE, 0xFFFF] {
            let context = context(domain, mapping);
            cache.fill_legacy(&mut KEEPER.evict(), SourceId(source), &context);
            assert_eq!(cache.legacy(SourceId(source)), Some(context));
        }
    }
}

#[test]
fn a_device_selective_invalidation_leaves_other_functions() {
    for (mask, gone) in [
        (0b000, &[0x0113][..]),
        (0b100, &[0x0113, 0x0117]),
        (0b110, &[0x0111, 0x0113, 0x0115, 0x0117]),
        (0b111, &[0x0110, 0x0111, 0x0112, 0x0113, 0x0114, 0x0115, 0x0116, 0x0117]),
    ] {
        let cache = filled();
        cache
            .invalidate(&mut KEEPER.evict(), &Invalidation::ContextDevice { source: SourceId(0x0113), mask });
        let expected: Vec<_> = (0x0110..0x0118).filter(|source| !gone.contains(source)).collect();
        assert_eq!(left(&cache), expected);
    }
}

#[test]
fn a_domain_selective_invalidation_leaves_other_domains() {
    let cache = filled();
    cache.invalidate(&mut KEEPER.evict(), &Invalidation::ContextDomain(DomainId(7)));
    assert_eq!(left(&cache), [0x0110, 0x0112, 0x0114, 0x0116]);
}

#[test]
fn global_invalidations_leave_nothing_and_those_of_the_iotlb_everything() {
    for (what, expected) in [
        (Invalidation::Everything, 0),
        (Invalidation::ContextGlobal, 0),
        (Invalidation::IotlbGlobal, 8),
        (Invalidation::IotlbDomain(DomainId(7)), 8),
    ] {
        let cache = filled();
        cache.invalidate(&mut KEEPER.evict(), &what);
        assert_eq!(left(&cache).len(), expected);
    }
}

fn scalable(directory: u64, rid_pasid: u32, last_pasid: u32, bits: [bool; 5]) -> scalable::Context {
    let [fault_processing_disabled, device_tlb, pasid_enabled, page_requests, rid_privileged] = bits;
    scalable::Context {
        pasid_directory: GuestAddress(directory),
        last_pasid: Pasid(last_pasid),
        rid_pasid: Pasid(rid_pasid),
        rid_privileged,
        device_tlb,
        pasid_enabled,
        page_requests,
        fault_processing_disabled,
    }
}

#[test]
fn what_is_put_in_of_scalable_mode_comes_out_as_it_was() {
    let cache = ContextCache::new(CAPABILITIES);
    for (directory, rid_pasid, last_pasid) in
        [(0, 0, 0x7F), (0x000F_FFFF_FFFF_F000, 0xF_FFFF, 0xF_FFFF), (0x1000, 5, 0x1FFF)]
    {
        for only in 0..6 {
            let context = scalable(directory, rid_pasid, last_pasid, [0, 1, 2, 3, 4].map(|bit| bit == only));
            cache.fill_scalable(&mut KEEPER.evict(), SourceId(0xFFFF), &context);
            assert_eq!(cache.scalable(SourceId(0xFFFF)), Some(context));
        }
    }
    // It is none of legacy mode.
    assert_eq!(cache.legacy(SourceId(0xFFFF)), None);
}

#[test]
fn contexts_of_scalable_mode_go_by_function_and_have_no_domain() {
    for (what, here, there) in [
        (Invalidation::ContextGlobal, false, false),
        (Invalidation::ContextDomain(DomainId(7)), false, false),
        (Invalidation::ContextDevice { source: SourceId(0x0113), mask: 0 }, false, true),
        (Invalidation::PasidCacheGlobal, true, true),
        (Invalidation::IotlbGlobal, true, true),
    ] {
        let cache = ContextCache::new(CAPABILITIES);
        for source in [0x0113, 0x0114] {
            cache.fill_scalable(
                &mut KEEPER.evict(),
                SourceId(source),
                &scalable(0x1000, 0, 0x7F, [false; 5]),
            );
        }
        cache.invalidate(&mut KEEPER.evict(), &what);
        assert_eq!(cache.scalable(SourceId(0x0113)).is_some(), here, "{what:?}");
        assert_eq!(cache.scalable(SourceId(0x0114)).is_some(), there, "{what:?}");
    }
}
