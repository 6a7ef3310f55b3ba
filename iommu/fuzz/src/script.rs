//! Input as a script.
//!
//! Numbers are taken in the shape that the script's place calls for (an offset of a register, a page's address, a
//! descriptor of some type) more often than not, since few random bytes mean anything.

use iommu::{Access, Iova, PageRequest, Pasid, Request, SourceId, TranslationRequest};

use super::machine::PAGES;

/// The rest of the input.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl Script<'_> {
    pub(crate) fn ended(&self) -> bool {
        self.0.is_empty()
    }

    /// The next number; zeros follow the end.
    pub(crate) fn number<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let (now, later) = self.0.split_at(N.min(self.0.len()));
        bytes[..now.len()].copy_from_slice(now);
        self.0 = later;
        bytes
    }

    pub(crate) fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.number())
    }

    pub(crate) fn half(&mut self) -> u16 {
        u16::from_le_bytes(self.number())
    }

    pub(crate) fn word(&mut self) -> u64 {
        u64::from_le_bytes(self.number())
    }

    /// A page of memory.
    pub(crate) fn page(&mut self) -> u64 {
        u64::from(self.byte()) % PAGES * 0x1000
    }

    /// What may stand in a structure: few low bits and a page, or anything.
    pub(crate) fn entry(&mut self) -> u64 {
        match self.byte() {
            0..200 => self.page() | u64::from(self.half()),
            200..220 => self.page() << 32 | u64::from(self.half()) << 16 | u64::from(self.byte()),
            _ => self.word(),
        }
    }

    /// One of few functions, most of the time.
    pub(crate) fn source(&mut self) -> SourceId {
        let value = self.half();
        SourceId(if value & 0x8000 == 0 { value & 0x0187 } else { value })
    }

    pub(crate) fn pasid(&mut self) -> Option<Pasid> {
        match self.byte() {
            0..100 => None,
            low @ 100..240 => Some(Pasid(u32::from(low) - 100)),
            _ => Some(Pasid(self.word() as u32)),
        }
    }

    /// An address in the first pages, at the border of something, or anywhere.
    pub(crate) fn iova(&mut self) -> Iova {
        let value = match self.byte() {
            0..150 => u64::from(self.half()) << 4,
            150..200 => (1_u64 << (self.byte() % 64)).wrapping_sub(u64::from(self.half())),
            200..210 => 0xFEE0_0000 | u64::from(self.half()) << 4,
            _ => self.word(),
        };
        Iova(value)
    }

    pub(crate) fn request(&mut self) -> Request {
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

    pub(crate) fn translation(&mut self) -> TranslationRequest {
        let flags = self.byte();
        TranslationRequest {
            source: self.source(),
            pasid: self.pasid(),
            privileged: flags & 1 != 0,
            execute: flags & 2 != 0,
            no_write: flags & 4 != 0,
            iova: self.iova(),
        }
    }

    pub(crate) fn page_request(&mut self) -> PageRequest {
        let flags = self.byte();
        PageRequest {
            source: self.source(),
            pasid: self.pasid(),
            privileged: flags & 1 != 0,
            execute: flags & 2 != 0,
            read: flags & 4 != 0,
            write: flags & 8 != 0,
            last: flags & 16 != 0,
            group: self.half(),
            iova: self.iova(),
        }
    }
}
