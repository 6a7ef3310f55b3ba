//! Chapter 4: translation requests, translated requests, and device-TLBs.

use iommu::{
    Access, DeviceTlbInvalidation, DeviceTlbScope, InvalidationCompletion, Iova, Pasid, Permissions, Request,
    SourceId, TranslationError, TranslationRequest,
};

use super::support::device::{Device, translation};
use super::support::scalable::{self, ERE, SRE, with};
use super::support::stages::{
    A, D, DOMAIN, IOVA, P, RW, USER_RW, first_stage, nested, second_stage, with_pasid,
};
use super::support::{Bench, Tables, context, descriptor, level, reg};

#[test]
fn s4_1_1_a_translation_request_is_answered_with_a_page() {
    let (setup, tables) = second_stage();
    tables.map(IOVA, 0x5000 | RW);
    let answer = setup.bench.ask(IOVA + 0x123).unwrap();
    assert_eq!((answer.address.0, answer.size), (0x5000, 0x1000));
    assert_eq!(answer.permissions, Permissions::READ_WRITE);
    assert!(!answer.untranslated_only && !answer.privileged);
}

#[test]
fn s4_1_1_large_pages_are_told_whole() {
    let (setup, tables) = first_stage();
    tables.map_at(IOVA, 0x20_0000 | USER_RW, level::PAGE_2M);
    let answer = setup.bench.ask(IOVA + 0x1_2345).unwrap();
    assert_eq!((answer.address.0, answer.size), (0x20_0000, 2 << 20));
}

#[test]
fn s4_1_1_the_smaller_page_of_nested_stages_is_told() {
    let (setup, first, second) = nested();
    first.map_at(IOVA + (1 << 30), 0x4000_0000 | USER_RW, level::PAGE_2M);
    let table = first.entry(IOVA + (1 << 30), level::PAGE_2M) & !0xFFF;
    second.map(table, table | RW);
    second.map(0x4000_3000, 0x6000 | RW);
    let answer = setup.bench.ask(IOVA + (1 << 30) + 0x3000).unwrap();
    assert_eq!((answer.address.0, answer.size), (0x6000, 0x1000));
}

#[test]
fn s4_1_1_in_legacy_mode_the_context_entry_has_to_allow_it() {
    let bench = Bench::new(Bench::everything(48));
    let tables = Tables::second_stage(&bench, 4);
    tables.map(IOVA, 0x5000 | RW);
    let [low, high] = context::translated(&tables, DOMAIN);
    bench.set_context(Bench::DEVICE, [low | 1 << 2, high]);
    bench.translate(0);
    assert_eq!(bench.ask(IOVA).unwrap().address.0, 0x5000);
    bench.set_context(Bench::DEVICE, [low, high]);
    bench.start_queue(true);
    bench.invalidate(descriptor::context_global());
    assert_eq!(bench.ask(IOVA), Err(TranslationError::Unsupported));
    assert_eq!(bench.one_fault(0x0D).0[1] >> 60 & 3, 1, "AT says that it was a translation request");
}

#[test]
fn s4_1_2_a_page_that_is_not_there_has_no_permissions_and_is_no_fault() {
    let (setup, tables) = second_stage();
    let nothing = |iova| {
        let answer = setup.bench.ask(iova).unwrap();
        assert_eq!((answer.permissions, answer.size), (Permissions::empty(), 0x1000), "{iova:#x}");
    };
    nothing(IOVA);
    nothing(1 << 48);
    let (setup, first) = (setup, tables);
    let stage = Tables::first_stage(&setup.bench, 4);
    setup.set(scalable::first_stage(&stage, DOMAIN));
    let nothing = |iova| assert_eq!(setup.bench.ask(iova).unwrap().permissions, Permissions::empty());
    nothing(IOVA);
    nothing(1 << 47);
    setup.set(scalable::nested(&stage, &first, DOMAIN));
    nothing(IOVA);
    assert!(setup.bench.faults().is_empty());
}

#[test]
fn s4_1_2_the_answer_has_the_permissions_of_the_page() {
    let (setup, tables) = second_stage();
    for (bits, permissions) in [(1, Permissions::READ), (2, Permissions::WRITE), (3, Permissions::READ_WRITE)]
    {
        tables.map(IOVA, 0x5000 | bits);
        setup.bench.invalidate(descriptor::iotlb_global());
        assert_eq!(setup.bench.ask(IOVA).unwrap().permissions, permissions);
    }
}

