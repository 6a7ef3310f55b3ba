//! Switching the queue off while there is work in it.

use super::*;
use crate::testing::Recorder;

/// A machine with two descriptors and a wait in its queue, each of the first two taking more than a slice,
/// and the queue told to switch off after the first.
fn switched_off_midway() -> Machine {
    let machine = queued();
    machine.platform.resumes.store(true, Ordering::Relaxed);
    machine.platform.on_send(|_| thread::sleep(Duration::from_millis(30)));
    machine.submit(&[interrupt_global(), interrupt_global(), interrupt_global(), wait_status(STATUS, 1)]);
    assert_eq!(machine.read(IQH), 0x10);
    machine.command(Global::empty(), Global::QUEUE);
    machine
}

fn routes_derived(platform: &Recorder) -> usize {
    platform.take().iter().filter(|sent| **sent == Sent::EntriesChanged(EntryRange::All)).count()
}

#[test]
fn what_is_left_for_later_is_done_before_the_queue_is_off() {
    let machine = switched_off_midway();
    assert!(machine.status().contains(Global::QUEUE));
    assert_eq!((machine.read(IQH), status(&machine)), (0x20, 0));
    machine.unit.resume();
    assert_eq!((machine.read(IQH), machine.status().contains(Global::QUEUE)), (0x30, true));
    machine.unit.resume();
    assert_eq!((machine.read(IQH), machine.status().contains(Global::QUEUE)), (0, false));
    assert_eq!((routes_derived(&machine.platform), status(&machine)), (3, 1));
    machine.unit.resume();
    assert_eq!(routes_derived(&machine.platform), 0);
}

#[test]
fn a_later_command_may_keep_the_queue_on() {
    let machine = switched_off_midway();
    // Software that reads GSTS, changes one other bit and writes it back.
    machine.command(Global::INTERRUPT_REMAPPING, Global::empty());
    machine.unit.resume();
    machine.unit.resume();
    assert!(machine.status().contains(Global::QUEUE));
    assert_eq!((machine.read(IQH), status(&machine)), (0x40, 1));
}

#[test]
fn a_queue_that_has_stopped_is_switched_off_at_once() {
    let machine = queued();
    machine.submit(&[[3, 0], wait_status(STATUS, 1)]);
    machine.command(Global::empty(), Global::QUEUE);
    assert!(!machine.status().contains(Global::QUEUE));
    assert_eq!((error(&machine), status(&machine)), (Some(3), 0));
    // Also by an error on the way out.
    let machine = switched_off_midway();
    machine.write_memory(machine.queue + 0x20, 3);
    machine.unit.resume();
    assert!(!machine.status().contains(Global::QUEUE));
    assert_eq!((error(&machine), machine.read(IQH)), (Some(3), 0));
}

#[test]
fn a_reset_leaves_nothing_for_later() {
    let machine = switched_off_midway();
    machine.unit.reset();
    machine.platform.take();
    machine.unit.resume();
    assert_eq!((machine.platform.take(), status(&machine)), (vec![], 0));
    assert!(machine.status().is_empty());
}
