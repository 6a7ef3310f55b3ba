//! Chapter 5: interrupt remapping and posting.

use std::rc::Rc;

use iommu::{MsiMessage, SourceId};

use super::support::{Bench, descriptor, reg};

/// The address of a remappable request for `index` without subhandle.
const fn remappable(index: u64) -> u64 {
    0xFEE0_0010 | (index & 0x7FFF) << 5 | index >> 15 << 2
}

/// SHV: the data holds a subhandle.
const SUBHANDLE: u64 = 1 << 3;

/// An entry for a fixed, edge-triggered interrupt to processor 0, from anyone.
const fn plain(vector: u64) -> [u64; 2] {
    [1 | vector << 16, 0]
}

fn remapping() -> Rc<Bench> {
    let bench = Bench::legacy();
    bench.start_queue(false);
    bench.remap_interrupts(false);
    bench
}

#[test]
fn s5_1_1_a_request_has_to_come_from_the_requester_named() {
    let bench = remapping();
    // SVT = 01, and SQ leaves out none, bit 2, bits 2:1, bits 2:0 of the function.
    for (qualifier, compared) in [(0, 0xFFFF_u16), (1, 0xFFFB), (2, 0xFFF9), (3, 0xFFF8)] {
        bench.set_interrupt(4, [1 | 0x33 << 16, 0x0113 | qualifier << 16 | 1 << 18]);
        bench.invalidate(descriptor::interrupts_global());
        for source in 0x0110..=0x011F {
            let allowed = (source ^ 0x0113) & compared == 0;
            let outcome = bench.interrupt_as(SourceId(source), remappable(4), 0);
            assert_eq!(outcome.is_ok(), allowed, "{source:#x} with SQ {qualifier}");
            if !allowed {
                assert_eq!(outcome, Err(0x26));
            }
        }
        bench.faults();
    }
}

#[test]
fn s5_1_1_a_request_has_to_come_from_a_bus_in_the_range() {
    let bench = remapping();
    // SVT = 10: buses 10h to 20h, the first in the upper byte.
    bench.set_interrupt(4, [1 | 0x33 << 16, 0x1020 | 2 << 18]);
    for (bus, allowed) in [(0x0F, false), (0x10, true), (0x18, true), (0x20, true), (0x21, false)] {
        let outcome = bench.interrupt_as(SourceId(bus << 8 | 5), remappable(4), 0);
        assert_eq!(outcome.is_ok(), allowed, "bus {bus:#x}");
    }
}

#[test]
fn s5_1_1_validation_may_be_left_out() {
    let bench = remapping();
    bench.set_interrupt(4, plain(0x33));
    assert!(bench.interrupt_as(SourceId(0xFFFF), remappable(4), 0).is_ok());
}

#[test]
fn s5_1_2_1_compatibility_format_is_blocked_unless_allowed() {
    let bench = remapping();
    assert_eq!(bench.interrupt(0xFEE0_1000, 0x41), Err(0x25));
    bench.one_fault(0x25);
    bench.command(reg::CFI, true);
    let message = MsiMessage { address: 0xFEE0_1000, data: 0x41 };
    assert_eq!(bench.interrupt(message.address, message.data), Ok(message));
}

#[test]
fn s5_1_2_1_compatibility_format_never_passes_with_32_bit_destinations() {
    let bench = Bench::legacy();
    bench.remap_interrupts(true);
    bench.command(reg::CFI, true);
    assert_eq!(bench.interrupt(0xFEE0_1000, 0x41), Err(0x25));
}

#[test]
fn s5_1_2_2_the_index_is_handle_and_subhandle() {
    let bench = remapping();
    bench.set_interrupt(7, plain(0x47));
    bench.set_interrupt(12, plain(0x4C));
    assert_eq!(bench.interrupt(remappable(7), 0).map(|message| message.data), Ok(0x47));
    assert_eq!(bench.interrupt(remappable(7) | SUBHANDLE, 5).map(|message| message.data), Ok(0x4C));
    // Without SHV the data counts for nothing.
    assert_eq!(bench.interrupt(remappable(7), 0xFFFF_0005).map(|message| message.data), Ok(0x47));
}

#[test]
fn s5_1_2_2_the_handle_has_16_bits() {
    let bench = Bench::legacy();
    bench.set64(reg::IRTA, bench.interrupts | 15);
    bench.command(reg::SIRTP, true);
    bench.command(reg::IRE, true);
    bench.set_interrupt(0x8123, plain(0x66));
    assert_eq!(bench.interrupt(remappable(0x8123), 0).map(|message| message.data), Ok(0x66));
}

#[test]
fn s5_1_2_2_reserved_bits_of_the_data_are_refused() {
    let bench = remapping();
    bench.set_interrupt(7, plain(0x47));
    assert_eq!(bench.interrupt(remappable(7) | SUBHANDLE, 1 << 16), Err(0x20));
    bench.one_fault(0x20);
}

