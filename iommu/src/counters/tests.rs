use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::spec::counters::{CONFIGURATION, ECEO, Event as Counted, Filter, PERFCAP, PERFEVNTCAP};
use crate::spec::registers::{Global, PQA};
use crate::testing::scalable::{
    DEVICE_TLB, FIRST_STAGE, NESTED, PAGE_REQUESTS, PASIDS, PWU, SECOND_STAGE, WALK_SNOOP, WIDTH_48,
};
use crate::testing::{DATA, Machine, RW, SOURCE, descriptor};
use crate::{
    Access, Capabilities, Feature, Iova, MsiMessage, PageRequest, Pasid, Profile, Request, SourceId,
    TranslationRequest,
};

const FULL: Capabilities = Capabilities::new(Profile::Full, 48);
/// The first row of a machine's tables.
const OTHER: SourceId = SourceId(0x0114);

const ENABLE: u32 = 0xF0;
const DISABLE: u32 = 0xF1;
const FREEZE: u32 = 0xF4;
const UNFREEZE: u32 = 0xF5;

/// An overflow is to be told; a filter is on.
const TELL: u64 = 2;
const ON: u32 = 1 << 31;

/// Both functions have domain 5 and an empty table of four levels in legacy mode. Gives the table.
fn legacy() -> (Machine, u64) {
    let machine = Machine::with(FULL);
    let table = machine.table();
    machine.context(SOURCE, [table | 1, 2 | 5 << 8]);
    machine.context(OTHER, [table | 1, 2 | 6 << 8]);
    machine.enable_translation();
    machine.enable_queue();
    (machine, table)
}

impl Machine {
    fn enhanced(&self, command: u32, operand: u64) -> u32 {
        self.write_u64(ECMD, u64::from(command) | operand << 16);
        let response = self.read(ECRSP);
        assert_eq!(response & 1, 0, "It is not done");
        response >> 1
    }

    fn configure(&self, counter: usize, event: Counted, flags: u64) {
        let (group, bit) = event.place();
        let value = u64::from(bit) << 32 | u64::from(group) << 8 | flags;
        self.write_u64(configuration_offset(counter), value);
        assert_eq!(self.read_u64(configuration_offset(counter)), value);
    }

    /// Starts a counter for each of the events, from 0 on.
    fn count(&self, events: &[Counted]) {
        for (counter, event) in events.iter().enumerate() {
            self.configure(counter, *event, 0);
            assert_eq!(self.enhanced(ENABLE, counter as u64), 0);
        }
    }

    fn counted(&self, counter: usize) -> u64 {
        self.read_u64(COUNTER + counter as u64 * COUNTER_STRIDE)
    }

    fn set_counter(&self, counter: usize, value: u64) {
        self.write_u64(COUNTER + counter as u64 * COUNTER_STRIDE, value);
    }

    /// What the first `N` counters count while `work` is done.
    fn while_doing<const N: usize>(&self, work: impl FnOnce()) -> [u64; N] {
        let before: [u64; N] = std::array::from_fn(|counter| self.counted(counter));
        work();
        std::array::from_fn(|counter| self.counted(counter) - before[counter])
    }

    fn read_page(&self, iova: u64) {
        self.translate(iova, Access::Read).unwrap();
    }
}

