//! Chapter 11: enhanced commands and performance counters.

use std::rc::Rc;

use iommu::{Access, MsiMessage, Request, SourceId};

use super::support::stages::{IOVA, RW, second_stage};
use super::support::{Bench, Scalable, reg};

const PERFCAP: u64 = 0x300;
const PERFCFGOFF: u64 = 0x310;
const PERFFRZOFF: u64 = 0x314;
const PERFOVFOFF: u64 = 0x318;
const PERFCNTROFF: u64 = 0x31C;
const PERFINTRSTS: u64 = 0x324;
const PERFINTRCTL: u64 = 0x328;
const PERFINTRDATA: u64 = 0x32C;
const PERFINTRADDR: u64 = 0x330;
const PERFEVNTCAP: u64 = 0x380;
const ECMD: u64 = 0x400;
const ECRSP: u64 = 0x410;
const ECCAP3: u64 = 0x448;

/// Commands.
const ENABLE: u64 = 0xF0;
const DISABLE: u64 = 0xF1;
const FREEZE: u64 = 0xF4;
const UNFREEZE: u64 = 0xF5;

/// Event groups with an event of each: requests; IOTLB lookups.
const REQUESTS: (u64, u64) = (0, 1 << 1);
const IOTLB_LOOKUPS: (u64, u64) = (3, 1 << 0);

/// A page at [`IOVA`], and a unit that counts.
fn counting() -> Scalable {
    let (setup, tables) = second_stage();
    tables.map(IOVA, 0x5000 | RW);
    setup
}

/// Gives a command with its operand A; gives the status code.
fn command(bench: &Bench, code: u64, operand: u64) -> u64 {
    bench.set64(ECMD, operand << 16 | code);
    let response = bench.get64(ECRSP);
    assert_eq!(response & 1, 0, "it is done");
    response >> 1 & 0x7F
}

/// Where the configuration of a counter lies, and its count.
fn configuration(bench: &Bench, counter: u64) -> u64 {
    u64::from(bench.get(PERFCFGOFF)) + counter * 0x100
}

fn count_at(bench: &Bench, counter: u64) -> u64 {
    u64::from(bench.get(PERFCNTROFF)) + (counter << (10 + (bench.get64(PERFCAP) >> 52 & 7)))
}

fn count(bench: &Bench, counter: u64) -> u64 {
    bench.get64(count_at(bench, counter))
}

/// Has a counter count an event from now on.
fn start(bench: &Bench, counter: u64, (group, event): (u64, u64)) {
    bench.set64(configuration(bench, counter), event << 32 | group << 8);
    assert_eq!(command(bench, ENABLE, counter), 0);
}

fn read(bench: &Rc<Bench>, times: usize) {
    for _ in 0..times {
        assert_eq!(bench.read(IOVA), Ok(0x5000));
    }
}

#[test]
fn s11_4_13_capabilities_say_what_there_is() {
    let Scalable { bench, .. } = counting();
    let (cap, ecap, perf) = (bench.get64(reg::CAP), bench.get64(reg::ECAP), bench.get64(PERFCAP));
    assert_eq!((cap >> 61 & 1, ecap >> 51 & 1), (1, 1), "ECMDS and PMS");
    assert!(perf & 0xFFFF >= 1, "counters");
    assert!((32..=64).contains(&(perf >> 16 & 0x7F)), "their width");
    let groups = perf >> 24 & 0x1F;
    for (group, event) in [REQUESTS, IOTLB_LOOKUPS] {
        assert!(group < groups && bench.get64(PERFEVNTCAP + 8 * group) & event != 0, "group {group}");
    }
    // They do not change.
    bench.set64(PERFCAP, 0);
    assert_eq!(bench.get64(PERFCAP), perf);
}

#[test]
fn s11_4_13_a_counter_counts_its_event_from_start_to_stop() {
    let Scalable { bench, .. } = counting();
    read(&bench, 2);
    start(&bench, 0, REQUESTS);
    start(&bench, 1, IOTLB_LOOKUPS);
    read(&bench, 5);
    assert_eq!([0, 1].map(|counter| count(&bench, counter)), [5, 5]);
    assert_eq!(command(&bench, DISABLE, 0), 0);
    read(&bench, 3);
    assert_eq!([0, 1].map(|counter| count(&bench, counter)), [5, 8]);
}

#[test]
fn s11_4_13_all_counters_stand_still_while_frozen() {
    let Scalable { bench, .. } = counting();
    start(&bench, 0, REQUESTS);
    start(&bench, 1, REQUESTS);
    assert_eq!(command(&bench, FREEZE, 0), 0);
    assert_ne!(bench.get64(u64::from(bench.get(PERFFRZOFF))), 0);
    read(&bench, 4);
    assert_eq!([0, 1].map(|counter| count(&bench, counter)), [0, 0]);
    assert_eq!(command(&bench, UNFREEZE, 0), 0);
    read(&bench, 4);
    assert_eq!([0, 1].map(|counter| count(&bench, counter)), [4, 4]);
}

