//! A function of the host that exists only in memory, and surroundings that write down what they are told.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use iommu::{GuestAddress, HostMapper, Iova, MapError, Permissions};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::host::{HostFunction, InterruptInfo, InterruptKind, Region, RegionIndex};
use super::mapping::{Mapping, MemorySlots, Shown};
use super::routes::{Signal, VectorRoutes};
use crate::InterruptLine;

/// What happened, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Command(u16),
    Config(u64, Vec<u8>),
    Reset,
    /// Kind, first vector, and which of the vectors from there on have an eventfd.
    Triggers(InterruptKind, u16, Vec<bool>),
    Disable(InterruptKind),
    UnmaskWire,
    Line(bool),
    Signals(Vec<(u16, Signal)>),
    Renumbered,
    Shown(u64, u64),
    Mapped,
    Unmapped,
    Hidden(u64),
}

/// Everybody writes here.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<Event>>>);

impl Log {
    pub(super) fn add(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }

    /// What happened since the last call.
    pub(super) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A host's function: 4096 bytes of configuration space and whatever regions a test gives it.
pub(super) struct FakeHost {
    pub(super) log: Log,
    pub(super) config: Mutex<Vec<u8>>,
    pub(super) regions: BTreeMap<u8, Region>,
    pub(super) contents: Mutex<BTreeMap<(u8, u64), u8>>,
    pub(super) interrupts: BTreeMap<u8, InterruptInfo>,
    pub(super) can_reset: bool,
    /// The descriptors the host signals, by kind and vector.
    pub(super) triggers: Mutex<BTreeMap<(u8, u16), EventFd>>,
    /// Set calls fail.
    pub(super) refuses: Mutex<bool>,
}

impl FakeHost {
    /// A PCI Express endpoint with nothing in it.
    pub(super) fn new() -> Self {
        let mut config = vec![0; 4096];
        config[0..4].copy_from_slice(&[0x36, 0x1B, 0x10, 0x00]);
        config[8..12].copy_from_slice(&[0x02, 0x02, 0x08, 0x01]);
        config[0x0E] = 0x80;
        Self {
            log: Log::default(),
            config: Mutex::new(config),
            regions: BTreeMap::new(),
            contents: Mutex::default(),
            interrupts: BTreeMap::new(),
            can_reset: true,
            triggers: Mutex::default(),
            refuses: Mutex::new(false),
        }
    }

    pub(super) fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.config.get_mut().unwrap()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Adds a standard capability in front of the list.
    pub(super) fn capability(&mut self, at: u8, id: u8, body: &[u8]) {
        let config = self.config.get_mut().unwrap();
        let (next, place) = (config[0x34], usize::from(at));
        config[0x34] = at;
        config[6] |= 0x10;
        config[place..place + 2].copy_from_slice(&[id, next]);
        config[place + 2..place + 2 + body.len()].copy_from_slice(body);
    }

    /// Writes an extended capability's header and body.
    pub(super) fn extended(&mut self, at: usize, id: u16, next: u32, body: &[u8]) {
        let header = u32::from(id) | 1 << 16 | next << 20;
        self.put(at, &header.to_le_bytes());
        self.put(at + 4, body);
    }

    pub(super) fn bar(&mut self, index: u8, flags: u32, size: u64) {
        self.put(0x10 + 4 * usize::from(index), &flags.to_le_bytes());
        let mappable = if flags & 1 == 0 { std::iter::once(0..size).collect() } else { Vec::new() };
        self.regions.insert(index, Region { size, mappable });
    }

    pub(super) fn irqs(&mut self, kind: InterruptKind, count: u32, grows: bool) {
        self.interrupts.insert(kind as u8, InterruptInfo { count, grows });
    }

    /// An MSI-X capability with `vectors` vectors, whose table is in BAR 0 at 0x2000 and its pending bits at
    /// 0x3000.
    pub(super) fn msix(&mut self, vectors: u16, grows: bool) {
        let mut body = (vectors - 1).to_le_bytes().to_vec();
        body.extend_from_slice(&0x2000_u32.to_le_bytes());
        body.extend_from_slice(&0x3000_u32.to_le_bytes());
        self.capability(0xB0, 0x11, &body);
        self.irqs(InterruptKind::Msix, u32::from(vectors), grows);
    }

