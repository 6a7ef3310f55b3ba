//! Chapter 11: protected memory, and the page request queue's registers.

use iommu::{Access, Request};

use super::support::device::page_request;
use super::support::stages::{IOVA, RW, first_stage, second_stage};
use super::support::{Bench, reg, scalable};

const EPM: u32 = 1 << 31;
const MIB: u64 = 1 << 20;

#[test]
fn s11_4_8_software_finds_the_granule_by_writing_ones() {
    let bench = Bench::new(Bench::everything(48));
    assert_eq!(bench.get64(reg::CAP) >> 5 & 3, 3, "PLMR and PHMR");
    for at in [reg::PLMBASE, reg::PLMLIMIT] {
        bench.set(at, u32::MAX);
        assert_eq!(u64::from(bench.get(at)), 0x1_0000_0000 - MIB);
    }
    for at in [reg::PHMBASE, reg::PHMLIMIT] {
        bench.set64(at, u64::MAX);
        assert_eq!(bench.get64(at), (1 << 48) - MIB);
    }
}

#[test]
fn s11_4_8_a_unit_without_regions_has_no_such_registers() {
    let bench = Bench::legacy();
    for at in [reg::PMEN, reg::PLMBASE, reg::PLMLIMIT, reg::PHMBASE, reg::PHMLIMIT] {
        bench.set(at, u32::MAX);
        assert_eq!(bench.get(at), 0, "{at:#x}");
    }
}

#[test]
fn s11_4_8_the_status_follows_the_command() {
    let bench = Bench::new(Bench::everything(48));
    bench.set(reg::PMEN, u32::MAX);
    assert_eq!(bench.get(reg::PMEN), EPM | 1);
    bench.set(reg::PMEN, 1);
    assert_eq!(bench.get(reg::PMEN), 0);
}

#[test]
fn s11_4_8_regions_block_what_no_table_leads_to() {
    let bench = Bench::new(Bench::everything(48));
    bench.set(reg::PLMBASE, 2 << 20);
    bench.set(reg::PLMLIMIT, 3 << 20);
    bench.set64(reg::PHMBASE, 1 << 33);
    bench.set64(reg::PHMLIMIT, 1 << 33);
    assert_eq!(bench.read(2 * MIB), Ok(2 * MIB), "not in force yet");
    bench.set(reg::PMEN, EPM);
    for (address, open) in [
        (2 * MIB - 1, true),
        (2 * MIB, false),
        (4 * MIB - 1, false),
        (4 * MIB, true),
        ((1 << 33) - 1, true),
        (1 << 33, false),
        ((1 << 33) + MIB - 1, false),
        ((1 << 33) + MIB, true),
    ] {
        assert_eq!(bench.read(address).is_ok(), open, "{address:#x}");
        assert_eq!(bench.write(address).is_ok(), open, "{address:#x}");
    }
    assert!(bench.faults().is_empty(), "nothing is recorded");
    bench.set(reg::PMEN, 0);
    assert_eq!(bench.read(2 * MIB), Ok(2 * MIB));
}

#[test]
fn s11_4_8_a_limit_below_its_base_is_no_region() {
    let bench = Bench::new(Bench::everything(48));
    bench.set(reg::PLMBASE, 4 << 20);
    bench.set(reg::PLMLIMIT, 2 << 20);
    bench.set(reg::PMEN, EPM);
    for address in 2..6 {
        assert_eq!(bench.read(address * MIB), Ok(address * MIB));
    }
}

#[test]
fn s11_4_8_with_translation_on_what_passes_through_is_blocked() {
    let (setup, tables) = second_stage();
    let bench = &setup.bench;
    bench.set(reg::PLMBASE, 2 << 20);
    bench.set(reg::PLMLIMIT, 2 << 20);
    bench.set(reg::PMEN, EPM);
    let translated = Request::new(Bench::DEVICE, Access::Read).translated();
    assert!(bench.request(&translated, 2 * MIB).is_err());
    assert_eq!(bench.request(&translated, 3 * MIB), Ok(3 * MIB));
    tables.map(IOVA, 0x5000 | RW);
    assert_eq!(bench.read(IOVA), Ok(0x5000));
    setup.set(scalable::pass_through(Bench::DOMAIN));
    assert!(bench.write(2 * MIB).is_err());
    assert_eq!(bench.write(3 * MIB), Ok(3 * MIB));
    assert!(bench.faults().is_empty());
}