#[test]
fn s11_4_13_filters_leave_out_what_others_do() {
    let Scalable { bench, .. } = counting();
    start(&bench, 0, REQUESTS);
    start(&bench, 1, REQUESTS);
    let enabled = 1 << 31;
    bench.set(configuration(&bench, 0) + 8, enabled | u32::from(Bench::DEVICE.0));
    bench.set(configuration(&bench, 1) + 8 + 4, enabled | Bench::DOMAIN as u32);
    read(&bench, 2);
    assert!(bench.read_as(SourceId(0x0208), IOVA).is_err());
    assert_eq!([0, 1].map(|counter| count(&bench, counter)), [2, 2], "requester and domain");
    // Address types: a bit for each of untranslated requests, translation requests, translated requests.
    start(&bench, 2, REQUESTS);
    bench.set(configuration(&bench, 2) + 8 + 12, enabled | 1 << 2);
    read(&bench, 2);
    let translated = Request::new(Bench::DEVICE, Access::Read).translated();
    assert_eq!(bench.request(&translated, 0x5000), Ok(0x5000));
    assert_eq!(count(&bench, 2), 1);
}

#[test]
fn s11_4_13_an_overflow_is_told_once_until_it_is_looked_at() {
    let Scalable { bench, .. } = counting();
    bench.set(PERFINTRADDR, 0xFEE0_6000);
    bench.set(PERFINTRDATA, 0x71);
    assert_eq!(bench.get(PERFINTRCTL), reg::IM, "masked at reset");
    bench.set(PERFINTRCTL, 0);
    let last = (1 << (bench.get64(PERFCAP) >> 16 & 0x7F)) - 1;
    let interrupt = 1 << 1;
    let overflow = |counter| {
        bench.set64(count_at(&bench, counter), last);
        bench.set64(configuration(&bench, counter), REQUESTS.1 << 32 | interrupt);
        assert_eq!(command(&bench, ENABLE, counter), 0);
        read(&bench, 1);
        assert_eq!(command(&bench, DISABLE, counter), 0);
    };
    let status = u64::from(bench.get(PERFOVFOFF));
    overflow(0);
    assert_eq!(count(&bench, 0), 0, "it goes on from 0");
    assert_eq!(bench.get64(status), 1);
    assert_eq!(bench.messages(), [MsiMessage { address: 0xFEE0_6000, data: 0x71 }]);
    overflow(1);
    assert_eq!((bench.get64(status), bench.messages()), (3, vec![]));
    bench.set64(status, 1);
    assert_eq!(bench.get64(status), 2, "ones clear");
    assert_eq!(bench.get(PERFINTRSTS), 1);
    bench.set(PERFINTRSTS, 1);
    assert_eq!(bench.get(PERFINTRSTS), 0);
    overflow(0);
    assert_eq!(bench.messages().len(), 1);
}

#[test]
fn s11_4_13_a_unit_without_counters_has_no_such_registers() {
    let bench = Bench::legacy();
    for at in (PERFCAP..0x500).step_by(4).chain([0x2000, 0x2F00, 0x4000]) {
        bench.set(at, u32::MAX);
        assert_eq!(bench.get(at), 0, "{at:#x}");
    }
}

#[test]
fn s11_4_14_the_commands_that_there_are_and_no_others() {
    let Scalable { bench, .. } = counting();
    assert_eq!(bench.get64(ECCAP3), 1 << 48 | 1 << 49 | 1 << 52 | 1 << 53);
    for code in 0..0x100 {
        let known = [ENABLE, DISABLE, FREEZE, UNFREEZE].contains(&code);
        assert_eq!(command(&bench, code, 0) == 0, known, "{code:#x}");
    }
}

#[test]
fn s11_4_14_an_operand_without_meaning_is_refused() {
    let Scalable { bench, .. } = counting();
    for operand in [bench.get64(PERFCAP) & 0xFFFF, 0x1_0000, u64::MAX >> 16] {
        assert_ne!(command(&bench, ENABLE, operand), 0, "{operand:#x}");
        assert_ne!(command(&bench, DISABLE, operand), 0, "{operand:#x}");
    }
}

#[test]
fn s11_4_14_a_command_by_halves_begins_with_its_lower_one() {
    let Scalable { bench, .. } = counting();
    bench.set64(configuration(&bench, 1), REQUESTS.1 << 32);
    bench.set(ECMD + 4, 0);
    bench.set(ECMD, (1 << 16 | ENABLE) as u32);
    assert_eq!(bench.get64(ECRSP), 0);
    read(&bench, 1);
    assert_eq!(count(&bench, 1), 1);
}