#[test]
fn s11_4_13_lookups_hits_and_reads_are_counted_exactly() {
    use Counted::{
        ContextHit, ContextLookup, IotlbHit, IotlbLookup, MemoryRead, Request, SecondStageHit,
        SecondStageLookup,
    };
    let (machine, table) = legacy();
    for page in 1..=4 {
        machine.map(table, page << 12, DATA | RW);
    }
    machine.count(&[
        Request,
        ContextLookup,
        ContextHit,
        IotlbLookup,
        IotlbHit,
        SecondStageLookup,
        SecondStageHit,
        MemoryRead,
    ]);
    // A root entry and a context entry of two words each, and entries of four levels.
    let first = machine.while_doing(|| machine.read_page(0x1000));
    assert_eq!(first, [1, 1, 0, 1, 0, 1, 0, 8]);
    let hits = machine.while_doing(|| (0..1000).for_each(|_| machine.read_page(0x1000)));
    assert_eq!(hits, [1000, 1000, 1000, 1000, 1000, 0, 0, 0]);
    // The table of the last level is known now.
    let neighbours = machine.while_doing(|| (2..=4).for_each(|page| machine.read_page(page << 12)));
    assert_eq!(neighbours, [3, 3, 3, 3, 0, 3, 3, 3]);
    // What is invalidated is looked up in vain.
    machine.submit(&[descriptor::iotlb_global()]);
    let again = machine.while_doing(|| machine.read_page(0x1000));
    assert_eq!(again, [1, 1, 1, 1, 0, 1, 0, 4]);
    // A request that is refused has been one.
    let refused = machine.while_doing(|| assert!(machine.translate(0x9000, Access::Read).is_err()));
    assert_eq!(refused, [1, 1, 1, 1, 0, 1, 1, 1]);
    // An untranslated address needs no lookup.
    machine.command(Global::empty(), Global::TRANSLATION);
    assert_eq!(machine.while_doing(|| machine.read_page(0x1000)), [1, 0, 0, 0, 0, 0, 0, 0]);
}

/// Scalable mode: PASID 0 has domain 6 and a second stage, PASID 5 domain 5 and a first stage, PASID 7 domain 7
/// and both. Page 0x1000 of each is mapped. The queue of page requests has a page.
fn scalable() -> Machine {
    let machine = Machine::with(FULL);
    let [directory, second, first, nested, behind, requests] = [(); 6].map(|()| machine.table());
    machine.scalable_context(SOURCE, [directory | DEVICE_TLB | PASIDS | PAGE_REQUESTS | 1, 0, 0, 0]);
    machine.pasid_entry(directory, 0, [second | WIDTH_48 | SECOND_STAGE | 1, 6, 0, 0, 0, 0, 0, 0]);
    machine.pasid_entry(directory, 5, [FIRST_STAGE | 1, 5 | WALK_SNOOP, first, 0, 0, 0, 0, 0]);
    let entry = [behind | WIDTH_48 | NESTED | 1, 7 | WALK_SNOOP, nested, 0, 0, 0, 0, 0];
    machine.pasid_entry(directory, 7, entry);
    machine.map(second, 0x1000, DATA | RW);
    for table in [first, nested] {
        machine.map_first_stage(table, 0x1000, DATA | PWU);
    }
    // The second stage leads everything below 64 MiB to itself.
    for page in (0..64 << 20).step_by(2 << 20) {
        let entry = machine.entry(behind, 4, page, crate::spec::second_stage::Level::PAGE_2M);
        machine.write_memory(entry, page | RW | 1 << 7);
    }
    machine.enable_scalable();
    machine.write_u64(PQA, requests);
    machine
}

fn access(machine: &Machine, request: &Request) {
    machine.unit.access(request, Iova(0x1000), 8, |_, _| ()).unwrap();
}

