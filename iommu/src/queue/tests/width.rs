//! Which queues and which descriptors there are in each table mode (§6.5.2).

use super::*;
use crate::{Capabilities, Feature, Profile};

const FULL: Capabilities = Capabilities::new(Profile::Full, 48);

#[test]
fn the_width_of_descriptors_fits_the_table_mode() {
    let none = Capabilities::legacy(48);
    let scalable = FULL.without(Feature::AbortMode);
    let abort = none.with(Feature::AbortMode);
    for (capabilities, table_mode, wide, expected) in [
        (none, 0, false, None),
        (none, 1, false, Some(7)),
        (none, 2, false, Some(7)),
        (none, 3, false, Some(7)),
        (scalable, 0, false, None),
        (scalable, 0, true, None),
        (scalable, 1, false, Some(5)),
        (scalable, 1, true, None),
        (scalable, 2, false, Some(7)),
        (scalable, 2, true, Some(7)),
        (scalable, 3, true, Some(7)),
        (abort, 0, true, None),
        (abort, 1, true, Some(7)),
        (abort, 3, false, Some(5)),
        (abort, 3, true, None),
    ] {
        let machine = Machine::with(capabilities);
        machine.set_table_mode(table_mode);
        let descriptors = [wait_status(STATUS, 1), iotlb_global(), wait_status(STATUS, 2)];
        if wide {
            machine.enable_wide_queue();
            machine.submit_wide(&descriptors);
        } else {
            machine.enable_queue();
            machine.submit(&descriptors);
        }
        assert_eq!(error(&machine), expected, "{table_mode} {wide}");
        assert_eq!(status(&machine), if expected.is_none() { 2 } else { 0 });
        let head = if expected.is_some() { 0 } else { machine.read(IQT) };
        assert_eq!(machine.read(IQH), head);
    }
}

#[test]
fn a_mode_taken_into_use_later_counts_from_then_on() {
    let machine = Machine::with(FULL);
    machine.enable_queue();
    machine.submit(&[wait_status(STATUS, 1)]);
    assert_eq!((status(&machine), error(&machine)), (1, None));
    machine.set_table_mode(1);
    machine.submit(&[wait_status(STATUS, 2)]);
    assert_eq!((status(&machine), error(&machine), machine.read(IQH)), (1, Some(5), 0x10));
    machine.set_table_mode(0);
    machine.write(FSTS, 1 << 4);
    assert_eq!((status(&machine), error(&machine)), (2, None));
}

/// Software that enters another mode replaces its queue, with the old one still on when the mode changes.
#[test]
fn a_queue_that_does_not_fit_the_mode_is_no_error_while_it_is_empty() {
    for table_mode in [1, 2] {
        let machine = Machine::with(FULL);
        machine.enable_queue();
        machine.submit(&[wait_status(STATUS, 1)]);
        machine.set_table_mode(table_mode);
        machine.command(Global::empty(), Global::QUEUE);
        assert_eq!((error(&machine), machine.status().contains(Global::QUEUE)), (None, false));
        machine.set_table_mode(1);
        machine.enable_wide_queue();
        machine.submit_wide(&[wait_status(STATUS, 2)]);
        assert_eq!((error(&machine), status(&machine)), (None, 2));
    }
    // A tail of old that is none of the new queue is an error as soon as that is on.
    let machine = Machine::with(FULL);
    machine.write(IQT, 0x10);
    machine.write_u64(IQA, machine.queue | 1 << 11);
    machine.command(Global::QUEUE, Global::empty());
    assert_eq!(error(&machine), Some(6));
}

#[test]
fn without_wide_descriptors_their_bit_reads_0() {
    for (capabilities, expected) in [
        (Capabilities::legacy(48), 0),
        (FULL, 1 << 11),
        (Capabilities::legacy(48).with(Feature::AbortMode), 1 << 11),
        (FULL.without(Feature::AbortMode), 1 << 11),
    ] {
        let machine = Machine::with(capabilities);
        machine.write_u64(IQA, 0xFF8);
        assert_eq!(machine.read_u64(IQA), expected);
    }
}

#[test]
fn the_tail_lies_at_the_beginning_of_a_descriptor() {
    let machine = Machine::with(FULL);
    machine.enable_wide_queue();
    machine.submit_wide(&[wait_status(STATUS, 1)]);
    machine.write(IQT, 0x30);
    assert_eq!((error(&machine), machine.read(IQH)), (Some(6), 0x20));
    machine.write_memory(machine.queue + 0x20, wait_status(STATUS, 2)[0]);
    machine.write_memory(machine.queue + 0x28, wait_status(STATUS, 2)[1]);
    machine.write(IQT, 0x40);
    assert_eq!(status(&machine), 1);
    machine.write(FSTS, 1 << 4);
    assert_eq!((error(&machine), machine.read(IQH), status(&machine)), (None, 0x40, 2));
}

#[test]
fn a_queue_of_wide_descriptors_wraps_around() {
    let machine = Machine::with(FULL);
    machine.enable_wide_queue();
    for round in 1..=500 {
        machine.submit_wide(&[iotlb_global(), context_global(), wait_status(STATUS, round)]);
        assert_eq!(u64::from(status(&machine)), round);
        assert!(machine.queue_is_done());
    }
    assert_eq!(machine.read(IQH), 500 * 3 * 32 % 0x1000);
}

#[test]
fn the_upper_half_of_a_wide_descriptor_is_reserved() {
    for word in [16, 24] {
        let machine = Machine::with(FULL);
        machine.enable_wide_queue();
        machine.write_memory(machine.queue + 0x20 + word, 1 << 63);
        machine.submit_wide(&[iotlb_global()]);
        machine.write_memory(machine.queue + 0x20, wait_status(STATUS, 1)[0]);
        machine.write_memory(machine.queue + 0x28, wait_status(STATUS, 1)[1]);
        machine.write(IQT, 0x40);
        assert_eq!((error(&machine), machine.read(IQH)), (Some(4), 0x20));
        machine.write_memory(machine.queue + 0x20 + word, 0);
        machine.write(FSTS, 1 << 4);
        assert_eq!((error(&machine), status(&machine)), (None, 1));
    }
}

#[test]
fn descriptors_of_scalable_mode_are_for_scalable_and_abort_mode() {
    for raw in [pasid_iotlb(1, 2), pasid_iotlb_pages(1, 2, 0x1000, 0), pasid_cache(3, 0, 0)] {
        for (table_mode, expected) in [(0, Some(3)), (1, None), (3, None)] {
            let machine = Machine::with(FULL);
            machine.set_table_mode(table_mode);
            machine.enable_wide_queue();
            machine.submit_wide(&[raw]);
            assert_eq!(error(&machine), expected, "{raw:x?} {table_mode}");
        }
    }
}