#[test]
fn s4_1_2_privilege_and_execution_are_part_of_the_answer() {
    let (setup, tables) = first_stage();
    tables.map(IOVA, 0x5000 | P);
    setup.set(with(scalable::first_stage(&tables, DOMAIN), 2, SRE | ERE));
    let request = TranslationRequest { pasid: Some(Pasid(0)), ..translation(IOVA) };
    assert_eq!(setup.bench.unit.translate(&request).unwrap().permissions, Permissions::empty());
    let answer = setup.bench.unit.translate(&TranslationRequest { privileged: true, ..request }).unwrap();
    assert!(answer.privileged && answer.permissions == Permissions::READ_WRITE);
    tables.map(IOVA, 0x5000 | USER_RW);
    setup.bench.invalidate(descriptor::iotlb_global());
    let execute = TranslationRequest { execute: true, ..request };
    let all = Permissions::READ_WRITE | Permissions::EXECUTE;
    assert_eq!(setup.bench.unit.translate(&execute).unwrap().permissions, all);
    tables.map(IOVA, 0x5000 | USER_RW | 1 << 63);
    setup.bench.invalidate(descriptor::iotlb_global());
    assert_eq!(setup.bench.unit.translate(&execute).unwrap().permissions, Permissions::READ_WRITE);
}

#[test]
fn s4_1_2_permission_to_write_makes_a_page_dirty() {
    let (setup, tables) = first_stage();
    tables.map(IOVA, 0x5000 | USER_RW);
    let marks = || setup.bench.load(tables.entry(IOVA, level::PAGE)) & (A | D);
    let no_write = TranslationRequest { no_write: true, ..translation(IOVA) };
    assert_eq!(setup.bench.unit.translate(&no_write).unwrap().permissions, Permissions::READ);
    assert_eq!(marks(), A, "unless the device does not ask for it");
    assert_eq!(setup.bench.ask(IOVA).unwrap().permissions, Permissions::READ_WRITE);
    assert_eq!(marks(), A | D);
}

#[test]
fn s4_1_2_the_interrupt_range_is_for_untranslated_writes_only() {
    let (setup, _) = second_stage();
    let answer = setup.bench.ask(0xFEE0_0000).unwrap();
    assert!(answer.untranslated_only);
    assert_eq!(answer.permissions, Permissions::WRITE);
}

#[test]
fn s4_1_2_tables_that_cannot_be_used_abort_the_request() {
    let (setup, tables) = second_stage();
    setup.bench.store(tables.entry(IOVA, level::PAGE_1G), Bench::NOWHERE | RW);
    assert_eq!(setup.bench.ask(IOVA), Err(TranslationError::Aborted));
    setup.bench.one_fault(0x78);
    tables.map(IOVA + (1 << 39), 0x5000 | RW | 1 << 50);
    assert_eq!(setup.bench.ask(IOVA + (1 << 39)), Err(TranslationError::Aborted));
    setup.bench.one_fault(0x7A);
}

#[test]
fn s4_1_3_a_translated_request_reaches_its_address_as_it_is() {
    let (setup, _) = second_stage();
    let translated = |access| Request::new(Bench::DEVICE, access).translated();
    for access in [Access::Read, Access::Write, Access::Atomic] {
        assert_eq!(setup.bench.request(&translated(access), 0x5678), Ok(0x5678));
    }
    let with_pasid = with_pasid(Access::Read).translated();
    assert_eq!(setup.bench.request(&with_pasid, 0x5678), Ok(0x5678));
}

#[test]
fn s4_1_4_an_invalidation_is_complete_when_the_device_says_so() {
    let (setup, _) = second_stage();
    let device = Device::new(&setup.bench, InvalidationCompletion::Done);
    setup.bench.invalidate(descriptor::device_tlb(Bench::DEVICE.0, IOVA, false));
    let what =
        DeviceTlbInvalidation { scope: DeviceTlbScope::WithoutPasid, iova: Iova(IOVA), size: Some(0x1000) };
    assert_eq!(device.invalidations(), [what]);
}

