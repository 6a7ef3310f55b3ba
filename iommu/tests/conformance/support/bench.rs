//! A unit with memory around it, and the register writes that software would do.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use iommu::{
    Access, Blocked, Capabilities, EntryRange, Feature, GuestAddress, Iova, MsiMessage, Platform, Profile,
    Request, SourceId, Unit,
};
use vm_memory::{Bytes, GuestMemoryMmap};

use super::descriptor::{self, Descriptor};

use super::reg::{
    CAP, FSTS, GCMD, GSTS, IQA, IQE, IQERCD, IQH, IQT, IRE, IRTA, PFO, QIE, RTADDR, SIRTP, SRTP, TE,
};
use super::{Tables, context, scalable};

pub(crate) type Memory = Arc<GuestMemoryMmap<()>>;

/// Memory from 0 on. What [`Bench::page`] gives lies in it; beyond it there is nothing.
const MEMORY: usize = 16 << 20;

/// What the unit sends.
#[derive(Default)]
struct Messages(Mutex<Vec<MsiMessage>>);

impl Platform for Messages {
    fn signal(&self, message: MsiMessage) {
        self.0.lock().unwrap().push(message);
    }

    fn interrupt_entries_changed(&self, _: EntryRange) {}
}

/// A fault record as it stands in the registers, taken apart (§11.4.7.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record(pub(crate) [u64; 2]);

impl Record {
    pub(crate) const fn reason(self) -> u8 {
        (self.0[1] >> 32) as u8
    }

    pub(crate) const fn source(self) -> SourceId {
        SourceId(self.0[1] as u16)
    }

    pub(crate) const fn address(self) -> u64 {
        self.0[0]
    }

    /// T1 and T2.
    pub(crate) const fn kind(self) -> (u64, u64) {
        (self.0[1] >> 62 & 1, self.0[1] >> 28 & 1)
    }
}

/// A bench in scalable mode.
pub(crate) struct Scalable {
    pub(crate) bench: Rc<Bench>,
    /// The PASID directory of [`Bench::DEVICE`].
    pub(crate) directory: u64,
}

impl Scalable {
    /// Gives requests without PASID, which are those of PASID 0, an address space.
    pub(crate) fn set(&self, entry: [u64; 8]) {
        self.set_pasid(0, entry);
    }

    /// Gives a PASID an address space. What the unit knew before is forgotten.
    pub(crate) fn set_pasid(&self, pasid: u64, entry: [u64; 8]) {
        self.bench.set_pasid(self.directory, pasid, entry);
        self.bench.invalidate(descriptor::pasid_global());
        self.bench.invalidate(descriptor::iotlb_global());
    }
}

pub(crate) struct Bench {
    pub(crate) memory: Memory,
    pub(crate) unit: Unit<Memory>,
    messages: Arc<Messages>,
    next: Cell<u64>,
    pub(crate) root: u64,
    pub(crate) queue: u64,
    pub(crate) interrupts: u64,
    /// Whether the queue is of descriptors of 256 bits.
    wide: Cell<bool>,
}

impl Bench {
    /// The function that most tests speak as.
    pub(crate) const DEVICE: SourceId = SourceId(0x0113);
    /// A domain for it.
    pub(crate) const DOMAIN: u64 = 5;

