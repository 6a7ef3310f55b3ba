//! Requests to memory.

use std::sync::atomic::Ordering;

use iommu::{Access, GuestAddress, Iova, MsiMessage, Pasid, Request};
use vm_memory::{AtomicAccess, AtomicInteger, Bytes, GuestMemoryBackend, GuestMemoryRegion, VolatileMemory};

use super::{BusMaster, DmaError, Remapping};

/// Message-signalled interrupts are writes to this megabyte; it is never memory.
const INTERRUPT_RANGE: std::ops::Range<u64> = 0xFEE0_0000..0xFEF0_0000;

/// What a request carries beside who asks, what for, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// The address space; none in a request without PASID.
    pub pasid: Option<Pasid>,
    /// With supervisor privilege; has no meaning without PASID.
    pub privileged: bool,
    /// To execute what is read; has no meaning without PASID.
    pub execute: bool,
    /// The address is the answer to a translation request.
    pub translated: bool,
}

impl Attributes {
    /// Whether a write to the interrupt range is an interrupt, and the range never memory.
    fn interrupt(&self) -> bool {
        self.pasid.is_none() && !self.translated
    }
}

/// A way to send requests of one kind.
#[derive(Clone, Copy)]
pub struct Requests<'a> {
    pub(super) master: &'a BusMaster,
    pub(super) attributes: Attributes,
}

impl<'a> Requests<'a> {
    pub(super) fn new(master: &'a BusMaster, attributes: Attributes) -> Self {
        Self { master, attributes }
    }

    /// Reads memory into `data`. On an error the bytes before the address at fault have been read.
    pub fn read(&self, iova: Iova, data: &mut [u8]) -> Result<(), DmaError> {
        let mut done = 0;
        while done < data.len() {
            let rest = &mut data[done..];
            done += self.chunk(iova, done, rest.len(), Access::Read, |address, length| {
                self.master.memory.read_slice(&mut rest[..length], address)
            })?;
        }
        Ok(())
    }

    /// Writes `data` to memory, or sends an interrupt if that is what a write there means. On an error the
    /// bytes before the address at fault have been written.
    pub fn write(&self, iova: Iova, data: &[u8]) -> Result<(), DmaError> {
        if self.attributes.interrupt() && INTERRUPT_RANGE.contains(&iova.0) {
            return match data.try_into() {
                Ok(word) if iova.0.is_multiple_of(4) => {
                    self.master.send(MsiMessage { address: iova.0, data: u32::from_le_bytes(word) })
                }
                _ => {
                    drop(self.master.enabled()?);
                    Err(DmaError::MalformedInterrupt(iova.0))
                }
            };
        }
        let mut done = 0;
        while done < data.len() {
            let rest = &data[done..];
            done += self.chunk(iova, done, rest.len(), Access::Write, |address, length| {
                self.master.memory.write_slice(&rest[..length], address)
            })?;
        }
        Ok(())
    }

    /// Asks whether the address may be read, and reads nothing: a zero-length read, which flushes what was
    /// written before.
    pub fn touch(&self, iova: Iova) -> Result<(), DmaError> {
        self.translated(iova, 0, Access::Read, |_, _| Ok(()))
    }

    /// Reads a naturally aligned integer in one access; what is read afterwards is at least as new.
    pub fn load<T: AtomicAccess>(&self, iova: Iova) -> Result<T, DmaError> {
        self.aligned::<T, T>(iova, Access::Read, |address| {
            self.master.memory.load(address, Ordering::Acquire).ok()
        })
    }

    /// Writes a naturally aligned integer in one access, after everything written before.
    pub fn store<T: AtomicAccess>(&self, iova: Iova, value: T) -> Result<(), DmaError> {
        self.aligned::<T, ()>(iova, Access::Write, |address| {
            self.master.memory.store(value, address, Ordering::Release).ok()
        })
    }

    /// Has memory do `work` on a naturally aligned integer (an AtomicOp): what was there is its result.
    pub fn atomic<T: AtomicInteger>(
        &self,
        iova: Iova,
        work: impl FnOnce(&T) -> T::V,
    ) -> Result<T::V, DmaError> {
        self.aligned::<T, T::V>(iova, Access::Atomic, |address| {
            let (region, offset) = self.master.memory.to_region_addr(address)?;
            let slice = region.get_slice(offset, size_of::<T>()).ok()?;
            slice.get_atomic_ref::<T>(0).ok().map(work)
        })
    }

    /// Does `work` on the one aligned `T` at `iova`, which no page boundary divides.
    fn aligned<T, R>(
        &self,
        iova: Iova,
        access: Access,
        work: impl FnOnce(GuestAddress) -> Option<R>,
    ) -> Result<R, DmaError> {
        if !iova.0.is_multiple_of(size_of::<T>() as u64) {
            return Err(DmaError::Unreachable(iova.0));
        }
        self.translated(iova, size_of::<T>() as u64, access, |address, length| {
            let whole = length == size_of::<T>() as u64;
            let result = if whole { work(address) } else { None };
            result.ok_or(DmaError::Unreachable(address.0))
        })
    }

    /// Does `work` on the next contiguous piece of a request; gives its length.
    fn chunk(
        &self,
        start: Iova,
        done: usize,
        left: usize,
        access: Access,
        work: impl FnOnce(GuestAddress, usize) -> Result<(), vm_memory::GuestMemoryError>,
    ) -> Result<usize, DmaError> {
        let address = start.0.checked_add(done as u64).ok_or(DmaError::Unreachable(u64::MAX))?;
        self.translated(Iova(address), left as u64, access, |guest, length| {
            // `length` is at most `left`, so it fits.
            let length = length as usize;
            work(guest, length).map(|()| length).map_err(|_| DmaError::Unreachable(guest.0))
        })
    }

    /// Does `work` on the guest memory that the bytes from `iova` on stand for, as many as lie together
    /// there, while no invalidation can take the translation away.
    fn translated<R>(
        &self,
        iova: Iova,
        length: u64,
        access: Access,
        work: impl FnOnce(GuestAddress, u64) -> Result<R, DmaError>,
    ) -> Result<R, DmaError> {
        let _enabled = self.master.enabled()?;
        let mut length = length;
        if self.attributes.interrupt() {
            if INTERRUPT_RANGE.contains(&iova.0) {
                return Err(DmaError::MalformedInterrupt(iova.0));
            }
            // A request that begins below the range ends at it: what follows is not memory.
            if let Some(below) = INTERRUPT_RANGE.start.checked_sub(iova.0) {
                length = length.min(below);
            }
        }
        match &self.master.remapping {
            // Only a unit knows PASIDs and translated requests.
            Remapping::Absent if !self.attributes.interrupt() => Err(DmaError::Unreachable(iova.0)),
            Remapping::Absent => work(GuestAddress(iova.0), length),
            Remapping::Unit(unit) => unit.access(&self.request(access), iova, length, work)?,
        }
    }

    fn request(&self, access: Access) -> Request {
        let Attributes { pasid, privileged, execute, translated } = self.attributes;
        Request { source: self.master.source_id(), pasid, privileged, execute, access, translated }
    }
}
