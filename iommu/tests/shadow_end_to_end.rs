//! A unit driven as Linux drives it with caching mode: registers, the invalidation queue, tables in memory.
//! What the guest is told is held against what the host has been asked to do by then.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use iommu::{Capabilities, MapError, MsiMessage, Profile, SourceId};
use support::fake_host::Call;
use support::guest::{PAGE, PAGE_2M, RAM};
use support::machine::*;

mod support;

#[test]
fn a_linux_driver_maps_and_unmaps_buffers() {
    let machine = Machine::new();
    let nvme = machine.attach(NVME);
    nvme.device.set_bus_master(true);
    nvme.attachment.refresh();
    assert_eq!(nvme.host.calls().len(), RAM.len(), "firmware uses the drive");

    machine.bring_up();
    assert_eq!(nvme.host.calls(), [Call::UnmapAll], "translation is on, and nothing is mapped");

    let table = machine.guest.table(4);
    machine.put_behind(NVME, &table, DOMAIN);
    assert_eq!(nvme.host.calls(), []);

    machine.map(&table, 0xFFFF_0000, 0x1234_5000, 8);
    machine.map(&table, 0xFFFE_F000, 0x2000_0000, 1);
    assert_eq!(
        nvme.host.calls(),
        [
            Call::Map(extent(0xFFFF_0000, 0x1234_5000, 8 * PAGE)),
            Call::Map(extent(0xFFFE_F000, 0x2000_0000, PAGE)),
        ]
    );
    machine.unmap(&table, 0xFFFF_0000, 8);
    assert_eq!(nvme.host.calls(), [Call::Unmap { iova: 0xFFFF_0000, length: 8 * PAGE }]);
    nvme.assert_exact();

    // The driver lets go of the drive.
    machine.guest.clear_context(NVME);
    machine.submit(&[context_device(DOMAIN, NVME)]);
    machine.submit(&[iotlb_domain(DOMAIN)]);
    assert_eq!(nvme.host.calls(), [Call::UnmapAll]);
    nvme.assert_exact();
}

/// Where the parts of scalable mode's tables lie.
struct ScalableTables {
    context: u64,
    pasid_entry: u64,
}

impl ScalableTables {
    /// Tables with a place for the NVMe, which is not taken.
    fn new(machine: &Machine) -> Self {
        let guest = &machine.guest;
        let [contexts, directory, pasids] = [(); 3].map(|()| guest.page());
        guest.write(guest.root + u64::from(NVME.bus()) * 16, contexts | 1);
        guest.write(directory, pasids | 1);
        let context = contexts + u64::from(NVME.devfn()) * 32;
        guest.write(context, directory);
        Self { context, pasid_entry: pasids }
    }
}

/// The order of Linux with caching mode: the context entry when the driver finds the function, the entry of
/// PASID 0 when it gets a domain, each with the invalidations that belong to it.
#[test]
fn a_linux_driver_in_scalable_mode_maps_and_unmaps_buffers() {
    let machine = Machine::with(Capabilities::new(Profile::SecondStage, 48));
    let tables = ScalableTables::new(&machine);
    let guest = &machine.guest;
    let nvme = machine.attach(NVME);
    machine.bring_up();
    guest.write(tables.context, guest.read(tables.context) | 1);
    machine.submit(&[context_device(0, NVME), iotlb_domain(0)]);
    let table = guest.table(4);
    guest.map(&table, 0x5000, 0x6000, PAGE, BOTH);
    guest.write(tables.pasid_entry + 8, DOMAIN.into());
    guest.write(tables.pasid_entry, table.root | 2 << 6 | 2 << 2 | 1);
    assert_eq!(nvme.host.calls(), []);

    let status = machine.next_status(2);
    let memory = guest.memory.clone();
    let not_told = move || assert_eq!(read_status(&memory, status), IN_USE);
    let announce = || machine.submit(&[pasid_cache(DOMAIN, 0), pasid_iotlb(DOMAIN, 0)]);
    assert_eq!(nvme.during(announce, not_told), 1);
    assert_eq!(nvme.host.calls(), [Call::Map(extent(0x5000, 0x6000, PAGE))]);
    machine.map(&table, 0xFFFF_0000, 0x1234_5000, 8);
    assert_eq!(nvme.host.calls(), [Call::Map(extent(0xFFFF_0000, 0x1234_5000, 8 * PAGE))]);
    machine.unmap(&table, 0xFFFF_0000, 8);
    assert_eq!(nvme.host.calls(), [Call::Unmap { iova: 0xFFFF_0000, length: 8 * PAGE }]);
    nvme.assert_exact();

    // The driver lets go of the drive: nothing is left before it is told so.
    guest.write(tables.pasid_entry, 0);
    let status = machine.next_status(2);
    let memory = guest.memory.clone();
    let not_told = move || assert_eq!(read_status(&memory, status), IN_USE);
    let announce = || machine.submit(&[pasid_cache(DOMAIN, 0), iotlb_domain(DOMAIN)]);
    assert_eq!(nvme.during(announce, not_told), 1);
    assert_eq!(nvme.host.calls(), [Call::UnmapAll]);
    nvme.assert_exact();
}

