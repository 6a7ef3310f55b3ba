//! Chapter 3: from a requester and a PASID to an address space; scalable and abort mode.

use iommu::{Access, Capabilities, Pasid, Profile, Request, SourceId};

use super::support::stages::{DOMAIN, IOVA, RW, USER_RW, first_stage, second_stage, with_pasid};
use super::support::{Bench, Scalable, Tables, descriptor, reg, scalable};

#[test]
fn s3_4_3_the_upper_half_of_functions_has_a_context_table_of_its_own() {
    let Scalable { bench, .. } = Bench::scalable();
    for source in [SourceId(0x0300), SourceId(0x037F), SourceId(0x0380), SourceId(0x03FF)] {
        let directory = bench.set_scalable_context(source, 0);
        let tables = Tables::second_stage(&bench, 4);
        tables.map(IOVA, u64::from(source.0) << 12 | RW);
        bench.set_pasid(directory, 0, scalable::second_stage(&tables, u64::from(source.0)));
        assert_eq!(bench.read_as(source, IOVA), Ok(u64::from(source.0) << 12), "{source}");
    }
}

#[test]
fn s3_4_3_a_pasid_selects_its_address_space() {
    let (setup, _) = first_stage();
    for pasid in [1, 63, 64, 0x7FFF] {
        let tables = Tables::first_stage(&setup.bench, 4);
        tables.map(IOVA, (0x10_0000 + pasid * 0x1000) | USER_RW);
        setup.set_pasid(pasid, scalable::first_stage(&tables, DOMAIN));
        let request = Request::new(Bench::DEVICE, Access::Read).with_pasid(Pasid(pasid as u32));
        assert_eq!(setup.bench.request(&request, IOVA), Ok(0x10_0000 + pasid * 0x1000));
    }
    let beyond = Request::new(Bench::DEVICE, Access::Read).with_pasid(Pasid(0x8000));
    assert_eq!(setup.bench.request(&beyond, IOVA), Err(0x46), "the directory ends there");
}

#[test]
fn s3_4_3_requests_without_pasid_have_that_of_the_context_entry() {
    let (setup, tables) = first_stage();
    let at = setup.bench.scalable_context_of(Bench::DEVICE);
    tables.map(IOVA, 0x5000 | USER_RW);
    setup.set_pasid(77, scalable::first_stage(&tables, DOMAIN));
    setup.set([0; 8]);
    setup.bench.store(at + 8, 77);
    setup.bench.invalidate(descriptor::context_global());
    assert_eq!(setup.bench.read(IOVA), Ok(0x5000));
}

#[test]
fn s3_4_3_structures_that_are_not_there() {
    let (setup, _) = second_stage();
    let Scalable { bench, directory } = &setup;
    assert_eq!(bench.read_as(SourceId(0x4400), IOVA), Err(0x39));
    assert_eq!(bench.read_as(SourceId(0x0114), IOVA), Err(0x41));
    let request = |pasid| Request::new(Bench::DEVICE, Access::Read).with_pasid(Pasid(pasid));
    assert_eq!(bench.request(&request(64), IOVA), Err(0x51));
    assert_eq!(bench.request(&request(1), IOVA), Err(0x59));
    bench.store(*directory + 8, Bench::NOWHERE | 1);
    assert_eq!(bench.request(&request(65), IOVA), Err(0x58));
    let at = bench.scalable_context_of(Bench::DEVICE);
    bench.store(at, bench.load(at) & 0xFFF | Bench::NOWHERE);
    bench.invalidate(descriptor::context_global());
    bench.invalidate(descriptor::pasid_global());
    assert_eq!(bench.request(&request(65), IOVA), Err(0x50));
    bench.store(bench.root + 16, Bench::NOWHERE | 1);
    bench.invalidate(descriptor::context_global());
    assert_eq!(bench.read(IOVA), Err(0x40));
    bench.set64(reg::RTADDR, Bench::NOWHERE | 1 << 10);
    bench.command(reg::SRTP, true);
    assert_eq!(bench.read(IOVA), Err(0x38));
}

