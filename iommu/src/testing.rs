//! A small machine for tests: memory with tables built in it, a unit, and what it sends.

pub(crate) mod descriptor;
pub(crate) mod device;
mod interposed;
pub(crate) mod scalable;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use vm_memory::{Bytes, GuestMemoryMmap};

use crate::spec::registers::{FSTS, GCMD, GSTS, Global, IQA, IQH, IQT, IRTA, RTADDR};
use crate::spec::second_stage::Level;
use crate::{
    Access, Blocked, Capabilities, EntryRange, GuestAddress, Iova, MsiMessage, Platform, Request, SourceId,
    Unit,
};

pub(crate) use interposed::Interposed;

pub(crate) type Memory = Arc<GuestMemoryMmap>;

/// 64 MiB from 0. Tables come from the second MiB on; what lies above [`DATA`] is free for use as pages.
const MEMORY: usize = 64 << 20;
const TABLES: u64 = 1 << 20;
pub(crate) const DATA: u64 = 32 << 20;

/// The function most tests speak as: 01:02.3.
pub(crate) const SOURCE: SourceId = SourceId(0x0113);

/// Bits of a second-stage entry.
pub(crate) const R: u64 = 1;
pub(crate) const W: u64 = 2;
pub(crate) const RW: u64 = R | W;
pub(crate) const LARGE: u64 = 1 << 7;

/// Something that happened on the way out of the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Signal(MsiMessage),
    EntriesChanged(EntryRange),
}

type Hook = Box<dyn Fn(&Sent) + Send>;

/// A platform that remembers what it was told.
#[derive(Default)]
pub(crate) struct Recorder {
    sent: Mutex<Vec<Sent>>,
    hook: Mutex<Option<Hook>>,
    /// Whether it promises to resume the queue; how often it has been asked to.
    pub(crate) resumes: AtomicBool,
    pub(crate) asked_to_resume: AtomicU32,
}

impl Recorder {
    /// What has been sent since the last time.
    pub(crate) fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    pub(crate) fn signals(&self) -> Vec<MsiMessage> {
        let signal = |sent| if let Sent::Signal(message) = sent { Some(message) } else { None };
        self.take().into_iter().filter_map(signal).collect()
    }

    /// Runs `hook` whenever something is sent.
    pub(crate) fn on_send(&self, hook: impl Fn(&Sent) + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    fn record(&self, sent: Sent) {
        if let Some(hook) = &*self.hook.lock().unwrap() {
            hook(&sent);
        }
        self.sent.lock().unwrap().push(sent);
    }
}

impl Platform for Recorder {
    fn signal(&self, message: MsiMessage) {
        self.record(Sent::Signal(message));
    }

    fn interrupt_entries_changed(&self, entries: EntryRange) {
        self.record(Sent::EntriesChanged(entries));
    }

    fn resume_later(&self) -> bool {
        self.asked_to_resume.fetch_add(1, Ordering::Relaxed);
        self.resumes.load(Ordering::Relaxed)
    }
}

/// A fault record, read through the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) source: SourceId,
    pub(crate) reason: u8,
    pub(crate) info: u64,
    pub(crate) read: bool,
}

