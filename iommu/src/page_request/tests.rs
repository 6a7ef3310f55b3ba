use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use vm_memory::Bytes;

use crate::spec::registers::{FSTS, Global, IQH, PECTL, PQA, PQH, PQT, PRS};
use crate::spec::second_stage::Level;
use crate::testing::descriptor::wait_status;
use crate::testing::{DATA, Machine, RW, SOURCE};
use crate::{
    Access, Capabilities, GuestAddress, Iova, MsiMessage, PageRequest, PageResponse, PageResponseCode, Pasid,
    Profile, Request, SourceId,
};

const CAPABILITIES: Capabilities = Capabilities::new(Profile::Full, 48);

const PENDING: u32 = 1;
const OVERFLOW: u32 = 2;

/// Bits of a scalable context entry: P, FPD, DTE, PASIDE, PRE.
const P: u64 = 1;
const FPD: u64 = 2;
const DTE: u64 = 4;
const PASIDE: u64 = 8;
const PRE: u64 = 16;

const REQUEST: PageRequest = PageRequest {
    source: SOURCE,
    pasid: Some(Pasid(5)),
    privileged: false,
    execute: false,
    read: true,
    write: true,
    last: true,
    group: 7,
    iova: Iova(0x1234_5FFF),
};

/// What the unit answers to [`REQUEST`]: the device is to try again, or to give up.
const AGAIN: Option<PageResponse> =
    Some(PageResponse { pasid: REQUEST.pasid, group: REQUEST.group, code: PageResponseCode::Success });
const FAILURE: Option<PageResponse> =
    Some(PageResponse { pasid: REQUEST.pasid, group: REQUEST.group, code: PageResponseCode::Failure });

/// A machine in scalable mode, and where things lie in it.
struct Scalable {
    machine: Machine,
    /// The queue of page requests: a page of 128.
    requests: u64,
    context: u64,
    /// The tables of PASID 0 (domain 6, second-stage) and PASID 5 (domain 5, first-stage): four levels each.
    second: u64,
    first: u64,
}

impl Scalable {
    fn new() -> Self {
        let machine = Machine::with(CAPABILITIES);
        let [requests, contexts, directory, pasids, first, second] = [(); 6].map(|()| machine.table());
        // 01:02.3 lies in the lower half of its bus.
        machine.write_memory(machine.root + 0x10, contexts | 1);
        let context = contexts + 0x13 * 32;
        machine.write_memory(context, directory | P | DTE | PASIDE | PRE);
        machine.write_memory(directory, pasids | 1);
        machine.write_memory(pasids, second | 2 << 2 | 2 << 6 | 1);
        machine.write_memory(pasids + 8, 6);
        machine.write_memory(pasids + 5 * 64, 1 << 6 | 1);
        machine.write_memory(pasids + 5 * 64 + 8, 5 | 1 << 23);
        machine.write_memory(pasids + 5 * 64 + 16, first);
        machine.set_table_mode(1);
        machine.command(Global::TRANSLATION, Global::empty());
        machine.write_u64(PQA, requests);
        Self { machine, requests, context, second, first }
    }

    /// Changes flags of the context entry.
    fn context_flags(&self, flags: u64) {
        let entry = self.machine.read_memory(self.context);
        self.machine.write_memory(self.context, entry & !0x1F | flags);
    }

    fn send(&self, request: &PageRequest) -> Option<PageResponse> {
        self.machine.unit.page_request(request)
    }

    fn status(&self) -> u32 {
        self.machine.read(PRS)
    }

    fn tail(&self) -> u32 {
        self.machine.read(PQT)
    }

    /// A descriptor that the unit has written.
    fn descriptor(&self, index: u64) -> [u64; 4] {
        [0, 8, 16, 24].map(|word| self.machine.read_memory(self.requests + index * 32 + word))
    }
}

