use super::*;
use crate::testing::descriptor as build;

const CAPABILITIES: Capabilities = Capabilities::legacy(48);

fn decode(raw: [u64; 2]) -> Result<Descriptor, QueueError> {
    Descriptor::decode(raw, &CAPABILITIES)
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
    assert_eq!(decode([low, high]), Ok(Descriptor::Wait(Wait { status, interrupt: false })));
    assert_eq!(decode([low | 1 << 4, high]), Ok(Descriptor::Wait(Wait { status, interrupt: true })));
    let neither = Wait { status: None, interrupt: false };
    assert_eq!(decode([5, 0]), Ok(Descriptor::Wait(neither)));
    assert_eq!(decode([5 | 1 << 6, 0]), Ok(Descriptor::Wait(neither)));
}

#[test]
fn types_that_legacy_mode_lacks_are_refused() {
    for kind in (0..0x1000).filter(|kind| kind & !TYPE == 0) {
        let expected = !matches!(kind, 1 | 2 | 4 | 5);
        assert_eq!(decode([kind | 1 << 4, 0]) == Err(QueueError::InvalidType), expected, "{kind:#x}");
    }
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
}

#[test]
fn reserved_bits_are_refused() {
    let context: [u64; 2] = [mask(8, 6) | mask(15, 12) | mask(63, 50), u64::MAX];
    let iotlb: [u64; 2] = [mask(8, 8) | mask(15, 12) | mask(63, 32), mask(11, 7)];
    let interrupt: [u64; 2] = [mask(8, 5) | mask(26, 12) | mask(63, 48), u64::MAX];
    let wait: [u64; 2] = [mask(8, 7) | mask(31, 12), mask(1, 0)];
    for (valid, reserved) in [
        (build::context_global(), context),
        (build::context_device(1, 2, 3), context),
        (build::iotlb_global(), iotlb),
        (build::iotlb_pages(5, 0x1000, 0), iotlb),
        (build::interrupt_global(), interrupt),
        (build::interrupt_index(3, 0), interrupt),
        (build::wait_status(0x1000, 1), wait),
    ] {
        assert!(decode(valid).is_ok());
        for half in 0..2 {
            for bit in (0..64).filter(|bit| reserved[half] & 1 << bit != 0) {
                let mut raw = valid;
                raw[half] |= 1 << bit;
                assert_eq!(decode(raw), Err(QueueError::ReservedField), "{valid:x?} {half} {bit}");
            }
        }
    }
}
