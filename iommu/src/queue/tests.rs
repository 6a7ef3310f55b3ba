use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use vm_memory::{Bytes, GuestAddress};

use crate::spec::registers::{
    CCMD, FECTL, FSTS, GCMD, Global, ICS, IECTL, IOTLB, IQA, IQERCD, IQH, IQT, RTADDR, RUN,
};
use crate::testing::descriptor::{
    context_global, device_tlb, interrupt_global, iotlb_domain, iotlb_global, iotlb_pages, page_response,
    pasid_cache, pasid_device_tlb, pasid_iotlb, pasid_iotlb_pages, wait_interrupt, wait_status,
};
use crate::testing::{DATA, Machine, Memory, RW, SOURCE, Sent};
use crate::{Access, EntryRange, Iova, Request, Unit};

const STATUS: u64 = DATA;

fn queued() -> Machine {
    let machine = Machine::new();
    machine.enable_queue();
    machine
}

/// The error that the queue has stopped with, if it has.
fn error(machine: &Machine) -> Option<u32> {
    (machine.read(FSTS) & 1 << 4 != 0).then(|| machine.read(IQERCD))
}

fn status(machine: &Machine) -> u32 {
    machine.memory.read_obj(GuestAddress(STATUS)).unwrap()
}

#[test]
fn descriptors_are_done_in_order_up_to_the_tail() {
    let machine = queued();
    machine.submit(&[wait_status(STATUS, 1), iotlb_global(), wait_status(STATUS, 2)]);
    assert_eq!(status(&machine), 2);
    assert_eq!(machine.read(IQH), 0x30);
    assert_eq!(error(&machine), None);
}

#[test]
fn the_queue_wraps_around() {
    let machine = queued();
    for round in 1..=1000 {
        machine.submit(&[iotlb_global(), context_global(), wait_status(STATUS, round)]);
        assert_eq!(u64::from(status(&machine)), round);
        assert!(machine.queue_is_done());
    }
}

#[test]
fn a_tail_beyond_the_queue_is_an_error_and_not_an_endless_loop() {
    let machine = queued();
    for offset in (0..0x1000).step_by(16) {
        let [low, high] = iotlb_global();
        machine.write_memory(machine.queue + offset, low);
        machine.write_memory(machine.queue + offset + 8, high);
    }
    machine.write(IQT, 0x1000);
    assert_eq!(error(&machine), Some(1));
    assert_eq!(machine.read(IQH), 0);
    // Still wrong: the error comes back as soon as it is cleared.
    machine.write(FSTS, 1 << 4);
    assert_eq!(error(&machine), Some(1));
    machine.write(IQT, 0xFF0);
    machine.write(FSTS, 1 << 4);
    assert_eq!(error(&machine), None);
    assert_eq!(machine.read(IQH), 0xFF0);
}

#[test]
fn larger_queues_are_as_large_as_they_say() {
    let machine = Machine::new();
    for size in 0..8 {
        machine.write(IQT, 0);
        machine.write_u64(IQA, DATA | size);
        machine.command(Global::QUEUE, Global::empty());
        let bytes = 0x1000 << size;
        for offset in (0..bytes).step_by(16) {
            machine.write_memory(DATA + offset, iotlb_global()[0]);
        }
        machine.write(IQT, bytes as u32 - 16);
        assert_eq!(machine.read(IQH), bytes as u32 - 16);
        machine.write(IQT, 0);
        assert_eq!((machine.read(IQH), error(&machine)), (0, None));
        if size < 7 {
            machine.write(IQT, bytes as u32);
            assert_eq!(error(&machine), Some(1));
        }
        machine.command(Global::empty(), Global::QUEUE);
        machine.write(FSTS, 1 << 4);
    }
}