#[test]
fn a_request_is_put_into_the_queue_as_it_came() {
    let scalable = Scalable::new();
    scalable.machine.write_memory(scalable.requests + 16, u64::MAX);
    assert_eq!(scalable.send(&REQUEST), None);
    let space = 5 << 32 | 1 << 8;
    assert_eq!(scalable.descriptor(0), [1 | 0x0113 << 16 | space, 0x1234_5007 | 7 << 3, 0, 0]);
    assert_eq!((scalable.tail(), scalable.status()), (0x20, PENDING));
    for (request, expected) in [
        (PageRequest { pasid: None, privileged: true, execute: true, ..REQUEST }, [0, 0x1234_5007 | 7 << 3]),
        (PageRequest { privileged: true, ..REQUEST }, [space | 1 << 53, 0x1234_5007 | 7 << 3]),
        (PageRequest { execute: true, ..REQUEST }, [space | 1 << 52, 0x1234_5007 | 7 << 3]),
        (PageRequest { write: false, last: false, ..REQUEST }, [space, 0x1234_5001 | 7 << 3]),
        (PageRequest { read: false, group: 0xFFFF, ..REQUEST }, [space, 0x1234_5006 | 0xFF8]),
        (PageRequest { iova: Iova(u64::MAX), ..REQUEST }, [space, 0xFFFF_FFFF_FFFF_F007 | 7 << 3]),
    ] {
        let index = u64::from(scalable.tail()) / 32;
        assert_eq!(scalable.send(&request), None);
        let [low, high] = expected;
        assert_eq!(scalable.descriptor(index), [1 | 0x0113 << 16 | low, high, 0, 0]);
    }
    assert_eq!(scalable.machine.read(FSTS), 0);
}

#[test]
fn the_event_is_raised_once_until_it_is_noted() {
    let scalable = Scalable::new();
    let machine = &scalable.machine;
    assert_eq!(machine.read(PECTL), 1 << 31);
    machine.write(PECTL + 4, 0x43);
    machine.write(PECTL + 8, 0xFEE0_3000);
    machine.write(PECTL, 0);
    let signal = [MsiMessage { address: 0xFEE0_3000, data: 0x43 }];
    assert_eq!(scalable.send(&REQUEST), None);
    assert_eq!(machine.platform.signals(), signal);
    assert_eq!(scalable.send(&REQUEST), None);
    assert_eq!(machine.platform.signals(), []);
    machine.write(PRS, !PENDING);
    assert_eq!(scalable.status(), PENDING);
    machine.write(PRS, PENDING);
    assert_eq!(scalable.status(), 0);
    assert_eq!(scalable.send(&REQUEST), None);
    assert_eq!(machine.platform.signals(), signal);
    // Masked, it waits; noted, it is not sent any more.
    machine.write(PECTL, 1 << 31);
    machine.write(PRS, PENDING);
    assert_eq!(scalable.send(&REQUEST), None);
    assert_eq!(machine.read(PECTL), 3 << 30);
    machine.write(PECTL, 0);
    assert_eq!(machine.platform.signals(), signal);
    machine.write(PECTL, 1 << 31);
    machine.write(PRS, PENDING);
    assert_eq!(scalable.send(&REQUEST), None);
    machine.write(PRS, PENDING);
    assert_eq!(machine.read(PECTL), 1 << 31);
}

#[test]
fn the_descriptor_is_there_when_the_event_tells_of_it() {
    let scalable = Scalable::new();
    scalable.machine.write(PECTL, 0);
    let (memory, requests) = (Arc::clone(&scalable.machine.memory), scalable.requests);
    let unit = Arc::downgrade(&scalable.machine.unit);
    let seen = Arc::new(AtomicU32::new(0));
    let tail_then = Arc::clone(&seen);
    scalable.machine.platform.on_send(move |_| {
        let mut tail = [0; 4];
        unit.upgrade().unwrap().read(PQT, &mut tail);
        tail_then.store(u32::from_le_bytes(tail), Ordering::Relaxed);
        let word: u64 = memory.read_obj(GuestAddress(requests)).unwrap();
        assert_eq!(word as u8, 1);
    });
    assert_eq!(scalable.send(&REQUEST), None);
    assert_eq!((seen.load(Ordering::Relaxed), scalable.machine.platform.signals().len()), (0x20, 1));
}

