//! A unit driven as Linux drives it with caching mode: registers, the invalidation queue, tables in memory.
//! What the guest is told is held against what the host has been asked to do by then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use iommu::{
    Attachment, Capabilities, EntryRange, Extent, GuestAddress, Iova, MapError, MsiMessage, Permissions,
    Platform, SourceId, Unit,
};
use support::fake_host::{Call, FakeHost};
use support::guest::{Device, Guest, Memory, PAGE, PAGE_2M, RAM, Table};

mod support;

const CAP: u64 = 0x08;
const ECAP: u64 = 0x10;
const GCMD: u64 = 0x18;
const GSTS: u64 = 0x1C;
const RTADDR: u64 = 0x20;
const CCMD: u64 = 0x28;
const FSTS: u64 = 0x34;
const FECTL: u64 = 0x38;
const FEDATA: u64 = 0x3C;
const FEADDR: u64 = 0x40;
const IQH: u64 = 0x80;
const IQT: u64 = 0x88;
const IQA: u64 = 0x90;

const TE: u32 = 1 << 31;
const SRTP: u32 = 1 << 30;
const QIE: u32 = 1 << 26;
const RUN: u64 = 1 << 63;

/// What Linux writes beside a descriptor while it is under way, and lets the unit write when it is done.
const IN_USE: u32 = 1;
const DONE: u32 = 2;

const QUEUE_ENTRIES: u64 = 256;
const NVME: SourceId = SourceId(0x0100);
const DOMAIN: u16 = 2;
const BOTH: Permissions = Permissions::all();

type Descriptor = [u64; 2];

fn context_device(domain: u16, source: SourceId) -> Descriptor {
    [1 | 3 << 4 | u64::from(domain) << 16 | u64::from(source.0) << 32, 0]
}

const CONTEXT_GLOBAL: Descriptor = [1 | 1 << 4, 0];
const IOTLB_GLOBAL: Descriptor = [2 | 1 << 4 | 3 << 6, 0];

fn iotlb_domain(domain: u16) -> Descriptor {
    [2 | 2 << 4 | 3 << 6 | u64::from(domain) << 16, 0]
}

/// `pages` is a power of two.
fn iotlb_pages(domain: u16, iova: u64, pages: u64, hint: bool) -> Descriptor {
    let mask = u64::from(pages.trailing_zeros());
    [2 | 3 << 4 | 3 << 6 | u64::from(domain) << 16, iova | u64::from(hint) << 6 | mask]
}

#[derive(Default)]
struct Board {
    signalled: Mutex<Vec<MsiMessage>>,
}

impl Platform for Board {
    fn signal(&self, message: MsiMessage) {
        self.signalled.lock().unwrap().push(message);
    }

    fn interrupt_entries_changed(&self, _entries: EntryRange) {}
}

/// The driver in the guest, and what it drives.
struct Machine {
    guest: Guest,
    unit: Arc<Unit<Memory>>,
    board: Arc<Board>,
    queue: u64,
    status: u64,
    tail: AtomicU64,
}

struct Assigned {
    device: Arc<Device>,
    host: FakeHost,
    attachment: Attachment,
}

impl Machine {
    /// Power is on, the guest has not started.
    fn new() -> Self {
        let guest = Guest::new();
        let unit = Arc::new(Unit::new(guest.memory.clone(), Capabilities::legacy(48)));
        let board = Arc::new(Board::default());
        unit.connect(board.clone());
        let (queue, status) = (guest.page(), guest.page());
        Self { guest, unit, board, queue, status, tail: AtomicU64::new(0) }
    }

    /// The guest has brought the unit up, and the NVMe is behind a table.
    fn running() -> (Self, Assigned, Table) {
        let machine = Self::new();
        let nvme = machine.attach(NVME);
        machine.bring_up();
        let table = machine.guest.table(4);
        machine.put_behind(NVME, &table, DOMAIN);
        nvme.host.calls();
        (machine, nvme, table)
    }

    fn attach(&self, source: SourceId) -> Assigned {
        let device = Device::new(source);
        let host = FakeHost::new(&RAM);
        let ram = RAM.iter().map(|range| (GuestAddress(range.start), range.end - range.start)).collect();
        let attachment = self.unit.attach(device.clone(), host.mapper(), ram);
        Assigned { device, host, attachment }
    }

    fn read(&self, offset: u64) -> u32 {
        read_register(&self.unit, offset)
    }

    fn write(&self, offset: u64, value: u32) {
        self.unit.write(offset, &value.to_le_bytes());
    }

    fn write_u64(&self, offset: u64, value: u64) {
        self.unit.write(offset, &value.to_le_bytes());
    }