#[test]
fn the_queue_stops_at_a_bad_descriptor_and_goes_on_when_it_is_replaced() {
    for (bad, code) in [([3, 0], 3), ([9, 0], 3), ([0, 0], 3), ([2, 0], 4), (iotlb_pages(1, 0, 63), 4)] {
        let machine = queued();
        machine.submit(&[wait_status(STATUS, 1), bad, wait_status(STATUS, 2)]);
        assert_eq!((status(&machine), error(&machine), machine.read(IQH)), (1, Some(code), 0x10));
        // More work does not help.
        machine.submit(&[wait_status(STATUS, 3)]);
        assert_eq!((status(&machine), machine.read(IQH)), (1, 0x10));
        let [low, high] = iotlb_global();
        machine.write_memory(machine.queue + 0x10, low);
        machine.write_memory(machine.queue + 0x18, high);
        assert_eq!(status(&machine), 1);
        machine.write(FSTS, 1 << 4);
        assert_eq!((status(&machine), error(&machine), machine.read(IQH)), (3, None, 0x40));
    }
}

#[test]
fn a_queue_outside_memory_is_an_error() {
    for base in [1 << 40, !0xFFF] {
        let machine = Machine::new();
        machine.write_u64(IQA, base);
        machine.command(Global::QUEUE, Global::empty());
        assert_eq!(error(&machine), None);
        machine.write(IQT, 16);
        assert_eq!((error(&machine), machine.read(IQH)), (Some(2), 0));
    }
}

#[test]
fn a_status_that_cannot_be_written_is_an_error() {
    let machine = queued();
    machine.submit(&[wait_status(1 << 40, 1), wait_status(STATUS, 2)]);
    assert_eq!((error(&machine), machine.read(IQH), status(&machine)), (Some(0), 0, 0));
}

#[test]
fn a_root_table_of_another_mode_stops_the_queue() {
    let machine = queued();
    machine.write_u64(RTADDR, machine.root | 1 << 10);
    machine.command(Global::ROOT_POINTER, Global::empty());
    machine.submit(&[iotlb_global()]);
    assert_eq!(error(&machine), Some(7));
}

#[test]
fn an_error_raises_the_fault_event() {
    let machine = queued();
    machine.write(FECTL + 4, 0x41);
    machine.write(FECTL + 8, 0xFEE0_1000);
    machine.write(FECTL, 0);
    machine.submit(&[[3, 0]]);
    let [signal] = machine.platform.signals()[..] else { panic!() };
    assert_eq!((signal.address, signal.data), (0xFEE0_1000, 0x41));
}

#[test]
fn a_wait_by_interrupt_raises_the_completion_event_once_until_it_is_noted() {
    let machine = queued();
    machine.write(IECTL + 4, 0x42);
    machine.write(IECTL + 8, 0xFEE0_2000);
    machine.write(IECTL, 0);
    machine.submit(&[wait_interrupt()]);
    assert_eq!(machine.read(ICS), 1);
    let [signal] = machine.platform.signals()[..] else { panic!() };
    assert_eq!((signal.address, signal.data), (0xFEE0_2000, 0x42));
    machine.submit(&[wait_interrupt(), wait_interrupt()]);
    assert_eq!(machine.platform.signals(), []);
    // Zeros clear nothing.
    machine.write(ICS, !1);
    assert_eq!(machine.read(ICS), 1);
    machine.write(ICS, 1);
    assert_eq!(machine.read(ICS), 0);
    machine.submit(&[wait_interrupt()]);
    assert_eq!(machine.platform.signals().len(), 1);
}

#[test]
fn a_masked_completion_event_waits_or_is_dropped() {
    let machine = queued();
    machine.submit(&[wait_interrupt()]);
    assert_eq!(machine.read(IECTL), 3 << 30);
    machine.write(IECTL, 0);
    assert_eq!(machine.platform.signals().len(), 1);
    machine.write(ICS, 1);
    machine.write(IECTL, 1 << 31);
    machine.submit(&[wait_interrupt()]);
    machine.write(ICS, 1);
    assert_eq!(machine.read(IECTL), 1 << 31);
    machine.write(IECTL, 0);
    assert_eq!(machine.platform.signals(), []);
}

#[test]
fn a_wait_with_status_and_interrupt_does_both_and_the_status_first() {
    let machine = queued();
    machine.write(IECTL, 0);
    let memory = Arc::clone(&machine.memory);
    let seen = Arc::new(AtomicU64::new(0));
    let status_then = Arc::clone(&seen);
    machine.platform.on_send(move |_| {
        let status: u32 = memory.read_obj(GuestAddress(STATUS)).unwrap();
        status_then.store(status.into(), Ordering::Relaxed);
    });
    let [low, high] = wait_status(STATUS, 7);
    machine.submit(&[[low | 1 << 4, high]]);
    assert_eq!(machine.platform.signals().len(), 1);
    assert_eq!((seen.load(Ordering::Relaxed), status(&machine)), (7, 7));
}

