//! The driver in a guest as Linux has it with caching mode, and the unit that it drives.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use iommu::{
    Attachment, Capabilities, EntryRange, Extent, Feature, GuestAddress, Iova, MsiMessage, Permissions,
    Platform, SourceId, Unit,
};
use vm_memory::Bytes;

use super::fake_host::FakeHost;
use super::guest::{Device, Guest, Memory, PAGE, RAM, Table};

pub const CAP: u64 = 0x08;
pub const ECAP: u64 = 0x10;
pub const GCMD: u64 = 0x18;
pub const GSTS: u64 = 0x1C;
pub const RTADDR: u64 = 0x20;
pub const CCMD: u64 = 0x28;
pub const FSTS: u64 = 0x34;
pub const FECTL: u64 = 0x38;
pub const FEDATA: u64 = 0x3C;
pub const FEADDR: u64 = 0x40;
pub const IQH: u64 = 0x80;
pub const IQT: u64 = 0x88;
pub const IQA: u64 = 0x90;

pub const TE: u32 = 1 << 31;
pub const SRTP: u32 = 1 << 30;
pub const QIE: u32 = 1 << 26;
pub const RUN: u64 = 1 << 63;

/// What Linux writes beside a descriptor while it is under way, and lets the unit write when it is done.
pub const IN_USE: u32 = 1;
pub const DONE: u32 = 2;

/// The queue is a page.
pub const QUEUE_SIZE: u64 = 0x1000;
pub const NVME: SourceId = SourceId(0x0100);
pub const DOMAIN: u16 = 2;
pub const BOTH: Permissions = Permissions::READ_WRITE;

pub type Descriptor = [u64; 2];

pub fn context_device(domain: u16, source: SourceId) -> Descriptor {
    [1 | 3 << 4 | u64::from(domain) << 16 | u64::from(source.0) << 32, 0]
}

pub const CONTEXT_GLOBAL: Descriptor = [1 | 1 << 4, 0];
pub const IOTLB_GLOBAL: Descriptor = [2 | 1 << 4 | 3 << 6, 0];
pub const PASID_CACHE_GLOBAL: Descriptor = [7 | 3 << 4, 0];

pub fn pasid_cache(domain: u16, pasid: u64) -> Descriptor {
    [7 | 1 << 4 | u64::from(domain) << 16 | pasid << 32, 0]
}

pub fn pasid_iotlb(domain: u16, pasid: u64) -> Descriptor {
    [6 | 2 << 4 | u64::from(domain) << 16 | pasid << 32, 0]
}

pub fn iotlb_domain(domain: u16) -> Descriptor {
    [2 | 2 << 4 | 3 << 6 | u64::from(domain) << 16, 0]
}

/// `pages` is a power of two.
pub fn iotlb_pages(domain: u16, iova: u64, pages: u64, hint: bool) -> Descriptor {
    let mask = u64::from(pages.trailing_zeros());
    [2 | 3 << 4 | 3 << 6 | u64::from(domain) << 16, iova | u64::from(hint) << 6 | mask]
}

#[derive(Default)]
pub struct Board {
    pub signalled: Mutex<Vec<MsiMessage>>,
    /// Whether someone sees to it that the queue goes on later.
    pub resumes: AtomicBool,
}

impl Platform for Board {
    fn signal(&self, message: MsiMessage) {
        self.signalled.lock().unwrap().push(message);
    }

    fn interrupt_entries_changed(&self, _entries: EntryRange) {}

    fn resume_later(&self) -> bool {
        self.resumes.load(Ordering::Relaxed)
    }
}

/// The driver in the guest, and what it drives.
pub struct Machine {
    pub guest: Guest,
    pub unit: Arc<Unit<Memory>>,
    pub board: Arc<Board>,
    pub queue: u64,
    pub status: u64,
    pub tail: AtomicU64,
}

pub struct Assigned {
    pub device: Arc<Device>,
    pub host: FakeHost,
    pub attachment: Attachment,
}

impl Machine {
    /// Power is on, the guest has not started.
    pub fn new() -> Self {
        Self::with(Capabilities::legacy(48))
    }

    /// The same with another unit; it will be in scalable mode if it has that.
    pub fn with(capabilities: Capabilities) -> Self {
        let guest = Guest::new();
        let unit = Arc::new(Unit::new(guest.memory.clone(), capabilities));
        let board = Arc::new(Board::default());
        unit.connect(board.clone());
        let (queue, status) = (guest.page(), guest.page());
        Self { guest, unit, board, queue, status, tail: AtomicU64::new(0) }
    }

    /// The guest has brought the unit up, and the NVMe is behind a table.
    pub fn running() -> (Self, Assigned, Table) {
        let machine = Self::new();
        let nvme = machine.attach(NVME);
        machine.bring_up();
        let table = machine.guest.table(4);
        machine.put_behind(NVME, &table, DOMAIN);
        nvme.host.calls();
        (machine, nvme, table)
    }

    pub fn attach(&self, source: SourceId) -> Assigned {
        let device = Device::new(source);
        let (host, dma) = FakeHost::new(&RAM);
        let ram = RAM.iter().map(|range| (GuestAddress(range.start), range.end - range.start)).collect();
        let group = self.unit.group(dma, ram);
        let attachment = self.unit.attach(device.clone(), &group);
        Assigned { device, host, attachment }
    }

    pub fn read(&self, offset: u64) -> u32 {
        read_register(&self.unit, offset)
    }

