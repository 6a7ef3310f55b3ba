//! One function for each target: bytes in, a panic if the unit does what it must never do.
//!
//! Input is read as a script. Numbers are taken in the shape that the script's place calls for (an offset of a
//! register, a page's address, a descriptor of some type) more often than not, since few random bytes mean anything.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use iommu::{
    Access, Capabilities, DeviceTlb, DeviceTlbInvalidation, GuestAddress, InvalidationCompletion, Iova,
    MsiMessage, PageResponse, Pasid, Profile, Request, SourceId, TranslationRequest, Unit,
};
use vm_memory::{Bytes, GuestMemoryMmap};

type Memory = Arc<GuestMemoryMmap<()>>;

/// The guest's memory: small, so that tables meet each other.
const PAGES: u64 = 32;
const SIZE: u64 = PAGES * 0x1000;

const GCMD: u64 = 0x18;
const GSTS: u64 = 0x1C;
const RTADDR: u64 = 0x20;
const FSTS: u64 = 0x34;
const IQH: u64 = 0x80;
const IQT: u64 = 0x88;
const IQA: u64 = 0x90;
const IRTA: u64 = 0xB8;

/// The rest of the input.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn ended(&self) -> bool {
        self.0.is_empty()
    }

    /// The next number; zeros follow the end.
    fn number<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let (now, later) = self.0.split_at(N.min(self.0.len()));
        bytes[..now.len()].copy_from_slice(now);
        self.0 = later;
        bytes
    }

    fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.number())
    }

    fn half(&mut self) -> u16 {
        u16::from_le_bytes(self.number())
    }

    fn word(&mut self) -> u64 {
        u64::from_le_bytes(self.number())
    }

    /// A page of memory.
    fn page(&mut self) -> u64 {
        u64::from(self.byte()) % PAGES * 0x1000
    }

    /// What may stand in a structure: few low bits and a page, or anything.
    fn entry(&mut self) -> u64 {
        match self.byte() {
            0..200 => self.page() | u64::from(self.half()),
            200..220 => self.page() << 32 | u64::from(self.half()) << 16 | u64::from(self.byte()),
            _ => self.word(),
        }
    }

    /// One of few functions, most of the time.
    fn source(&mut self) -> SourceId {
        let value = self.half();
        SourceId(if value & 0x8000 == 0 { value & 0x0187 } else { value })
    }

    fn pasid(&mut self) -> Option<Pasid> {
        match self.byte() {
            0..100 => None,
            low @ 100..240 => Some(Pasid(u32::from(low) - 100)),
            _ => Some(Pasid(self.word() as u32)),
        }
    }

    /// An address in the first pages, at the border of something, or anywhere.
    fn iova(&mut self) -> Iova {
        let value = match self.byte() {
            0..150 => u64::from(self.half()) << 4,
            150..200 => (1_u64 << (self.byte() % 64)).wrapping_sub(u64::from(self.half())),
            200..210 => 0xFEE0_0000 | u64::from(self.half()) << 4,
            _ => self.word(),
        };
        Iova(value)
    }

    fn request(&mut self) -> Request {
        let flags = self.byte();
        let access = match flags & 3 {
            0 | 3 => Access::Read,
            1 => Access::Write,
            _ => Access::Atomic,
        };
        Request {
            pasid: self.pasid(),
            privileged: flags & 4 != 0,
            execute: flags & 8 != 0,
            translated: flags & 0x70 == 0x70,
            ..Request::new(self.source(), access)
        }
    }
}

/// A device that answers invalidations as its script says.
struct Device {
    source: SourceId,
    completion: InvalidationCompletion,
}

impl DeviceTlb for Device {
    fn source_id(&self) -> SourceId {
        self.source
    }

    fn invalidate(&self, what: &DeviceTlbInvalidation) -> InvalidationCompletion {
        assert!(what.size.is_none_or(|size| size.is_power_of_two() && size >= 0x1000));
        assert!(what.size.is_none_or(|size| what.iova.0.is_multiple_of(size)), "aligned to its size");
        self.completion
    }

    fn page_response(&self, response: &PageResponse) {
        assert!(response.group < 512);
    }
}

struct Machine {
    memory: Memory,
    unit: Unit<Memory>,
    device: Arc<dyn DeviceTlb>,
}