#[test]
fn a_wait_that_tells_nobody_is_no_error() {
    let machine = queued();
    machine.submit(&[[5, 0], [5 | 1 << 6, 0], wait_status(STATUS, 1)]);
    assert_eq!((status(&machine), error(&machine)), (1, None));
}

#[test]
fn a_status_is_the_width_it_says() {
    let machine = queued();
    machine.write_memory(STATUS, u64::MAX);
    machine.submit(&[wait_status(STATUS, 0)]);
    assert_eq!(machine.read_memory(STATUS), u64::MAX << 32);
    machine.submit(&[wait_status(STATUS + 4, 5)]);
    assert_eq!(machine.read_memory(STATUS), 5 << 32);
}

#[test]
fn routes_are_re_derived_before_a_wait_completes() {
    let machine = queued();
    machine.enable_interrupts(true);
    machine.platform.take();
    let memory = Arc::clone(&machine.memory);
    let seen = Arc::new(AtomicU64::new(u64::MAX));
    let status_then = Arc::clone(&seen);
    let (unit, head_then) = (Arc::downgrade(&machine.unit), Arc::new(AtomicU64::new(u64::MAX)));
    let head_seen = Arc::clone(&head_then);
    machine.platform.on_send(move |_| {
        let status: u32 = memory.read_obj(GuestAddress(STATUS)).unwrap();
        status_then.store(status.into(), Ordering::Relaxed);
        let mut head = [0; 4];
        unit.upgrade().unwrap().read(IQH, &mut head);
        head_seen.store(u32::from_le_bytes(head).into(), Ordering::Relaxed);
    });
    machine.submit(&[interrupt_global(), wait_status(STATUS, 1)]);
    assert_eq!(machine.platform.take(), [Sent::EntriesChanged(EntryRange::All)]);
    assert_eq!((seen.load(Ordering::Relaxed), head_then.load(Ordering::Relaxed)), (0, 0));
    assert_eq!(status(&machine), 1);
}

/// Checks that a register write does not come to its end, as `is_done` sees it, while a request that began
/// before is under way.
fn ends_after_requests_under_way(
    machine: &Machine,
    write: impl FnOnce(&Unit<Memory>) + Send,
    is_done: impl Fn() -> bool,
) {
    let (entered, is_entered) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    let unit: &Unit<Memory> = &machine.unit;
    assert!(!is_done());
    thread::scope(|scope| {
        scope.spawn(move || {
            unit.access(&Request::new(SOURCE, Access::Write), Iova(0x1000), 1, |_, _| {
                entered.send(()).unwrap();
                may_leave.recv().unwrap();
            })
        });
        is_entered.recv().unwrap();
        let writer = scope.spawn(move || write(unit));
        thread::sleep(Duration::from_millis(50));
        let early = is_done() || writer.is_finished();
        leave.send(()).unwrap();
        writer.join().unwrap();
        assert!(!early);
    });
    assert!(is_done());
}

/// A machine with a page for requests to use, and one descriptor in the queue behind the tail.
fn with_page_and_descriptor(descriptor: [u64; 2]) -> Machine {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, (DATA + 0x1000) | RW);
    machine.write_memory(machine.queue, descriptor[0]);
    machine.write_memory(machine.queue + 8, descriptor[1]);
    machine
}

fn ring(tail: u32) -> impl FnOnce(&Unit<Memory>) {
    move |unit| unit.write(IQT, &tail.to_le_bytes())
}

#[test]
fn a_wait_completes_only_after_requests_under_way_have_ended() {
    let machine = with_page_and_descriptor(iotlb_domain(5));
    let [low, high] = wait_status(STATUS, 1);
    machine.write_memory(machine.queue + 16, low);
    machine.write_memory(machine.queue + 24, high);
    ends_after_requests_under_way(&machine, ring(32), || status(&machine) == 1);
}

