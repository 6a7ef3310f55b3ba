//! Several units over one memory, as in a machine with several segments or a unit for a device of its own.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::spec::registers::{FSTS, Global, IQH, PQA, PQT, PRS};
use crate::testing::descriptor::{device_tlb, interrupt_global, iotlb_global, wait_interrupt, wait_status};
use crate::testing::device::Device;
use crate::testing::scalable::{DEVICE_TLB, P, PAGE_REQUESTS, SECOND_STAGE, WIDTH_48};
use crate::testing::{DATA, Machine, RW, SOURCE};
use crate::{Access, Capabilities, Iova, MsiMessage, PageRequest, Profile};

const STATUS: u64 = DATA + 0x8000;
const IOVA: u64 = 0x5000;
const PAGE_REQUEST: PageRequest = PageRequest {
    source: SOURCE,
    pasid: None,
    privileged: false,
    execute: false,
    read: true,
    write: false,
    last: true,
    group: 1,
    iova: Iova(IOVA),
};

/// Three units of different kinds. A function of the same number is behind each, and each leads [`IOVA`] to
/// another page; gives the tables too.
fn units() -> [(Machine, u64); 3] {
    let small = Capabilities::builder(Profile::Legacy, 48).domain_bits(8).fault_records(1).build().unwrap();
    let first = Machine::with(Capabilities::new(Profile::Full, 48));
    let others = [Capabilities::legacy(48), small].map(|capabilities| first.beside(capabilities));
    let [second, third] = others;

    let directory = first.table();
    let tables = [&first, &second, &third].map(Machine::table);
    first.scalable_context(SOURCE, [directory | P | DEVICE_TLB | PAGE_REQUESTS, 0, 0, 0]);
    first.pasid_entry(directory, 0, [tables[0] | WIDTH_48 | SECOND_STAGE | 1, 5, 0, 0, 0, 0, 0, 0]);
    first.enable_scalable();
    first.write_u64(PQA, first.table());
    first.enable_wide_queue();
    for (machine, table) in [(&second, tables[1]), (&third, tables[2])] {
        machine.context(SOURCE, [table | 1, 2 | 5 << 8]);
        machine.enable_translation();
        machine.enable_queue();
    }
    let mut place = DATA;
    [first, second, third].map(|machine| {
        let table = tables[((place - DATA) / 0x1000) as usize];
        machine.map(table, IOVA, place | RW);
        place += 0x1000;
        (machine, table)
    })
}

/// Puts descriptors into the queue, of whichever width it has.
fn submit(machine: &Machine, descriptors: &[[u64; 2]]) {
    if machine.unit.capabilities().has(crate::Feature::Scalable) {
        machine.submit_wide(descriptors);
    } else {
        machine.submit(descriptors);
    }
}

/// Does `what` to each unit in turn, and sees that the state of the others stays the same, and that they send
/// nothing.
fn each_alone(units: &[(Machine, u64)], what: impl Fn(&Machine, u64)) {
    for (index, (machine, table)) in units.iter().enumerate() {
        let others =
            || units.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, unit)| &unit.0);
        let before: Vec<_> = others().map(|other| other.unit.save()).collect();
        others().for_each(|other| drop(other.platform.take()));
        let own = machine.unit.save();
        what(machine, *table);
        assert_ne!(machine.unit.save(), own, "it has done something");
        assert_eq!(others().map(|other| other.unit.save()).collect::<Vec<_>>(), before);
        for other in others() {
            assert_eq!(other.platform.take(), []);
        }
    }
}

fn place(machine: &Machine) -> Result<u64, u8> {
    machine.translate(IOVA, Access::Write)
}

#[test]
fn registers_faults_events_and_queues_are_each_units_own() {
    let units = units();
    each_alone(&units, |machine, _| {
        for _ in 0..2 {
            assert!(machine.translate(0x9000, Access::Read).is_err());
        }
        let overflow = u32::from(machine.unit.capabilities().fault_records() == 1);
        assert_eq!(machine.read(FSTS) & 0xFF, 2 | overflow, "one has room for one fault");
        machine.take_faults();
    });
    each_alone(&units, |machine, _| machine.write(crate::spec::registers::FECTL, 0));
    each_alone(&units, |machine, _| submit(machine, &[wait_interrupt()]));
    each_alone(&units, |machine, _| {
        submit(machine, &[[0xF, 0]]);
        assert_eq!(machine.read(FSTS) & 0xFF, 1 << 4);
    });
    each_alone(&units, |machine, _| machine.enable_interrupts(true));
    let (first, _) = &units[0];
    each_alone(&units[..1], |machine, _| assert_eq!(machine.unit.page_request(&PAGE_REQUEST), None));
    assert_eq!((first.read(PQT), first.read(PRS)), (0x20, 1));
    each_alone(&units, |machine, _| machine.unit.reset());
    assert!(units.iter().all(|(machine, _)| machine.status().is_empty()));
}