#[test]
fn s11_4_13_address_spaces_and_first_stages_are_counted() {
    use Counted::{
        ContextHit, FirstStageHit, FirstStageLookup, IotlbHit, IotlbLookup, PasidHit, PasidLookup,
        SecondStageLookup,
    };
    let machine = scalable();
    machine.count(&[
        ContextHit,
        PasidLookup,
        PasidHit,
        IotlbLookup,
        IotlbHit,
        FirstStageLookup,
        FirstStageHit,
        SecondStageLookup,
    ]);
    let request = Request::new(SOURCE, Access::Read);
    let first = request.with_pasid(Pasid(5));
    assert_eq!(machine.while_doing(|| access(&machine, &first)), [0, 1, 0, 1, 0, 1, 0, 0]);
    assert_eq!(machine.while_doing(|| access(&machine, &first)), [1, 1, 1, 1, 1, 0, 0, 0]);
    assert_eq!(machine.while_doing(|| access(&machine, &request)), [1, 1, 0, 1, 0, 0, 0, 1]);
    // A nested walk looks each of its four tables and the page up in the second stage, and some again to mark
    // them.
    let nested = request.with_pasid(Pasid(7));
    let [_, _, _, lookups, hits, first, _, second] = machine.while_doing(|| access(&machine, &nested));
    assert!(first == 1 && lookups > 5, "{lookups}");
    assert_eq!(lookups - 1, hits + second, "What the second stage does not know it walks to");
    assert_eq!(machine.while_doing(|| access(&machine, &nested)), [1, 1, 1, 1, 1, 0, 0, 0]);
}

#[test]
fn s11_4_13_interrupt_requests_are_counted() {
    let machine = Machine::with(FULL);
    machine.interrupt_entry(7, [3 << 32 | 0x41 << 16 | 1, 0]);
    machine.enable_queue();
    machine.enable_interrupts(true);
    machine.count(&[Counted::InterruptLookup, Counted::InterruptHit, Counted::Request]);
    let send = |times: u64| {
        let request = MsiMessage { address: 0xFEE0_0010 | 7 << 5, data: 0 };
        (0..times).for_each(|_| assert!(machine.remap(SOURCE, request).is_ok()));
    };
    assert_eq!(machine.while_doing(|| send(1)), [1, 0, 0]);
    assert_eq!(machine.while_doing(|| send(100)), [100, 100, 0]);
    machine.submit(&[descriptor::interrupt_global()]);
    assert_eq!(machine.while_doing(|| send(2)), [2, 1, 0]);
    // Routes programmed ahead of time are no requests.
    let request = MsiMessage { address: 0xFEE0_0010 | 7 << 5, data: 0 };
    assert_eq!(
        machine.while_doing(|| assert!(machine.unit.resolve(SOURCE, request).outcome.is_ok())),
        [0, 0, 0]
    );
}

#[test]
fn s11_4_13_hits_of_posted_entries_are_counted_apart() {
    let machine = Machine::with(FULL.with(Feature::PostedInterrupts));
    machine.interrupt_entry(7, [DATA << 32 | 0x41 << 16 | 1 << 15 | 1, 0]);
    machine.enable_queue();
    machine.enable_interrupts(true);
    machine.count(&[Counted::InterruptLookup, Counted::InterruptHit, Counted::InterruptHitPosted]);
    let request = MsiMessage { address: 0xFEE0_0010 | 7 << 5, data: 0 };
    let send = |times: u64| (0..times).for_each(|_| assert!(machine.remap(SOURCE, request).is_ok()));
    assert_eq!(machine.while_doing(|| send(1)), [1, 0, 0]);
    assert_eq!(machine.while_doing(|| send(10)), [10, 0, 10]);
}

const PAGE_REQUEST: PageRequest = PageRequest {
    source: SOURCE,
    pasid: Some(Pasid(5)),
    privileged: false,
    execute: false,
    read: true,
    write: true,
    last: true,
    group: 7,
    iova: Iova(0x5000),
};

#[test]
fn s11_4_13_page_requests_count_when_they_are_in_the_queue() {
    let machine = scalable();
    machine.count(&[Counted::PageRequest]);
    for _ in 0..127 {
        assert_eq!(machine.unit.page_request(&PAGE_REQUEST), None);
    }
    // The queue is full.
    assert!(machine.unit.page_request(&PAGE_REQUEST).is_some());
    assert_eq!(machine.counted(0), 127);
}

