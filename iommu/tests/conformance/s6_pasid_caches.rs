//! Chapter 6: caches of scalable mode, and the descriptors that are for them.

use iommu::{
    Access, DeviceTlbInvalidation, DeviceTlbScope, InvalidationCompletion, Iova, Pasid, Request, SourceId,
};

use super::support::device::{Device, page_request};
use super::support::stages::{DOMAIN, IOVA, RW, USER_RW, first_stage, nested, second_stage, with_pasid};
use super::support::{Bench, Scalable, Tables, context, descriptor, level, reg, scalable};

/// PASIDs 1 and 2, each with a page at [`IOVA`] that the unit has seen, in domains 5 and 6.
fn two_pasids() -> (Scalable, [Tables; 2]) {
    let setup = Bench::scalable();
    let tables = [1, 2].map(|pasid| {
        let tables = Tables::first_stage(&setup.bench, 4);
        tables.map(IOVA, (4 + pasid) << 12 | USER_RW);
        setup.set_pasid(pasid, scalable::first_stage(&tables, DOMAIN + pasid - 1));
        tables
    });
    assert_eq!([1, 2].map(|pasid| read(&setup, pasid)), [Ok(0x5000), Ok(0x6000)]);
    (setup, tables)
}

fn read(setup: &Scalable, pasid: u32) -> Result<u64, u8> {
    let request = Request::new(Bench::DEVICE, Access::Read).with_pasid(Pasid(pasid));
    setup.bench.request(&request, IOVA)
}

/// Puts other tables under both PASIDs, which no cache has been told of.
fn replace(setup: &Scalable) {
    for pasid in [1, 2] {
        let tables = Tables::first_stage(&setup.bench, 4);
        tables.map(IOVA, (8 + pasid) << 12 | USER_RW);
        let entry = scalable::first_stage(&tables, DOMAIN + pasid - 1);
        setup.bench.set_pasid(setup.directory, pasid, entry);
    }
}

#[test]
fn s6_2_1_pasids_of_one_domain_have_translations_of_their_own() {
    let setup = Bench::scalable();
    for pasid in 1..=3 {
        let tables = Tables::first_stage(&setup.bench, 4);
        tables.map(IOVA, pasid << 12 | USER_RW);
        setup.set_pasid(pasid, scalable::first_stage(&tables, DOMAIN));
    }
    for _ in 0..2 {
        assert_eq!([1, 2, 3].map(|pasid| read(&setup, pasid)), [Ok(0x1000), Ok(0x2000), Ok(0x3000)]);
    }
}

#[test]
fn s6_2_1_second_stages_go_by_their_domain_whatever_the_pasid() {
    let setup = Bench::scalable();
    let tables = Tables::second_stage(&setup.bench, 4);
    tables.map(IOVA, 0x5000 | RW);
    for pasid in [1, 2] {
        setup.set_pasid(pasid, scalable::second_stage(&tables, DOMAIN));
    }
    assert_eq!([1, 2].map(|pasid| read(&setup, pasid)), [Ok(0x5000); 2]);
    tables.map(IOVA, 0x6000 | RW);
    setup.bench.invalidate(descriptor::iotlb_pages(DOMAIN, IOVA, 0));
    assert_eq!([1, 2].map(|pasid| read(&setup, pasid)), [Ok(0x6000); 2]);
}

#[test]
fn s6_2_3_a_pasid_entry_may_stay_until_it_is_invalidated() {
    let (setup, _) = two_pasids();
    replace(&setup);
    setup.bench.invalidate(descriptor::pasid_iotlb(DOMAIN, 1));
    let seen = read(&setup, 1);
    assert!(seen == Ok(0x5000) || seen == Ok(0x9000), "{seen:?}");
    setup.bench.invalidate(descriptor::pasid_one(DOMAIN, 1));
    setup.bench.invalidate(descriptor::pasid_iotlb(DOMAIN, 1));
    assert_eq!(read(&setup, 1), Ok(0x9000));
}

#[test]
fn s6_2_3_an_entry_that_was_not_present_is_not_remembered() {
    let (setup, _) = two_pasids();
    assert_eq!(read(&setup, 3), Err(0x59));
    let tables = Tables::first_stage(&setup.bench, 4);
    tables.map(IOVA, 0x7000 | USER_RW);
    setup.bench.set_pasid(setup.directory, 3, scalable::first_stage(&tables, DOMAIN));
    assert_eq!(read(&setup, 3), Ok(0x7000), "CAP.CM = 0");
}

