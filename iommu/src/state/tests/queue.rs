//! A queue that was being worked on.

use std::thread::sleep;
use std::time::Duration;

use super::*;
use crate::InvalidationCompletion::Silent;
use crate::spec::registers::IQERCD;
use crate::testing::descriptor::{device_tlb, iotlb_global, wait_status};
use crate::testing::device::Device;

const STATUS: u64 = DATA + 0x8000;
/// FSTS.ITE.
const TIMEOUT: u32 = 1 << 6;

#[test]
fn a_queue_half_done_goes_on_where_it_was() {
    let machine = busy();
    machine.platform.resumes.store(true, Ordering::Relaxed);
    // The rest is left for later: the tail is ahead of what is done.
    machine.write_memory(machine.queue, 99);
    machine.write(IQT, 32);
    assert_eq!(machine.read(FSTS) >> 4 & 1, 1);
    for (index, descriptor) in [iotlb_global(), wait_status(STATUS, 0x77)].iter().enumerate() {
        machine.write_memory(machine.queue + index as u64 * 16, descriptor[0]);
        machine.write_memory(machine.queue + index as u64 * 16 + 8, descriptor[1]);
    }
    // Stopped by an error it stays stopped, until software says so to the new unit.
    let stopped = moved(&machine);
    assert_eq!((stopped.read(IQH), stopped.read_memory(STATUS)), (0, 0));
    stopped.write(FSTS, 1 << 4);
    assert_eq!((stopped.read(IQH), stopped.read_memory(STATUS)), (32, 0x77));
}

#[test]
fn a_queue_left_for_later_goes_on_by_itself_where_nobody_else_sees_to_it() {
    let machine = busy();
    let mut state = machine.unit.save();
    machine.write_memory(machine.queue, iotlb_global()[0]);
    machine.write_memory(machine.queue + 16, wait_status(STATUS, 0x55)[0]);
    machine.write_memory(machine.queue + 24, wait_status(STATUS, 0x55)[1]);
    edit(&mut state, IQT, 32);
    assert_eq!(machine.unit.restore(&state), Ok(()));
    assert_eq!((machine.read(IQH), machine.read_memory(STATUS)), (32, 0x55));
    // Where somebody does, it waits for that.
    machine.write_memory(STATUS, 0);
    machine.platform.resumes.store(true, Ordering::Relaxed);
    assert_eq!(machine.unit.restore(&state), Ok(()));
    assert_eq!((machine.read(IQH), machine.read_memory(STATUS)), (0, 0));
    machine.unit.resume();
    assert_eq!((machine.read(IQH), machine.read_memory(STATUS)), (32, 0x55));
}

/// A unit that has been interrupted at a queue for a device that takes its time and does not answer: the first
/// of two descriptors is done, and a wait follows.
fn interrupted() -> (Machine, Arc<Device>) {
    let machine = Machine::with(Capabilities::new(Profile::Full, 48));
    machine.platform.resumes.store(true, Ordering::Relaxed);
    machine.enable_queue();
    let device = Device::new(&machine, SOURCE);
    device.answers(Silent);
    device.on_invalidation(|| sleep(Duration::from_millis(30)));
    let invalidation = device_tlb(SOURCE.0.into(), 0x1000, false);
    machine.submit(&[invalidation, invalidation, wait_status(STATUS, 0x77)]);
    assert_eq!((machine.read(IQH), machine.read(FSTS)), (16, 0));
    (machine, device)
}

#[test]
fn a_device_that_has_not_answered_is_timed_out_after_the_move() {
    let (machine, device) = interrupted();
    let other = moved(&machine);
    // The device was not asked again, and the other unit's devices are its own.
    assert_eq!(device.take_invalidations().len(), 1);
    let its_own = Device::new(&other, SOURCE);
    other.unit.resume();
    assert_eq!(its_own.take_invalidations().len(), 1);
    // The time-out aborts the wait.
    assert_eq!((other.read(IQH), other.read(FSTS), other.read_memory(STATUS)), (48, TIMEOUT, 0));
    assert_eq!(other.read(IQERCD + 4), u32::from(SOURCE.0));
}

#[test]
fn a_queue_that_is_to_be_switched_off_is_so_after_the_move() {
    let (machine, _device) = interrupted();
    // The second descriptor takes its time too, and then there is still the wait.
    machine.command(Global::empty(), Global::QUEUE);
    assert_eq!(machine.read(IQH), 32);
    let other = moved(&machine);
    assert!(other.status().contains(Global::QUEUE), "it holds more");
    other.unit.resume();
    assert!(!other.status().contains(Global::QUEUE));
    assert_eq!((other.read(IQH), other.read(FSTS)), (0, TIMEOUT));
}

#[test]
fn what_is_left_for_later_belongs_to_a_queue_that_has_more() {
    let (machine, _device) = interrupted();
    let state = machine.unit.save();
    for tail in [16, 32] {
        let mut changed = state.clone();
        edit(&mut changed, IQT, tail);
        let result = machine.unit.restore(&changed);
        let expected = if tail == 16 { Err(StateError::Impossible("its queue")) } else { Ok(()) };
        assert_eq!(result, expected);
    }
}