impl Machine {
    fn new(script: &mut Script<'_>) -> Self {
        let kind = script.byte();
        let profile = [Profile::Legacy, Profile::SecondStage, Profile::FirstStage, Profile::Full]
            [usize::from(kind & 3)];
        let width = [39, 48, 57][usize::from(kind >> 2) % 3];
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), SIZE as usize)]);
        let memory: Memory = Arc::new(memory.expect("memory"));
        let unit = Unit::new(Arc::clone(&memory), Capabilities::new(profile, width));
        let completion = match kind >> 6 {
            0 | 1 => InvalidationCompletion::Done,
            2 => InvalidationCompletion::Malformed,
            _ => InvalidationCompletion::Silent,
        };
        let device: Arc<dyn DeviceTlb> = Arc::new(Device { source: SourceId(0x0101), completion });
        unit.register_device_tlb(&device);
        Self { memory, unit, device }
    }

    fn store(&self, address: u64, value: u64) {
        let place = GuestAddress((address % SIZE) & !7);
        self.memory.store(value, place, Ordering::Relaxed).expect("memory");
    }

    fn get(&self, offset: u64) -> u64 {
        let mut data = [0; 8];
        self.unit.read(offset, &mut data);
        u64::from_le_bytes(data)
    }

    fn get32(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.unit.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn set(&self, offset: u64, value: u64) {
        self.unit.write(offset, &value.to_le_bytes());
    }

    fn set32(&self, offset: u64, value: u32) {
        self.unit.write(offset, &value.to_le_bytes());
    }

    /// Sets bits of GCMD besides those that stand.
    fn command(&self, bits: u32) {
        self.set32(GCMD, self.get32(GSTS) & 0x96FF_FFFF | bits);
    }

    /// Sends a request; gives where it leads and how far. What it reaches is neither empty nor more than was asked
    /// for, and never a place where interrupts are sent to.
    fn request(&self, request: &Request, iova: Iova, length: u64) -> Result<(u64, u64), u8> {
        let mut reached = None;
        let result = self.unit.access(request, iova, length, |address, part| {
            reached = Some((address.0, part));
        });
        assert_eq!(reached.is_some(), result.is_ok(), "blocked is blocked");
        let Some((address, part)) = reached else { return Err(result.unwrap_err().reason) };
        assert!(part <= length && (part > 0 || length == 0), "{part} of {length} bytes");
        let last = address.checked_add(part.saturating_sub(1)).expect("an end");
        assert!(
            last < 0xFEE0_0000 || address > 0xFEEF_FFFF,
            "{request:?} at {iova} for {length} reaches {part} at {address:#x}"
        );
        Ok((address, part))
    }

    /// A translation request; an answer is aligned to its size and tells of no more than its leaf.
    fn translate(&self, script: &mut Script<'_>) {
        let flags = script.byte();
        let request = TranslationRequest {
            source: script.source(),
            pasid: script.pasid(),
            privileged: flags & 1 != 0,
            execute: flags & 2 != 0,
            no_write: flags & 4 != 0,
            iova: script.iova(),
        };
        if let Ok(answer) = self.unit.translate(&request) {
            assert!(answer.size.is_power_of_two() && answer.size >= 0x1000);
            assert!(answer.permissions.is_empty() || answer.address.0.is_multiple_of(answer.size));
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; SIZE as usize];
        self.memory.read_slice(&mut bytes, GuestAddress(0)).expect("memory");
        bytes
    }

    /// What never changes has not, and a unit that is reset is as new.
    fn finish(self, capabilities: [u64; 2]) {
        assert_eq!([self.get(0x08), self.get(0x10)], capabilities);
        assert_eq!(self.get32(FSTS) & !0xFF73, 0, "reserved bits of FSTS");
        self.unit.reset();
        assert_eq!([self.get32(GSTS), self.get32(FSTS), self.get32(IQT)], [0, 0, 0]);
        let read = Request::new(SourceId(0), Access::Read);
        assert_eq!(self.request(&read, Iova(0x5000), 8), Ok((0x5000, 8)));
        drop(self.device);
    }
}