#[test]
fn s6_2_5_first_stage_tables_of_one_pasid_are_told_apart_by_their_root() {
    let (setup, _) = two_pasids();
    // The same PASID and domain with another table, as requesters may have: the leaf's way is another.
    let other = SourceId(0x0208);
    let directory = setup.bench.set_scalable_context(other, scalable::PASIDE);
    let tables = Tables::first_stage(&setup.bench, 4);
    tables.map(IOVA + 0x1000, 0x7000 | USER_RW);
    setup.bench.set_pasid(directory, 1, scalable::first_stage(&tables, DOMAIN));
    let request = Request::new(other, Access::Read).with_pasid(Pasid(1));
    assert_eq!(setup.bench.request(&request, IOVA + 0x1000), Ok(0x7000));
}

#[test]
fn s6_5_2_1_a_context_invalidation_ends_what_the_device_may_do() {
    let (setup, _) = two_pasids();
    let at = setup.bench.scalable_context_of(Bench::DEVICE);
    setup.bench.store(at, setup.bench.load(at) & !scalable::PASIDE);
    setup.bench.invalidate(descriptor::context_device(0, Bench::DEVICE.0, 0));
    assert_eq!(read(&setup, 1), Err(0x45));
    setup.bench.store(at, 0);
    // Contexts of scalable mode have no domain; any may be meant.
    setup.bench.invalidate(descriptor::context_domain(DOMAIN));
    assert_eq!(read(&setup, 1), Err(0x41));
}

#[test]
fn s6_5_2_2_one_pasid_all_of_a_domain_or_all() {
    for (what, seen) in [
        (descriptor::pasid_one(DOMAIN, 1), [true, false]),
        (descriptor::pasid_domain(DOMAIN + 1), [false, true]),
        (descriptor::pasid_global(), [true, true]),
    ] {
        let (setup, _) = two_pasids();
        replace(&setup);
        setup.bench.invalidate(what);
        setup.bench.invalidate(descriptor::iotlb_global());
        for (pasid, seen) in [1, 2].into_iter().zip(seen) {
            if seen {
                assert_eq!(read(&setup, pasid), Ok(u64::from(8 + pasid) << 12), "{what:x?}");
            }
        }
    }
}

#[test]
fn s6_5_2_3_a_domain_is_everything_tagged_with_it() {
    let (setup, tables) = two_pasids();
    tables[0].map(IOVA, 0x9000 | USER_RW);
    setup.bench.invalidate(descriptor::iotlb_domain(DOMAIN));
    assert_eq!(read(&setup, 1), Ok(0x9000), "first stages too");
    let (setup, _, second) = nested();
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000));
    second.map(0x5000, 0x9000 | RW);
    setup.bench.invalidate(descriptor::iotlb_domain(DOMAIN));
    assert_eq!(setup.bench.read(IOVA), Ok(0x9000), "nested ones as well");
}

#[test]
fn s6_5_2_3_pages_of_a_second_stage_take_nested_translations_along() {
    let (setup, first, second) = nested();
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000));
    // The second stage moves the first stage's last table, whose address no nested translation is known by.
    let (table, copy) = (first.entry(IOVA, level::PAGE) & !0xFFF, setup.bench.page());
    setup.bench.store(copy + (IOVA >> 12 & 511) * 8, 0x6000 | USER_RW);
    second.map(table, copy | RW);
    second.map(0x6000, 0x6000 | RW);
    setup.bench.invalidate(descriptor::iotlb_pages(DOMAIN, table, 0));
    assert_eq!(setup.bench.read(IOVA), Ok(0x6000));
}

#[test]
fn s6_5_2_4_all_of_a_pasid() {
    let (setup, tables) = two_pasids();
    let far = Request::new(Bench::DEVICE, Access::Read).with_pasid(Pasid(1));
    tables[0].map(1 << 45, 0x7000 | USER_RW);
    assert_eq!(setup.bench.request(&far, 1 << 45), Ok(0x7000));
    tables[0].map(IOVA, 0x9000 | USER_RW);
    tables[0].map(1 << 45, 0xA000 | USER_RW);
    setup.bench.invalidate(descriptor::pasid_iotlb(DOMAIN, 1));
    assert_eq!(read(&setup, 1), Ok(0x9000));
    assert_eq!(setup.bench.request(&far, 1 << 45), Ok(0xA000));
}

#[test]
fn s6_5_2_4_pages_under_a_mask() {
    let (setup, tables) = two_pasids();
    let request = |page: u64| {
        let request = Request::new(Bench::DEVICE, Access::Read).with_pasid(Pasid(1));
        setup.bench.request(&request, IOVA + page * 0x1000)
    };
    for page in 0..4 {
        tables[0].map(IOVA + page * 0x1000, (0x10_0000 + page * 0x1000) | USER_RW);
    }
    setup.bench.invalidate(descriptor::pasid_iotlb(DOMAIN, 1));
    assert!((0..4).all(|page| request(page) == Ok(0x10_0000 + page * 0x1000)));
    for page in 0..4 {
        tables[0].map(IOVA + page * 0x1000, (0x20_0000 + page * 0x1000) | USER_RW);
    }
    // Low bits of the address are ignored as far as the mask says.
    setup.bench.invalidate(descriptor::pasid_iotlb_pages(DOMAIN, 1, IOVA + 0x3000, 2));
    assert!((0..4).all(|page| request(page) == Ok(0x20_0000 + page * 0x1000)));
}

