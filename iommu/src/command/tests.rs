use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::spec::registers::FRCD;
use crate::testing::{DATA, Machine, RW, SOURCE, Sent};
use crate::{Access, MsiMessage};

#[test]
fn one_shot_commands_leave_their_status_and_levels_follow_the_command() {
    let machine = Machine::new();
    for (bit, one_shot) in [
        (Global::ROOT_POINTER, true),
        (Global::INTERRUPT_POINTER, true),
        (Global::QUEUE, false),
        (Global::TRANSLATION, false),
        (Global::INTERRUPT_REMAPPING, false),
        (Global::COMPATIBILITY, false),
    ] {
        machine.command(bit, Global::empty());
        assert!(machine.status().contains(bit), "{bit:?}");
        machine.command(Global::empty(), bit);
        assert_eq!(machine.status().contains(bit), one_shot, "{bit:?}");
    }
    machine.command(Global::WRITE_BUFFER, Global::empty());
    assert!(!machine.status().contains(Global::WRITE_BUFFER));
    // Bits without a meaning have none.
    machine.write(GCMD, 0x107F_FFFF | 1 << 29);
    assert_eq!(machine.status(), Global::ROOT_POINTER | Global::INTERRUPT_POINTER);
    assert_eq!(machine.read(GCMD), 0);
}

#[test]
fn the_root_table_changes_only_when_it_is_taken_into_use() {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, DATA | RW);
    assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
    machine.write_u64(RTADDR, machine.table());
    assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
    machine.command(Global::ROOT_POINTER, Global::empty());
    assert_eq!(machine.translate(0x1000, Access::Read), Err(0x01));
    assert!(machine.status().contains(Global::TRANSLATION));
}

#[test]
fn a_table_taken_into_use_again_is_read_anew() {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, DATA | RW);
    machine.enable_interrupts(false);
    machine.interrupt_entry(3, [1 | 0x41 << 16, 0]);
    let request = MsiMessage { address: 0xFEE0_0010 | 3 << 5, data: 0 };
    let seen = || {
        let vector = machine.remap(SOURCE, request).unwrap().unwrap().data & 0xFF;
        (machine.translate(0x1000, Access::Read).unwrap(), vector)
    };
    assert_eq!(seen(), (DATA, 0x41));
    machine.map(table, 0x1000, (DATA + 0x1000) | RW);
    machine.interrupt_entry(3, [1 | 0x42 << 16, 0]);
    assert_eq!(seen(), (DATA, 0x41), "that is remembered");
    machine.command(Global::INTERRUPT_POINTER, Global::empty());
    assert_eq!(seen(), (DATA, 0x42));
    machine.command(Global::ROOT_POINTER, Global::empty());
    assert_eq!(seen(), (DATA + 0x1000, 0x42));
}

#[test]
fn switching_translation_off_and_on_takes_effect_at_once() {
    let (machine, _) = Machine::translating();
    assert_eq!(machine.translate(0x1000, Access::Write), Err(0x05));
    machine.command(Global::empty(), Global::TRANSLATION);
    assert_eq!(machine.translate(0x1000, Access::Write), Ok(0x1000));
    machine.command(Global::TRANSLATION, Global::empty());
    assert_eq!(machine.translate(0x1000, Access::Write), Err(0x05));
}

#[test]
fn every_change_of_interrupt_remapping_re_derives_routes_before_it_is_told() {
    let machine = Machine::new();
    let seen = Arc::new(AtomicU32::new(0));
    let (unit, status_then) = (Arc::downgrade(&machine.unit), Arc::clone(&seen));
    machine.platform.on_send(move |_| {
        let mut data = [0; 4];
        unit.upgrade().unwrap().read(GSTS, &mut data);
        status_then.store(u32::from_le_bytes(data), Ordering::Relaxed);
    });
    let request = MsiMessage { address: 0xFEE0_1000, data: 0x41 };
    for (set, clear) in [
        (Global::INTERRUPT_POINTER, Global::empty()),
        (Global::INTERRUPT_REMAPPING, Global::empty()),
        (Global::COMPATIBILITY, Global::empty()),
        (Global::empty(), Global::COMPATIBILITY),
        (Global::INTERRUPT_POINTER, Global::empty()),
        (Global::empty(), Global::INTERRUPT_REMAPPING),
    ] {
        machine.command(set, clear);
        let told = Global::from_bits_retain(seen.load(Ordering::Relaxed));
        assert!(!told.intersects(set) && told.contains(clear), "{set:?} {clear:?}: {told:?}");
        assert_eq!(machine.platform.take(), [Sent::EntriesChanged(EntryRange::All)]);
        let remapping = machine.status().contains(Global::INTERRUPT_REMAPPING);
        let compatibility = machine.status().contains(Global::COMPATIBILITY);
        assert_eq!(machine.remap(SOURCE, request).is_ok(), !remapping || compatibility);
    }
}

