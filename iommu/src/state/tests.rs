mod counters;
mod queue;
mod twins;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::spec::registers::{
    CCMD, FECTL, FRCD, FSTS, GSTS, Global, IECTL, IOTLB, IQA, IQH, IQT, IRTA, PECTL, PHMBASE, PHMLIMIT,
    PLMBASE, PMEN, PQA, PQH, PQT, PRS, RTADDR,
};
use crate::testing::descriptor::wait_interrupt;
use crate::testing::scalable::{DEVICE_TLB, P, PAGE_REQUESTS, SECOND_STAGE, WIDTH_48};
use crate::testing::{DATA, Machine, RW, SOURCE, Sent};
use crate::{Access, Iova, PageRequest, Profile};

/// Another unit over the memory of `machine`, in the state of the first.
fn moved(machine: &Machine) -> Machine {
    let state = machine.unit.save();
    let mut other = machine.beside(machine.unit.capabilities());
    (other.root, other.queue, other.interrupts) = (machine.root, machine.queue, machine.interrupts);
    other.platform.resumes.store(true, Ordering::Relaxed);
    assert_eq!(other.unit.restore(&state), Ok(()));
    assert_eq!(other.unit.save(), state);
    other
}

/// A unit in the middle of things: translating, remapping, two faults pending, one message held back.
fn busy() -> Machine {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, DATA | RW);
    machine.enable_interrupts(true);
    machine.write(FECTL + 4, 0x41);
    machine.write(FECTL + 8, 0xFEE0_0000);
    for iova in [0x5000, 0x6000] {
        assert_eq!(machine.translate(iova, Access::Read), Err(0x06));
    }
    machine
}

#[test]
fn a_moved_unit_translates_and_remaps_as_before() {
    let machine = busy();
    machine.interrupt_entry(3, [1 | 0x55 << 16 | 7 << 32, 0]);
    let other = moved(&machine);
    assert_eq!(other.translate(0x1000, Access::Write), Ok(DATA));
    let request = crate::MsiMessage { address: 0xFEE0_0010 | 3 << 5, data: 0 };
    let message = other.remap(SOURCE, request).unwrap().unwrap();
    assert_eq!((message.data & 0xFF, message.address >> 12 & 0xFF), (0x55, 7));
    assert_eq!(other.status(), machine.status());
    // Whatever was remembered is not taken along.
    machine.context(SOURCE, [0, 0]);
    assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
    assert_eq!(moved(&machine).translate(0x1000, Access::Read), Err(0x02));
}

#[test]
fn a_unit_that_takes_a_state_up_forgets_what_it_remembered() {
    let machine = busy();
    machine.interrupt_entry(3, [1 | 0x41 << 16, 0]);
    let request = crate::MsiMessage { address: 0xFEE0_0010 | 3 << 5, data: 0 };
    let vector = || machine.remap(SOURCE, request).unwrap().unwrap().data & 0xFF;
    let state = machine.unit.save();
    assert_eq!((machine.translate(0x1000, Access::Read), vector()), (Ok(DATA), 0x41));
    machine.context(SOURCE, [0, 0]);
    machine.interrupt_entry(3, [1 | 0x42 << 16, 0]);
    assert_eq!((machine.translate(0x1000, Access::Read), vector()), (Ok(DATA), 0x41));
    machine.platform.take();
    assert_eq!(machine.unit.restore(&state), Ok(()));
    assert_eq!((machine.translate(0x1000, Access::Read), vector()), (Err(0x02), 0x42));
    let sent = machine.platform.take();
    assert!(sent.contains(&Sent::EntriesChanged(EntryRange::All)), "{sent:?}: routes are to be made anew");
}

#[test]
fn faults_and_the_message_held_back_move_along() {
    let other = moved(&busy());
    assert_eq!(other.platform.signals(), []);
    other.write(FECTL, 0);
    let sent: Vec<_> = other.platform.signals().iter().map(|message| message.data).collect();
    assert_eq!(sent, [0x41]);
    assert_eq!(other.take_faults().iter().map(|record| record.info).collect::<Vec<_>>(), [0x5000, 0x6000]);
    // The ring goes on with the record after.
    let _ = other.translate(0x7000, Access::Read);
    assert_eq!(other.read(FSTS) >> 8, 2);
}

