//! Invalidation of device-TLBs: dispatch, and the errors of devices that do not answer as they should.

use super::*;
use crate::testing::device::Device;
use crate::{
    Capabilities, DeviceTlbInvalidation, DeviceTlbScope, Feature, InvalidationCompletion, PageResponse,
    PageResponseCode, Pasid, Profile, SourceId,
};

const FULL: Capabilities = Capabilities::new(Profile::Full, 48);

/// Bits of FSTS_REG.
const COMPLETION_ERROR: u32 = 1 << 5;
const TIMEOUT: u32 = 1 << 6;

/// A machine in scalable mode with the queue on, and a device.
fn with_device() -> (Machine, Arc<Device>) {
    let machine = Machine::with(FULL);
    machine.set_table_mode(1);
    machine.enable_wide_queue();
    let device = Device::new(&machine, SOURCE);
    (machine, device)
}

fn of_source() -> [u64; 2] {
    device_tlb(SOURCE.0.into(), 0x5000, false)
}

/// ITESID and ICESID.
fn devices_in_error(machine: &Machine) -> (u16, u16) {
    let record = machine.read_u64(IQERCD);
    ((record >> 32) as u16, (record >> 48) as u16)
}

#[test]
fn an_invalidation_reaches_the_device_that_it_names_and_no_other() {
    let (machine, device) = with_device();
    let other = Device::new(&machine, SourceId(0x0200));
    machine.submit_wide(&[of_source(), pasid_device_tlb(0x0200, 7, 0x7000, true), wait_status(STATUS, 1)]);
    let page = |scope, start, size| DeviceTlbInvalidation { scope, iova: Iova(start), size: Some(size) };
    assert_eq!(device.take_invalidations(), [page(DeviceTlbScope::WithoutPasid, 0x5000, 0x1000)]);
    assert_eq!(other.take_invalidations(), [page(DeviceTlbScope::Pasid(Pasid(7)), 0, 0x1_0000)]);
    assert_eq!((machine.read(FSTS), status(&machine)), (0, 1));
    // Guests renumber buses.
    device.renumber(SourceId(0x0300));
    machine.submit_wide(&[device_tlb(0x0300, 0x6000, false)]);
    assert_eq!(device.take_invalidations().len(), 1);
    assert_eq!(machine.read(FSTS), 0);
}

#[test]
fn legacy_mode_has_device_tlbs_too() {
    let machine = Machine::with(Capabilities::legacy(48).with(Feature::DeviceTlb));
    let device = Device::new(&machine, SOURCE);
    machine.enable_queue();
    machine.submit(&[of_source(), wait_status(STATUS, 1)]);
    assert_eq!((device.take_invalidations().len(), status(&machine)), (1, 1));
}

#[test]
fn a_wait_completes_after_the_device_has_forgotten() {
    let (machine, device) = with_device();
    let memory = Arc::clone(&machine.memory);
    let seen = Arc::new(AtomicU64::new(u64::MAX));
    let status_then = Arc::clone(&seen);
    device.on_invalidation(move || {
        let status: u32 = memory.read_obj(GuestAddress(STATUS)).unwrap();
        status_then.store(status.into(), Ordering::Relaxed);
    });
    machine.submit_wide(&[of_source(), wait_status(STATUS, 1)]);
    assert_eq!((seen.load(Ordering::Relaxed), status(&machine)), (0, 1));
}

#[test]
fn a_device_that_does_not_answer_is_a_time_out_that_aborts_the_wait() {
    let (machine, device) = with_device();
    device.answers(InvalidationCompletion::Silent);
    machine.write(FECTL + 4, 0x41);
    machine.write(FECTL, 0);
    let wait = [wait_status(STATUS, 1), wait_status(STATUS, 2)];
    machine.submit_wide(&[of_source(), iotlb_global(), wait[0], iotlb_global(), wait[1]]);
    assert_eq!((machine.read(FSTS), devices_in_error(&machine)), (TIMEOUT, (SOURCE.0, 0)));
    // The wait has been passed and has not told anyone; nothing behind it is fetched.
    assert_eq!((machine.read(IQH), status(&machine), machine.read(ICS)), (0x60, 0, 0));
    assert_eq!(machine.platform.signals().len(), 1);
    machine.submit_wide(&[of_source()]);
    assert_eq!((machine.read(IQH), device.take_invalidations().len()), (0x60, 1));
    device.answers(InvalidationCompletion::Done);
    machine.write(FSTS, TIMEOUT);
    assert_eq!((machine.read(FSTS), machine.read(IQH), status(&machine)), (0, 0xC0, 2));
    assert_eq!(device.take_invalidations().len(), 1);
}

#[test]
fn an_aborted_wait_raises_no_completion_event() {
    let (machine, device) = with_device();
    device.answers(InvalidationCompletion::Silent);
    machine.write(IECTL, 0);
    machine.submit_wide(&[of_source(), wait_interrupt()]);
    assert_eq!((machine.read(ICS), machine.platform.signals().len()), (0, 0));
    machine.write(FSTS, TIMEOUT);
    assert_eq!((machine.read(ICS), machine.queue_is_done()), (0, true));
}

