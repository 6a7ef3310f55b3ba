//! The `probe` device: it sends any request that a script tells it to, so that a guest can see what a remapping unit
//! makes of it.
//!
//! BAR 0 is 128 KiB of memory: registers, and from 0x10000 on a buffer of 64 KiB. BAR 2 holds MSI-X structures for 8
//! vectors. Registers take aligned accesses of 4 or 8 bytes, the buffer takes any.
//!
//! | offset | | meaning |
//! |---|---|---|
//! | 0x00 | RO | identification, 0x424F5250 (`PROB`) |
//! | 0x04 | RO | version, 1 |
//! | 0x08 | RO | bytes of buffer |
//! | 0x0C | RO | translations that the device can hold |
//! | 0x10 | RO | status: bit 0 a run is under way; bit 1 the last one could not read its script, or write to it |
//! | 0x14 | RO | commands that the last run has finished |
//! | 0x18 | WO | doorbell: 1 runs the command block in the registers, 2 the script, 4 stops what is running |
//! | 0x1C | RW | interrupt at the end of a run: bit 31 enable, 15:0 MSI-X vector |
//! | 0x20 | RW | script: address (64 bits) |
//! | 0x28 | RW | script: number of command blocks |
//! | 0x2C | RW | script: what the requests carry that read and write it (bits 2:0 as in a command's flags) |
//! | 0x30 | RW | script: their PASID |
//! | 0x34 | RW | how invalidations are answered: 0 as they must, 1 wrongly, 2 not at all; the last two forget nothing |
//! | 0x38 | RW | milliseconds the device waits for the answer to a page request, 5000 after power-on, at most 60000 |
//! | 0x40 | RO | translations it holds |
//! | 0x44 | RO | invalidations that have come |
//! | 0x48 | RO | the last of them: address (64 bits) |
//! | 0x50 | RO | the last of them: size in bytes (64 bits), 0 for everything |
//! | 0x58 | RO | the last of them: bit 31 with PASID, bit 30 every PASID, 19:0 PASID |
//! | 0x5C | RO | requests by a translation that it held |
//! | 0x60 | RO | translation requests |
//! | 0x64 | RO | page requests |
//! | 0x68 | RO | page responses not yet taken, of which the oldest is |
//! | 0x6C | RO | bit 31 there is one, 15:12 response code, 8:0 group |
//! | 0x70 | RO | bit 31 with PASID, 19:0 PASID |
//! | 0x74 | WO | takes the oldest page response |
//! | 0x80 | RW | a command block (its answer RO) |
//! | 0x10000 | RW | the buffer |
//!
//! A doorbell that starts something is ignored while a run is under way. A run goes on by itself, on a thread of its
//! own; it ends when its commands do, when one of a script fails, or when it is stopped.
//!
//! A command block has 128 bytes, the same in registers and in memory:
//!
//! | offset | bits | meaning |
//! |---|---|---|
//! | 0x00 | 32 | operation |
//! | 0x04 | 32 | flags: bit 0 with PASID, 1 privileged, 2 execute, 3 translated, 4 by translations of the device's own, 5 asking for missing pages; 8 immediate, 9 a script goes on if this fails, 10 no-write; 12 page to read, 13 page to write, 14 last of the group, 15 wait for the answer |
//! | 0x08 | 32 | PASID |
//! | 0x0C | 32 | MSI-X vector, or page request group |
//! | 0x10 | 64 | address |
//! | 0x18 | 32 | length in bytes |
//! | 0x1C | 32 | offset in the buffer |
//! | 0x20 | 64 | operand |
//! | 0x28 | 64 | operand to compare with |
//! | 0x30 | 32 | repetitions, at most 2^20; 0 is one |
//! | 0x38 | 64 | what is added to the address from one repetition to the next |
//! | 0x40 | 32 | answer: status, written last |
//! | 0x44 | 32 | answer: the reason, of a request that was blocked |
//! | 0x48 | 64 | answer: the first 8 bytes read, what an AtomicOp found, where a translation leads, or a response code |
//! | 0x50 | 64 | answer: for how many bytes a translation holds |
//! | 0x58 | 64 | answer: nanoseconds of all repetitions |
//! | 0x60 | 64 | answer: nanoseconds of the shortest |
//! | 0x68 | 64 | answer: nanoseconds of the longest |
//! | 0x70 | 32 | answer: repetitions that succeeded |
//! | 0x74 | 32 | answer: what a translation permits: bit 0 read, 1 write, 2 execute; 3 privileged, 4 only untranslated |
//!
//! Operations: 0 nothing, 1 read into the buffer (with *immediate*, into nothing), 2 write from the buffer (with
//! *immediate*, the operand over and over), 3 fetch-and-add, 4 swap, 5 compare-and-swap (4 or 8 bytes), 6 send the
//! interrupt of an MSI-X vector, 7 a translation request, whose answer is kept, 8 a page request, 9 forget all
//! translations. A write of 4 bytes to the interrupt range is an interrupt, too, of any kind the guest
//! likes. A read of no bytes is a zero-length read.
//!
//! Statuses: 0 not done yet, 1 done, 2 malformed command, 3 bus mastering or a capability is not enabled, 4 blocked by
//! the remapping unit, 5 nothing at this address, 6 not an interrupt request, 7 stopped, 8 translation: unsupported
//! request, 9 translation: completer abort, 10 the translation does not permit it, 11 page response: invalid request,
//! 12 page response: failure, 13 no page response in time, 14 more page requests than software allows, 15 the
//! translation was taken back again and again.
//!
//! A request *by translations of the device's own* goes to the address that a translation request gave, as a translated
//! request without PASID. The device holds 64 translations and gives them up when they are invalidated, when ATS is
//! disabled, and at reset; an invalidation waits for requests that use what it names. Where a translation does not
//! permit what is needed, the command fails, or *asks for the page*: a page request of a group of its own, the wait for
//! the answer, and another translation request.
//!
//! Where this differs from devices that one can buy: `AtomicOps` need no enabling in Device Control 2.