#[test]
fn completion_events_move_along() {
    let machine = busy();
    machine.submit(&[wait_interrupt()]);
    let other = moved(&machine);
    assert_eq!(other.platform.signals().len(), 0);
    other.write(IECTL, 0);
    assert_eq!(other.platform.signals().len(), 1);
    // The one that software has not looked at stands for all.
    other.submit(&[wait_interrupt()]);
    assert_eq!(other.platform.signals().len(), 0);
}

#[test]
fn page_requests_and_their_event_move_along() {
    let machine = Machine::with(Capabilities::new(Profile::Full, 48));
    let [directory, table, requests] = [(); 3].map(|()| machine.table());
    machine.scalable_context(SOURCE, [directory | P | DEVICE_TLB | PAGE_REQUESTS, 0, 0, 0]);
    machine.pasid_entry(directory, 0, [table | WIDTH_48 | SECOND_STAGE | 1, 5, 0, 0, 0, 0, 0, 0]);
    machine.enable_scalable();
    machine.write_u64(PQA, requests);
    machine.write(PECTL + 4, 0x43);
    machine.write(PECTL + 8, 0xFEE0_0000);
    // Room for two.
    machine.write_u64(PQT, 0x40);
    machine.write_u64(PQH, 0xA0);
    let request = PageRequest {
        source: SOURCE,
        pasid: None,
        privileged: false,
        execute: false,
        read: true,
        write: true,
        last: false,
        group: 3,
        iova: Iova(0x5000),
    };
    assert_eq!(machine.unit.page_request(&request), None);
    let other = moved(&machine);
    let request = PageRequest { last: true, iova: Iova(0x6000), ..request };
    assert_eq!(other.unit.page_request(&request), None);
    assert_eq!((other.read(PQT), other.read(PRS)), (0x80, 1));
    assert_eq!([0x48, 0x68].map(|at| other.read_memory(requests + at) >> 12), [5, 6], "one after the other");
    // It is full there too, and the first unit knows nothing of it.
    assert!(other.unit.page_request(&request).is_some());
    assert_eq!((other.read(PRS), machine.read(PRS), machine.read(PQT)), (3, 1, 0x60));
    assert_eq!(other.platform.signals(), []);
    other.write(PECTL, 0);
    let sent: Vec<_> = other.platform.signals().iter().map(|message| message.data).collect();
    assert_eq!(sent, [0x43], "the message was held back before");
    assert_eq!(moved(&other).unit.page_request(&PageRequest { last: false, ..request }), None);
}

#[test]
fn protected_regions_move_along_as_they_are_in_force() {
    let machine = Machine::with(Capabilities::new(Profile::Full, 48));
    machine.write_u64(PHMBASE, 8 << 20);
    machine.write_u64(PHMLIMIT, 8 << 20);
    machine.write(PLMBASE, u32::MAX);
    machine.write(PMEN, 1 << 31);
    machine.write_u64(PHMBASE, 16 << 20);
    let other = moved(&machine);
    assert!(other.translate(8 << 20, Access::Read).is_err());
    assert!(other.translate(16 << 20, Access::Read).is_ok());
}

/// Changes a register in a state, and makes the checksum fit again.
fn edit(state: &mut [u8], offset: u64, value: u32) {
    let at = 12 + 24 + 4 + offset as usize;
    state[at..at + 4].copy_from_slice(&value.to_le_bytes());
    seal(state);
}