#[test]
fn s11_4_9_3_wide_descriptors_are_offered_with_scalable_mode_only() {
    for (capabilities, wide) in [(Bench::everything(48), true), (iommu::Capabilities::legacy(48), false)] {
        let bench = Bench::new(capabilities);
        bench.set64(reg::IQA, 1 << 11);
        assert_eq!(bench.get64(reg::IQA) >> 11 & 1 == 1, wide);
    }
}

#[test]
fn s11_4_11_a_unit_without_page_requests_has_no_such_registers() {
    let bench = Bench::legacy();
    for at in (reg::PQH..=reg::PEUADDR).step_by(4) {
        bench.set(at, u32::MAX);
        assert_eq!(bench.get(at), 0, "{at:#x}");
    }
}

#[test]
fn s11_4_11_1_the_head_is_softwares() {
    let bench = Bench::new(Bench::everything(48));
    bench.set64(reg::PQH, u64::MAX);
    assert_eq!(bench.get64(reg::PQH), 0x7_FFE0);
}

#[test]
fn s11_4_11_2_the_tail_is_the_units_once_software_has_set_it() {
    let (setup, _) = first_stage();
    let (bench, queue) = (&setup.bench, setup.bench.page());
    bench.set64(reg::PQT, u64::MAX);
    assert_eq!(bench.get64(reg::PQT), 0x7_FFE0);
    bench.set64(reg::PQA, queue);
    bench.set64(reg::PQT, 0x40);
    let _ = bench.unit.page_request(&page_request(IOVA));
    assert_eq!(bench.get64(reg::PQT), 0x60);
    assert_eq!(bench.load(queue + 0x40) & 0xFF, 1);
}

#[test]
fn s11_4_11_3_size_and_address_of_the_queue() {
    let (setup, _) = first_stage();
    let bench = &setup.bench;
    bench.set64(reg::PQA, u64::MAX);
    assert_eq!(bench.get64(reg::PQA) & 0xFF8, 0, "reserved bits");
    // Two pages, so 256 requests of which 255 have room.
    let queue = bench.page();
    assert_eq!(bench.page(), queue + 0x1000);
    bench.set64(reg::PQA, queue | 1);
    for _ in 0..255 {
        assert_eq!(bench.unit.page_request(&page_request(IOVA)), None);
    }
    assert_eq!(bench.get64(reg::PQT), 255 * 32);
    assert!(bench.unit.page_request(&page_request(IOVA)).is_some());
}

#[test]
fn s11_4_11_4_status_bits_are_cleared_by_ones() {
    let (setup, _) = first_stage();
    let bench = &setup.bench;
    bench.set64(reg::PQA, Bench::NOWHERE);
    let _ = bench.unit.page_request(&page_request(IOVA));
    bench.set64(reg::PQA, bench.page());
    assert_eq!(bench.get(reg::PRS), 2);
    bench.set(reg::PRS, !2);
    assert_eq!(bench.get(reg::PRS), 2, "zeros leave them");
    bench.set(reg::PRS, 2);
    let _ = bench.unit.page_request(&page_request(IOVA));
    bench.set(reg::PRS, u32::MAX);
    assert_eq!(bench.get(reg::PRS), 0);
}

#[test]
fn s11_4_11_5_the_event_is_masked_at_reset_and_pending_is_read_only() {
    let bench = Bench::new(Bench::everything(48));
    assert_eq!(bench.get(reg::PECTL), reg::IM);
    bench.set(reg::PECTL, u32::MAX);
    assert_eq!(bench.get(reg::PECTL), reg::IM);
    bench.set(reg::PECTL, 0);
    assert_eq!(bench.get(reg::PECTL), 0);
    assert_eq!(bench.messages(), []);
    for (at, writable) in [(reg::PEDATA, 0xFFFF), (reg::PEADDR, 0xFFFF_FFFC), (reg::PEUADDR, 0xFFFF_FF00)] {
        bench.set(at, u32::MAX);
        assert_eq!(bench.get(at), writable, "{at:#x}");
    }
}