/// The bound of the work that one register write does: what is announced before one wait, which comes later.
#[test]
fn a_slow_host_makes_the_queue_go_on_later() {
    let machine = Machine::with(Capabilities::new(Profile::SecondStage, 48));
    machine.board.resumes.store(true, Ordering::Relaxed);
    let tables = ScalableTables::new(&machine);
    let guest = &machine.guest;
    let nvme = machine.attach(NVME);
    guest.write(tables.context, guest.read(tables.context) | 1);
    machine.bring_up();
    let table = guest.table(4);
    guest.map(&table, 0x5000, 0x6000, PAGE, BOTH);
    guest.write(tables.pasid_entry + 8, DOMAIN.into());
    guest.write(tables.pasid_entry, table.root | 2 << 6 | 2 << 2 | 1);
    nvme.host.observe(|_, _| thread::sleep(Duration::from_millis(30)));
    let head = machine.read(IQH);
    let status = machine.begin(&[pasid_cache(DOMAIN, 0), iotlb_domain(DOMAIN)]);
    assert_eq!((machine.read(IQH), read_status(&guest.memory, status)), (head + 64, IN_USE));
    machine.unit.resume();
    assert_eq!((machine.read(IQH), read_status(&guest.memory, status)), (machine.read(IQT), DONE));
    nvme.assert_exact();
}

#[test]
fn a_state_taken_up_brings_the_hosts_mappings_in_line() {
    let (machine, nvme, table) = Machine::running();
    machine.map(&table, 0x1000_0000, 0x2000_0000, 4);
    let state = machine.unit.save();
    machine.unit.reset();
    assert!(nvme.host.mappings().iter().all(|mapping| mapping.iova.0 != 0x1000_0000));
    // Meanwhile the guest's tables have come to say something else.
    machine.guest.unmap(&table, 0x1000_0000, PAGE);
    machine.unit.restore(&state).unwrap();
    let page = |index| extent(0x1000_0000 + index * PAGE, 0x2000_0000 + index * PAGE, PAGE);
    assert_eq!(nvme.host.mappings(), [1, 2, 3].map(page));
    nvme.assert_exact();
    assert_eq!(machine.unit.save(), state);
}

/// A known mistake: a wait whose status is written before what it waits for has happened.
#[test]
fn a_wait_completes_after_every_call_to_the_host() {
    let (machine, nvme, table) = Machine::running();
    let buffers: Vec<_> = (0..4).map(|index| 0x1000_0000 + index * 0x10_0000).collect();
    let descriptors: Vec<_> = buffers
        .iter()
        .map(|iova| iotlb_pages(DOMAIN, *iova, 1, false))
        .chain([iotlb_domain(DOMAIN)])
        .collect();
    let flush = || {
        let status = machine.next_status(5);
        let head = machine.read(IQH);
        let (memory, unit) = (machine.guest.memory.clone(), machine.unit.clone());
        let not_told = move || {
            assert_eq!(read_status(&memory, status), IN_USE);
            assert_eq!(read_register(&unit, IQH), head);
        };
        nvme.during(|| machine.submit(&descriptors), not_told)
    };

    for iova in &buffers {
        machine.guest.map(&table, *iova, 0x2000_0000 + iova, PAGE, BOTH);
    }
    machine.guest.map(&table, PAGE_2M, PAGE_2M, PAGE_2M, BOTH);
    assert_eq!(flush(), 5);
    assert_eq!(flush(), 0);
    for iova in &buffers {
        machine.guest.unmap(&table, *iova, PAGE);
    }
    machine.guest.unmap(&table, PAGE_2M, PAGE_2M);
    assert_eq!(flush(), 5);
    nvme.assert_exact();
    assert_eq!(nvme.host.mappings(), []);
}