/// Any registers written in any size, with requests and interrupts between.
pub fn registers(data: &[u8]) {
    let mut script = Script(data);
    let machine = Machine::new(&mut script);
    let capabilities = [machine.get(0x08), machine.get(0x10)];
    while !script.ended() {
        let kind = script.byte();
        let offset = match kind & 3 {
            0 => u64::from(script.byte()),
            1 => u64::from(script.byte()) * 4,
            2 => u64::from(script.half()),
            _ => [GCMD, RTADDR, IQT, IQA, IRTA, FSTS, 0x38, 0xC8][usize::from(script.byte() & 7)],
        };
        match kind >> 2 & 7 {
            0 | 1 => machine.set32(offset, script.entry() as u32),
            2 => machine.set(offset, script.entry()),
            3 => machine.command(1 << (23 + script.byte() % 9)),
            4 => {
                let value = script.word().to_le_bytes();
                let length = usize::from(script.byte()) % 9;
                machine.unit.write(offset, &value[..length]);
                machine.unit.read(offset, &mut [0; 8][..length]);
            }
            5 => {
                let (request, iova) = (script.request(), script.iova());
                let _ = machine.request(&request, iova, u64::from(script.half()));
            }
            6 => machine.store(script.word(), script.entry()),
            _ => {
                let message =
                    MsiMessage { address: 0xFEE0_0000 | script.word(), data: u32::from(script.half()) };
                let source = script.source();
                let resolved = machine.unit.resolve(source, message).outcome;
                assert_eq!(machine.unit.remap(source, message), resolved);
            }
        }
    }
    machine.finish(capabilities);
}

/// Any descriptors in queues of both widths, by any tails.
pub fn queue(data: &[u8]) {
    let mut script = Script(data);
    let machine = Machine::new(&mut script);
    let capabilities = [machine.get(0x08), machine.get(0x10)];
    let kind = script.byte();
    machine.set(RTADDR, 0x1000 | u64::from(kind & 3) << 10);
    machine.command(1 << 30);
    machine.set(IQA, 0x10000 | u64::from(kind >> 2 & 3) | u64::from(kind >> 4 & 1) << 11);
    machine.command(1 << 26);
    machine.command(1 << 31);
    let (mut at, mut rounds) = (0_u64, 0);
    while !script.ended() && rounds < 64 {
        rounds += 1;
        for _ in 0..script.byte() % 8 {
            // A type that there is and fields with little in them, or anything at all.
            let shape = script.byte();
            let low = if shape & 0x80 == 0 {
                u64::from(shape & 15) | u64::from(script.half()) << 4 | u64::from(script.half()) << 32
            } else {
                script.word()
            };
            let high = if shape & 0x40 == 0 { script.entry() } else { 0 };
            machine.store(0x10000 + at, low);
            machine.store(0x10000 + at + 8, high);
            at = (at + 16) % 0x1000;
        }
        let tail = if script.byte() < 200 { at } else { u64::from(script.half()) };
        machine.set32(IQT, tail as u32);
        let status = machine.get32(FSTS);
        if status & 0x50 == 0 && machine.get32(GSTS) >> 26 & 1 == 1 {
            assert_eq!(machine.get32(IQH), machine.get32(IQT), "a queue without an error is done");
        }
        let (request, iova) = (script.request(), script.iova());
        let _ = machine.request(&request, iova, 8);
        if script.byte() & 1 == 0 {
            machine.set32(FSTS, 0x71);
        }
    }
    machine.finish(capabilities);
}

/// Any tables, in every mode, with any requests. What a request comes to does not change while the tables do not:
/// neither by what is remembered of it nor when that is forgotten.
pub fn tables(data: &[u8]) {
    let mut script = Script(data);
    let machine = Machine::new(&mut script);
    let capabilities = [machine.get(0x08), machine.get(0x10)];
    machine.set(RTADDR, u64::from(script.byte() & 3) << 10);
    machine.command(1 << 30);
    machine.command(1 << 31);
    machine.set(IRTA, script.page() | u64::from(script.byte() & 15) | u64::from(script.byte() & 1) << 11);
    machine.command(1 << 24);
    machine.command(1 << 25);
    for _ in 0..script.byte() {
        let place = script.page() + u64::from(script.half()) * 8 % 0x1000;
        let entry = script.entry();
        machine.store(place, entry);
    }
    for _ in 0..16 {
        let (request, iova) = (script.request(), script.iova());
        let length = u64::from(script.half());
        let before = machine.bytes();
        let first = machine.request(&request, iova, length);
        if machine.bytes() == before {
            assert_eq!(machine.request(&request, iova, length), first, "{request:?} at {iova:?}");
            // A new root pointer, the same: units that say so forget everything then.
            machine.command(1 << 30);
            assert_eq!(machine.request(&request, iova, length), first, "{request:?} at {iova:?}");
        }
        machine.translate(&mut script);
        let message = MsiMessage { address: 0xFEE0_0010 | u64::from(script.half()) << 4, data: 0 };
        let source = script.source();
        let resolved = machine.unit.resolve(source, message).outcome;
        assert_eq!(machine.unit.remap(source, message), resolved);
        if script.ended() {
            break;
        }
    }
    machine.finish(capabilities);
}