#[test]
fn s5_1_3_an_index_beyond_the_table_is_refused() {
    let bench = remapping();
    assert_eq!(bench.interrupt(remappable(256), 0), Err(0x21));
    assert_eq!(bench.one_fault(0x21).address(), 256 << 48);
    assert_eq!(bench.interrupt(remappable(255) | SUBHANDLE, 1), Err(0x21), "by its subhandle");
    assert_eq!(bench.interrupt(remappable(0xFFFF) | SUBHANDLE, 1), Err(0x21), "not even when it overflows");
}

#[test]
fn s5_1_4_requests_pass_while_remapping_is_off() {
    let bench = Bench::legacy();
    for address in [0xFEE0_1000, remappable(3)] {
        let message = MsiMessage { address, data: 0x41 };
        assert_eq!(bench.interrupt(address, 0x41), Ok(message));
    }
    assert_eq!(bench.get(reg::FSTS), 0);
}

#[test]
fn s5_1_4_the_entry_decides_what_is_delivered() {
    let bench = remapping();
    // Vector 55h, lowest priority, logical, redirection hint, destination A6h.
    bench.set_interrupt(9, [1 | 1 << 2 | 1 << 3 | 1 << 5 | 0x55 << 16 | 0xA6 << 40, 0]);
    let message = bench.interrupt(remappable(9), 0).unwrap();
    assert_eq!(message, MsiMessage { address: 0xFEEA_600C, data: 0x155 });
    // Level-triggered.
    bench.set_interrupt(10, [1 | 1 << 4 | 0x56 << 16, 0]);
    assert_eq!(bench.interrupt(remappable(10), 0).unwrap().data, 0xC056);
}

#[test]
fn s5_1_4_1_entries_that_are_not_there() {
    let bench = remapping();
    assert_eq!(bench.interrupt(remappable(3), 0), Err(0x22));
    let record = bench.one_fault(0x22);
    assert_eq!((record.address(), record.source()), (3 << 48, Bench::DEVICE));
    assert_eq!(record.kind(), (0, 0));
    bench.set64(reg::IRTA, Bench::NOWHERE | 7);
    bench.command(reg::SIRTP, true);
    bench.invalidate(descriptor::interrupts_global());
    assert_eq!(bench.interrupt(remappable(3), 0), Err(0x23));
    bench.one_fault(0x23);
}

#[test]
fn s5_1_4_1_entries_can_keep_faults_from_being_recorded() {
    let bench = remapping();
    bench.set_interrupt(3, [2, 0]);
    assert_eq!(bench.interrupt(remappable(3), 0), Err(0x22));
    bench.set_interrupt(4, [1 | 2 | 0x33 << 16, 0xFFFF | 1 << 18]);
    assert_eq!(bench.interrupt(remappable(4), 0), Err(0x26));
    assert!(bench.faults().is_empty());
}

#[test]
fn s5_1_5_1_an_ioapic_names_its_entry_by_index_alone() {
    // The message an I/OxAPIC makes of a remappable redirection entry: index, no subhandle, the pin's vector.
    let bench = remapping();
    bench.set_interrupt(0x21, [1 | 1 << 4 | 0x77 << 16, 0x00F0 | 1 << 18]);
    let message = bench.interrupt_as(SourceId(0x00F0), remappable(0x21), 0x77 | 1 << 15).unwrap();
    assert_eq!(message.data, 0xC077);
}

#[test]
fn s5_1_5_2_messages_of_one_function_share_a_handle() {
    let bench = remapping();
    for number in 0..4 {
        bench.set_interrupt(0x40 + number, plain(0x80 + number));
    }
    for number in 0..4 {
        let message = bench.interrupt(remappable(0x40) | SUBHANDLE, number).unwrap();
        assert_eq!(message.data, 0x80 + number);
    }
}

#[test]
fn s5_1_6_the_units_own_messages_are_not_remapped() {
    let (bench, _) = Bench::translating();
    bench.remap_interrupts(false);
    bench.set(reg::FEADDR, 0xFEE0_5000);
    bench.set(reg::FEDATA, 0x31);
    bench.set(reg::FECTL, 0);
    assert!(bench.read(0x5000).is_err());
    assert_eq!(bench.messages(), [MsiMessage { address: 0xFEE0_5000, data: 0x31 }]);
}

#[test]
fn s5_1_7_destinations_have_8_bits_without_extended_mode() {
    let bench = remapping();
    bench.set_interrupt(5, [1 | 0x33 << 16 | 0xFF << 40, 0]);
    assert_eq!(bench.interrupt(remappable(5), 0).unwrap().address, 0xFEEF_F000);
    bench.set_interrupt(6, [1 | 0x33 << 16 | 1 << 32, 0]);
    assert_eq!(bench.interrupt(remappable(6), 0), Err(0x24));
    bench.set_interrupt(8, [1 | 0x33 << 16 | 1 << 48, 0]);
    assert_eq!(bench.interrupt(remappable(8), 0), Err(0x24));
}

#[test]
fn s5_1_8_destinations_have_32_bits_in_extended_mode() {
    let bench = Bench::legacy();
    bench.remap_interrupts(true);
    bench.set_interrupt(5, [1 | 0x33 << 16 | 0x1234_56A7 << 32, 0]);
    let message = bench.interrupt(remappable(5), 0).unwrap();
    assert_eq!(message, MsiMessage { address: 0x1234_5600_FEEA_7000, data: 0x33 });
}