#[test]
fn s11_4_13_filters_choose_by_requester_domain_pasid_and_address_type() {
    let machine = scalable();
    let other = SourceId(0x0115);
    let entry = machine.read_memory(machine.scalable_root_entry(SOURCE)) & !0xFFF;
    let directory = machine.read_memory(entry + u64::from(SOURCE.devfn()) * 32);
    machine.scalable_context(other, [directory, 0, 0, 0]);
    // One of each: without PASID (domain 6), PASID 5 (domain 5) of two functions, a translation request (domain
    // 7), a translated request, which no domain is looked up for.
    let everything = || {
        let request = Request::new(SOURCE, Access::Read);
        access(&machine, &request);
        access(&machine, &request.with_pasid(Pasid(5)));
        access(&machine, &Request::new(other, Access::Read).with_pasid(Pasid(5)));
        let translated = Request { translated: true, ..Request::new(SOURCE, Access::Read) };
        access(&machine, &translated);
        let request = TranslationRequest {
            source: other,
            pasid: Some(Pasid(7)),
            iova: Iova(0x1000),
            privileged: false,
            execute: false,
            no_write: false,
        };
        machine.unit.translate(&request).unwrap();
    };
    machine.count(&[Counted::Request; 8]);
    assert_eq!(machine.while_doing(everything), [5; 8]);

    let set = |counter, filter: Filter, value: u32| machine.write(filter.offset(counter), value);
    set(0, Filter::Requester, ON | u32::from(other.0));
    set(1, Filter::Domain, ON | 5);
    set(2, Filter::Pasid, ON | 7);
    set(3, Filter::AddressType, ON | 0b001);
    set(4, Filter::AddressType, ON | 0b110);
    // All of them have to agree.
    set(5, Filter::Requester, ON | u32::from(other.0));
    set(5, Filter::Pasid, ON | 5);
    // One that is off says nothing.
    set(6, Filter::Requester, 0x1234);
    set(7, Filter::Domain, ON);
    assert_eq!(machine.while_doing(everything), [2, 2, 1, 3, 2, 1, 5, 0]);
    // A bit that no request has lets nothing pass.
    set(0, Filter::AddressType, ON);
    assert_eq!(machine.while_doing(everything), [0, 2, 1, 3, 2, 1, 5, 0]);
}

#[test]
fn s11_4_13_filters_hold_for_page_requests_and_interrupts_too() {
    let machine = scalable();
    machine.count(&[Counted::PageRequest, Counted::PageRequest, Counted::PageRequest]);
    machine.write(Filter::Pasid.offset(0), ON | 5);
    machine.write(Filter::Pasid.offset(1), ON | 6);
    machine.write(Filter::AddressType.offset(2), ON | 7);
    assert_eq!(
        machine.while_doing(|| assert!(machine.unit.page_request(&PAGE_REQUEST).is_none())),
        [1, 0, 0]
    );
}

#[test]
fn s11_4_14_counters_stop_freeze_and_go_on() {
    let (machine, table) = legacy();
    machine.map(table, 0x1000, DATA | RW);
    let once = || machine.read_page(0x1000);
    machine.configure(0, Counted::Request, 0);
    machine.configure(3, Counted::Request, 0);
    assert_eq!(machine.while_doing(once), [0; 4]);
    assert_eq!(machine.enhanced(ENABLE, 0), 0);
    assert_eq!(machine.while_doing(once), [1, 0, 0, 0]);
    assert_eq!(machine.enhanced(ENABLE, 3), 0);
    assert_eq!(machine.while_doing(once), [1, 0, 0, 1]);
    assert_eq!(machine.enhanced(FREEZE, 0), 0);
    assert_eq!(machine.read_u64(FREEZE_STATUS), 0xFF);
    assert_eq!(machine.while_doing(once), [0; 4]);
    // What is started now counts later.
    machine.configure(1, Counted::Request, 0);
    assert_eq!(machine.enhanced(ENABLE, 1), 0);
    assert_eq!(machine.enhanced(DISABLE, 3), 0);
    assert_eq!(machine.while_doing(once), [0; 4]);
    assert_eq!(machine.enhanced(UNFREEZE, 0), 0);
    assert_eq!(machine.read_u64(FREEZE_STATUS), 0);
    assert_eq!(machine.while_doing(once), [1, 1, 0, 0]);
    // It keeps its value when it starts.
    machine.set_counter(0, 1000);
    assert_eq!((machine.enhanced(DISABLE, 0), machine.enhanced(ENABLE, 0)), (0, 0));
    assert_eq!(machine.while_doing(once), [1, 1, 0, 0]);
    assert_eq!(machine.counted(0), 1001);
}