#[test]
fn one_number_is_another_function_behind_another_unit() {
    let units = units();
    for (index, (machine, _)) in units.iter().enumerate() {
        assert_eq!(place(machine), Ok(DATA + index as u64 * 0x1000));
        machine.interrupt_entry(3, [1 | (0x40 + index as u64) << 16, 0]);
        machine.enable_interrupts(false);
    }
    for (index, (machine, _)) in units.iter().enumerate() {
        let request = MsiMessage { address: 0xFEE0_0010 | 3 << 5, data: 0 };
        assert_eq!(machine.remap(SOURCE, request).unwrap().unwrap().data & 0xFF, 0x40 + index as u32);
        // Off for one, on for the others.
        machine.command(Global::empty(), Global::TRANSLATION);
        assert_eq!(place(machine), Ok(IOVA));
        machine.command(Global::TRANSLATION, Global::empty());
        assert_eq!(place(machine), Ok(DATA + index as u64 * 0x1000));
    }
}

#[test]
fn what_one_forgets_another_still_remembers() {
    let units = units();
    for (machine, _) in &units {
        assert!(place(machine).is_ok());
    }
    for (machine, table) in &units {
        machine.map(*table, IOVA, 0);
    }
    for index in 0..units.len() {
        let (machine, _) = &units[index];
        submit(machine, &[iotlb_global(), interrupt_global()]);
        for (other, (machine, _)) in units.iter().enumerate() {
            assert_eq!(place(machine).is_err(), other <= index, "{other} after {index}");
        }
    }
}

#[test]
fn devices_are_asked_by_their_own_unit_only() {
    let first = Machine::with(Capabilities::new(Profile::Full, 48));
    let second = first.beside(Capabilities::new(Profile::Full, 39));
    let [one, other] = [&first, &second].map(|machine| {
        machine.enable_queue();
        Device::new(machine, SOURCE)
    });
    first.submit(&[device_tlb(SOURCE.0.into(), 0x1000, false)]);
    assert_eq!((one.take_invalidations().len(), other.take_invalidations().len()), (1, 0));
    second.submit(&[device_tlb(SOURCE.0.into(), 0x1000, false)]);
    assert_eq!((one.take_invalidations().len(), other.take_invalidations().len()), (0, 1));
}

#[test]
fn a_unit_that_waits_for_a_device_keeps_no_other_waiting() {
    fn in_time<T>(receiver: &Receiver<T>) -> T {
        receiver.recv_timeout(Duration::from_secs(20)).expect("nobody waits for the other unit")
    }
    let first = Machine::with(Capabilities::new(Profile::Full, 48));
    let (second, table) = (first.beside(Capabilities::legacy(48)), first.table());
    second.context(SOURCE, [table | 1, 2 | 5 << 8]);
    second.map(table, IOVA, DATA | RW);
    first.enable_queue();
    second.enable_queue();
    let device = Device::new(&first, SOURCE);
    let (asked, is_asked) = channel();
    let (answer, answered) = channel();
    device.on_invalidation(move || {
        asked.send(()).unwrap();
        in_time(&answered);
    });
    thread::scope(|scope| {
        scope.spawn(|| first.submit(&[device_tlb(SOURCE.0.into(), 0, false), wait_status(STATUS, 7)]));
        in_time(&is_asked);
        second.enable_translation();
        assert_eq!(place(&second), Ok(DATA));
        second.submit(&[iotlb_global(), wait_status(STATUS + 4, 8)]);
        assert_eq!(second.read(IQH), 32);
        assert_eq!(first.read_memory(STATUS), 8 << 32, "the other still waits");
        answer.send(()).unwrap();
    });
    assert_eq!(first.read_memory(STATUS), 8 << 32 | 7);
}