mod cached;
mod command;
mod engine;
mod pages;
mod registers;
mod services;
mod translations;
mod worker;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use iommu::{DeviceTlb, DeviceTlbScope, Pasid};
use pci::{
    BAR_COUNT, Bar, BarKind, BarRange, EndpointBuilder, EndpointError, ExpressKind, Function, Identity,
};

use self::command::response_code;
use self::pages::Pages;
use self::registers::{Effect, Job, Registers, at, status};
use self::services::Counters;
use self::translations::Translations;
use crate::BusMaster;
use crate::emulated::EmulatedFunction;

const IDENTITY: Identity = Identity {
    vendor: 0x1234,
    device: 0x50B0,
    revision: 1,
    // Unclassified.
    class: 0xFF_00_00,
    subsystem_vendor: 0x1AF4,
    subsystem: 0x1100,
};

const REGISTERS_BAR: usize = 0;
const MSIX_BAR: usize = 2;
const MSIX_SIZE: u64 = 0x1000;
const MSIX_PENDING: u32 = 0x800;
const VECTORS: u16 = 8;

const BUFFER_BASE: u64 = 0x1_0000;
const BUFFER_SIZE: usize = 0x1_0000;
/// Translations it can hold.
const TRANSLATIONS: usize = 64;
/// Page requests it can have unanswered.
const PAGE_CAPACITY: u32 = 64;

/// Why a probe cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Its registers cannot be laid out.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The system gives no thread.
    #[error("Cannot start the thread of a probe")]
    Thread(#[source] io::Error),
}

/// The `probe` device.
pub struct Probe {
    inner: Arc<Inner>,
    worker: Option<JoinHandle<()>>,
}

/// What the vCPUs and the device's own thread share.
struct Inner {
    function: EmulatedFunction,
    buffer: Mutex<Box<[u8]>>,
    state: Mutex<State>,
    /// Rings when there is a job, or the device goes away.
    bell: Condvar,
    /// Grows with each job, stop and reset. A worker whose run is another's has been stopped.
    run: AtomicU64,
    translations: RwLock<Translations>,
    pages: Mutex<Pages>,
    /// Rings when a page response has come.
    answered: Condvar,
    counters: Mutex<Counters>,
}

