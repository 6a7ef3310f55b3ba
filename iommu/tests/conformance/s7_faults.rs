//! Chapter 7: faults, and page requests.

use iommu::{Access, MsiMessage, Request, SourceId};

use super::support::{Bench, context, descriptor, reg};

const IOVA: u64 = 0x4000_0000;

/// Makes a fault at page `number` after [`IOVA`].
fn fault(bench: &Bench, number: u64) {
    assert_eq!(bench.read(IOVA + number * 0x1000), Err(0x06));
}

#[test]
fn s7_1_1_a_blocked_request_reaches_nothing() {
    let (bench, tables) = Bench::translating();
    tables.map(IOVA, 0x5000 | 1);
    let mut reached = false;
    let write = Request::new(Bench::DEVICE, Access::Write);
    let outcome = bench.unit.access(&write, iommu::Iova(IOVA), 8, |_, _| reached = true);
    assert!(outcome.is_err() && !reached);
}

#[test]
fn s7_1_3_processing_disable_silences_what_it_may() {
    let (bench, tables) = Bench::translating();
    let mut entry = context::translated(&tables, Bench::DOMAIN);
    entry[0] |= 2;
    bench.set_context(Bench::DEVICE, entry);
    bench.invalidate(descriptor::context_global());
    assert_eq!(bench.read(IOVA), Err(0x06));
    assert_eq!(bench.read(1 << 60), Err(0x04));
    // Also in an entry that is not present.
    bench.set_context(Bench::DEVICE, [2, 0]);
    bench.invalidate(descriptor::context_global());
    assert_eq!(bench.read(IOVA), Err(0x02));
    assert!(bench.faults().is_empty());
}

#[test]
fn s7_1_3_processing_disable_cannot_silence_structures_before_it() {
    let (bench, _) = Bench::translating();
    assert_eq!(bench.read_as(SourceId(0x2000), IOVA), Err(0x01));
    bench.one_fault(0x01);
}

#[test]
fn s7_2_1_a_record_says_who_asked_what_and_where() {
    let (bench, _) = Bench::translating();
    let (read, write, atomic) = (Access::Read, Access::Write, Access::Atomic);
    for (access, reason, kind) in [(read, 0x06, (1, 0)), (write, 0x05, (0, 0)), (atomic, 0x05, (1, 1))] {
        let outcome = bench.request(&Request::new(Bench::DEVICE, access), IOVA + 0x7FF);
        let reason = match outcome {
            Err(found @ (0x05 | 0x06)) if access == Access::Atomic => found,
            _ => {
                assert_eq!(outcome, Err(reason));
                reason
            }
        };
        let record = bench.one_fault(reason);
        assert_eq!(record.source(), Bench::DEVICE);
        assert_eq!(record.address(), IOVA);
        assert_eq!(record.kind(), kind);
        // No PASID, no privilege, no execution, address type 00, and nothing in reserved bits.
        let others = !(1 << 63 | 1 << 62 | 1 << 28 | 0xFF << 32 | 0xFFFF);
        assert_eq!(record.0[1] & others, 0);
    }
}

#[test]
fn s7_2_1_records_fill_in_a_ring_and_overflow_is_told() {
    let (bench, _) = Bench::translating();
    let count = bench.record_count();
    for round in 0..3 {
        for number in 0..count {
            fault(&bench, number);
        }
        assert_eq!(bench.get(reg::FSTS) & 0xFF, reg::PPF, "round {round}");
        fault(&bench, 99);
        assert_eq!(bench.get(reg::FSTS) & 0xFF, reg::PPF | reg::PFO);
        let addresses: Vec<_> = bench.faults().iter().map(|record| record.address()).collect();
        assert_eq!(addresses, (0..count).map(|number| IOVA + number * 0x1000).collect::<Vec<_>>());
        assert_eq!(bench.get(reg::FSTS) & 0xFF, 0);
        // So that the next round begins elsewhere.
        fault(&bench, 7);
        bench.one_fault(0x06);
    }
}

#[test]
fn s7_2_1_nothing_is_recorded_while_an_overflow_stands() {
    let (bench, _) = Bench::translating();
    for number in 0..=bench.record_count() {
        fault(&bench, number);
    }
    for index in 0..bench.record_count() {
        bench.set(bench.record_at(index) + 12, 1 << 31);
    }
    assert_eq!(bench.get(reg::FSTS) & 0xFF, reg::PFO);
    fault(&bench, 0);
    assert_eq!(bench.get(reg::FSTS) & 0xFF, reg::PFO);
    bench.set(reg::FSTS, reg::PFO);
    fault(&bench, 0);
    bench.one_fault(0x06);
}

#[test]
fn s7_2_1_the_index_of_the_first_record_is_told() {
    let (bench, _) = Bench::translating();
    for expected in 0..bench.record_count() {
        fault(&bench, 0);
        assert_eq!(u64::from(bench.get(reg::FSTS) >> 8 & 0xFF), expected);
        bench.one_fault(0x06);
    }
}

#[test]
fn s7_3_one_event_until_everything_has_been_looked_at() {
    let (bench, _) = Bench::translating();
    bench.set(reg::FEADDR, 0xFEE0_3000);
    bench.set(reg::FEDATA, 0x52);
    bench.set(reg::FECTL, 0);
    let message = MsiMessage { address: 0xFEE0_3000, data: 0x52 };
    fault(&bench, 0);
    assert_eq!(bench.messages(), [message]);
    fault(&bench, 1);
    assert_eq!(bench.messages(), []);
    assert_eq!(bench.faults().len(), 2);
    fault(&bench, 2);
    assert_eq!(bench.messages(), [message]);
}

#[test]
fn s7_3_a_masked_event_waits_and_may_become_void() {
    let (bench, _) = Bench::translating();
    assert_eq!(bench.get(reg::FECTL), reg::IM, "masked at reset");
    fault(&bench, 0);
    assert_eq!(bench.get(reg::FECTL), reg::IM | reg::IP);
    assert_eq!(bench.messages(), []);
    bench.set(reg::FECTL, 0);
    assert_eq!(bench.messages().len(), 1);
    bench.faults();
    bench.set(reg::FECTL, reg::IM);
    fault(&bench, 0);
    bench.faults();
    assert_eq!(bench.get(reg::FECTL), reg::IM);
    bench.set(reg::FECTL, 0);
    assert_eq!(bench.messages(), []);
}

#[test]
fn s7_3_a_queue_error_is_told_by_the_same_event() {
    let (bench, _) = Bench::translating();
    bench.set(reg::FEADDR, 0xFEE0_3000);
    bench.set(reg::FECTL, 0);
    bench.submit(&[[0xF, 0, 0, 0]]);
    assert_eq!(bench.get(reg::FSTS) & 0xFF, reg::IQE);
    assert_eq!(bench.messages().len(), 1);
    fault(&bench, 0);
    assert_eq!(bench.messages(), [], "a second condition while one stands");
}
