//! Chapter 7: recoverable faults: page requests, their queue, and their answers.

use iommu::{
    Access, InvalidationCompletion, MsiMessage, PageRequest, PageResponse, PageResponseCode, Pasid,
    Permissions, Request, SourceId,
};

use super::support::device::{Device, page_request};
use super::support::stages::{IOVA, USER_RW, first_stage, with_pasid};
use super::support::{Bench, Scalable, Tables, descriptor, reg, scalable};

/// A unit whose page request queue, a page of 128 requests, is in use, and the queue.
fn queue() -> (Scalable, Tables, u64) {
    let (setup, tables) = first_stage();
    let queue = setup.bench.page();
    setup.bench.set64(reg::PQA, queue);
    (setup, tables, queue)
}

/// Sends as many requests as the queue has room for.
fn fill(bench: &Bench) {
    for _ in 0..127 {
        assert_eq!(bench.unit.page_request(&page_request(IOVA)), None);
    }
    assert_eq!(bench.get(reg::PRS), 1);
}

const fn answer(code: PageResponseCode) -> PageResponse {
    PageResponse { pasid: Some(Pasid(0)), group: 7, code }
}

#[test]
fn s7_1_2_a_recoverable_fault_is_mended_and_asked_for_again() {
    let (setup, tables, _) = queue();
    let (bench, device) = (&setup.bench, Device::new(&setup.bench, InvalidationCompletion::Done));
    assert_eq!(bench.ask(IOVA).unwrap().permissions, Permissions::empty());
    assert_eq!(bench.unit.page_request(&page_request(IOVA)), None);
    assert!(bench.faults().is_empty(), "nothing is recorded");
    tables.map(IOVA, 0x5000 | USER_RW);
    bench.invalidate(descriptor::page_response(Bench::DEVICE.0, 0, 7, 0));
    assert_eq!(device.responses(), [answer(PageResponseCode::Success)]);
    assert_eq!(bench.ask(IOVA).unwrap().permissions, Permissions::READ_WRITE);
    assert_eq!(bench.request(&with_pasid(Access::Read).translated(), 0x5000), Ok(0x5000));
}

#[test]
fn s7_1_1_scalable_mode_records_the_pasid_and_what_was_wanted() {
    let (setup, _) = first_stage();
    let request = Request::new(Bench::DEVICE, Access::Write).with_pasid(Pasid(0x77));
    assert_eq!(setup.bench.request(&request.privileged().executing(), IOVA), Err(0x51));
    let record = setup.bench.one_fault(0x51);
    assert_eq!((record.source(), record.address(), record.kind()), (Bench::DEVICE, IOVA, (0, 0)));
    let high = record.0[1];
    assert_eq!((high >> 31 & 1, high >> 40 & 0xF_FFFF), (1, 0x77), "PP and PV");
    assert_eq!((high >> 29 & 1, high >> 30 & 1, high >> 60 & 3), (1, 1, 0), "PRIV, EXE, AT");
    // A PASID that the context entry has given is not the request's.
    assert_eq!(setup.bench.read(IOVA), Err(0x71));
    assert_eq!(setup.bench.one_fault(0x71).0[1] >> 31 & 1, 0);
}

