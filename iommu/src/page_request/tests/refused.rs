//! Page requests that the tables do not allow.

use super::*;

#[test]
fn what_the_tables_do_not_allow_is_a_fault_and_answered_with_failure() {
    type Spoil = fn(&Scalable);
    let cases: [(u8, Spoil); 14] = [
        (0x30, |scalable| scalable.machine.set_table_mode(2)),
        (0x32, |scalable| scalable.machine.set_table_mode(0)),
        (0x38, |scalable| scalable.machine.write_u64(crate::spec::registers::RTADDR, 1 << 40 | 1 << 10)),
        (0x39, |scalable| scalable.machine.write_memory(scalable.machine.root + 0x10, 0)),
        (0x3A, |scalable| scalable.machine.write_memory(scalable.machine.root + 0x10, 3)),
        (0x40, |scalable| scalable.machine.write_memory(scalable.machine.root + 0x10, 1 << 40 | 1)),
        (0x41, |scalable| scalable.context_flags(0)),
        (0x42, |scalable| scalable.machine.write_memory(scalable.context + 24, 1)),
        (0x43, |scalable| scalable.machine.write_memory(scalable.context + 8, 0xF_FFFF)),
        (0x45, |scalable| scalable.context_flags(P | DTE | PRE)),
        (0x47, |scalable| scalable.context_flags(P | DTE | PASIDE)),
        // What FPD does not qualify.
        (0x32, |scalable| {
            scalable.context_flags(P | FPD);
            scalable.machine.set_table_mode(0);
        }),
        (0, |scalable| scalable.context_flags(P | FPD | DTE | PASIDE)),
        (0, |scalable| scalable.context_flags(FPD)),
    ];
    for (reason, spoil) in cases {
        let scalable = Scalable::new();
        spoil(&scalable);
        scalable.machine.command(Global::ROOT_POINTER, Global::empty());
        assert_eq!(scalable.send(&REQUEST), FAILURE, "{reason:x}");
        let expected = (reason != 0).then_some((reason, 0x1234_5000));
        assert_eq!(fault(&scalable.machine), expected);
        assert_eq!((scalable.tail(), scalable.status()), (0, 0), "{reason:x}");
        assert_eq!(scalable.send(&PageRequest { last: false, ..REQUEST }), None);
    }
    let scalable = Scalable::new();
    let beyond = PageRequest { pasid: Some(Pasid(1 << 13)), ..REQUEST };
    let refused = PageResponse { pasid: beyond.pasid, group: 7, code: PageResponseCode::Failure };
    assert_eq!(scalable.send(&beyond), Some(refused));
    assert_eq!(fault(&scalable.machine), Some((0x46, 0x1234_5000)));
}

#[test]
fn the_record_says_that_it_was_a_page_request() {
    let scalable = Scalable::new();
    let record = scalable.machine.unit.capabilities().fault_record_offset();
    scalable.context_flags(P | DTE | PASIDE);
    for (request, space) in [
        (PageRequest { pasid: None, ..REQUEST }, 0),
        (REQUEST, 5 << 40 | 1 << 31),
        (PageRequest { privileged: true, execute: true, ..REQUEST }, 5 << 40 | 7 << 29),
    ] {
        let _ = scalable.send(&request);
        let index = u64::from(scalable.machine.read(FSTS) >> 8 & 0xFF);
        let high = scalable.machine.read_u64(record + index * 16 + 8);
        // T2 without T1, AT = 00.
        assert_eq!(high, 1 << 63 | 1 << 28 | space | 0x47 << 32 | 0x0113);
        scalable.machine.take_faults();
    }
}

#[test]
fn a_flood_of_refused_requests_fills_the_records_and_no_more() {
    let scalable = Scalable::new();
    scalable.context_flags(P);
    for source in [SOURCE, SourceId(0xFFFF)] {
        for _ in 0..10_000 {
            assert_eq!(scalable.send(&PageRequest { source, ..REQUEST }), FAILURE);
        }
    }
    let records = scalable.machine.unit.capabilities().fault_records();
    assert_eq!(scalable.machine.take_faults().len(), records);
}