/// The queue stops at a descriptor that is an error, with its head there.
#[test]
fn what_stands_before_an_error_is_carried_out_before_the_error_is_told() {
    let (machine, nvme, table) = Machine::running();
    machine.map(&table, 0x10_0000, 0x20_0000, 1);
    machine.guest.unmap(&table, 0x10_0000, PAGE);
    machine.guest.map(&table, 0x30_0000, 0x40_0000, PAGE, BOTH);
    let head = machine.read(IQH);
    let unit = machine.unit.clone();
    let not_told = move || {
        assert_eq!(read_register(&unit, IQH), head);
        assert_eq!(read_register(&unit, FSTS), 0);
    };
    let pages = [0x10_0000, 0x30_0000].map(|iova| iotlb_pages(DOMAIN, iova, 1, false));
    let nonsense = [15, 0];
    let submit = || {
        let status = machine.begin(&[pages[0], pages[1], nonsense]);
        assert_eq!(read_status(&machine.guest.memory, status), IN_USE);
    };
    assert_eq!(nvme.during(submit, not_told), 2);
    assert_eq!((machine.read(IQH), machine.read(FSTS) & 0x10), (head + 32, 0x10));
    nvme.assert_exact();
}

/// A queue without a wait, or with more in it than is done at once.
#[test]
fn what_nobody_waits_for_is_carried_out_at_the_end_of_the_queue() {
    let (machine, nvme, table) = Machine::running();
    let buffers: Vec<_> = (0..150_u64).map(|index| 0x1000_0000 + index * 0x10_0000).collect();
    for iova in &buffers {
        machine.guest.map(&table, *iova, 0x2000_0000 + iova, PAGE, BOTH);
    }
    let pages: Vec<_> = buffers.iter().map(|iova| iotlb_pages(DOMAIN, *iova, 1, false)).collect();
    machine.begin(&pages);
    assert_eq!(nvme.host.calls().len(), 150);
    machine.guest.unmap(&table, buffers[0], PAGE);
    // One descriptor alone, over the place of the wait that follows it.
    let tail = machine.read(IQT);
    let at = machine.queue + u64::from(tail);
    machine.guest.write(at, pages[0][0]);
    machine.guest.write(at + 8, pages[0][1]);
    machine.write(IQT, tail + 16);
    assert_eq!(nvme.host.calls(), [Call::Unmap { iova: buffers[0], length: PAGE }]);
    assert_eq!(machine.read(IQH), tail + 16);
    nvme.assert_exact();
}

#[test]
fn translation_is_reported_when_the_host_follows_it() {
    let machine = Machine::new();
    let nvme = machine.attach(NVME);
    nvme.device.set_bus_master(true);
    nvme.attachment.refresh();
    let table = machine.guest.table(4);
    machine.guest.set_domain(NVME, &table, DOMAIN);
    machine.guest.map(&table, 0x5000, 0x6000, PAGE, BOTH);
    machine.write_u64(RTADDR, machine.guest.root);
    machine.command(SRTP);

    let unit = machine.unit.clone();
    let not_on = move || assert_eq!(read_register(&unit, GSTS) & TE, 0);
    let calls = nvme.during(|| machine.command(TE), not_on);
    assert_eq!(calls, 2, "everything away, one page mapped");

    let unit = machine.unit.clone();
    let still_on = move || assert_ne!(read_register(&unit, GSTS) & TE, 0);
    let calls = nvme.during(|| machine.switch_translation_off(), still_on);
    assert_eq!(calls, 1 + RAM.len() as u64);
}

#[test]
fn a_new_root_table_is_reported_when_the_host_follows_it() {
    let (machine, nvme, table) = Machine::running();
    machine.map(&table, 0x10_0000, 0x20_0000, 1);
    machine.write_u64(RTADDR, machine.guest.page());
    let unit = machine.unit.clone();
    let not_set = move || assert_eq!(read_register(&unit, GSTS) & SRTP, 0);
    assert_eq!(nvme.during(|| machine.command(SRTP), not_set), 1);
    assert_eq!(nvme.host.mappings(), []);
}