pub(crate) struct Machine {
    pub(crate) memory: Memory,
    pub(crate) unit: Arc<Unit<Memory>>,
    pub(crate) platform: Arc<Recorder>,
    /// The root table, the queue and the interrupt remapping table.
    pub(crate) root: u64,
    pub(crate) queue: u64,
    pub(crate) interrupts: u64,
    next_table: AtomicU64,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self::with(Capabilities::legacy(48))
    }

    pub(crate) fn with(capabilities: Capabilities) -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap();
        Self::over(Arc::new(memory), capabilities, TABLES)
    }

    /// Another unit over the same memory, with a root table, a queue and an interrupt table of its own.
    pub(crate) fn beside(&self, capabilities: Capabilities) -> Self {
        let tables = self.next_table.fetch_add(1 << 20, Ordering::Relaxed);
        Self::over(Arc::clone(&self.memory), capabilities, tables)
    }

    fn over(memory: Memory, capabilities: Capabilities, tables: u64) -> Self {
        let unit = Arc::new(Unit::new(Arc::clone(&memory), capabilities));
        let platform = Arc::new(Recorder::default());
        unit.connect(Arc::clone(&platform) as Arc<dyn Platform>);
        let next_table = AtomicU64::new(tables);
        let mut machine = Self { memory, unit, platform, root: 0, queue: 0, interrupts: 0, next_table };
        machine.root = machine.table();
        machine.queue = machine.table();
        machine.interrupts = machine.table();
        machine
    }

    /// A machine whose [`SOURCE`] has domain 5 and an empty table of four levels, with translation and the
    /// queue on. Gives the table.
    pub(crate) fn translating() -> (Self, u64) {
        let machine = Self::new();
        let table = machine.table();
        machine.context(SOURCE, [table | 1, 2 | 5 << 8]);
        machine.enable_translation();
        machine.enable_queue();
        (machine, table)
    }

    /// A fresh page of zeros.
    pub(crate) fn table(&self) -> u64 {
        let table = self.next_table.fetch_add(0x1000, Ordering::Relaxed);
        assert!(table < DATA);
        table
    }

    pub(crate) fn write_memory(&self, address: u64, value: u64) {
        self.memory.write_obj(value.to_le(), GuestAddress(address)).unwrap();
    }

    pub(crate) fn read_memory(&self, address: u64) -> u64 {
        u64::from_le(self.memory.read_obj(GuestAddress(address)).unwrap())
    }

    /// Writes a context entry, and a root entry where there is none.
    pub(crate) fn context(&self, source: SourceId, entry: [u64; 2]) {
        let root_entry = self.root + u64::from(source.bus()) * 16;
        if self.read_memory(root_entry) == 0 {
            self.write_memory(root_entry, self.table() | 1);
        }
        let context_table = self.read_memory(root_entry) & !0xFFF;
        let address = context_table + u64::from(source.devfn()) * 16;
        self.write_memory(address + 8, entry[1]);
        self.write_memory(address, entry[0]);
    }

    /// Where the entry of `level` for `iova` lies in a table of `levels` levels; tables on the way are made.
    pub(crate) fn entry(&self, table: u64, levels: u8, iova: u64, level: Level) -> u64 {
        let (mut table, mut at) = (table, Level::from_number(levels).unwrap());
        while at > level {
            let entry = table + at.offset(Iova(iova));
            if self.read_memory(entry) & RW == 0 || self.read_memory(entry) & LARGE != 0 {
                self.write_memory(entry, self.table() | RW);
            }
            table = self.read_memory(entry) & !0xFFF;
            at = at.below().unwrap();
        }
        table + level.offset(Iova(iova))
    }

    /// Maps a 4 KiB page in a table of four levels.
    pub(crate) fn map(&self, table: u64, iova: u64, entry: u64) {
        self.write_memory(self.entry(table, 4, iova, Level::PAGE), entry);
    }

    pub(crate) fn read(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.unit.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    pub(crate) fn read_u64(&self, offset: u64) -> u64 {
        let mut data = [0; 8];
        self.unit.read(offset, &mut data);
        u64::from_le_bytes(data)
    }

    pub(crate) fn write(&self, offset: u64, value: u32) {
        self.unit.write(offset, &value.to_le_bytes());
    }

    pub(crate) fn write_u64(&self, offset: u64, value: u64) {
        self.unit.write(offset, &value.to_le_bytes());
    }

    pub(crate) fn status(&self) -> Global {
        Global::from_bits_retain(self.read(GSTS))
    }

    /// Changes bits of GCMD_REG as software does: one-shot bits are not written back.
    pub(crate) fn command(&self, set: Global, clear: Global) {
        self.write(GCMD, self.read(GSTS) & 0x96FF_FFFF & !clear.bits() | set.bits());
    }

    pub(crate) fn enable_translation(&self) {
        self.write_u64(RTADDR, self.root);
        self.command(Global::ROOT_POINTER, Global::empty());
        self.command(Global::TRANSLATION, Global::empty());
    }

    /// Sends an interrupt request; gives the message delivered, if one is.
    pub(crate) fn remap(&self, source: SourceId, request: MsiMessage) -> Result<Option<MsiMessage>, Blocked> {
        self.unit.remap(source, request, |message| message)
    }

    /// Switches the queue on: 256 descriptors.
    pub(crate) fn enable_queue(&self) {
        self.write(IQT, 0);
        self.write_u64(IQA, self.queue);
        self.command(Global::QUEUE, Global::empty());
    }

    /// Switches the queue on with descriptors of 256 bits: 128 of them.
    pub(crate) fn enable_wide_queue(&self) {
        self.write(IQT, 0);
        self.write_u64(IQA, self.queue | 1 << 11);
        self.command(Global::QUEUE, Global::empty());
    }

    /// Takes the root table into use with this RTADDR.TTM.
    pub(crate) fn set_table_mode(&self, table_mode: u64) {
        self.write_u64(RTADDR, self.root | table_mode << 10);
        self.command(Global::ROOT_POINTER, Global::empty());
    }

    /// Puts descriptors into the queue and rings the bell.
    pub(crate) fn submit(&self, descriptors: &[[u64; 2]]) {
        self.submit_of_size(16, descriptors);
    }

    /// The same with descriptors of 256 bits; leaves their upper halves as they are.
    pub(crate) fn submit_wide(&self, descriptors: &[[u64; 2]]) {
        self.submit_of_size(32, descriptors);
    }

    fn submit_of_size(&self, size: u64, descriptors: &[[u64; 2]]) {
        let mut tail = u64::from(self.read(IQT));
        for [low, high] in descriptors {
            self.write_memory(self.queue + tail, *low);
            self.write_memory(self.queue + tail + 8, *high);
            tail = (tail + size) % 0x1000;
        }
        self.write(IQT, tail as u32);
    }

    /// Whether the queue has worked up to the tail.
    pub(crate) fn queue_is_done(&self) -> bool {
        self.read(IQH) == self.read(IQT)
    }

    pub(crate) fn interrupt_entry(&self, index: u16, entry: [u64; 2]) {
        let address = self.interrupts + u64::from(index) * 16;
        self.write_memory(address, entry[0]);
        self.write_memory(address + 8, entry[1]);
    }

    /// Switches interrupt remapping on: 256 entries.
    pub(crate) fn enable_interrupts(&self, extended: bool) {
        self.write_u64(IRTA, self.interrupts | u64::from(extended) << 11 | 7);
        self.command(Global::INTERRUPT_POINTER, Global::empty());
        self.command(Global::INTERRUPT_REMAPPING, Global::empty());
    }

    /// Translates a read or write of one byte.
    pub(crate) fn translate(&self, iova: u64, access: Access) -> Result<u64, u8> {
        self.translate_as(SOURCE, iova, access)
    }

    pub(crate) fn translate_as(&self, source: SourceId, iova: u64, access: Access) -> Result<u64, u8> {
        let result = self.unit.access(&Request::new(source, access), Iova(iova), 1, |address, length| {
            assert_eq!(length, 1);
            address.0
        });
        result.map_err(|Blocked { reason }| reason)
    }

    /// Reads and clears the fault records, in the order of the ring, as software does.
    pub(crate) fn take_faults(&self) -> Vec<Record> {
        let mut records = Vec::new();
        let capabilities = self.unit.capabilities();
        let (first, count) = (capabilities.fault_record_offset(), capabilities.fault_records() as u64);
        let mut index = u64::from(self.read(FSTS) >> 8 & 0xFF);
        while self.read(first + index * 16 + 12) >> 31 == 1 {
            let [low, high] = [0, 8].map(|half| self.read_u64(first + index * 16 + half));
            records.push(Record {
                source: SourceId(high as u16),
                reason: (high >> 32) as u8,
                info: low,
                read: high >> 62 & 1 == 1,
            });
            self.write(first + index * 16 + 12, 1 << 31);
            index = (index + 1) % count;
        }
        self.write(FSTS, 1);
        records
    }
}