    /// A unit in its power-on state.
    pub(crate) fn new(capabilities: Capabilities) -> Rc<Self> {
        let memory: Memory =
            Arc::new(GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).expect("memory"));
        let unit = Unit::new(Arc::clone(&memory), capabilities);
        let messages = Arc::new(Messages::default());
        unit.connect(Arc::clone(&messages) as Arc<dyn Platform>);
        let next = Cell::new(0x10_0000);
        let mut bench =
            Self { memory, unit, messages, next, root: 0, queue: 0, interrupts: 0, wide: Cell::new(false) };
        bench.root = bench.page();
        bench.queue = bench.page();
        bench.interrupts = bench.page();
        Rc::new(bench)
    }

    /// A unit that has legacy mode only.
    pub(crate) fn legacy() -> Rc<Self> {
        Self::new(Capabilities::legacy(48))
    }

    /// One whose [`Self::DEVICE`] has an empty table of four levels, with translation and queue on.
    pub(crate) fn translating() -> (Rc<Self>, Tables) {
        let bench = Self::legacy();
        let tables = Tables::second_stage(&bench, 4);
        bench.set_context(Self::DEVICE, context::translated(&tables, Self::DOMAIN));
        bench.translate(0);
        bench.start_queue(false);
        (bench, tables)
    }

    /// A unit with everything that software could find, in scalable mode and with a wide queue.
    /// [`Self::DEVICE`] may do everything; its PASIDs have no entries yet.
    pub(crate) fn scalable() -> Scalable {
        Self::scalable_with(Self::everything(48))
    }

    /// All that a unit can do, for addresses of `width` bits.
    pub(crate) fn everything(width: u8) -> Capabilities {
        Capabilities::builder(Profile::Full, width).with(Feature::NoWrite).build().expect("it is possible")
    }

    pub(crate) fn scalable_with(capabilities: Capabilities) -> Scalable {
        let has = |feature, bit| if capabilities.has(feature) { bit } else { 0 };
        let bits = has(Feature::DeviceTlb, scalable::DTE)
            | has(Feature::Pasid, scalable::PASIDE)
            | has(Feature::PageRequests, scalable::PRE);
        let bench = Self::new(capabilities);
        let directory = bench.set_scalable_context(Self::DEVICE, bits);
        bench.translate(1);
        bench.start_queue(true);
        Scalable { bench, directory }
    }

    // Memory.

    /// A fresh page of zeros.
    pub(crate) fn page(&self) -> u64 {
        let page = self.next.get();
        self.next.set(page + 0x1000);
        assert!(page < MEMORY as u64, "no page is left");
        page
    }

    /// An address, of whole gigabytes, where there is no memory.
    pub(crate) const NOWHERE: u64 = 1 << 30;

    pub(crate) fn load(&self, address: u64) -> u64 {
        self.memory.load(GuestAddress(address), Ordering::SeqCst).expect("memory")
    }

    pub(crate) fn store(&self, address: u64, value: u64) {
        self.memory.store(value, GuestAddress(address), Ordering::SeqCst).expect("memory");
    }

    pub(crate) fn store_all(&self, address: u64, words: &[u64]) {
        for (index, word) in words.iter().enumerate() {
            self.store(address + 8 * index as u64, *word);
        }
    }

    // Registers.

    pub(crate) fn get(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.unit.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    pub(crate) fn get64(&self, offset: u64) -> u64 {
        let mut data = [0; 8];
        self.unit.read(offset, &mut data);
        u64::from_le_bytes(data)
    }

    pub(crate) fn set(&self, offset: u64, value: u32) {
        self.unit.write(offset, &value.to_le_bytes());
    }

    pub(crate) fn set64(&self, offset: u64, value: u64) {
        self.unit.write(offset, &value.to_le_bytes());
    }

    /// Writes GCMD as §11.4.4 tells software to: one bit changes, and one-shot bits are not repeated.
    pub(crate) fn command(&self, bit: u32, on: bool) {
        let level = self.get(GSTS) & 0x96FF_FFFF;
        self.set(GCMD, if on { level | bit } else { level & !bit });
    }

    /// Whether the bit stands in GSTS.
    pub(crate) fn status(&self, bit: u32) -> bool {
        self.get(GSTS) & bit != 0
    }

    /// What has been sent since the last time.
    pub(crate) fn messages(&self) -> Vec<MsiMessage> {
        std::mem::take(&mut self.messages.0.lock().unwrap())
    }

    // DMA remapping.

    /// Where the legacy context entry of `source` lies; a table for it is made.
    pub(crate) fn context_of(&self, source: SourceId) -> u64 {
        let root = self.root + u64::from(source.bus()) * 16;
        if self.load(root) & 1 == 0 {
            self.store(root, self.page() | 1);
        }
        (self.load(root) & !0xFFF) + u64::from(source.devfn()) * 16
    }

    /// Writes a legacy context entry.
    pub(crate) fn set_context(&self, source: SourceId, entry: [u64; 2]) {
        self.store_all(self.context_of(source), &entry);
    }

    /// Takes RTADDR with this TTM into use and switches translation on.
    pub(crate) fn translate(&self, mode: u64) {
        self.set64(RTADDR, self.root | mode << 10);
        self.command(SRTP, true);
        self.command(TE, true);
        assert!(self.status(TE));
    }

    /// What a request for one byte comes to: where it leads, or the fault reason.
    pub(crate) fn request(&self, request: &Request, iova: u64) -> Result<u64, u8> {
        let result = self.unit.access(request, Iova(iova), 1, |address, _| address.0);
        result.map_err(|Blocked { reason }| reason)
    }

    pub(crate) fn read(&self, iova: u64) -> Result<u64, u8> {
        self.request(&Request::new(Self::DEVICE, Access::Read), iova)
    }

    pub(crate) fn write(&self, iova: u64) -> Result<u64, u8> {
        self.request(&Request::new(Self::DEVICE, Access::Write), iova)
    }

    pub(crate) fn read_as(&self, source: SourceId, iova: u64) -> Result<u64, u8> {
        self.request(&Request::new(source, Access::Read), iova)
    }

    // The invalidation queue.

    /// Switches the queue on: a page of descriptors.
    pub(crate) fn start_queue(&self, wide: bool) {
        self.wide.set(wide);
        self.set(IQT, 0);
        self.set64(IQA, self.queue | u64::from(wide) << 11);
        self.command(QIE, true);
        assert!(self.status(QIE));
    }

    /// The bytes of a descriptor.
    pub(crate) fn stride(&self) -> u64 {
        if self.wide.get() { 32 } else { 16 }
    }

    /// Puts descriptors at the tail and moves it behind them.
    pub(crate) fn submit(&self, descriptors: &[Descriptor]) {
        let mut tail = u64::from(self.get(IQT));
        for descriptor in descriptors {
            let words = self.stride() as usize / 8;
            self.store_all(self.queue + tail, &descriptor[..words]);
            tail = (tail + self.stride()) % 0x1000;
        }
        self.set(IQT, tail as u32);
    }

    /// Carries out one descriptor, and sees that a wait behind it tells so.
    #[track_caller]
    pub(crate) fn invalidate(&self, descriptor: Descriptor) {
        let word = self.page();
        self.submit(&[descriptor, descriptor::wait_status(word, 0xD09E)]);
        assert_eq!(self.load(word), 0xD09E, "the wait behind the invalidation completes");
    }

    /// Submits a bad descriptor: the queue stops at it, says why, and goes on once software has replaced it.
    #[track_caller]
    pub(crate) fn refused(&self, bad: [u64; 4], information: u64) {
        let (at, word) = (self.get64(IQT), self.page());
        self.submit(&[bad, descriptor::wait_status(word, 1)]);
        assert_eq!(self.get(FSTS) & IQE, IQE, "{bad:x?}");
        assert_eq!(self.get64(IQH), at, "the head stays at {bad:x?}");
        assert_eq!(self.get64(IQERCD) & 0xF, information, "{bad:x?}");
        assert_eq!(self.load(word), 0);
        for (index, value) in descriptor::wait_fence()[..self.stride() as usize / 8].iter().enumerate() {
            self.store(self.queue + at + 8 * index as u64, *value);
        }
        self.set(FSTS, IQE);
        assert_eq!(self.load(word), 1, "the queue goes on behind {bad:x?}");
    }

    // Faults.

    /// How many fault records there are.
    pub(crate) fn record_count(&self) -> u64 {
        (self.get64(CAP) >> 40 & 0xFF) + 1
    }

    /// Where fault record `index` lies.
    pub(crate) fn record_at(&self, index: u64) -> u64 {
        (self.get64(CAP) >> 24 & 0x3FF) * 16 + index * 16
    }

    /// Takes all pending records, in their order, as software does: from FRI on, each cleared.
    pub(crate) fn faults(&self) -> Vec<Record> {
        let mut records = Vec::new();
        let mut index = u64::from(self.get(FSTS) >> 8 & 0xFF);
        loop {
            let at = self.record_at(index);
            let record = Record([self.get64(at), self.get64(at + 8)]);
            if record.0[1] >> 63 == 0 {
                break;
            }
            records.push(record);
            self.set(at + 12, 1 << 31);
            index = (index + 1) % self.record_count();
        }
        self.set(FSTS, PFO);
        records
    }

    /// Sees that exactly one fault has been recorded, for this reason.
    #[track_caller]
    pub(crate) fn one_fault(&self, reason: u8) -> Record {
        let records = self.faults();
        assert_eq!(
            records.iter().map(|record| record.reason()).collect::<Vec<_>>(),
            [reason],
            "{records:x?}"
        );
        records[0]
    }

    // Interrupt remapping.

    /// Takes a table of 256 entries into use and switches interrupt remapping on.
    pub(crate) fn remap_interrupts(&self, extended: bool) {
        self.set64(IRTA, self.interrupts | u64::from(extended) << 11 | 7);
        self.command(SIRTP, true);
        self.command(IRE, true);
        assert!(self.status(IRE));
    }

    pub(crate) fn set_interrupt(&self, index: u64, entry: [u64; 2]) {
        self.store_all(self.interrupts + index * 16, &entry);
    }

    /// What an interrupt request of [`Self::DEVICE`] comes to.
    pub(crate) fn interrupt(&self, address: u64, data: u32) -> Result<MsiMessage, u8> {
        self.interrupt_as(Self::DEVICE, address, data)
    }

    pub(crate) fn interrupt_as(&self, source: SourceId, address: u64, data: u32) -> Result<MsiMessage, u8> {
        self.post_as(source, address, data).map(|message| message.expect("Nothing is posted here"))
    }

    /// The same; none if it is posted and software is not notified.
    pub(crate) fn post_as(
        &self,
        source: SourceId,
        address: u64,
        data: u32,
    ) -> Result<Option<MsiMessage>, u8> {
        let request = MsiMessage { address, data };
        self.unit.remap(source, request, |message| message).map_err(|Blocked { reason }| reason)
    }
}