#[test]
fn s6_5_2_4_the_mask_is_not_bounded_by_mamv() {
    let (setup, tables) = two_pasids();
    for mask in [19, 45, 63] {
        tables[0].map(IOVA, mask << 12 | USER_RW);
        setup.bench.invalidate(descriptor::pasid_iotlb_pages(DOMAIN, 1, 0, mask));
        assert_eq!(read(&setup, 1), Ok(mask << 12), "{mask}");
    }
}

#[test]
fn s6_5_2_4_inner_tables_go_too_unless_the_hint_says_that_none_changed() {
    let (setup, tables) = two_pasids();
    let inner = setup.bench.page();
    setup.bench.store(inner + (IOVA >> 12 & 511) * 8, 0x9000 | USER_RW);
    setup.bench.store(tables[0].entry(IOVA, level::PAGE_2M), inner | USER_RW);
    setup.bench.invalidate(descriptor::pasid_iotlb_pages(DOMAIN, 1, IOVA, 0));
    assert_eq!(read(&setup, 1), Ok(0x9000));
    // With the hint (IH) the leaf goes all the same.
    setup.bench.store(inner + (IOVA >> 12 & 511) * 8, 0xA000 | USER_RW);
    let [low, high, ..] = descriptor::pasid_iotlb_pages(DOMAIN, 1, IOVA, 0);
    setup.bench.invalidate([low, high | 1 << 6, 0, 0]);
    assert_eq!(read(&setup, 1), Ok(0xA000));
}

#[test]
fn s6_5_2_5_a_range_is_coded_in_its_address() {
    let (setup, _) = second_stage();
    let device = Device::new(&setup.bench, InvalidationCompletion::Done);
    let told = |address, sized| {
        setup.bench.invalidate(descriptor::device_tlb(Bench::DEVICE.0, address, sized));
        let [DeviceTlbInvalidation { scope, iova, size }] = device.invalidations()[..] else { panic!() };
        assert_eq!(scope, DeviceTlbScope::WithoutPasid);
        (iova.0, size)
    };
    assert_eq!(told(0x7000, false), (0x7000, Some(0x1000)));
    assert_eq!(told(0x6000, true), (0x6000, Some(0x2000)));
    assert_eq!(told(0x5000, true), (0x4000, Some(0x4000)));
    assert_eq!(told(0x3000, true), (0x0000, Some(0x8000)));
    assert_eq!(told(0x8000_0000 | 0xFF000, true), (0x8000_0000, Some(0x20_0000)));
    assert_eq!(told(u64::MAX, true), (0, None), "everything");
    assert_eq!(told(u64::MAX >> 1, true), (0, None), "everything");
}

#[test]
fn s6_5_2_6_one_pasid_or_all_of_them() {
    let (setup, _) = second_stage();
    let device = Device::new(&setup.bench, InvalidationCompletion::Done);
    let told = |pasid, address, sized, every| {
        let what = descriptor::pasid_device_tlb(Bench::DEVICE.0, pasid, address, sized, every);
        setup.bench.invalidate(what);
        device.invalidations()
    };
    let what = |scope, iova, size| [DeviceTlbInvalidation { scope, iova: Iova(iova), size }];
    let one = DeviceTlbScope::Pasid(Pasid(0xF_1234));
    assert_eq!(told(0xF_1234, IOVA, false, false), what(one, IOVA, Some(0x1000)));
    assert_eq!(told(0xF_1234, 0x7FFF_FFFF_FFFF_F000, true, false), what(one, 0, None));
    assert_eq!(told(0, 0x5000, true, true), what(DeviceTlbScope::EveryPasid, 0x4000, Some(0x4000)));
}

#[test]
fn s6_5_2_8_a_wait_can_be_for_page_requests() {
    let (setup, _) = first_stage();
    let (queue, word) = (setup.bench.page(), setup.bench.page());
    setup.bench.set64(reg::PQA, queue);
    assert_eq!(setup.bench.unit.page_request(&page_request(IOVA)), None);
    setup.bench.submit(&[descriptor::wait_drain(word, 3)]);
    assert_eq!(setup.bench.load(word), 3);
    assert_eq!(setup.bench.get(reg::PQT), 32);
}

