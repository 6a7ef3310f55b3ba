//! A unit in a small machine, and what has to hold of it whatever it is fed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use iommu::{
    Access, Capabilities, DeviceTlb, DeviceTlbInvalidation, Feature, GuestAddress, InvalidationCompletion,
    Iova, PageRequest, PageResponse, Permissions, Profile, Request, SourceId, Translation,
    TranslationRequest, Unit,
};
use vm_memory::{Bytes, GuestMemoryMmap};

use super::script::Script;

type Memory = Arc<GuestMemoryMmap<()>>;

/// The guest's memory: small, so that tables meet each other.
pub(crate) const PAGES: u64 = 32;
const SIZE: u64 = PAGES * 0x1000;

pub(crate) const GCMD: u64 = 0x18;
pub(crate) const GSTS: u64 = 0x1C;
pub(crate) const RTADDR: u64 = 0x20;
pub(crate) const FSTS: u64 = 0x34;
pub(crate) const IQH: u64 = 0x80;
pub(crate) const IQT: u64 = 0x88;
pub(crate) const IQA: u64 = 0x90;
pub(crate) const IRTA: u64 = 0xB8;
pub(crate) const PQH: u64 = 0xC0;
pub(crate) const PQT: u64 = 0xC8;
pub(crate) const PQA: u64 = 0xD0;
pub(crate) const ECMD: u64 = 0x400;

/// What no profile has by itself.
const EXTRAS: [Feature; 3] = [Feature::NoWrite, Feature::CachingMode, Feature::PostedInterrupts];

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

pub(crate) struct Machine {
    memory: Memory,
    pub(crate) unit: Unit<Memory>,
    device: Arc<dyn DeviceTlb>,
    constants: [u64; 2],
}

impl Machine {
    pub(crate) fn new(script: &mut Script<'_>) -> Self {
        let (kind, extras) = (script.byte(), script.byte());
        let profile = [Profile::Legacy, Profile::SecondStage, Profile::FirstStage, Profile::Full]
            [usize::from(kind & 3)];
        let width = [39, 48, 57][usize::from(kind >> 2) % 3];
        let wanted = EXTRAS.into_iter().enumerate().filter(|(bit, _)| extras >> bit & 1 == 1);
        let plain = Capabilities::new(profile, width);
        // Not every profile can have each of them.
        let capabilities = wanted.fold(plain, |capabilities, (_, feature)| {
            capabilities.to_builder().with(feature).build().unwrap_or(capabilities)
        });
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), SIZE as usize)]);
        let memory: Memory = Arc::new(memory.expect("memory"));
        let unit = Unit::new(Arc::clone(&memory), capabilities);
        let completion = match kind >> 6 {
            0 | 1 => InvalidationCompletion::Done,
            2 => InvalidationCompletion::Malformed,
            _ => InvalidationCompletion::Silent,
        };
        let device: Arc<dyn DeviceTlb> = Arc::new(Device { source: SourceId(0x0101), completion });
        unit.register_device_tlb(&device);
        let constants = [capabilities.cap(), capabilities.ecap()];
        Self { memory, unit, device, constants }
    }

    pub(crate) fn store(&self, address: u64, value: u64) {
        let place = GuestAddress((address % SIZE) & !7);
        self.memory.store(value, place, Ordering::Relaxed).expect("memory");
    }

    pub(crate) fn get(&self, offset: u64) -> u64 {
        let mut data = [0; 8];
        self.unit.read(offset, &mut data);
        u64::from_le_bytes(data)
    }

    pub(crate) fn get32(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.unit.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    pub(crate) fn set(&self, offset: u64, value: u64) {
        self.unit.write(offset, &value.to_le_bytes());
    }

    pub(crate) fn set32(&self, offset: u64, value: u32) {
        self.unit.write(offset, &value.to_le_bytes());
    }

    /// Sets bits of GCMD besides those that stand.
    pub(crate) fn command(&self, bits: u32) {
        self.set32(GCMD, self.get32(GSTS) & 0x96FF_FFFF | bits);
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; SIZE as usize];
        self.memory.read_slice(&mut bytes, GuestAddress(0)).expect("memory");
        bytes
    }

    /// Copies all that is in the memory of `other`.
    pub(crate) fn take_memory_of(&self, other: &Self) {
        self.memory.write_slice(&other.bytes(), GuestAddress(0)).expect("memory");
    }

    /// Sends a request; gives where it leads and how far. What it reaches is neither empty nor more than was asked
    /// for, and never a place where interrupts are sent to.
    pub(crate) fn request(&self, request: &Request, iova: Iova, length: u64) -> Result<(u64, u64), u8> {
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

    /// Sends a translation request. An answer is aligned to its size, and untranslated requests go where it says;
    /// unless the request has itself changed the tables, by marks.
    pub(crate) fn translate(&self, request: &TranslationRequest) {
        let before = self.bytes();
        let Ok(answer) = self.unit.translate(request) else { return };
        let Translation { address, size, permissions, untranslated_only, .. } = answer;
        assert!(size.is_power_of_two() && size >= 0x1000);
        assert!(permissions.is_empty() || address.0.is_multiple_of(size));
        if untranslated_only || self.bytes() != before {
            return;
        }
        for (permission, access) in [(Permissions::READ, Access::Read), (Permissions::WRITE, Access::Write)] {
            let TranslationRequest { source, pasid, privileged, iova, .. } = *request;
            if permissions.contains(permission) {
                let untranslated = Request { pasid, privileged, ..Request::new(source, access) };
                let leads = address.0 + (iova.0 & (size - 1));
                assert_eq!(self.request(&untranslated, iova, 1), Ok((leads, 1)), "{request:?}: {answer:?}");
            }
        }
    }

    /// Sends a page request. It is in the queue, or answered, or it needs no answer.
    pub(crate) fn page_request(&self, request: &PageRequest) {
        let tail = self.get32(PQT);
        let answered = self.unit.page_request(request).is_some();
        let queued = self.get32(PQT) != tail;
        assert!(!(answered && queued), "{request:?} is both queued and answered");
        let wants_answer = request.last && !request.is_stop_marker();
        assert!(answered || queued || !wants_answer, "{request:?} is lost");
    }

    /// What never changes has not, and a unit that is reset is as new.
    pub(crate) fn finish(self) {
        assert_eq!([self.get(0x08), self.get(0x10)], self.constants);
        assert_eq!(self.get32(FSTS) & !0xFF73, 0, "reserved bits of FSTS");
        self.unit.reset();
        assert_eq!([self.get32(GSTS), self.get32(FSTS), self.get32(IQT)], [0, 0, 0]);
        let read = Request::new(SourceId(0), Access::Read);
        assert_eq!(self.request(&read, Iova(0x5000), 8), Ok((0x5000, 8)));
        drop(self.device);
    }
}