    /// One bit of the global command, as software has to: all others as the status shows them.
    fn command(&self, bit: u32) {
        self.write(GCMD, self.read(GSTS) & 0x96FF_FFFF | bit);
        assert_ne!(self.read(GSTS) & bit, 0, "done when the write returns");
    }

    fn switch_translation_off(&self) {
        self.write(GCMD, self.read(GSTS) & 0x96FF_FFFF & !TE);
        assert_eq!(self.read(GSTS) & TE, 0);
    }

    /// In the order of Linux: the queue, the root table with everything flushed, translation last.
    fn bring_up(&self) {
        self.write_u64(IQT, 0);
        self.write_u64(IQA, self.queue);
        self.command(QIE);
        self.write_u64(RTADDR, self.guest.root);
        self.command(SRTP);
        self.submit(&[CONTEXT_GLOBAL]);
        self.submit(&[IOTLB_GLOBAL]);
        self.command(TE);
    }

    fn put_behind(&self, source: SourceId, table: &Table, domain: u16) {
        self.guest.set_domain(source, table, domain);
        self.submit(&[context_device(0, source)]);
        self.submit(&[iotlb_domain(domain)]);
    }

    /// Writes descriptors and a wait into the queue, then the tail.
    fn submit(&self, descriptors: &[Descriptor]) {
        let tail = self.tail.load(Ordering::Relaxed);
        let slot = |index: u64| (tail + index) % QUEUE_ENTRIES;
        let wait_at = slot(descriptors.len() as u64);
        let status = self.status + wait_at * 4;
        self.set_status(status, IN_USE);
        let wait = [5 | 1 << 5 | u64::from(DONE) << 32, status];
        for (index, descriptor) in descriptors.iter().chain([&wait]).enumerate() {
            let at = self.queue + slot(index as u64) * 16;
            self.guest.write(at, descriptor[0]);
            self.guest.write(at + 8, descriptor[1]);
        }
        let tail = (wait_at + 1) % QUEUE_ENTRIES;
        self.tail.store(tail, Ordering::Relaxed);
        self.write(IQT, (tail * 16) as u32);
        assert_eq!(read_status(&self.guest.memory, status), DONE, "FSTS {:#x}", self.read(FSTS));
        assert_eq!(u64::from(self.read(IQH)), tail * 16);
    }

    /// Where the status of the next submission of `count` descriptors will be.
    fn next_status(&self, count: u64) -> u64 {
        self.status + (self.tail.load(Ordering::Relaxed) + count) % QUEUE_ENTRIES * 4
    }

    fn set_status(&self, address: u64, value: u32) {
        let word = self.guest.read(address & !7);
        let shift = (address & 4) * 8;
        self.guest.write(address & !7, word & !(0xFFFF_FFFF << shift) | u64::from(value) << shift);
    }

    /// As the DMA API does it: one sync for a buffer.
    fn map(&self, table: &Table, iova: u64, guest: u64, pages: u64) {
        for offset in (0..pages).map(|page| page * PAGE) {
            self.guest.map(table, iova + offset, guest + offset, PAGE, BOTH);
        }
        self.submit(&[iotlb_pages(DOMAIN, iova, pages, false)]);
    }

    fn unmap(&self, table: &Table, iova: u64, pages: u64) {
        for page in 0..pages {
            self.guest.unmap(table, iova + page * PAGE, PAGE);
        }
        self.submit(&[iotlb_pages(DOMAIN, iova, pages, true)]);
    }
}

impl Assigned {
    #[track_caller]
    fn assert_exact(&self) {
        self.host.assert_lawful();
        let audit = self.attachment.audit();
        assert!(audit.is_exact(), "{audit:?}");
    }

    /// Does `action` and runs `check` at every call to the host meanwhile; gives how many there were.
    fn during(&self, action: impl FnOnce(), check: impl Fn() + Send + 'static) -> u64 {
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        self.host.observe(move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            check();
        });
        action();
        self.host.stop_observing();
        count.load(Ordering::Relaxed)
    }
}

fn read_register(unit: &Unit<Memory>, offset: u64) -> u32 {
    let mut data = [0; 4];
    unit.read(offset, &mut data);
    u32::from_le_bytes(data)
}

fn read_status(memory: &Memory, address: u64) -> u32 {
    vm_memory::Bytes::load(&**memory, GuestAddress(address), Ordering::SeqCst).unwrap()
}

fn extent(iova: u64, guest: u64, length: u64) -> Extent {
    Extent { iova: Iova(iova), guest: GuestAddress(guest), length, permissions: BOTH }
}

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

/// Mistake 5: a wait whose status is written before what it waits for has happened.
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