#[test]
fn a_write_that_changes_nothing_disturbs_no_route() {
    let machine = Machine::new();
    machine.enable_interrupts(true);
    machine.platform.take();
    machine.command(Global::empty(), Global::empty());
    machine.command(Global::QUEUE, Global::empty());
    assert_eq!(machine.platform.take(), []);
}

#[test]
fn a_context_command_does_what_it_names_and_says_so() {
    let machine = Machine::new();
    let (one, other) = (machine.table(), machine.table());
    machine.map(one, 0x1000, DATA | RW);
    machine.map(other, 0x1000, (DATA + 0x1000) | RW);
    machine.enable_translation();
    for granularity in 1..=3 {
        machine.context(SOURCE, [one | 1, 2 | 5 << 8]);
        machine.write_u64(CCMD, RUN | 1 << 61);
        machine.write_u64(IOTLB, RUN | 1 << 60);
        assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
        // Another domain too, so that what the IOTLB remembers does not count.
        machine.context(SOURCE, [other | 1, 2 | 6 << 8]);
        assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
        let command = granularity << 61 | u64::from(SOURCE.0) << 16 | 5;
        // Without ICC, or in the half without it, nothing happens.
        machine.write_u64(CCMD, command);
        machine.write(CCMD, command as u32);
        assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
        machine.write_u64(CCMD, RUN | command);
        assert_eq!(machine.read_u64(CCMD), granularity << 61 | granularity << 59 | 5);
        assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA + 0x1000), "{granularity}");
    }
}

#[test]
fn a_context_command_is_for_legacy_mode() {
    let machine = Machine::with(crate::Capabilities::new(crate::Profile::Full, 48));
    for table_mode in [1, 3] {
        machine.set_table_mode(table_mode);
        machine.write_u64(CCMD, RUN | 1 << 61);
        assert_eq!(machine.read_u64(CCMD), 1 << 61);
        machine.write_u64(IOTLB, RUN | 1 << 60);
        assert_eq!(machine.read_u64(IOTLB), 1 << 60 | 1 << 57);
    }
    machine.set_table_mode(0);
    machine.write_u64(CCMD, RUN | 1 << 61);
    assert_eq!(machine.read_u64(CCMD), 1 << 61 | 1 << 59);
}

#[test]
fn an_iotlb_command_does_what_it_names_and_says_so() {
    let (machine, table) = Machine::translating();
    machine.command(Global::empty(), Global::QUEUE);
    machine.map(table, 0x1000, DATA | RW);
    for (granularity, address) in [(1, 0), (2, 0), (3, 0x1000), (3, 0x12)] {
        assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
        machine.map(table, 0x1000, 0);
        machine.write_u64(IVA, address);
        let command = granularity << 60 | 5 << 32;
        machine.write_u64(IOTLB, command);
        assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
        // In two halves, as some software writes it.
        machine.write(IOTLB, 0);
        machine.write(IOTLB + 4, ((RUN | command) >> 32) as u32);
        assert_eq!(machine.read_u64(IOTLB), command | granularity << 57);
        assert_eq!(machine.translate(0x1000, Access::Read), Err(0x06));
        machine.map(table, 0x1000, DATA | RW);
    }
}

#[test]
fn commands_without_a_meaning_are_refused_and_end() {
    let machine = Machine::new();
    machine.write_u64(CCMD, RUN);
    assert_eq!(machine.read_u64(CCMD), 0);
    machine.write_u64(IOTLB, RUN);
    assert_eq!(machine.read_u64(IOTLB), 0);
    machine.write_u64(IVA, 19);
    machine.write_u64(IOTLB, RUN | 3 << 60);
    assert_eq!(machine.read_u64(IOTLB), 3 << 60);
}

#[test]
fn register_based_invalidation_is_refused_while_the_queue_is_on() {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, DATA | RW);
    assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
    machine.map(table, 0x1000, 0);
    machine.write_u64(CCMD, RUN | 1 << 61);
    assert_eq!(machine.read_u64(CCMD), 1 << 61);
    machine.write_u64(IOTLB, RUN | 1 << 60);
    assert_eq!(machine.read_u64(IOTLB), 1 << 60);
    assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
}

#[test]
fn fault_records_are_cleared_through_their_last_word_only() {
    let (machine, _) = Machine::translating();
    let _ = machine.translate(0x1000, Access::Read);
    for word in [0, 4, 8] {
        machine.write(FRCD + word, u32::MAX);
    }
    machine.write(FRCD + 16 + 12, u32::MAX);
    assert_eq!(machine.read(FSTS), 2);
    machine.write_u64(FRCD + 8, 1 << 63);
    assert_eq!(machine.read(FSTS), 0);
}