#[test]
fn register_commands_finish_after_the_host() {
    let machine = Machine::new();
    let nvme = machine.attach(NVME);
    machine.write_u64(RTADDR, machine.guest.root);
    machine.command(SRTP);
    machine.command(TE);
    let table = machine.guest.table(4);
    machine.guest.map(&table, 0x5000, 0x6000, PAGE, BOTH);
    machine.guest.set_domain(NVME, &table, DOMAIN);

    let iotlb = u64::from(machine.read(ECAP) >> 8 & 0x3FF) * 16 + 8;
    for (register, global) in [(CCMD, 1 << 61), (iotlb, 1 << 60)] {
        let unit = machine.unit.clone();
        let running = move || assert_eq!(read_register(&unit, register + 4) >> 31, 1);
        let calls = nvme.during(|| machine.write_u64(register, RUN | global), running);
        assert_eq!(calls, 1);
        assert_eq!(machine.read(register + 4) >> 31, 0);
        machine.guest.unmap(&table, 0x5000, PAGE);
    }
    nvme.assert_exact();
}

#[test]
fn a_mapping_that_the_host_refuses_is_a_fault_record_and_an_interrupt() {
    let (machine, nvme, table) = Machine::running();
    machine.write(FEDATA, 0x4021);
    machine.write(FEADDR, 0xFEE0_1000);
    machine.write(FECTL, 0);

    nvme.host.refuse_next([Some(MapError::Full)]);
    machine.map(&table, 0x10_0000, 0x20_0000, 1);
    assert_eq!(machine.read(FSTS) & 2, 2, "a record is pending");
    let cap = u64::from(machine.read(CAP)) | u64::from(machine.read(CAP + 4)) << 32;
    let record = (cap >> 24 & 0x3FF) * 16;
    let [address, source, reason] = [0, 8, 12].map(|offset| machine.read(record + offset));
    assert_eq!(address, 0x10_0000);
    assert_eq!(source & 0xFFFF, u32::from(NVME.0));
    assert_eq!(reason & 0xFF, 6, "reading is not possible");
    let message = MsiMessage { address: 0xFEE0_1000, data: 0x4021 };
    assert_eq!(*machine.board.signalled.lock().unwrap(), [message]);

    // The next flush that covers it makes it good, and nothing more is recorded.
    machine.submit(&[iotlb_domain(DOMAIN)]);
    assert_eq!(nvme.host.mappings(), [extent(0x10_0000, 0x20_0000, PAGE)]);
    assert_eq!(machine.board.signalled.lock().unwrap().len(), 1);
}

#[test]
fn a_guest_that_takes_nonsense_for_memory_goes_on() {
    let (machine, nvme, table) = Machine::running();
    machine.map(&table, 0x10_0000, 0xFEB0_0000, 1);
    machine.map(&table, 0x20_0000, 0x30_0000, 1);
    assert_eq!(nvme.host.mappings(), [extent(0x20_0000, 0x30_0000, PAGE)]);
    machine.unmap(&table, 0x10_0000, 1);
    nvme.assert_exact();
}

#[test]
fn a_reset_gives_untranslated_memory_back() {
    let (machine, nvme, table) = Machine::running();
    nvme.device.set_bus_master(true);
    nvme.attachment.refresh();
    machine.map(&table, 0x10_0000, 0x20_0000, 1);
    nvme.host.calls();
    machine.unit.reset();
    assert_eq!(nvme.host.calls().len(), 1 + RAM.len());
    nvme.assert_exact();
}

#[test]
fn a_function_plugged_into_a_running_machine_finds_its_domain() {
    let (machine, _nvme, table) = Machine::running();
    machine.map(&table, 0x10_0000, 0x20_0000, 1);
    let second = SourceId(0x0200);
    machine.guest.set_domain(second, &table, DOMAIN);
    let nic = machine.attach(second);
    assert_eq!(nic.host.mappings(), [extent(0x10_0000, 0x20_0000, PAGE)]);
    drop(nic.attachment);
    assert_eq!(nic.host.mappings(), []);
}

/// Bus Master is written without the queue's lock, while another processor works the queue.
#[test]
fn config_writes_and_invalidations_at_once_end_in_line() {
    let (machine, nvme, table) = Machine::running();
    let nvme = &nvme;
    thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..2000 {
                nvme.device.set_bus_master(turn % 2 == 0);
                nvme.attachment.refresh();
            }
        });
        for turn in 0..500_u64 {
            let iova = 0x10_0000 + turn % 7 * 0x10_0000;
            match turn % 5 {
                0 | 1 => machine.map(&table, iova, 0x1000_0000 + turn * PAGE, 1),
                2 => machine.unmap(&table, iova, 1),
                3 => machine.switch_translation_off(),
                _ => machine.command(TE),
            }
        }
    });
    nvme.assert_exact();
    machine.switch_translation_off();
    nvme.assert_exact();
    assert_eq!(nvme.host.mappings(), [], "the last word was: no bus master");
}