#[test]
fn a_full_queue_drops_requests_and_answers_so_that_the_device_tries_again() {
    let scalable = Scalable::new();
    let machine = &scalable.machine;
    machine.write(PQH, 0x40);
    machine.write(PQT, 0x40);
    machine.write(PECTL, 0);
    // One place stays free; the tail wraps around on the way.
    for _ in 0..127 {
        assert_eq!(scalable.send(&REQUEST), None);
    }
    assert_eq!((scalable.tail(), scalable.status()), (0x20, PENDING));
    let before = scalable.descriptor(1);
    machine.write(PRS, PENDING);
    machine.platform.take();
    assert_eq!(scalable.send(&REQUEST), AGAIN);
    assert_eq!((scalable.status(), machine.platform.signals().len()), (OVERFLOW, 1));
    assert_eq!((scalable.tail(), scalable.descriptor(1)), (0x20, before));
    // Of a group there is one answer, and a stop marker has none.
    assert_eq!(scalable.send(&PageRequest { last: false, ..REQUEST }), None);
    assert_eq!(scalable.send(&PageRequest { read: false, write: false, ..REQUEST }), None);
    // Room alone does not help: software has to see that requests were lost.
    machine.write(PQH, 0);
    assert_eq!((scalable.send(&REQUEST), scalable.tail()), (AGAIN, 0x20));
    machine.write(PRS, OVERFLOW);
    assert_eq!((scalable.send(&REQUEST), scalable.tail(), scalable.status()), (None, 0x40, PENDING));
    assert_eq!((machine.platform.signals().len(), machine.read(FSTS)), (1, 0));
}

#[test]
fn larger_queues_are_as_large_as_they_say() {
    let scalable = Scalable::new();
    let machine = &scalable.machine;
    for size in 0..8 {
        machine.write_u64(PQA, DATA | size);
        let bytes = 0x1000 << size;
        for start in [0, bytes - 32] {
            machine.write(PQH, start);
            machine.write(PQT, start);
            let count = (0..bytes).take_while(|_| scalable.send(&REQUEST).is_none()).count();
            assert_eq!(count as u32, bytes / 32 - 1);
            machine.write(PRS, PENDING | OVERFLOW);
        }
    }
}

#[test]
fn pointers_beyond_the_queue_do_no_harm() {
    let scalable = Scalable::new();
    scalable.machine.write(PQH, u32::MAX);
    scalable.machine.write(PQT, u32::MAX);
    assert_eq!(scalable.machine.read(PQT), 0x7_FFE0);
    for _ in 0..300 {
        let _ = scalable.send(&REQUEST);
        assert!(scalable.tail() < 0x1000 || scalable.status() == OVERFLOW);
    }
    assert_eq!(scalable.machine.read_memory(scalable.requests + 0x1000), 0, "the table behind it");
}

#[test]
fn a_queue_that_cannot_be_written_has_no_room() {
    let scalable = Scalable::new();
    // The last reaches beyond all addresses.
    for (base, tail) in [(1 << 40, 0), (!0xFFF, 0), (!0xFFF | 1, 0x1000)] {
        scalable.machine.write_u64(PQA, base);
        scalable.machine.write(PQT, tail);
        assert_eq!(scalable.send(&REQUEST), AGAIN);
        assert_eq!((scalable.status(), scalable.tail()), (OVERFLOW, tail));
        scalable.machine.write(PRS, OVERFLOW);
    }
}

/// The reason, the requester, the address and the high half of the only record there is.
fn fault(machine: &Machine) -> Option<(u8, u64)> {
    let faults = machine.take_faults();
    assert!(faults.len() <= 1);
    faults.first().map(|record| {
        assert_eq!(record.source, SOURCE);
        (record.reason, record.info)
    })
}

#[test]
fn requests_are_ignored_where_nobody_could_have_asked_for_them() {
    let scalable = Scalable::new();
    scalable.machine.set_table_mode(3);
    assert_eq!((scalable.send(&REQUEST), fault(&scalable.machine)), (FAILURE, None));
    scalable.machine.set_table_mode(1);
    scalable.machine.command(Global::empty(), Global::TRANSLATION);
    assert_eq!((scalable.send(&REQUEST), fault(&scalable.machine)), (FAILURE, None));
    assert_eq!(scalable.tail(), 0);
}