#[test]
fn s11_4_14_commands_that_are_not_there_or_mean_nothing_fail() {
    let (machine, table) = legacy();
    machine.map(table, 0x1000, DATA | RW);
    for code in (0..=u8::MAX).filter(|code| ![0xF0, 0xF1, 0xF4, 0xF5].contains(code)) {
        assert_eq!(machine.enhanced(code.into(), 0), 1, "{code:#x}");
    }
    for operand in [8, 0x100, 0xFFFF, 0x1_0000, 0x1_0000_0000, (1 << 48) - 1] {
        assert_eq!(machine.enhanced(ENABLE, operand), 2, "{operand:#x}");
        assert_eq!(machine.enhanced(DISABLE, operand), 2, "{operand:#x}");
    }
    assert_eq!(machine.while_doing(|| machine.read_page(0x1000)), [0; 8]);
    // The last response stays until the next command.
    assert_eq!(machine.read(ECRSP), 4);
    assert_eq!(machine.enhanced(ENABLE, 7), 0);
    // Halves one after the other are a command too; it begins with the lower.
    machine.write(COMMAND_HIGH, 1);
    machine.write(ECMD, ENABLE | 3 << 16);
    assert_eq!(machine.read(ECRSP) >> 1, 2);
    machine.write(COMMAND_HIGH, 0);
    machine.write(ECMD, ENABLE | 3 << 16);
    assert_eq!(machine.read(ECRSP) >> 1, 0);
    machine.write_u64(ECEO, 0x1122_3344_5566_7788);
    assert_eq!(machine.read_u64(ECEO), 0x1122_3344_5566_7788);
    // Software does not write the response.
    machine.write_u64(ECRSP, u64::MAX);
    assert_eq!(machine.read_u64(ECRSP), 0);
}

/// The highest value of a counter.
const LAST: u64 = (1 << 48) - 1;

#[test]
fn s11_4_13_an_overflow_is_told_once_until_software_has_looked() {
    let (machine, table) = legacy();
    machine.map(table, 0x1000, DATA | RW);
    machine.write(PERFINTRCTL + 4, 0x41);
    machine.write(PERFINTRCTL + 8, 0xFEE0_1000);
    machine.write(PERFINTRCTL + 12, 0x100);
    let message = MsiMessage { address: 0x100_FEE0_1000, data: 0x41 };
    machine.write(PERFINTRCTL, 0);
    machine.configure(2, Counted::Request, TELL);
    machine.configure(4, Counted::Request, TELL);
    machine.configure(5, Counted::Request, 0);
    for counter in [2, 4, 5] {
        assert_eq!(machine.enhanced(ENABLE, counter), 0);
    }
    machine.set_counter(2, LAST - 2);
    machine.read_page(0x1000);
    machine.read_page(0x1000);
    assert_eq!(machine.counted(2), LAST);
    assert_eq!((machine.read_u64(OVERFLOW_STATUS), machine.read(PERFINTRSTS)), (0, 0));
    assert_eq!(machine.platform.signals(), []);
    machine.read_page(0x1000);
    assert_eq!(machine.counted(2), 0);
    assert_eq!((machine.read_u64(OVERFLOW_STATUS), machine.read(PERFINTRSTS)), (1 << 2, 1));
    assert_eq!(machine.platform.signals(), [message]);
    // Another one while the status stands is seen in the registers alone.
    machine.set_counter(4, LAST);
    machine.read_page(0x1000);
    assert_eq!(machine.read_u64(OVERFLOW_STATUS), 1 << 2 | 1 << 4);
    assert_eq!(machine.platform.signals(), []);
    // Ones clear, and only what they name.
    machine.write_u64(OVERFLOW_STATUS, 1 << 2);
    machine.write(PERFINTRSTS, 0);
    assert_eq!((machine.read_u64(OVERFLOW_STATUS), machine.read(PERFINTRSTS)), (1 << 4, 1));
    machine.write_u64(OVERFLOW_STATUS, u64::MAX);
    machine.write(PERFINTRSTS, 1);
    assert_eq!((machine.read_u64(OVERFLOW_STATUS), machine.read(PERFINTRSTS)), (0, 0));
    // A counter that is not to tell only sets its bit.
    machine.set_counter(5, LAST);
    machine.read_page(0x1000);
    assert_eq!((machine.read_u64(OVERFLOW_STATUS), machine.read(PERFINTRSTS)), (1 << 5, 0));
    assert_eq!(machine.platform.signals(), []);
    machine.set_counter(4, LAST);
    machine.read_page(0x1000);
    assert_eq!(machine.platform.signals(), [message]);
}