    /// The hardware interrupts.
    pub(super) fn interrupt(&self, kind: InterruptKind, vector: u16) {
        if let Some(eventfd) = self.triggers.lock().unwrap().get(&(kind as u8, vector)) {
            eventfd.write(1).unwrap();
        }
    }
}

fn number(index: RegionIndex) -> u8 {
    match index {
        RegionIndex::Bar(bar) => bar,
        RegionIndex::Rom => 6,
        RegionIndex::Config => 7,
    }
}

impl HostFunction for FakeHost {
    fn region(&self, index: RegionIndex) -> Region {
        match index {
            RegionIndex::Config => Region { size: 4096, mappable: Vec::new() },
            other => self.regions.get(&number(other)).cloned().unwrap_or_default(),
        }
    }

    fn read(&self, index: RegionIndex, offset: u64, data: &mut [u8]) -> io::Result<()> {
        if offset + data.len() as u64 > self.region(index).size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        if index == RegionIndex::Config {
            data.copy_from_slice(&self.config.lock().unwrap()[offset as usize..][..data.len()]);
            return Ok(());
        }
        let contents = self.contents.lock().unwrap();
        for (byte, at) in data.iter_mut().zip(offset..) {
            *byte = contents.get(&(number(index), at)).copied().unwrap_or(0);
        }
        Ok(())
    }

    fn write(&self, index: RegionIndex, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset + data.len() as u64 > self.region(index).size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        if index == RegionIndex::Config {
            self.config.lock().unwrap()[offset as usize..][..data.len()].copy_from_slice(data);
            if offset == 4 {
                let command = u16::from_le_bytes([data[0], data[1]]);
                self.log.add(Event::Command(command));
            } else {
                self.log.add(Event::Config(offset, data.to_vec()));
            }
            return Ok(());
        }
        let bytes = data.iter().zip(offset..).map(|(byte, at)| ((number(index), at), *byte));
        self.contents.lock().unwrap().extend(bytes);
        Ok(())
    }

    fn map(&self, _index: RegionIndex, part: Range<u64>) -> io::Result<Arc<Mapping>> {
        let length = part.end - part.start;
        let memory = rustix::fs::memfd_create("bar", rustix::fs::MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&memory, length)?;
        Ok(Arc::new(Mapping::new(&memory, 0, length)?))
    }

    fn interrupts(&self, kind: InterruptKind) -> InterruptInfo {
        self.interrupts.get(&(kind as u8)).copied().unwrap_or_default()
    }

    fn set_triggers(&self, kind: InterruptKind, first: u16, triggers: &[Option<&EventFd>]) -> io::Result<()> {
        let with = triggers.iter().map(Option::is_some).collect();
        self.log.add(Event::Triggers(kind, first, with));
        if *self.refuses.lock().unwrap() {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let mut known = self.triggers.lock().unwrap();
        for (trigger, vector) in triggers.iter().zip(first..) {
            match trigger {
                Some(eventfd) => known.insert((kind as u8, vector), eventfd.try_clone()?),
                None => known.remove(&(kind as u8, vector)),
            };
        }
        Ok(())
    }

    fn disable(&self, kind: InterruptKind) -> io::Result<()> {
        self.log.add(Event::Disable(kind));
        self.triggers.lock().unwrap().retain(|(other, _), _| *other != kind as u8);
        Ok(())
    }

    fn unmask_wire(&self) -> io::Result<()> {
        self.log.add(Event::UnmaskWire);
        Ok(())
    }

    fn can_reset(&self) -> bool {
        self.can_reset
    }

    fn reset(&self) -> io::Result<()> {
        self.log.add(Event::Reset);
        Ok(())
    }
}

type Vectors = BTreeMap<u16, (Arc<EventFd>, Signal)>;

/// Routes that only write down what is asked of them; held vectors become pending as the real ones' do.
#[derive(Clone, Default)]
pub(super) struct FakeRoutes {
    pub(super) log: Log,
    pub(super) vectors: Arc<Mutex<Vectors>>,
}

impl FakeRoutes {
    pub(super) fn signal(&self, vector: u16) -> Option<Signal> {
        Some(self.vectors.lock().unwrap().get(&vector)?.1)
    }

