//! Fault reasons (§7.1.3) and fault records (§11.4.14).

use iommu::{Access, Request, TranslationRequest};

use super::bits::{bit, field};

/// Whether FPD suppresses the recording of a reason.
pub fn is_qualified(reason: u8) -> bool {
    match reason {
        // Root entry; access errors at root and context entry; interrupt requests before a valid entry; the
        // table mode; scalable root entry, access error at context entry; access errors at PASID entries.
        0x01 | 0x08 | 0x09 | 0x0A | 0x20 | 0x21 | 0x23 | 0x25 | 0x29..=0x40 | 0x50 | 0x58 => false,
        _ => true,
    }
}

/// The type of a request in a fault record: T1 and T2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Write,
    PageRequest,
    Read,
    Atomic,
}

/// A fault record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// FI, where it stands.
    pub info: u64,
    pub source: u16,
    pub reason: u8,
    /// PV, if PP.
    pub pasid: Option<u32>,
    pub privileged: bool,
    pub execute: bool,
    pub kind: Kind,
    /// AT.
    pub address_type: u8,
}

impl Record {
    /// The record of an untranslated or translated request to memory.
    pub fn of_memory(request: &Request, address: u64, reason: u8) -> Self {
        let with_pasid = request.pasid.is_some();
        Self {
            info: address & !0xFFF,
            source: request.source.0,
            reason,
            pasid: request.pasid.map(|pasid| pasid.0),
            privileged: with_pasid && request.privileged,
            execute: with_pasid && request.execute,
            kind: match request.access {
                Access::Read => Kind::Read,
                Access::Write => Kind::Write,
                Access::Atomic => Kind::Atomic,
            },
            address_type: if request.translated { 2 } else { 0 },
        }
    }

    /// The record of a translation request, which is a read of an address that is to be translated.
    pub fn of_translation_request(request: &TranslationRequest, reason: u8) -> Self {
        let with_pasid = request.pasid.is_some();
        Self {
            info: request.iova.0 & !0xFFF,
            source: request.source.0,
            reason,
            pasid: request.pasid.map(|pasid| pasid.0),
            privileged: with_pasid && request.privileged,
            execute: with_pasid && request.execute,
            kind: Kind::Read,
            address_type: 1,
        }
    }

    /// The record of an interrupt request that asked for the entry `index`.
    pub fn of_interrupt(source: u16, index: u16, reason: u8) -> Self {
        Self {
            info: u64::from(index) << 48,
            source,
            reason,
            pasid: None,
            privileged: false,
            execute: false,
            kind: Kind::Write,
            address_type: 0,
        }
    }

    /// What the two words of a record say; none if F is clear.
    pub fn decode(low: u64, high: u64) -> Option<Self> {
        bit(high, 63).then(|| {
            assert_eq!(low & 0xFFF, 0, "bits 11:0 are reserved");
            assert_eq!(field(high, 27, 16), 0, "bits 91:80 are reserved");
            let pasid = field(high, 59, 40) as u32;
            assert!(bit(high, 31) || pasid == 0, "PV is 0 without PP");
            Self {
                info: low,
                source: field(high, 15, 0) as u16,
                reason: field(high, 39, 32) as u8,
                pasid: bit(high, 31).then_some(pasid),
                privileged: bit(high, 29),
                execute: bit(high, 30),
                kind: match (bit(high, 62), bit(high, 28)) {
                    (false, false) => Kind::Write,
                    (false, true) => Kind::PageRequest,
                    (true, false) => Kind::Read,
                    (true, true) => Kind::Atomic,
                },
                address_type: field(high, 61, 60) as u8,
            }
        })
    }
}