#[test]
fn s11_4_13_an_overflow_is_held_back_as_long_as_it_is_masked() {
    let (machine, table) = legacy();
    machine.map(table, 0x1000, DATA | RW);
    machine.write(PERFINTRCTL + 8, 0xFEE0_2000);
    let message = MsiMessage { address: 0xFEE0_2000, data: 0 };
    machine.configure(0, Counted::Request, TELL);
    assert_eq!(machine.enhanced(ENABLE, 0), 0);
    let overflow = || {
        machine.set_counter(0, LAST);
        machine.read_page(0x1000);
    };
    // It is masked after power-on.
    overflow();
    assert_eq!((machine.read(PERFINTRCTL), machine.platform.signals()), (3 << 30, vec![]));
    machine.write(PERFINTRCTL, 0);
    assert_eq!((machine.read(PERFINTRCTL), machine.platform.signals()), (0, vec![message]));
    // What has been dealt with is not sent any more.
    machine.write(PERFINTRSTS, 1);
    machine.write(PERFINTRCTL, 1 << 31);
    overflow();
    assert_eq!(machine.read(PERFINTRCTL), 3 << 30);
    machine.write(PERFINTRSTS, 1);
    assert_eq!(machine.read(PERFINTRCTL), 1 << 31);
    machine.write(PERFINTRCTL, 0);
    assert_eq!(machine.platform.signals(), []);
}

#[test]
fn s11_4_13_counters_are_read_and_written_by_halves() {
    let (machine, _) = legacy();
    machine.set_counter(6, u64::MAX);
    assert_eq!(machine.counted(6), LAST, "There are no more bits");
    let offset = COUNTER + 6 * COUNTER_STRIDE;
    machine.write(offset, 0x1234_5678);
    assert_eq!((machine.read(offset), machine.read(offset + 4)), (0x1234_5678, 0xFFFF));
    machine.write(offset + 4, 0xABCD_EF01);
    assert_eq!(machine.counted(6), 0xEF01_1234_5678);
    // Other accesses are none.
    for (offset, length) in [(offset + 2, 4), (offset + 4, 8), (offset, 2), (offset, 16)] {
        let mut data = vec![0xFF; length];
        machine.unit.write(offset, &data);
        machine.unit.read(offset, &mut data);
        assert_eq!(data, vec![0; length], "{offset:#x}, {length}");
    }
    assert_eq!(machine.counted(6), 0xEF01_1234_5678);
    assert_eq!(machine.read_u64(offset + 8), 0);
}

