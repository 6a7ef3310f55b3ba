use super::*;
use crate::testing::descriptor as build;
use crate::{DeviceTlbScope, DomainId, Iova, PageResponseCode, Profile};

const LEGACY: Capabilities = Capabilities::legacy(48);

/// Everything that a descriptor can need.
const ALL: Capabilities = Capabilities::new(Profile::Full, 48);

fn decode([low, high]: [u64; 2]) -> Result<Descriptor, QueueError> {
    Descriptor::decode([low, high, 0, 0], Kinds::Legacy, &LEGACY)
}

fn decode_scalable([low, high]: [u64; 2]) -> Result<Descriptor, QueueError> {
    Descriptor::decode([low, high, 0, 0], Kinds::All, &ALL)
}

fn translations(raw: [u64; 2]) -> Invalidation {
    match decode(raw) {
        Ok(Descriptor::Translations(what)) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn context_cache_descriptors_have_three_granularities() {
    assert_eq!(translations(build::context_global()), Invalidation::ContextGlobal);
    assert_eq!(translations(build::context_domain(0xABCD)), Invalidation::ContextDomain(DomainId(0xABCD)));
    for (function_mask, mask) in [(0, 0b000), (1, 0b100), (2, 0b110), (3, 0b111)] {
        let expected = Invalidation::ContextDevice { source: SourceId(0x1234), mask };
        assert_eq!(translations(build::context_device(9, 0x1234, function_mask)), expected);
    }
}

#[test]
fn iotlb_descriptors_have_three_granularities() {
    assert_eq!(translations(build::iotlb_global()), Invalidation::IotlbGlobal);
    assert_eq!(translations(build::iotlb_domain(0xABCD)), Invalidation::IotlbDomain(DomainId(0xABCD)));
    let [low, high] = build::iotlb_pages(5, 0xFEDC_BA98_7654_3000, 9);
    let expected = |hint| Invalidation::IotlbPages {
        domain: DomainId(5),
        iova: Iova(0xFEDC_BA98_7654_3000),
        address_mask: 9,
        hint,
    };
    assert_eq!(translations([low, high]), expected(false));
    assert_eq!(translations([low, high | 1 << 6]), expected(true));
    // Draining reads and writes may be asked for; it is always done.
    assert_eq!(translations([low | 3 << 6, high]), expected(false));
}

#[test]
fn interrupt_entry_descriptors_name_all_or_an_aligned_range() {
    let all = Descriptor::InterruptEntries(EntryRange::All);
    assert_eq!(decode(build::interrupt_global()), Ok(all));
    for (index, mask, first, count) in
        [(7, 0, 7, 1), (7, 2, 4, 4), (0xFFFF, 15, 0x8000, 0x8000), (0xFFFF, 0, 0xFFFF, 1)]
    {
        let some = Descriptor::InterruptEntries(EntryRange::Some { first, count });
        assert_eq!(decode(build::interrupt_index(index, mask)), Ok(some));
    }
}

#[test]
fn a_wait_may_ask_for_status_and_interrupt_or_for_neither() {
    let status = Some((GuestAddress(0x1234), 0xABCD));
    let [low, high] = build::wait_status(0x1234, 0xABCD);
    let neither = Wait { status: None, interrupt: false, page_request_drain: false };
    assert_eq!(decode([low, high]), Ok(Descriptor::Wait(Wait { status, ..neither })));
    assert_eq!(
        decode([low | 1 << 4, high]),
        Ok(Descriptor::Wait(Wait { status, interrupt: true, ..neither }))
    );
    assert_eq!(decode([5, 0]), Ok(Descriptor::Wait(neither)));
    assert_eq!(decode([5 | 1 << 6, 0]), Ok(Descriptor::Wait(neither)));
    let drain = Wait { page_request_drain: true, ..neither };
    assert_eq!(decode_scalable([5 | 1 << 7, 0]), Ok(Descriptor::Wait(drain)));
}

fn scalable(raw: [u64; 2]) -> Invalidation {
    match decode_scalable(raw) {
        Ok(Descriptor::Translations(what)) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn contexts_of_scalable_mode_belong_to_no_domain() {
    assert_eq!(scalable(build::context_domain(5)), Invalidation::ContextGlobal);
    let device = Invalidation::ContextDevice { source: SourceId(0x1234), mask: 0 };
    assert_eq!(scalable(build::context_device(5, 0x1234, 0)), device);
}

#[test]
fn pasid_cache_descriptors_have_three_granularities() {
    let (domain, pasid) = (DomainId(0xABCD), Pasid(0xF_1234));
    let build = |granularity| build::pasid_cache(granularity, 0xABCD, 0xF_1234);
    assert_eq!(scalable(build(0)), Invalidation::PasidCacheDomain(domain));
    assert_eq!(scalable(build(1)), Invalidation::PasidCachePasid(domain, pasid));
    assert_eq!(scalable(build(3)), Invalidation::PasidCacheGlobal);
    assert_eq!(decode_scalable(build(2)), Err(QueueError::ReservedField));
}

#[test]
fn pasid_based_iotlb_descriptors_have_two_granularities_and_any_mask() {
    let (domain, pasid) = (DomainId(0xABCD), Pasid(0xF_1234));
    assert_eq!(scalable(build::pasid_iotlb(0xABCD, 0xF_1234)), Invalidation::PasidIotlb(domain, pasid));
    for address_mask in [0, 9, 19, 51, 63] {
        let iova = Iova(0xFEDC_BA98_7654_3000);
        let [low, high] = build::pasid_iotlb_pages(0xABCD, 0xF_1234, iova.0, address_mask);
        let expected = |hint| {
            let address_mask = address_mask as u8;
            Invalidation::PasidIotlbPages { domain, pasid, iova, address_mask, hint }
        };
        assert_eq!(scalable([low, high]), expected(false));
        assert_eq!(scalable([low, high | 1 << 6]), expected(true));
    }
    for granularity in [0, 1] {
        assert_eq!(decode_scalable([6 | granularity << 4, 0]), Err(QueueError::ReservedField));
    }
}

fn device_tlb(raw: [u64; 2]) -> (SourceId, DeviceTlbInvalidation) {
    match decode_scalable(raw) {
        Ok(Descriptor::DeviceTlb(source, what)) => (source, what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_tlb_descriptor_says_how_much_by_the_address_itself() {
    let everything = (0, None);
    for (address, sized, (start, size)) in [
        (0x5000, false, (0x5000, Some(0x1000))),
        (u64::MAX, false, (!0xFFF, Some(0x1000))),
        (0x4000, true, (0x4000, Some(0x2000))),
        (0x5000, true, (0x4000, Some(0x4000))),
        (0x7000, true, (0, Some(0x1_0000))),
        (0x1234_5678_000F_F000, true, (0x1234_5678_0000_0000, Some(0x20_0000))),
        (0x3FFF_FFFF_FFFF_F000, true, (0, Some(1 << 63))),
        (0xBFFF_FFFF_FFFF_F000, true, (1 << 63, Some(1 << 63))),
        (0x7FFF_FFFF_FFFF_F000, true, everything),
        (0xFFFF_FFFF_FFFF_F000, true, everything),
    ] {
        let expected = |scope| (SourceId(0x1234), DeviceTlbInvalidation { scope, iova: Iova(start), size });
        let [low, high] = build::device_tlb(0x1234, address, sized);
        assert_eq!(device_tlb([low, high]), expected(DeviceTlbScope::WithoutPasid), "{address:x}");
        let [low, high] = build::pasid_device_tlb(0x1234, 0xF_1234, address, sized);
        assert_eq!(device_tlb([low, high]), expected(DeviceTlbScope::Pasid(Pasid(0xF_1234))), "{address:x}");
        assert_eq!(device_tlb([low, high | 1]), expected(DeviceTlbScope::EveryPasid), "{address:x}");
    }
}

#[test]
fn a_page_group_response_has_three_codes() {
    for (code, expected) in [
        (0, Some(PageResponseCode::Success)),
        (1, Some(PageResponseCode::InvalidRequest)),
        (0xF, Some(PageResponseCode::Failure)),
        (2, None),
        (0xE, None),
    ] {
        let raw = build::page_response(0x1234, Some(0xF_1234), 0x1AB, code);
        let response = |code| PageResponse { pasid: Some(Pasid(0xF_1234)), group: 0x1AB, code };
        let expected = expected
            .map(|code| Descriptor::PageResponse(SourceId(0x1234), response(code)))
            .ok_or(QueueError::ReservedField);
        assert_eq!(decode_scalable(raw), expected);
    }
    let raw = build::page_response(0x1234, None, 3, 0);
    let response = PageResponse { pasid: None, group: 3, code: PageResponseCode::Success };
    assert_eq!(decode_scalable(raw), Ok(Descriptor::PageResponse(SourceId(0x1234), response)));
}

/// The types that there are, in the mode and with the capabilities given.
fn types(kinds: Kinds, capabilities: &Capabilities) -> Vec<u64> {
    let is_type = |raw: u64| {
        // A granularity, a code or a flag may not be right, but then the type is.
        let [one, other] = [raw | 1 << 4, raw | 1 << 5].map(|low| {
            Descriptor::decode([low, 0, 0, 0], kinds, capabilities) != Err(QueueError::InvalidType)
        });
        assert_eq!(one, other);
        one
    };
    (0..0x1000).filter(|raw| raw & !TYPE == 0).filter(|raw| is_type(*raw)).collect()
}

#[test]
fn types_go_by_mode_and_capability() {
    assert_eq!(types(Kinds::Legacy, &LEGACY), [1, 2, 4, 5]);
    assert_eq!(types(Kinds::Legacy, &ALL), [1, 2, 3, 4, 5]);
    assert_eq!(types(Kinds::All, &ALL), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let without_page_requests =
        ALL.without(Feature::PageRequestDrain).without(Feature::StopMarker).without(Feature::PageRequests);
    assert_eq!(types(Kinds::All, &without_page_requests), [1, 2, 3, 4, 5, 6, 7, 8]);
    let without_devices = without_page_requests.without(Feature::Throttling).without(Feature::DeviceTlb);
    assert_eq!(types(Kinds::All, &without_devices), [1, 2, 4, 5, 6, 7]);
    let without_remapping = ALL.without(Feature::ExtendedInterruptMode).without(Feature::InterruptRemapping);
    assert_eq!(types(Kinds::All, &without_remapping), [1, 2, 3, 5, 6, 7, 8, 9]);
}

#[test]
fn granularities_and_masks_without_a_meaning_are_refused() {
    for raw in [
        [1, 0],
        [2, 0],
        build::iotlb_pages(5, 0, 19),
        build::iotlb_pages(5, 0, 63),
        build::interrupt_index(0, 16),
        build::interrupt_index(0, 31),
    ] {
        assert_eq!(decode(raw), Err(QueueError::ReservedField), "{raw:x?}");
    }
    // The address mask has no meaning where no address is named.
    let [low, _] = build::iotlb_domain(5);
    assert!(decode([low, 63]).is_ok());
    // Without page-selective invalidation there is none of a single page.
    let unselective = LEGACY.without(Feature::PageSelective);
    let [low, high] = build::iotlb_pages(5, 0, 0);
    let decoded = Descriptor::decode([low, high, 0, 0], Kinds::Legacy, &unselective);
    assert_eq!(decoded, Err(QueueError::ReservedField));
}

/// A descriptor, the bits in its lower half that may have any value, and those that must be zero.
type Layout = ([u64; 2], [u64; 2], [u64; 2]);

const DOMAIN: u64 = mask(31, 16);
const ADDRESS: [u64; 2] = [mask(63, 12) | mask(6, 0), mask(11, 7)];
const VIRTUAL: u64 = mask(63, 52) | mask(15, 12);

/// The layouts that scalable mode has with every capability (§6.5.2).
const LAYOUTS: [Layout; 12] = [
    (build::context_global(), [mask(49, 16), 0], [mask(8, 6) | mask(15, 12) | mask(63, 50), u64::MAX]),
    (build::context_device(1, 2, 3), [mask(49, 16), 0], [mask(8, 6) | mask(15, 12) | mask(63, 50), u64::MAX]),
    (
        build::iotlb_domain(5),
        [DOMAIN | mask(7, 6), ADDRESS[0]],
        [1 << 8 | mask(15, 12) | mask(63, 32), ADDRESS[1]],
    ),
    (
        build::iotlb_pages(5, 0x1000, 0),
        // Some address masks are too large.
        [DOMAIN | mask(7, 6), ADDRESS[0] & !mask(5, 4)],
        [1 << 8 | mask(15, 12) | mask(63, 32), ADDRESS[1]],
    ),
    (
        build::device_tlb(0x1234, 0x5000, true),
        [VIRTUAL | mask(20, 16) | mask(47, 32), ADDRESS_SIZED],
        [mask(8, 4) | mask(31, 21) | mask(51, 48), mask(11, 1)],
    ),
    (
        build::interrupt_index(3, 0),
        [mask(30, 27) | mask(47, 32), 0],
        [mask(8, 5) | mask(26, 12) | mask(63, 48), u64::MAX],
    ),
    (
        build::wait_status(0x1000, 1),
        [mask(63, 32) | mask(7, 4), mask(63, 2)],
        [1 << 8 | mask(31, 12), mask(1, 0)],
    ),
    (
        build::pasid_iotlb(5, 6),
        [mask(51, 16), ADDRESS[0]],
        [mask(8, 6) | mask(15, 12) | mask(63, 52), ADDRESS[1]],
    ),
    (
        build::pasid_iotlb_pages(5, 6, 0x1000, 3),
        [mask(51, 16), ADDRESS[0]],
        [mask(8, 6) | mask(15, 12) | mask(63, 52), ADDRESS[1]],
    ),
    (build::pasid_cache(1, 5, 6), [mask(51, 16), 0], [mask(8, 6) | mask(15, 12) | mask(63, 52), u64::MAX]),
    (
        build::pasid_device_tlb(0x1234, 5, 0x5000, false),
        [VIRTUAL | mask(8, 4) | mask(51, 16), ADDRESS_SIZED | 1 << 11],
        [0, mask(10, 1)],
    ),
    (
        build::page_response(0x1234, None, 7, 0),
        [mask(51, 16) | 1 << 4, mask(11, 2)],
        [mask(8, 5) | mask(63, 52), mask(1, 0) | mask(63, 12)],
    ),
];

const ADDRESS_SIZED: u64 = mask(63, 12) | 1;

fn bits_of(mask: u64) -> impl Iterator<Item = u64> {
    (0..64).map(|bit| 1 << bit).filter(move |bit| mask & bit != 0)
}

#[test]
fn every_bit_is_either_free_or_refused() {
    for (valid, free, reserved) in LAYOUTS {
        let decode = |raw| Descriptor::decode(raw, Kinds::All, &ALL);
        let raw = [valid[0], valid[1], 0, 0];
        assert!(decode(raw).is_ok(), "{valid:x?}");
        for (word, free) in free.into_iter().enumerate() {
            for bit in bits_of(free) {
                let mut raw = raw;
                raw[word] ^= bit;
                assert!(decode(raw).is_ok(), "{valid:x?} {word} {bit:x}");
            }
        }
        for (word, reserved) in [reserved[0], reserved[1], u64::MAX, u64::MAX].into_iter().enumerate() {
            for bit in bits_of(reserved) {
                let mut raw = raw;
                raw[word] |= bit;
                assert_eq!(decode(raw), Err(QueueError::ReservedField), "{valid:x?} {word} {bit:x}");
            }
        }
        // Nothing has been left out but the type, the granularity and what has values without a meaning.
        let other = !(free[0] | reserved[0]) & !TYPE & !mask(5, 4);
        assert!([0, mask(15, 12), 1 << 31].contains(&other), "{valid:x?} {other:x}");
    }
}

#[test]
fn bits_of_what_the_unit_cannot_do_are_reserved() {
    let refused = |raw: [u64; 2], capabilities: &Capabilities| {
        let decode = |capabilities| Descriptor::decode([raw[0], raw[1], 0, 0], Kinds::All, capabilities);
        assert!(decode(&ALL).is_ok());
        decode(capabilities) == Err(QueueError::ReservedField)
    };
    assert!(refused([5 | 1 << 7, 0], &ALL.without(Feature::PageRequestDrain)));
    for bit in bits_of(VIRTUAL) {
        let unthrottled = ALL.without(Feature::Throttling);
        let [low, high] = build::device_tlb(0x1234, 0x5000, false);
        assert!(refused([low | bit, high], &unthrottled));
        let [low, high] = build::pasid_device_tlb(0x1234, 5, 0x5000, false);
        assert!(refused([low | bit, high], &unthrottled));
    }
    // How many invalidations a device takes at a time is told also to a unit that does not throttle.
    let [low, high] = build::device_tlb(0x1234, 0x5000, false);
    assert!(!refused([low | mask(20, 16), high], &ALL.without(Feature::Throttling)));
}

#[test]
fn a_domain_has_no_more_bits_than_the_unit_knows() {
    let narrow = ALL.to_builder().domain_bits(8).build().unwrap();
    for build in [
        build::context_domain,
        |domain| build::context_device(domain, 1, 0),
        build::iotlb_domain,
        |domain| build::iotlb_pages(domain, 0x1000, 0),
        |domain| build::pasid_cache(0, domain, 5),
        |domain| build::pasid_iotlb(domain, 5),
        |domain| build::pasid_iotlb_pages(domain, 5, 0x1000, 0),
    ] as [fn(u64) -> [u64; 2]; 7]
    {
        let decode = |[low, high]: [u64; 2]| Descriptor::decode([low, high, 0, 0], Kinds::All, &narrow);
        assert!(decode(build(0xFF)).is_ok());
        for bit in 8..16 {
            assert_eq!(decode(build(1 << bit)), Err(QueueError::ReservedField), "{:x?}", build(1 << bit));
        }
    }
}