struct State {
    registers: Registers,
    job: Option<Job>,
    gone: bool,
}

impl Probe {
    /// A probe that reaches memory through `master`. `kind` follows from where it is plugged in.
    pub fn new(master: BusMaster, kind: Option<ExpressKind>) -> Result<Self, ProbeError> {
        let mut builder = EndpointBuilder::new(&IDENTITY);
        let registers = Bar { kind: BarKind::Memory32, size: BUFFER_BASE + BUFFER_SIZE as u64 };
        builder
            .bar(REGISTERS_BAR, registers)?
            .bar(MSIX_BAR, Bar { kind: BarKind::Memory32, size: MSIX_SIZE })?
            .power_management()?
            .express(kind, true)?
            .msix(VECTORS, (MSIX_BAR, 0), (MSIX_BAR, MSIX_PENDING))?
            .ats()?
            .pasid()?
            .page_requests(PAGE_CAPACITY)?;
        let inner = Arc::new(Inner {
            function: EmulatedFunction::new(builder.build(), master),
            buffer: Mutex::new(vec![0; BUFFER_SIZE].into()),
            state: Mutex::new(State { registers: Registers::new(), job: None, gone: false }),
            bell: Condvar::new(),
            run: AtomicU64::new(0),
            translations: RwLock::default(),
            pages: Mutex::default(),
            answered: Condvar::new(),
            counters: Mutex::default(),
        });
        let device: Arc<dyn DeviceTlb> = inner.clone();
        inner.function.master().register(&device);
        let worker = {
            let inner = inner.clone();
            let builder = std::thread::Builder::new().name("probe".into());
            builder.spawn(move || worker::work(&inner)).map_err(ProbeError::Thread)?
        };
        Ok(Self { inner, worker: Some(worker) })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.inner.stop(|state| state.gone = true);
        if let Some(worker) = self.worker.take() {
            worker.join().ok();
        }
    }
}

impl Function for Probe {
    fn config_read(&self, offset: u16, data: &mut [u8]) {
        self.inner.function.config_read(offset, data);
    }

    fn config_write(&self, offset: u16, data: &[u8]) {
        if self.inner.function.config_write(offset, data) {
            self.reset();
        }
        self.inner.follow_services();
    }

    fn bars(&self) -> [Option<BarRange>; BAR_COUNT] {
        self.inner.function.bars()
    }

    fn bar_read(&self, bar: usize, offset: u64, data: &mut [u8]) {
        if self.inner.function.bar_read(bar, offset, data) {
            return;
        }
        data.fill(0);
        if bar == REGISTERS_BAR {
            self.inner.read(offset, data);
        }
    }

    fn bar_write(&self, bar: usize, offset: u64, data: &[u8]) {
        if !self.inner.function.bar_write(bar, offset, data) && bar == REGISTERS_BAR {
            self.inner.write(offset, data);
        }
    }

    fn upstream(&self, open: bool) {
        self.inner.function.upstream(open);
    }

    fn reset(&self) {
        // First nothing is sent any more; then what was running notices that it is over.
        self.inner.function.reset();
        self.inner.stop(|state| state.registers = Registers::new());
        self.inner.buffer().fill(0);
        self.inner.translations().clear();
        self.inner.pages().clear();
        self.inner.count(|counters| *counters = Counters::default());
    }
}