#[test]
fn a_stop_marker_is_put_into_the_queue_and_never_answered() {
    let scalable = Scalable::new();
    let marker = PageRequest { read: false, write: false, ..REQUEST };
    assert_eq!(scalable.send(&marker), None);
    assert_eq!(scalable.descriptor(0)[1], 0x1234_5004 | 7 << 3);
    assert_eq!(scalable.status(), PENDING);
    scalable.context_flags(P);
    assert_eq!(scalable.send(&marker), None);
}

/// Maps a page for unprivileged requests in a first-stage table of four levels.
fn map_first(machine: &Machine, table: u64, iova: u64, guest: u64) {
    machine.map(table, iova, guest | 7);
    for level in (2..=4).filter_map(Level::from_number) {
        let entry = machine.entry(table, 4, iova, level);
        machine.write_memory(entry, machine.read_memory(entry) | 7);
    }
}

#[test]
fn a_request_makes_the_unit_forget_the_page_and_no_other() {
    let scalable = Scalable::new();
    let machine = &scalable.machine;
    let map = |guest| {
        machine.map(scalable.second, 0x1000, guest | RW);
        map_first(machine, scalable.first, 0x1000, guest);
    };
    for pasid in [None, Some(Pasid(5))] {
        let request = Request { pasid, ..Request::new(SOURCE, Access::Read) };
        let translate = || machine.unit.access(&request, Iova(0x1000), 1, |guest, _| guest.0);
        map(DATA);
        assert_eq!(translate(), Ok(DATA));
        map(DATA + 0x1000);
        let elsewhere = PageRequest { pasid, iova: Iova(0x2FFF), ..REQUEST };
        assert_eq!(scalable.send(&elsewhere), None);
        if pasid.is_none() {
            assert_eq!(translate(), Ok(DATA), "it is remembered");
        }
        let here = PageRequest { pasid, iova: Iova(0x1FFF), ..REQUEST };
        assert_eq!(scalable.send(&here), None);
        assert_eq!(translate(), Ok(DATA + 0x1000));
    }
}

#[test]
fn a_request_for_an_address_space_that_is_not_in_order_is_softwares_to_judge() {
    let scalable = Scalable::new();
    assert_eq!(scalable.send(&PageRequest { pasid: Some(Pasid(9)), ..REQUEST }), None);
    assert_eq!((scalable.tail(), scalable.machine.read(FSTS)), (0x20, 0));
}

#[test]
fn a_wait_that_drains_waits_for_requests_on_their_way() {
    let scalable = Scalable::new();
    let machine = &scalable.machine;
    let status = DATA;
    machine.enable_wide_queue();
    let on_its_way = machine.unit.page_requests.lock();
    let [low, high] = wait_status(status, 1);
    machine.submit_wide(&[[low, high]]);
    assert_eq!(machine.read_memory(status), 1, "others do not");
    thread::scope(|scope| {
        let drains = scope.spawn(|| machine.submit_wide(&[[(low + (1 << 32)) | 1 << 7, high]]));
        thread::sleep(Duration::from_millis(50));
        let early = drains.is_finished() || machine.read(IQH) != 0x20;
        drop(on_its_way);
        drains.join().unwrap();
        assert!(!early);
    });
    assert_eq!(machine.read_memory(status), 2);
}

#[test]
fn without_page_requests_their_registers_are_not_there() {
    let machine = Machine::with(Capabilities::legacy(48));
    for offset in (PQH..PECTL + 16).step_by(4) {
        machine.write(offset, u32::MAX);
        assert_eq!(machine.read(offset), 0, "{offset:#x}");
    }
    machine.enable_translation();
    assert_eq!(machine.unit.page_request(&REQUEST), FAILURE);
    assert_eq!(fault(&machine), Some((0x32, 0x1234_5000)));
}

#[test]
fn a_reset_empties_the_queue() {
    let scalable = Scalable::new();
    scalable.machine.write(PECTL, 0);
    assert_eq!(scalable.send(&REQUEST), None);
    scalable.machine.unit.reset();
    let read = [PQH, PQT, PQA, PRS, PECTL].map(|offset| scalable.machine.read(offset));
    assert_eq!(read, [0, 0, 0, 0, 1 << 31]);
}

mod refused;