#[test]
fn s7_1_3_processing_disable_counts_wherever_it_stands() {
    let (setup, tables) = first_stage();
    let bench = &setup.bench;
    let context = bench.scalable_context_of(Bench::DEVICE);
    let entry = scalable::first_stage(&tables, Bench::DOMAIN);
    for place in [context, setup.directory, bench.pasid_entry_of(setup.directory, 0)] {
        assert_eq!(bench.read(IOVA), Err(0x71));
        bench.one_fault(0x71);
        bench.store(place, bench.load(place) | scalable::FPD);
        for flush in [descriptor::context_global(), descriptor::pasid_global()] {
            bench.invalidate(flush);
        }
        assert_eq!(bench.read(IOVA), Err(0x71));
        assert!(bench.faults().is_empty(), "{place:#x}");
        bench.store(place, bench.load(place) & !scalable::FPD);
        setup.set(entry);
        bench.invalidate(descriptor::context_global());
    }
    // Also in entries that are not present.
    setup.set([scalable::FPD, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bench.read(IOVA), Err(0x59));
    bench.store(context, scalable::FPD);
    bench.invalidate(descriptor::context_global());
    assert_eq!(bench.read(IOVA), Err(0x41));
    assert!(bench.faults().is_empty());
}

#[test]
fn s7_4_a_request_lies_in_the_queue_as_software_reads_it() {
    let (setup, _, queue) = queue();
    let request = PageRequest {
        source: SourceId(0x0113),
        pasid: Some(Pasid(0x0_1234)),
        privileged: true,
        execute: true,
        read: true,
        write: true,
        last: false,
        group: 0x1FF,
        iova: iommu::Iova(0x1234_5678_9ABC),
    };
    assert_eq!(setup.bench.unit.page_request(&request), None);
    assert_eq!(setup.bench.load(queue), 1 | 1 << 8 | 0x0113 << 16 | 0x1234 << 32 | 1 << 52 | 1 << 53);
    assert_eq!(setup.bench.load(queue + 8), 0x1234_5678_9000 | 0x1FF << 3 | 0b011);
    assert_eq!([16, 24].map(|at| setup.bench.load(queue + at)), [0, 0]);
    assert_eq!(setup.bench.get(reg::PQT), 32);
    // Without a PASID there is neither privilege nor execution.
    let request = PageRequest { pasid: None, write: false, last: true, ..request };
    assert_eq!(setup.bench.unit.page_request(&request), None);
    assert_eq!(setup.bench.load(queue + 32), 1 | 0x0113 << 16);
    assert_eq!(setup.bench.load(queue + 40), 0x1234_5678_9000 | 0x1FF << 3 | 0b101);
}

#[test]
fn s7_4_1_the_queue_goes_round() {
    let (setup, _, queue) = queue();
    for round in 0..3_u32 {
        for index in 0..128_u32 {
            let iova = u64::from(round * 1000 + index) << 12;
            assert_eq!(setup.bench.unit.page_request(&page_request(iova)), None);
            assert_eq!(setup.bench.load(queue + u64::from(index) * 32 + 8) & !0xFFF, iova);
            let next = (index + 1) % 128 * 32;
            assert_eq!(setup.bench.get(reg::PQT), next);
            setup.bench.set(reg::PQH, next);
        }
    }
    assert_eq!(setup.bench.get(reg::PRS), 1);
}

#[test]
fn s7_4_1_a_full_queue_overflows_and_takes_nothing_until_that_is_cleared() {
    let (setup, _, _) = queue();
    let bench = &setup.bench;
    fill(bench);
    assert_eq!(bench.unit.page_request(&page_request(IOVA)), Some(answer(PageResponseCode::Success)));
    assert_eq!(bench.get(reg::PRS), 3);
    assert_eq!(bench.get(reg::PQT), 127 * 32);
    bench.set(reg::PQH, 127 * 32);
    assert!(bench.unit.page_request(&page_request(IOVA)).is_some(), "PRO still stands");
    bench.set(reg::PRS, 2);
    assert_eq!(bench.unit.page_request(&page_request(IOVA)), None);
    assert_eq!(bench.get(reg::PQT), 0);
    assert!(bench.faults().is_empty());
}

#[test]
fn s7_4_1_only_the_last_request_of_a_dropped_group_is_answered() {
    let (setup, _, _) = queue();
    fill(&setup.bench);
    let inner = PageRequest { last: false, ..page_request(IOVA) };
    assert_eq!(setup.bench.unit.page_request(&inner), None);
    let stop = PageRequest { read: false, ..page_request(IOVA) };
    assert_eq!(setup.bench.unit.page_request(&stop), None, "nor is a stop marker");
}

#[test]
fn s7_4_1_a_queue_that_is_no_memory_has_no_room() {
    let (setup, _, _) = queue();
    setup.bench.set64(reg::PQA, Bench::NOWHERE);
    let response = setup.bench.unit.page_request(&page_request(IOVA));
    assert_eq!(response, Some(answer(PageResponseCode::Success)));
    assert_eq!(setup.bench.get(reg::PRS), 2);
}

#[test]
fn s7_4_1_requests_that_the_tables_do_not_allow_are_faults() {
    let (setup, _, _) = queue();
    let bench = &setup.bench;
    let refused = |request: PageRequest, reason| {
        let PageResponse { code, .. } = bench.unit.page_request(&request).expect("an answer");
        assert_eq!(code, PageResponseCode::Failure);
        let record = bench.one_fault(reason);
        assert_eq!(record.kind(), (0, 1), "a page request");
        assert_eq!(bench.get(reg::PQT), 0);
    };
    let request = page_request(IOVA);
    refused(PageRequest { source: SourceId(0x4400), ..request }, 0x39);
    refused(PageRequest { source: SourceId(0x0114), ..request }, 0x41);
    refused(PageRequest { pasid: Some(Pasid(0x8000)), ..request }, 0x46);
    let at = bench.scalable_context_of(Bench::DEVICE);
    let entry = bench.load(at);
    for (bit, reason) in [(scalable::PASIDE, 0x45), (scalable::PRE, 0x47)] {
        bench.store(at, entry & !bit);
        bench.invalidate(descriptor::context_global());
        refused(request, reason);
    }
    bench.set64(reg::RTADDR, bench.root);
    bench.command(reg::SRTP, true);
    refused(request, 0x32);
}

/// Where page request events go.
fn listen(bench: &Bench) -> MsiMessage {
    bench.set(reg::PEADDR, 0xFEE0_4000);
    bench.set(reg::PEDATA, 0x61);
    bench.set(reg::PECTL, 0);
    MsiMessage { address: 0xFEE0_4000, data: 0x61 }
}

#[test]
fn s7_5_one_event_until_software_has_looked() {
    let (setup, _, _) = queue();
    let bench = &setup.bench;
    let message = listen(bench);
    let _ = bench.unit.page_request(&page_request(IOVA));
    assert_eq!(bench.messages(), [message]);
    let _ = bench.unit.page_request(&page_request(IOVA));
    assert_eq!(bench.messages(), []);
    bench.set(reg::PRS, 1);
    let _ = bench.unit.page_request(&page_request(IOVA));
    assert_eq!(bench.messages(), [message]);
}

#[test]
fn s7_5_an_overflow_is_an_event_too() {
    let (setup, _, _) = queue();
    let bench = &setup.bench;
    fill(bench);
    bench.set(reg::PRS, 1);
    let message = listen(bench);
    assert_eq!(bench.messages(), [], "it was masked, and everything has been looked at");
    let _ = bench.unit.page_request(&page_request(IOVA));
    assert_eq!(bench.messages(), [message]);
}

#[test]
fn s7_5_a_masked_event_waits_and_may_become_void() {
    let (setup, _, _) = queue();
    let bench = &setup.bench;
    assert_eq!(bench.get(reg::PECTL), reg::IM, "masked at reset");
    let _ = bench.unit.page_request(&page_request(IOVA));
    assert_eq!(bench.get(reg::PECTL), reg::IM | reg::IP);
    let message = listen(bench);
    assert_eq!(bench.messages(), [message]);
    bench.set(reg::PECTL, reg::IM);
    bench.set(reg::PRS, 1);
    let _ = bench.unit.page_request(&page_request(IOVA));
    bench.set(reg::PRS, 1);
    assert_eq!(bench.get(reg::PECTL), reg::IM);
    bench.set(reg::PECTL, 0);
    assert_eq!(bench.messages(), []);
}

#[test]
fn s7_6_1_a_response_goes_to_its_device_and_group() {
    let (setup, _, _) = queue();
    let device = Device::new(&setup.bench, InvalidationCompletion::Done);
    for (code, meaning) in [
        (0, PageResponseCode::Success),
        (1, PageResponseCode::InvalidRequest),
        (0xF, PageResponseCode::Failure),
    ] {
        setup.bench.invalidate(descriptor::page_response(Bench::DEVICE.0, 0xF_FFFF, 0x1FF, code));
        let response = PageResponse { pasid: Some(Pasid(0xF_FFFF)), group: 0x1FF, code: meaning };
        assert_eq!(device.responses(), [response]);
    }
    // Without PP the PASID has no meaning.
    let [low, high, ..] = descriptor::page_response(Bench::DEVICE.0, 0x123, 5, 0);
    setup.bench.invalidate([low & !(1 << 4), high, 0, 0]);
    let response = PageResponse { pasid: None, group: 5, code: PageResponseCode::Success };
    assert_eq!(device.responses(), [response]);
}

#[test]
fn s7_7_requests_of_a_device_stay_in_their_order() {
    let (setup, _, queue) = queue();
    for group in 0..100 {
        let request = PageRequest { group, ..page_request(u64::from(group) << 12) };
        assert_eq!(setup.bench.unit.page_request(&request), None);
    }
    let groups: Vec<_> = (0..100).map(|at| setup.bench.load(queue + at * 32 + 8) >> 3 & 0x1FF).collect();
    assert!(groups.into_iter().eq(0..100));
}

#[test]
fn s7_8_responses_reach_a_device_in_the_order_of_their_descriptors() {
    let (setup, _, _) = queue();
    let device = Device::new(&setup.bench, InvalidationCompletion::Done);
    let responses: Vec<_> =
        (0..8).map(|group| descriptor::page_response(Bench::DEVICE.0, 0, group, 0)).collect();
    setup.bench.submit(&responses);
    assert!(device.responses().iter().map(|response| response.group).eq(0..8));
}

#[test]
fn s7_9_a_response_to_nobody_is_dropped() {
    let (setup, _, _) = queue();
    let device = Device::new(&setup.bench, InvalidationCompletion::Done);
    setup.bench.invalidate(descriptor::page_response(0x4321, 0, 7, 0));
    assert_eq!(device.responses(), []);
    assert_eq!(setup.bench.get(reg::FSTS) & 0xFF, 0, "and is no error");
}

#[test]
fn s7_10_draining_leaves_nothing_under_way() {
    let (setup, _, _) = queue();
    let (bench, device) = (&setup.bench, Device::new(&setup.bench, InvalidationCompletion::Done));
    let word = bench.page();
    let _ = bench.unit.page_request(&page_request(IOVA));
    // As software does it: a fence, invalidations, and a wait that drains.
    bench.submit(&[
        descriptor::wait_fence(),
        descriptor::pasid_iotlb(Bench::DOMAIN, 0),
        descriptor::pasid_device_tlb(Bench::DEVICE.0, 0, 0x7FFF_FFFF_FFFF_F000, true, false),
        descriptor::page_response(Bench::DEVICE.0, 0, 7, 1),
        descriptor::wait_drain(word, 9),
    ]);
    assert_eq!(bench.load(word), 9);
    assert_eq!(bench.get(reg::PRS) & 2, 0, "nothing overflowed");
    assert_eq!(bench.get(reg::PQT), 32, "the request is in the queue");
    assert_eq!(device.invalidations().len(), 1);
    assert_eq!(device.responses(), [answer(PageResponseCode::InvalidRequest)]);
}