    pub fn write(&self, offset: u64, value: u32) {
        self.unit.write(offset, &value.to_le_bytes());
    }

    pub fn write_u64(&self, offset: u64, value: u64) {
        self.unit.write(offset, &value.to_le_bytes());
    }

    /// One bit of the global command, as software has to: all others as the status shows them.
    pub fn command(&self, bit: u32) {
        self.write(GCMD, self.read(GSTS) & 0x96FF_FFFF | bit);
        assert_ne!(self.read(GSTS) & bit, 0, "done when the write returns");
    }

    pub fn switch_translation_off(&self) {
        self.write(GCMD, self.read(GSTS) & 0x96FF_FFFF & !TE);
        assert_eq!(self.read(GSTS) & TE, 0);
    }

    /// In the order of Linux: the queue, the root table with everything flushed, translation last.
    pub fn bring_up(&self) {
        let scalable = u64::from(self.is_scalable());
        self.write_u64(IQT, 0);
        self.write_u64(IQA, self.queue | scalable << 11);
        self.command(QIE);
        self.write_u64(RTADDR, self.guest.root | scalable << 10);
        self.command(SRTP);
        self.submit(&[CONTEXT_GLOBAL]);
        if self.is_scalable() {
            self.submit(&[PASID_CACHE_GLOBAL]);
        }
        self.submit(&[IOTLB_GLOBAL]);
        self.command(TE);
    }

    pub fn is_scalable(&self) -> bool {
        self.unit.capabilities().has(Feature::Scalable)
    }

    /// The size of a descriptor, and how many there are.
    fn descriptors(&self) -> (u64, u64) {
        let size = if self.is_scalable() { 32 } else { 16 };
        (size, QUEUE_SIZE / size)
    }

    pub fn put_behind(&self, source: SourceId, table: &Table, domain: u16) {
        self.guest.set_domain(source, table, domain);
        self.submit(&[context_device(0, source)]);
        self.submit(&[iotlb_domain(domain)]);
    }

    /// Writes descriptors and a wait into the queue, then the tail; checks that they are done.
    pub fn submit(&self, descriptors: &[Descriptor]) {
        let status = self.begin(descriptors);
        assert_eq!(read_status(&self.guest.memory, status), DONE, "FSTS {:#x}", self.read(FSTS));
        assert_eq!(self.read(IQH), self.read(IQT));
    }

    /// Writes descriptors and a wait into the queue, then the tail; gives where the wait's status is.
    pub fn begin(&self, descriptors: &[Descriptor]) -> u64 {
        let tail = self.tail.load(Ordering::Relaxed);
        let (size, entries) = self.descriptors();
        let slot = |index: u64| (tail + index) % entries;
        let wait_at = slot(descriptors.len() as u64);
        let status = self.status + wait_at * 4;
        self.set_status(status, IN_USE);
        let wait = [5 | 1 << 5 | u64::from(DONE) << 32, status];
        for (index, descriptor) in descriptors.iter().chain([&wait]).enumerate() {
            let at = self.queue + slot(index as u64) * size;
            self.guest.write(at, descriptor[0]);
            self.guest.write(at + 8, descriptor[1]);
        }
        let tail = (wait_at + 1) % entries;
        self.tail.store(tail, Ordering::Relaxed);
        self.write(IQT, (tail * size) as u32);
        status
    }

    /// Where the status of the next submission of `count` descriptors will be.
    pub fn next_status(&self, count: u64) -> u64 {
        self.status + (self.tail.load(Ordering::Relaxed) + count) % self.descriptors().1 * 4
    }

    pub fn set_status(&self, address: u64, value: u32) {
        let word = self.guest.read(address & !7);
        let shift = (address & 4) * 8;
        self.guest.write(address & !7, word & !(0xFFFF_FFFF << shift) | u64::from(value) << shift);
    }

    /// As the DMA API does it: one sync for a buffer.
    pub fn map(&self, table: &Table, iova: u64, guest: u64, pages: u64) {
        for offset in (0..pages).map(|page| page * PAGE) {
            self.guest.map(table, iova + offset, guest + offset, PAGE, BOTH);
        }
        self.submit(&[iotlb_pages(DOMAIN, iova, pages, false)]);
    }

    pub fn unmap(&self, table: &Table, iova: u64, pages: u64) {
        for page in 0..pages {
            self.guest.unmap(table, iova + page * PAGE, PAGE);
        }
        self.submit(&[iotlb_pages(DOMAIN, iova, pages, true)]);
    }
}

impl Assigned {
    #[track_caller]
    pub fn assert_exact(&self) {
        self.host.assert_lawful();
        let audit = self.attachment.audit();
        assert!(audit.is_exact(), "{audit:?}");
    }

    /// Does `action` and runs `check` at every call to the host meanwhile; gives how many there were.
    pub fn during(&self, action: impl FnOnce(), check: impl Fn() + Send + 'static) -> u64 {
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

pub fn read_register(unit: &Unit<Memory>, offset: u64) -> u32 {
    let mut data = [0; 4];
    unit.read(offset, &mut data);
    u32::from_le_bytes(data)
}

pub fn read_status(memory: &Memory, address: u64) -> u32 {
    memory.load(GuestAddress(address), Ordering::SeqCst).unwrap()
}

pub fn extent(iova: u64, guest: u64, length: u64) -> Extent {
    Extent { iova: Iova(iova), guest: GuestAddress(guest), length, permissions: BOTH }
}
