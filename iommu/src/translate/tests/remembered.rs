//! What is remembered in scalable mode, as devices see it: until when the old answer may come, and from when
//! on it must not.

use crate::spec::second_stage::Level;
use crate::testing::descriptor::{iotlb_domain, iotlb_global, iotlb_pages, pasid_iotlb, pasid_iotlb_pages};
use crate::testing::scalable::{FIRST_STAGE, NESTED, PASIDS, PWU, SECOND_STAGE, WALK_SNOOP, WIDTH_48};
use crate::testing::{DATA, LARGE, Machine, R, RW, SOURCE, descriptor};
use crate::{Access, Capabilities, Feature, Iova, Pasid, Profile, Request};

const OLD: Result<u64, u8> = Ok(DATA);
const NEW: Result<u64, u8> = Ok(DATA + 0x20_0000);
/// The granularity of one PASID.
const ONE_PASID: u64 = 1;
/// Bit G of a first-stage entry: the page is the same in every address space, says software.
const GLOBAL: u64 = 1 << 8;

/// A machine whose [`SOURCE`] may use PASIDs, and its PASID directory.
fn machine() -> (Machine, u64) {
    let machine = Machine::with(Capabilities::new(Profile::Full, 48).with(Feature::CachingMode));
    let directory = machine.table();
    machine.scalable_context(SOURCE, [directory | PASIDS | 1, 0, 0, 0]);
    machine.enable_scalable();
    machine.enable_wide_queue();
    (machine, directory)
}

/// The same with a first stage for each of `pasids`, all of domain 5; and their tables.
fn first_stages<const N: usize>(pasids: [u64; N]) -> (Machine, [u64; N]) {
    let (machine, directory) = machine();
    let tables = pasids.map(|pasid| {
        let table = machine.table();
        machine.pasid_entry(directory, pasid, [FIRST_STAGE | 1, 5 | WALK_SNOOP, table, 0, 0, 0, 0, 0]);
        table
    });
    (machine, tables)
}

/// What a read in an address space finds; asked often enough to go through every cache there is.
fn read(machine: &Machine, pasid: u32, iova: u64) -> Result<u64, u8> {
    let request = Request::new(SOURCE, Access::Read).with_pasid(Pasid(pasid));
    let [first, second, third] =
        [0; 3].map(|_| machine.unit.access(&request, Iova(iova), 1, |address, _| address.0));
    assert_eq!((first, second), (second, third));
    first.map_err(|blocked| blocked.reason)
}

#[test]
fn a_global_page_is_found_and_forgotten_by_pasid_all_the_same() {
    let (machine, [seven, eight]) = first_stages([7, 8]);
    machine.map_first_stage(seven, 0x1000, DATA | PWU | GLOBAL);
    assert_eq!(read(&machine, 7, 0x1000), OLD);
    // It is not there in an address space whose own tables do not say so.
    assert_eq!(read(&machine, 8, 0x1000), Err(0x71));
    machine.map_first_stage(eight, 0x1000, (DATA + 0x20_0000) | PWU | GLOBAL);
    assert_eq!(read(&machine, 8, 0x1000), NEW);
    assert_eq!(read(&machine, 7, 0x1000), OLD);
    // Nor does it outlive the invalidation of its PASID, or go with that of another.
    machine.map_first_stage(seven, 0x1000, (DATA + 0x20_0000) | PWU | GLOBAL);
    machine.map_first_stage(eight, 0x1000, DATA | PWU | GLOBAL);
    machine.submit_wide(&[pasid_iotlb(5, 7)]);
    assert_eq!(read(&machine, 7, 0x1000), NEW);
    assert_eq!(read(&machine, 8, 0x1000), NEW);
}

#[test]
fn a_page_of_a_pasid_goes_alone_and_the_pasid_as_whole() {
    let (machine, [seven, eight]) = first_stages([7, 8]);
    let places = [(7, seven, 0x1000), (7, seven, 0x2000), (8, eight, 0x1000)];
    let map = |page: u64| places.map(|(_, table, iova)| machine.map_first_stage(table, iova, page | PWU));
    let found = || places.map(|(pasid, _, iova)| read(&machine, pasid, iova));
    for (what, expected) in [
        (pasid_iotlb_pages(5, 7, 0x1000, 0), [NEW, OLD, OLD]),
        (pasid_iotlb_pages(5, 7, 0x2000, 1), [OLD, NEW, OLD]),
        (pasid_iotlb_pages(5, 7, 0x3000, 2), [NEW, NEW, OLD]),
        (pasid_iotlb(5, 7), [NEW, NEW, OLD]),
        (pasid_iotlb(5, 8), [OLD, OLD, NEW]),
        // Another domain's PASID of the same number, and a page of a second stage, which these are not.
        (pasid_iotlb(6, 7), [OLD, OLD, OLD]),
        (iotlb_pages(5, 0x1000, 0), [OLD, OLD, OLD]),
        (iotlb_domain(5), [NEW, NEW, NEW]),
        (iotlb_global(), [NEW, NEW, NEW]),
    ] {
        map(DATA);
        machine.submit_wide(&[iotlb_global()]);
        assert_eq!(found(), [OLD; 3]);
        map(DATA + 0x20_0000);
        machine.submit_wide(&[what]);
        assert_eq!(found(), expected, "{what:x?}");
    }
}