#[test]
fn s3_4_3_what_the_context_entry_does_not_allow() {
    let (setup, tables) = first_stage();
    let bench = &setup.bench;
    tables.map(IOVA, 0x5000 | USER_RW);
    let at = bench.scalable_context_of(Bench::DEVICE);
    let entry = bench.load(at);
    bench.store(at, entry & !scalable::PASIDE);
    bench.invalidate(descriptor::context_global());
    assert_eq!(bench.request(&with_pasid(Access::Read), IOVA), Err(0x45));
    assert_eq!(bench.read(IOVA), Ok(0x5000));
    bench.store(at, entry & !scalable::DTE);
    bench.invalidate(descriptor::context_global());
    assert_eq!(bench.request(&Request::new(Bench::DEVICE, Access::Read).translated(), 0x5000), Err(0x44));
}

#[test]
fn s3_4_3_pass_through_reaches_memory_untranslated() {
    let setup = Bench::scalable();
    setup.set(scalable::pass_through(DOMAIN));
    assert_eq!(setup.bench.write(0x5678), Ok(0x5678));
    assert_eq!(setup.bench.write(1 << 48), Err(0x83), "but no further than guest memory can reach");
}

#[test]
fn s3_4_3_back_to_legacy_mode() {
    let (setup, _) = second_stage();
    let bench = &setup.bench;
    assert_eq!(bench.read(IOVA), Err(0x79));
    let (root, tables) = (bench.page(), Tables::second_stage(bench, 4));
    let contexts = bench.page();
    bench.store(root + 16, contexts | 1);
    bench.store_all(contexts + 0x13 * 16, &super::support::context::translated(&tables, DOMAIN));
    tables.map(IOVA, 0x5000 | RW);
    bench.set64(reg::RTADDR, root);
    bench.command(reg::SRTP, true);
    assert_eq!(bench.read(IOVA), Ok(0x5000));
}

#[test]
fn s3_4_4_abort_mode_lets_nothing_through_and_records_nothing() {
    let bench = Bench::new(Bench::everything(48));
    bench.translate(3);
    assert!(bench.read(0x5000).is_err());
    assert!(bench.request(&with_pasid(Access::Write), 0x5000).is_err());
    assert!(bench.faults().is_empty());
}

#[test]
fn s3_15_scalable_mode_leads_no_request_into_the_interrupt_range() {
    let (setup, tables) = first_stage();
    assert_eq!(setup.bench.read(0xFEE0_0000), Err(0x87), "without PASID");
    // With PASID the address is one like others.
    tables.map(0xFEE0_0000, 0x5000 | USER_RW);
    assert_eq!(setup.bench.request(&with_pasid(Access::Read), 0xFEE0_0000), Ok(0x5000));
    tables.map(IOVA, 0xFEE0_0000 | USER_RW);
    assert_eq!(setup.bench.request(&with_pasid(Access::Read), IOVA), Err(0x87));
}

#[test]
fn s3_4_3_profiles_for_one_stage_refuse_the_other() {
    let offered = |profile| {
        let setup = Bench::scalable_with(Capabilities::new(profile, 48));
        let (first, second) = (Tables::first_stage(&setup.bench, 4), Tables::second_stage(&setup.bench, 4));
        first.map(IOVA, 0x5000 | USER_RW);
        second.map(IOVA, 0x5000 | RW);
        [scalable::first_stage(&first, DOMAIN), scalable::second_stage(&second, DOMAIN)].map(|entry| {
            setup.set(entry);
            setup.bench.read(IOVA).is_ok()
        })
    };
    assert_eq!(offered(Profile::FirstStage), [true, false]);
    assert_eq!(offered(Profile::SecondStage), [false, true]);
    assert_eq!(offered(Profile::Full), [true, true]);
}
