//! Fault reasons and fault records (chapter 7; record §11.4.14).

use crate::{Access, Iova, Request, SourceId};

/// Why a request was refused (§7.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum FaultReason {
    /// LRT.2: the root entry is not present.
    RootNotPresent = 0x01,
    /// LCT.2: the context entry is not present.
    ContextNotPresent = 0x02,
    /// LCT.4: the context entry asks for a width or a type that there is not, or its table cannot be read.
    ContextInvalid = 0x03,
    /// LGN.1: the address lies beyond what can be translated.
    AddressBeyondWidth = 0x04,
    /// LGN.2: no permission to write.
    WriteDenied = 0x05,
    /// LGN.3: no permission to read.
    ReadDenied = 0x06,
    /// LSS.1: a second-stage entry cannot be read.
    SecondStageUnreadable = 0x07,
    /// LRT.1: the root entry cannot be read.
    RootUnreadable = 0x08,
    /// LCT.1: the context entry cannot be read.
    ContextUnreadable = 0x09,
    /// LRT.3: the root entry has reserved bits set.
    RootReserved = 0x0A,
    /// LCT.3: the context entry has reserved bits set.
    ContextReserved = 0x0B,
    /// LSS.2: a second-stage entry has reserved bits set.
    SecondStageReserved = 0x0C,
    /// LGN.4: the output lies in the interrupt range.
    InterruptRange = 0x0E,
    /// The interrupt request has reserved bits set.
    RequestReserved = 0x20,
    /// The interrupt index lies beyond the table.
    IndexBeyondTable = 0x21,
    /// The interrupt remapping entry is not present.
    InterruptEntryNotPresent = 0x22,
    /// The interrupt remapping entry cannot be read.
    InterruptEntryUnreadable = 0x23,
    /// The interrupt remapping entry has reserved bits set, or asks for what there is not.
    InterruptEntryReserved = 0x24,
    /// An interrupt request of compatibility format is not allowed now.
    CompatibilityBlocked = 0x25,
    /// The requester is not the one that the interrupt remapping entry names.
    SourceMismatch = 0x26,
    /// A write to the interrupt range that is not an interrupt request.
    MalformedRequest = 0x29,
    /// RTA.1: RTADDR_REG names a table mode that there is not.
    TableModeInvalid = 0x30,
    /// RTA.2: a request with PASID in legacy mode.
    PasidInLegacyMode = 0x31,
}

impl FaultReason {
    /// Whether the bit FPD of the structure on the way keeps it from being recorded.
    pub(crate) const fn qualified(self) -> bool {
        !matches!(
            self,
            Self::RootNotPresent
                | Self::RootUnreadable
                | Self::ContextUnreadable
                | Self::RootReserved
                | Self::RequestReserved
                | Self::IndexBeyondTable
                | Self::InterruptEntryUnreadable
                | Self::CompatibilityBlocked
                | Self::MalformedRequest
                | Self::TableModeInvalid
                | Self::PasidInLegacyMode
        )
    }
}

/// The request that met a fault, as far as a record shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultInfo {
    /// A request to memory.
    Memory {
        /// Any address in the page.
        iova: Iova,
        /// What was asked.
        request: Request,
    },
    /// An interrupt request with this index; 0 where it has none.
    Interrupt(u16),
}

/// A fault record, low and high half (§11.4.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FaultRecord(pub(crate) [u64; 2]);

impl FaultRecord {
    /// Bit F of the high half: the record is pending.
    pub(crate) const PENDING: u64 = 1 << 63;
    /// Bit T1 of the high half: a read, or with T2 an AtomicOp.
    const READ: u64 = 1 << 62;
    /// Bit T2 of the high half.
    const ATOMIC: u64 = 1 << 28;
    /// AT = 10b of the high half: the address was translated already.
    const TRANSLATED: u64 = 2 << 60;
    /// PP of the high half: the request had a PASID, which stands in PV.
    const PASID: u64 = 1 << 31;
    const PASID_SHIFT: u32 = 40;
    /// PRIV and EXE of the high half.
    const PRIVILEGED: u64 = 1 << 29;
    const EXECUTE: u64 = 1 << 30;

    pub(crate) fn new(source: SourceId, reason: FaultReason, info: FaultInfo) -> Self {
        let (low, kind) = match info {
            FaultInfo::Memory { iova, request } => (iova.0 & !0xFFF, Self::kind(&request)),
            FaultInfo::Interrupt(index) => ((index as u64) << 48, 0),
        };
        Self([low, Self::PENDING | kind | (reason as u64) << 32 | source.0 as u64])
    }

    /// T1, T2, AT, PP, PV, PRIV and EXE.
    fn kind(request: &Request) -> u64 {
        let kind = match request.access {
            Access::Read => Self::READ,
            Access::Write => 0,
            Access::Atomic => Self::READ | Self::ATOMIC,
        };
        let translated = if request.translated { Self::TRANSLATED } else { 0 };
        let Some(pasid) = request.pasid else { return kind | translated };
        let privileged = if request.privileged { Self::PRIVILEGED } else { 0 };
        let execute = if request.execute { Self::EXECUTE } else { 0 };
        kind | translated | Self::PASID | u64::from(pasid.0) << Self::PASID_SHIFT | privileged | execute
    }
}