#[test]
fn a_new_first_stage_counts_at_the_latest_when_the_pasid_has_been_invalidated() {
    let (machine, directory) = machine();
    let [old, new] = [0; 2].map(|_| machine.table());
    machine.map_first_stage(old, 0x1000, DATA | PWU);
    machine.map_first_stage(new, 0x1000, (DATA + 0x20_0000) | PWU);
    machine.map_first_stage(new, 0x2000, (DATA + 0x20_0000) | PWU);
    let set = |table| {
        machine.pasid_entry(directory, 7, [FIRST_STAGE | 1, 5 | WALK_SNOOP, table, 0, 0, 0, 0, 0]);
    };
    set(old);
    assert_eq!(read(&machine, 7, 0x1000), OLD);
    set(new);
    // Nobody has been told: one table or the other, and nothing else.
    assert_eq!(read(&machine, 7, 0x1000), OLD);
    assert_eq!(read(&machine, 7, 0x2000), Err(0x71));
    // The PASID cache alone: pages that are remembered may still be used, others come from the new table and
    // not from an inner table of the old one, although that is remembered too.
    machine.submit_wide(&[descriptor::pasid_cache(ONE_PASID, 5, 7)]);
    assert_eq!(read(&machine, 7, 0x1000), OLD);
    assert_eq!(read(&machine, 7, 0x2000), NEW);
    // Linux invalidates both.
    machine.submit_wide(&[pasid_iotlb(5, 7)]);
    assert_eq!(read(&machine, 7, 0x1000), NEW);
}

#[test]
fn what_is_not_there_is_looked_for_each_time_in_caching_mode_too() {
    let (machine, [table]) = first_stages([7]);
    assert!(machine.unit.capabilities().has(Feature::CachingMode));
    assert_eq!(read(&machine, 7, 0x1000), Err(0x71));
    machine.map_first_stage(table, 0x1000, DATA | PWU);
    assert_eq!(read(&machine, 7, 0x1000), OLD);

    // A PASID, a context and a second stage likewise.
    let (machine, directory) = self::machine();
    assert_eq!(read(&machine, 9, 0x1000), Err(0x51));
    let table = machine.table();
    machine.pasid_entry(directory, 9, [SECOND_STAGE | WIDTH_48 | table | 1, 6, 0, 0, 0, 0, 0, 0]);
    assert_eq!(read(&machine, 9, 0x1000), Err(0x79));
    machine.map(table, 0x1000, DATA | R);
    assert_eq!(read(&machine, 9, 0x1000), OLD);
}

#[test]
fn a_large_page_goes_as_whole_with_any_part_of_it() {
    for part in [0, 0x1000, 0x10_0000, 0x1F_F000] {
        let (machine, [first]) = first_stages([7]);
        let entry = machine.first_stage_entry(first, 4, 0x4000_0000, Level::PAGE_2M);
        machine.write_memory(entry, DATA | PWU | LARGE);
        assert_eq!(read(&machine, 7, 0x4000_0000), OLD);
        assert_eq!(read(&machine, 7, 0x401F_F000), Ok(DATA + 0x1F_F000));
        machine.write_memory(entry, (DATA + 0x20_0000) | PWU | LARGE);
        machine.submit_wide(&[pasid_iotlb_pages(5, 7, 0x4000_0000 + part, 0)]);
        assert_eq!(read(&machine, 7, 0x4000_0000), NEW, "{part:#x}");
        assert_eq!(read(&machine, 7, 0x401F_F000), Ok(DATA + 0x3F_F000), "{part:#x}");
    }
}

#[test]
fn nested_pages_go_with_any_page_of_their_domains_second_stage() {
    let (machine, directory) = machine();
    let [first, behind] = [0; 2].map(|_| machine.table());
    machine.map_first_stage(first, 0x1000, DATA | PWU);
    for page in (0x10_0000..0x20_0000).step_by(0x1000).chain([DATA]) {
        machine.map(behind, page, page | RW);
    }
    let nested = [NESTED | WIDTH_48 | behind | 1, 8 | WALK_SNOOP, first, 0, 0, 0, 0, 0];
    machine.pasid_entry(directory, 7, nested);
    assert_eq!(read(&machine, 7, 0x1000), OLD);
    machine.map(behind, DATA, (DATA + 0x20_0000) | RW);
    assert_eq!(read(&machine, 7, 0x1000), OLD);
    // The page of another domain.
    machine.submit_wide(&[iotlb_pages(5, DATA, 0)]);
    assert_eq!(read(&machine, 7, 0x1000), OLD);
    machine.submit_wide(&[iotlb_pages(8, DATA, 0)]);
    assert_eq!(read(&machine, 7, 0x1000), NEW);
}

#[test]
fn more_pages_than_the_caches_hold_are_all_translated() {
    let (machine, [table]) = first_stages([7]);
    // Each table's 512 pages are the same.
    let pages = 0..20_000_u64;
    for page in pages.clone().step_by(512) {
        let entry = machine.first_stage_entry(table, 4, page << 12, Level::PAGE);
        for index in 0..512 {
            machine.write_memory((entry & !0xFFF) + index * 8, (DATA + index * 0x1000) | PWU);
        }
    }
    for _ in 0..2 {
        for page in pages.clone().step_by(3) {
            assert_eq!(read(&machine, 7, page << 12), Ok(DATA + page % 512 * 0x1000));
        }
    }
    // Whatever of it is remembered goes with the PASID.
    for page in pages.clone().step_by(512) {
        let entry = machine.first_stage_entry(table, 4, page << 12, Level::PAGE);
        machine.write_memory(entry, 0);
    }
    machine.submit_wide(&[pasid_iotlb(5, 7)]);
    for page in pages.step_by(512) {
        assert_eq!(read(&machine, 7, page << 12), Err(0x71));
    }
}
