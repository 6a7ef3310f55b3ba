use super::*;

const CAPABILITIES: Capabilities = Capabilities::legacy(48);

fn context(domain: u16, mapping: Mapping) -> Context {
    let fault_processing_disabled = domain % 2 == 1;
    let space = AddressSpace { domain: DomainId(domain), pasid: None, fault_processing_disabled, mapping };
    Context { space, device_tlb: domain > 1 }
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
        cache.fill(cache.epoch(), SourceId(source), &context);
    }
    cache
}

fn left(cache: &ContextCache) -> Vec<u16> {
    (0..=u16::MAX).filter(|source| cache.get(SourceId(*source)).is_some()).collect()
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
            cache.fill(cache.epoch(), SourceId(source), &context);
            assert_eq!(cache.get(SourceId(source)), Some(context));
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
        cache.invalidate(&Invalidation::ContextDevice { source: SourceId(0x0113), mask });
        let expected: Vec<_> = (0x0110..0x0118).filter(|source| !gone.contains(source)).collect();
        assert_eq!(left(&cache), expected);
    }
}

#[test]
fn a_domain_selective_invalidation_leaves_other_domains() {
    let cache = filled();
    cache.invalidate(&Invalidation::ContextDomain(DomainId(7)));
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
        cache.invalidate(&what);
        assert_eq!(left(&cache).len(), expected);
    }
}