#[test]
fn without_a_wait_the_time_is_up_at_the_tail() {
    let (machine, device) = with_device();
    device.answers(InvalidationCompletion::Silent);
    machine.submit_wide(&[of_source(), iotlb_global()]);
    assert_eq!((machine.read(FSTS), machine.read(IQH)), (TIMEOUT, 0x40));
    machine.write(FSTS, TIMEOUT);
    // It has nothing to do with waits that come later.
    machine.submit_wide(&[wait_status(STATUS, 1)]);
    assert_eq!((machine.read(FSTS), status(&machine)), (0, 1));
}

#[test]
fn a_device_that_is_not_there_does_not_answer() {
    let (machine, device) = with_device();
    machine.submit_wide(&[device_tlb(0x0200, 0, false), wait_status(STATUS, 1)]);
    assert_eq!((machine.read(FSTS), devices_in_error(&machine).0), (TIMEOUT, 0x0200));
    machine.write(FSTS, TIMEOUT);
    // Nor does one that has been taken away.
    drop(device);
    machine.submit_wide(&[of_source(), wait_status(STATUS, 1)]);
    assert_eq!((machine.read(FSTS), devices_in_error(&machine).0), (TIMEOUT, SOURCE.0));
    assert_eq!(status(&machine), 0);
}

#[test]
fn the_first_device_that_does_not_answer_is_named() {
    let (machine, _) = with_device();
    machine.submit_wide(&[device_tlb(1, 0, false), device_tlb(2, 0, false), wait_status(STATUS, 1)]);
    assert_eq!(devices_in_error(&machine).0, 1);
}

#[test]
fn a_device_that_answers_wrongly_does_not_stop_the_queue() {
    let (machine, device) = with_device();
    device.answers(InvalidationCompletion::Malformed);
    machine.write(FECTL, 0);
    machine.submit_wide(&[of_source(), wait_status(STATUS, 1)]);
    assert_eq!((machine.read(FSTS), devices_in_error(&machine)), (COMPLETION_ERROR, (0, SOURCE.0)));
    assert_eq!((machine.queue_is_done(), status(&machine)), (true, 1));
    assert_eq!(machine.platform.signals().len(), 1);
    machine.submit_wide(&[wait_status(STATUS, 2)]);
    assert_eq!(status(&machine), 2);
    // The one that software has not looked at stays.
    let other = Device::new(&machine, SourceId(9));
    other.answers(InvalidationCompletion::Malformed);
    machine.submit_wide(&[device_tlb(9, 0, false)]);
    assert_eq!(devices_in_error(&machine), (0, SOURCE.0));
    machine.write(FSTS, COMPLETION_ERROR);
    assert_eq!(machine.read(FSTS), 0);
    machine.submit_wide(&[device_tlb(9, 0, false)]);
    assert_eq!(devices_in_error(&machine), (0, 9));
}

#[test]
fn errors_of_the_queue_and_of_devices_stand_side_by_side() {
    let (machine, device) = with_device();
    device.answers(InvalidationCompletion::Malformed);
    machine.submit_wide(&[of_source(), device_tlb(9, 0, false), [0, 0], wait_status(STATUS, 1)]);
    assert_eq!(machine.read(FSTS), TIMEOUT | COMPLETION_ERROR | 1 << 4);
    assert_eq!((machine.read(IQERCD), devices_in_error(&machine)), (3, (9, SOURCE.0)));
    assert_eq!(machine.read(IQH), 0x40);
    machine.write_memory(machine.queue + 0x40, iotlb_global()[0]);
    // Each of the two keeps it from going on.
    machine.write(FSTS, 1 << 4);
    assert_eq!(machine.read(IQH), 0x40);
    machine.write(FSTS, TIMEOUT);
    assert_eq!((machine.queue_is_done(), status(&machine)), (true, 1));
}

#[test]
fn a_device_may_take_its_time_and_then_the_rest_is_left_for_later() {
    let (machine, device) = with_device();
    machine.platform.resumes.store(true, Ordering::Relaxed);
    device.on_invalidation(|| thread::sleep(Duration::from_millis(30)));
    device.answers(InvalidationCompletion::Silent);
    machine.submit_wide(&[of_source(), iotlb_global(), wait_status(STATUS, 1)]);
    // The time that the device has is not up yet.
    assert_eq!((machine.read(FSTS), machine.read(IQH)), (0, 0x20));
    machine.unit.resume();
    assert_eq!((machine.read(FSTS), machine.read(IQH), status(&machine)), (TIMEOUT, 0x60, 0));
}

#[test]
fn a_page_group_response_reaches_the_device_that_asked() {
    let machine = Machine::with(FULL);
    machine.set_table_mode(1);
    machine.enable_wide_queue();
    let (device, other) = (Device::new(&machine, SOURCE), Device::new(&machine, SourceId(9)));
    let response = page_response(SOURCE.0.into(), Some(7), 0x1AB, 1);
    // Of a device that is not there nobody waits for anything.
    let gone = page_response(0x0200, None, 0, 0);
    machine.submit_wide(&[response, gone, wait_status(STATUS, 1)]);
    let expected =
        PageResponse { pasid: Some(Pasid(7)), group: 0x1AB, code: PageResponseCode::InvalidRequest };
    assert_eq!((device.take_responses(), other.take_responses()), (vec![expected], vec![]));
    assert_eq!((machine.read(FSTS), status(&machine)), (0, 1));
}