impl Inner {
    fn read(&self, offset: u64, data: &mut [u8]) {
        if let Some(start) = offset.checked_sub(BUFFER_BASE) {
            let buffer = self.buffer();
            for (byte, stored) in data.iter_mut().zip(buffer.iter().skip(start as usize)) {
                *byte = *stored;
            }
        } else if is_register(offset, data.len()) {
            for (bytes, offset) in data.chunks_exact_mut(4).zip((offset..).step_by(4)) {
                bytes.copy_from_slice(&self.register(offset).to_le_bytes());
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if let Some(start) = offset.checked_sub(BUFFER_BASE) {
            let mut buffer = self.buffer();
            for (stored, byte) in buffer.iter_mut().skip(start as usize).zip(data) {
                *stored = *byte;
            }
        } else if is_register(offset, data.len()) {
            for (bytes, offset) in data.chunks_exact(4).zip((offset..).step_by(4)) {
                let value = bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
                self.write_register(offset, value);
            }
        }
    }

    fn register(&self, offset: u64) -> u32 {
        // Copied: whoever counts may hold other locks.
        let counters = *self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let last = counters.last;
        match offset {
            at::TRANSLATIONS => {
                self.translations.read().unwrap_or_else(PoisonError::into_inner).count() as u32
            }
            at::INVALIDATIONS => counters.invalidations,
            at::INVALIDATION_IOVA => last.map_or(0, |what| what.iova.0 as u32),
            at::INVALIDATION_IOVA_HIGH => last.map_or(0, |what| (what.iova.0 >> 32) as u32),
            at::INVALIDATION_SIZE => last.and_then(|what| what.size).unwrap_or(0) as u32,
            at::INVALIDATION_SIZE_HIGH => (last.and_then(|what| what.size).unwrap_or(0) >> 32) as u32,
            at::INVALIDATION_SCOPE => match last.map(|what| what.scope) {
                None | Some(DeviceTlbScope::WithoutPasid) => 0,
                Some(DeviceTlbScope::Pasid(pasid)) => with_pasid(Some(pasid)),
                Some(DeviceTlbScope::EveryPasid) => 3 << 30,
            },
            at::HITS => counters.hits,
            at::MISSES => counters.misses,
            at::PAGE_REQUESTS => counters.page_requests,
            at::RESPONSES => self.pages().answers().0 as u32,
            at::RESPONSE => self.pages().answers().1.map_or(0, |response| {
                1 << 31 | response_code(response.code) << 12 | u32::from(response.group)
            }),
            at::RESPONSE_PASID => self.pages().answers().1.map_or(0, |response| with_pasid(response.pasid)),
            _ => self.state().registers.get(offset),
        }
    }

    fn write_register(&self, offset: u64, value: u32) {
        if offset == at::POP {
            self.pages().pop();
        }
        let mut state = self.state();
        match state.registers.write(offset, value) {
            Effect::None => {}
            Effect::Start(job) => {
                self.run.fetch_add(1, Ordering::AcqRel);
                state.job = Some(job);
                self.bell.notify_one();
            }
            Effect::Stop => {
                drop(state);
                self.stop(|state| {
                    let busy = state.registers.get(at::STATUS) & !status::BUSY;
                    state.registers.set(at::STATUS, busy);
                });
            }
        }
    }

    /// Stops what is running and changes the state.
    fn stop(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        self.run.fetch_add(1, Ordering::AcqRel);
        state.job = None;
        change(&mut state);
        self.bell.notify_one();
    }

    /// The run that is under way or was the last.
    fn run(&self) -> u64 {
        self.run.load(Ordering::Acquire)
    }

    /// Changes the registers, unless the run `run` has been stopped.
    fn while_current(&self, run: u64, change: impl FnOnce(&mut Registers)) {
        let mut state = self.state();
        if self.run() == run {
            change(&mut state.registers);
        }
    }

    /// Ends a run that has not been stopped.
    fn end(&self, run: u64, status: u32) {
        let mut vector = None;
        self.while_current(run, |registers| {
            registers.set(at::STATUS, status);
            vector = registers.vector();
        });
        if let Some(vector) = vector {
            self.function.raise(vector);
        }
    }

    /// How long to wait for the answer to a page request.
    fn patience(&self) -> Duration {
        self.state().registers.patience()
    }

    fn translations(&self) -> RwLockWriteGuard<'_, Translations> {
        self.translations.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn buffer(&self) -> MutexGuard<'_, Box<[u8]>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A PASID as the registers show it.
fn with_pasid(pasid: Option<Pasid>) -> u32 {
    pasid.map_or(0, |pasid| 1 << 31 | pasid.0)
}

/// Whether an access is to registers, in a size they take.
fn is_register(offset: u64, length: usize) -> bool {
    matches!(length, 4 | 8) && offset.is_multiple_of(length as u64) && offset < registers::SIZE
}

#[cfg(test)]
mod tests;