/// Makes the checksum fit.
fn seal(state: &mut [u8]) {
    let Some(end) = state.len().checked_sub(8) else { return };
    let sum = state[..end].iter().fold(0xCBF2_9CE4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    state[end..].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn what_is_no_state_of_this_unit_is_refused_in_a_sentence() {
    let machine = busy();
    let state = machine.unit.save();
    let refused = |bytes: &[u8], sentence: &str| {
        let error = machine.unit.restore(bytes).unwrap_err();
        assert!(error.to_string().contains(sentence), "{error}");
        assert_eq!(machine.unit.save(), state, "nothing has changed");
    };
    refused(b"", "not the state of a remapping unit");
    refused(b"a page of something else", "not the state of a remapping unit");
    refused(&state[..state.len() - 1], "cut short");
    let mut damaged = state.clone();
    damaged[100] ^= 1;
    refused(&damaged, "damaged");
    let mut longer = state.clone();
    longer.extend([0; 8]);
    seal(&mut longer);
    refused(&longer, "not the state of a remapping unit");
    let mut future = state.clone();
    future[8] = 2;
    seal(&mut future);
    refused(&future, "has format 2, and this program reads only format 1");
    let other = Machine::with(Capabilities::legacy(39)).unit.save();
    refused(&other, "other capabilities");
}

#[test]
fn states_that_contradict_themselves_are_refused() {
    let machine = busy();
    let state = machine.unit.save();
    for (offset, value, part) in [
        (0, 0x60, "its registers"),
        (GSTS, 0, "its modes"),
        (GSTS, machine.read(GSTS) | Global::WRITE_BUFFER.bits(), "its registers"),
        (GSTS, machine.read(GSTS) & !Global::QUEUE.bits(), "its modes"),
        (FSTS, 0, "its fault records"),
        (FSTS, 2 | 8 << 8, "its fault records"),
        (FRCD + 3 * 16 + 8, 1 << 16, "its registers"),
        (FRCD + 8 * 16, 1, "its registers"),
        (PMEN, 1 << 31, "its protected regions"),
        (IQH, 16, "its queue"),
        (FECTL, 1, "its registers"),
        (RTADDR, 1, "its registers"),
        (IRTA, 1 << 5, "its registers"),
        (IQA, 8, "its registers"),
        // Legacy units have no page requests, and no command is ever seen at work.
        (PQT, 0x20, "its registers"),
        (PECTL, 1 << 31, "its registers"),
        (CCMD + 4, 1 << 31, "its registers"),
        (IOTLB + 4, 1 << 31, "its registers"),
    ] {
        let mut wrong = state.clone();
        edit(&mut wrong, offset, value);
        let result = machine.unit.restore(&wrong);
        assert_eq!(result, Err(StateError::Impossible(part)), "{offset:#x}");
        assert_eq!(machine.unit.save(), state);
    }
}

/// Uses everything that a unit does.
fn exercise(machine: &Machine) {
    for iova in [0, 0x1000, 3 << 20, u64::MAX] {
        let _ = machine.translate(iova, Access::Read);
    }
    let request = crate::MsiMessage { address: 0xFEE0_0010, data: 0 };
    let _ = machine.remap(SOURCE, request);
    for status in [FSTS, crate::spec::registers::ICS] {
        machine.write(status, u32::MAX);
    }
    machine.write(IQT, 0x40);
    machine.unit.resume();
    machine.write(FECTL, 0);
    machine.unit.reset();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_are_a_state_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), sealed: bool) {
        let machine = Machine::new();
        let mut bytes = bytes;
        if sealed {
            bytes.splice(0..bytes.len().min(12), machine.unit.save()[..12].iter().copied());
            seal(&mut bytes);
        }
        prop_assert!(machine.unit.restore(&bytes).is_err());
    }

    #[test]
    fn a_state_with_any_changes_is_one_that_a_unit_can_be_in_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        tail in any::<bool>(),
        full in any::<bool>(),
    ) {
        let machine =
            if full { Machine::with(Capabilities::new(Profile::Full, 48)) } else { busy() };
        let mut state = machine.unit.save();
        // The last bytes are those that are not registers.
        let from = if tail { state.len() - 200 } else { 12 + 24 + 4 };
        let end = state.len() - 8;
        for (index, value) in changes {
            state[from + index.index(end - from)] = value;
        }
        seal(&mut state);
        machine.platform.resumes.store(true, Ordering::Relaxed);
        if machine.unit.restore(&state).is_ok() {
            prop_assert_eq!(machine.unit.save(), state);
            exercise(&machine);
        }
    }
}