#[test]
fn s6_5_2_10_every_reserved_bit_of_the_wide_descriptors_is_refused() {
    let (setup, _) = second_stage();
    let _device = Device::new(&setup.bench, InvalidationCompletion::Done);
    let bits = |high: u32, low: u32| (u64::MAX >> (63 - high)) & (u64::MAX << low);
    let device = Bench::DEVICE.0;
    let cases = [
        (descriptor::context_global(), bits(8, 6) | bits(15, 12) | bits(63, 50), u64::MAX),
        (descriptor::iotlb_global(), 1 << 8 | bits(15, 12) | bits(63, 32), bits(11, 7)),
        (descriptor::device_tlb(device, 0, false), bits(8, 4) | bits(31, 21) | bits(51, 48), bits(11, 1)),
        (descriptor::wait_fence(), 1 << 8 | bits(31, 12), bits(1, 0)),
        (descriptor::pasid_iotlb(DOMAIN, 1), bits(8, 6) | bits(15, 12) | bits(63, 52), bits(11, 7)),
        (descriptor::pasid_global(), bits(8, 6) | bits(15, 12) | bits(63, 52), u64::MAX),
        (descriptor::pasid_device_tlb(device, 1, 0, false, false), 0, bits(10, 1)),
        (descriptor::page_response(device, 1, 7, 0), bits(8, 5) | bits(63, 52), bits(1, 0) | bits(63, 12)),
    ];
    for (valid, low, high) in cases {
        for (word, reserved) in [low | bits(11, 9), high, u64::MAX, u64::MAX].into_iter().enumerate() {
            for bit in (0..64).filter(|bit| reserved >> bit & 1 == 1) {
                let mut bad = valid;
                bad[word] |= 1 << bit;
                // Bits 11:9 belong to the type.
                let information = if word == 0 && (9..12).contains(&bit) { 3 } else { 4 };
                setup.bench.refused(bad, information);
            }
        }
    }
}

#[test]
fn s6_5_2_10_granularities_and_codes_without_meaning() {
    let (setup, _) = second_stage();
    for (kind, granularity) in [(6, 0), (6, 1), (7, 2)] {
        setup.bench.refused([kind | granularity << 4, 0, 0, 0], 4);
    }
    for code in 2..0xF {
        setup.bench.refused(descriptor::page_response(Bench::DEVICE.0, 1, 7, code), 4);
    }
}

#[test]
fn s6_5_2_10_narrow_descriptors_are_not_for_scalable_mode() {
    let bench = Bench::new(Bench::everything(48));
    bench.translate(1);
    bench.start_queue(false);
    bench.submit(&[descriptor::wait_fence()]);
    assert_eq!(bench.get(reg::FSTS) & reg::IQE, reg::IQE);
    assert_eq!(bench.get64(reg::IQERCD) & 0xF, 5);
}

#[test]
fn s6_5_2_10_wide_descriptors_in_legacy_mode_are_those_of_legacy_mode() {
    let bench = Bench::new(Bench::everything(48));
    bench.start_queue(true);
    bench.invalidate(descriptor::iotlb_global());
    for kind in 6..=9 {
        bench.refused([kind | 3 << 4, 0, 0, 0], 3);
    }
    bench.set(reg::IQT, bench.get(reg::IQT) + 16);
    assert_eq!(bench.get64(reg::IQERCD) & 0xF, 6, "a tail in the middle of a descriptor");
}

#[test]
fn s6_5_3_1_a_page_request_forgets_its_page() {
    let (setup, tables) = first_stage();
    setup.bench.set64(reg::PQA, setup.bench.page());
    tables.map(IOVA, 0x5000 | USER_RW);
    assert_eq!(setup.bench.request(&with_pasid(Access::Read), IOVA), Ok(0x5000));
    tables.map(IOVA, 0x6000 | USER_RW);
    assert_eq!(setup.bench.unit.page_request(&page_request(IOVA)), None);
    assert_eq!(setup.bench.request(&with_pasid(Access::Read), IOVA), Ok(0x6000));
}

#[test]
fn s6_6_setting_the_root_pointer_forgets_everything() {
    let (setup, _) = two_pasids();
    assert_eq!(setup.bench.get64(reg::CAP) >> 63, 1, "CAP.ESRTPS");
    replace(&setup);
    setup.bench.command(reg::SRTP, true);
    assert_eq!([1, 2].map(|pasid| read(&setup, pasid)), [Ok(0x9000), Ok(0xA000)]);
    // Also from one mode to the other.
    let (root, tables) = (setup.bench.page(), Tables::second_stage(&setup.bench, 4));
    let contexts = setup.bench.page();
    setup.bench.store(root + 16, contexts | 1);
    setup.bench.store_all(contexts + 0x13 * 16, &context::translated(&tables, DOMAIN));
    tables.map(IOVA, 0xB000 | RW);
    setup.bench.set64(reg::RTADDR, root);
    setup.bench.command(reg::SRTP, true);
    assert_eq!(setup.bench.read(IOVA), Ok(0xB000));
}