    /// How often the vector was signalled and not looked at.
    pub(super) fn count(&self, vector: u16) -> u64 {
        self.vectors.lock().unwrap().get(&vector).map_or(0, |(eventfd, _)| eventfd.read().unwrap_or(0))
    }
}

impl VectorRoutes for FakeRoutes {
    fn eventfd(&self, vector: u16) -> io::Result<Arc<EventFd>> {
        let mut vectors = self.vectors.lock().unwrap();
        let eventfd = || Arc::new(EventFd::new(EFD_NONBLOCK).unwrap());
        Ok(vectors.entry(vector).or_insert_with(|| (eventfd(), Signal::Discard)).0.clone())
    }

    fn set(&self, changes: &[(u16, Signal)]) {
        let mut vectors = self.vectors.lock().unwrap();
        let mut real = Vec::new();
        for &(vector, signal) in changes {
            if let Some((_, old)) = vectors.get_mut(&vector)
                && *old != signal
            {
                *old = signal;
                real.push((vector, signal));
            }
        }
        if !real.is_empty() {
            self.log.add(Event::Signals(real));
        }
    }

    fn is_pending(&self, vector: u16) -> bool {
        let vectors = self.vectors.lock().unwrap();
        let Some((eventfd, Signal::Hold)) = vectors.get(&vector) else { return false };
        let Ok(count) = eventfd.read() else { return false };
        eventfd.write(count).unwrap();
        true
    }

    fn renumbered(&self) {
        self.log.add(Event::Renumbered);
    }
}

/// A wire that writes down its level and can be ended.
#[derive(Default)]
pub(super) struct FakeLine {
    pub(super) log: Log,
    pub(super) listeners: Mutex<Vec<Arc<dyn Fn() + Send + Sync>>>,
}

impl FakeLine {
    /// The guest ends the interrupt.
    pub(super) fn end(&self) {
        let listeners = self.listeners.lock().unwrap().clone();
        for listener in listeners {
            listener();
        }
    }
}

impl InterruptLine for FakeLine {
    fn set(&self, asserted: bool) {
        self.log.add(Event::Line(asserted));
    }

    fn on_end(&self, listener: Arc<dyn Fn() + Send + Sync>) {
        self.listeners.lock().unwrap().push(listener);
    }
}

/// A guest address space without overlaps.
#[derive(Clone, Default)]
pub(super) struct FakeSlots {
    pub(super) log: Log,
    pub(super) used: Arc<Mutex<BTreeMap<u64, u64>>>,
}

impl FakeSlots {
    pub(super) fn used(&self) -> Vec<(u64, u64)> {
        self.used.lock().unwrap().iter().map(|(start, length)| (*start, *length)).collect()
    }
}

struct FakeShown {
    slots: FakeSlots,
    start: u64,
    _memory: Arc<Mapping>,
}

impl Drop for FakeShown {
    fn drop(&mut self) {
        self.slots.used.lock().unwrap().remove(&self.start);
        self.slots.log.add(Event::Hidden(self.start));
    }
}

impl MemorySlots for FakeSlots {
    fn show(&self, guest: u64, memory: Arc<Mapping>) -> io::Result<Shown> {
        let mut used = self.used.lock().unwrap();
        let end = guest + memory.length();
        if used.iter().any(|(start, length)| *start < end && guest < start + length) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        used.insert(guest, memory.length());
        self.log.add(Event::Shown(guest, memory.length()));
        Ok(Box::new(FakeShown { slots: self.clone(), start: guest, _memory: memory }))
    }
}

/// The host's side of the function's DMA.
pub(super) struct FakeMapper(pub(super) Log);

impl HostMapper for FakeMapper {
    fn map(&self, _: Iova, _: GuestAddress, _: u64, _: Permissions) -> Result<(), MapError> {
        self.0.add(Event::Mapped);
        Ok(())
    }

    fn unmap(&self, _: Iova, _: u64) -> Result<(), MapError> {
        self.0.add(Event::Unmapped);
        Ok(())
    }

    fn unmap_all(&self) {
        self.0.add(Event::Unmapped);
    }
}