#[test]
fn the_head_moves_only_after_requests_under_way_have_ended() {
    for descriptor in [iotlb_pages(5, 0x1000, 0), context_global()] {
        let machine = with_page_and_descriptor(descriptor);
        ends_after_requests_under_way(&machine, ring(16), || machine.read(IQH) == 16);
    }
}

#[test]
fn a_register_command_ends_only_after_requests_under_way_have_ended() {
    for (register, command, actual) in [(IOTLB, RUN | (1 << 60), 3 << 57), (CCMD, RUN | (1 << 61), 3 << 59)] {
        let machine = with_page_and_descriptor([0, 0]);
        machine.command(Global::empty(), Global::QUEUE);
        let done = || machine.read_u64(register) & actual != 0;
        let write = |unit: &Unit<Memory>| unit.write(register, &u64::to_le_bytes(command));
        ends_after_requests_under_way(&machine, write, done);
    }
}

#[test]
fn a_mode_changes_only_after_requests_under_way_have_ended() {
    let machine = with_page_and_descriptor([0, 0]);
    let off = |unit: &Unit<Memory>| unit.write(GCMD, &Global::QUEUE.bits().to_le_bytes());
    ends_after_requests_under_way(&machine, off, || !machine.status().contains(Global::TRANSLATION));
    let machine = with_page_and_descriptor([0, 0]);
    ends_after_requests_under_way(&machine, Unit::reset, || machine.status().is_empty());
}

#[test]
fn switching_the_queue_on_starts_at_its_beginning_and_takes_a_tail_set_before() {
    let machine = queued();
    machine.submit(&[iotlb_global(), iotlb_global()]);
    assert_eq!(machine.read(IQH), 0x20);
    machine.command(Global::empty(), Global::QUEUE);
    assert_eq!(machine.read(IQH), 0);
    machine.write(IQT, 0);
    machine.submit(&[wait_status(STATUS, 9)]);
    assert_eq!(status(&machine), 0);
    machine.command(Global::QUEUE, Global::empty());
    assert_eq!((status(&machine), machine.read(IQH)), (9, 0x10));
}

#[test]
fn the_queue_stays_where_it_was_when_it_was_switched_on() {
    let machine = queued();
    machine.write_u64(IQA, 1 << 40);
    machine.submit(&[wait_status(STATUS, 1)]);
    assert_eq!((status(&machine), error(&machine)), (1, None));
}

#[test]
fn a_queue_that_takes_too_long_is_left_for_later_and_tells_no_lie() {
    let machine = queued();
    machine.platform.resumes.store(true, Ordering::Relaxed);
    // Routes that take their time, as a hostile guest can make them.
    machine.platform.on_send(|_| thread::sleep(Duration::from_millis(30)));
    machine.submit(&[interrupt_global(), interrupt_global(), wait_status(STATUS, 1)]);
    assert_eq!(machine.platform.asked_to_resume.load(Ordering::Relaxed), 1);
    assert_eq!((machine.read(IQH), status(&machine)), (0x10, 0), "done up to here, and not beyond");
    machine.unit.resume();
    assert_eq!((machine.read(IQH), status(&machine)), (0x20, 0));
    machine.unit.resume();
    assert!(machine.queue_is_done());
    assert_eq!(status(&machine), 1);
    machine.unit.resume();
    assert_eq!(error(&machine), None, "there is nothing left to do, and that is no error");
}

#[test]
fn whoever_resumes_the_queue_does_not_wait_for_others_at_work_on_it() {
    let machine = queued();
    machine.platform.resumes.store(true, Ordering::Relaxed);
    let at_work = machine.unit.lock_queue();
    machine.unit.resume();
    assert_eq!(machine.platform.asked_to_resume.load(Ordering::Relaxed), 1, "it is called again");
    drop(at_work);
    machine.unit.resume();
    assert_eq!(machine.platform.asked_to_resume.load(Ordering::Relaxed), 1);
}

#[test]
fn where_nobody_resumes_the_queue_it_is_done_at_once() {
    let machine = queued();
    machine.platform.on_send(|_| thread::sleep(Duration::from_millis(30)));
    machine.submit(&[interrupt_global(), interrupt_global(), wait_status(STATUS, 1)]);
    assert_eq!(status(&machine), 1);
}

mod devices;
mod order;
mod stopping;
mod width;