#[test]
fn what_is_reserved_stays_zero() {
    let (machine, _) = legacy();
    machine.write_u64(CONFIGURATION, u64::MAX);
    assert_eq!(machine.read_u64(CONFIGURATION), 0x0FFF_FFFF_0000_0F02);
    let filters = [8, 12, 16, 20, 24, 28].map(|place| {
        machine.write(CONFIGURATION + 0x700 + place, u32::MAX);
        machine.read(CONFIGURATION + 0x700 + place)
    });
    assert_eq!(filters, [0x8000_FFFF, 0x8000_FFFF, 0x800F_FFFF, 0x8000_0007, 0, 0]);
    for offset in [PERFCAP, PERFEVNTCAP, FREEZE_STATUS, CONFIGURATION + 0x800, COUNTER + 8 * COUNTER_STRIDE] {
        let before = machine.read_u64(offset);
        machine.write_u64(offset, u64::MAX);
        assert_eq!(machine.read_u64(offset), before, "{offset:#x}");
    }
}

#[test]
fn without_the_capabilities_there_is_none_of_it() {
    for capabilities in [Capabilities::legacy(48), Capabilities::new(Profile::FirstStage, 48)] {
        let machine = Machine::with(capabilities);
        for offset in (0x300..0x8000).step_by(4) {
            machine.write(offset, u32::MAX);
            assert_eq!(machine.read(offset), 0, "{offset:#x}");
        }
        machine.write_u64(ECMD, 0xF0);
        assert!(machine.unit.counters.tally(|| unreachable!()).is_none());
    }
    // Commands without counters: none of them is known.
    let commands = Capabilities::legacy(48).with(Feature::EnhancedCommands);
    let machine = Machine::with(commands);
    assert_eq!((machine.enhanced(ENABLE, 0), machine.read_u64(PERFCAP)), (1, 0));
}

#[test]
fn s11_4_13_no_event_is_lost_between_threads() {
    let (machine, table) = legacy();
    machine.map(table, 0x1000, DATA | RW);
    machine.count(&[Counted::Request, Counted::IotlbLookup]);
    machine.configure(7, Counted::Request, TELL);
    assert_eq!(machine.enhanced(ENABLE, 7), 0);
    machine.set_counter(7, LAST - 9_999);
    let machine = Arc::new(machine);
    let done = Arc::new(AtomicBool::new(false));
    let reader = thread::spawn({
        let (machine, done) = (Arc::clone(&machine), Arc::clone(&done));
        move || {
            let mut last = 0;
            while !done.load(Ordering::Relaxed) {
                let now = machine.counted(0);
                assert!(now >= last && now <= 20_000);
                last = now;
            }
        }
    });
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..10_000).for_each(|_| machine.read_page(0x1000)));
        }
    });
    done.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    assert_eq!([0, 1].map(|counter| machine.counted(counter)), [20_000; 2]);
    assert_eq!((machine.counted(7), machine.read(OVERFLOW_STATUS)), (10_000, 1 << 7));
}

#[test]
fn a_reset_stops_and_clears_everything() {
    let (machine, table) = legacy();
    machine.map(table, 0x1000, DATA | RW);
    machine.count(&[Counted::Request; 8]);
    machine.set_counter(0, LAST);
    machine.read_page(0x1000);
    machine.enhanced(FREEZE, 0);
    machine.unit.reset();
    let fresh = Machine::with(FULL);
    for offset in (0..FULL.window_size()).step_by(4) {
        assert_eq!(machine.read(offset), fresh.read(offset), "{offset:#x}");
    }
    assert_eq!(machine.while_doing(|| machine.read_page(0x1000)), [0; 8]);
    assert_eq!(machine.enhanced(UNFREEZE, 0), 0);
    machine.configure(0, Counted::Request, 0);
    assert_eq!(machine.while_doing(|| machine.read_page(0x1000)), [0; 8]);
}