#[test]
fn s4_2_3_what_blocks_a_translation_request() {
    let (setup, tables) = second_stage();
    let bench = &setup.bench;
    tables.map(IOVA, 0x5000 | RW);
    let refused = |request: TranslationRequest, reason| {
        assert_eq!(bench.unit.translate(&request), Err(TranslationError::Unsupported), "{reason:#x}");
        let record = bench.one_fault(reason);
        assert_eq!(record.0[1] >> 60 & 3, 1, "AT = 01 for {reason:#x}");
    };
    refused(TranslationRequest { source: SourceId(0x4400), ..translation(IOVA) }, 0x39);
    refused(TranslationRequest { source: SourceId(0x0114), ..translation(IOVA) }, 0x41);
    refused(TranslationRequest { pasid: Some(Pasid(0x8000)), ..translation(IOVA) }, 0x46);
    refused(TranslationRequest { pasid: Some(Pasid(1)), ..translation(IOVA) }, 0x59);
    let at = bench.scalable_context_of(Bench::DEVICE);
    let entry = bench.load(at);
    for (bit, reason) in [(scalable::DTE, 0x44), (scalable::PASIDE, 0x45)] {
        bench.store(at, entry & !bit);
        bench.invalidate(descriptor::context_global());
        refused(TranslationRequest { pasid: Some(Pasid(0)), ..translation(IOVA) }, reason);
    }
}

#[test]
fn s4_2_3_without_translation_there_is_no_answer() {
    let bench = Bench::new(Bench::everything(48));
    assert_eq!(bench.ask(IOVA), Err(TranslationError::Unsupported));
    assert!(bench.faults().is_empty());
}

#[test]
fn s4_2_4_what_blocks_a_translated_request() {
    let (setup, _) = second_stage();
    let bench = &setup.bench;
    let translated = Request::new(Bench::DEVICE, Access::Write).translated();
    assert_eq!(bench.request(&translated, 1 << 48), Err(0x83), "no memory is so far up");
    assert_eq!(bench.one_fault(0x83).0[1] >> 60 & 3, 2, "AT says that it was translated");
    assert!(bench.request(&translated, 0xFEE0_0000).is_err(), "nor is it an interrupt request");
    let at = bench.scalable_context_of(Bench::DEVICE);
    bench.store(at, bench.load(at) & !scalable::DTE);
    bench.invalidate(descriptor::context_global());
    assert_eq!(bench.request(&translated, 0x5000), Err(0x44));
}

#[test]
fn s4_2_4_translated_requests_are_judged_by_the_context_entry_alone() {
    let (setup, _) = first_stage();
    setup.set([0; 8]);
    let translated = Request::new(Bench::DEVICE, Access::Read).translated();
    assert_eq!(setup.bench.request(&translated, 0x5000), Ok(0x5000));
}

#[test]
fn s4_3_a_device_that_does_not_answer_runs_out_of_time() {
    let (setup, _) = second_stage();
    let bench = &setup.bench;
    let _device = Device::new(bench, InvalidationCompletion::Silent);
    let word = bench.page();
    bench.submit(&[
        descriptor::device_tlb(Bench::DEVICE.0, IOVA, false),
        descriptor::wait_status(word, 1),
        descriptor::wait_status(word + 4, 2),
    ]);
    assert_eq!(bench.get(reg::FSTS) & 0xFF, reg::ITE);
    assert_eq!(bench.get64(reg::IQERCD) >> 32 & 0xFFFF, u64::from(Bench::DEVICE.0), "ITESID");
    assert_eq!(bench.load(word), 0, "no wait behind it completes");
    bench.set(reg::FSTS, reg::ITE);
    assert_eq!(bench.load(word), 2 << 32, "but those that follow the time-out do");
}

#[test]
fn s4_3_a_device_that_is_not_there_does_not_answer() {
    let (setup, _) = second_stage();
    setup.bench.submit(&[descriptor::device_tlb(0x4321, IOVA, false), descriptor::wait_fence()]);
    assert_eq!(setup.bench.get(reg::FSTS) & 0xFF, reg::ITE);
    assert_eq!(setup.bench.get64(reg::IQERCD) >> 32 & 0xFFFF, 0x4321);
}

#[test]
fn s4_3_a_device_that_answers_wrongly_does_not_stop_the_queue() {
    let (setup, _) = second_stage();
    let bench = &setup.bench;
    let _device = Device::new(bench, InvalidationCompletion::Malformed);
    bench.invalidate(descriptor::device_tlb(Bench::DEVICE.0, IOVA, false));
    assert_eq!(bench.get(reg::FSTS) & 0xFF, reg::ICE);
    assert_eq!(bench.get64(reg::IQERCD) >> 48, u64::from(Bench::DEVICE.0), "ICESID");
}
