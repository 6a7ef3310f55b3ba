//! Fault reasons and fault records (chapter 7; record §11.4.7.6).

use crate::{Access, Iova, PageRequest, Pasid, Request, SourceId, TranslationRequest};

/// Why a request was refused (§7.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(dead_code, reason = "Every code has its name here, also those of checks that this unit never fails")]
pub(crate) enum FaultReason {
    /// No fault and no code: in abort mode every request is refused in silence (§11.4.5).
    Aborted = 0x00,
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
    /// LCT.5: a translation request or a translated request, which the context entry does not allow.
    TranslationTypeBlocked = 0x0D,
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
    /// The posted-interrupt descriptor cannot be accessed.
    PostedDescriptorUnreadable = 0x27,
    /// The posted-interrupt descriptor has reserved bits set.
    PostedDescriptorReserved = 0x28,
    /// A write to the interrupt range that is not an interrupt request.
    MalformedRequest = 0x29,
    /// RTA.1: RTADDR_REG names a table mode that there is not.
    TableModeInvalid = 0x30,
    /// RTA.2: a request with PASID in legacy mode.
    PasidInLegacyMode = 0x31,
    /// RTA.3: a page request in legacy mode.
    PageRequestInLegacyMode = 0x32,
    /// SRT.1: the root entry cannot be read (scalable mode, as all that follow).
    ScalableRootUnreadable = 0x38,
    /// SRT.2: the half of the root entry is not present.
    ScalableRootNotPresent = 0x39,
    /// SRT.3: the half of the root entry has reserved bits set.
    ScalableRootReserved = 0x3A,
    /// SCT.1: the context entry cannot be read.
    ScalableContextUnreadable = 0x40,
    /// SCT.2: the context entry is not present.
    ScalableContextNotPresent = 0x41,
    /// SCT.3: the context entry has reserved bits set.
    ScalableContextReserved = 0x42,
    /// SCT.4: the context entry asks for what there is not.
    ScalableContextInvalid = 0x43,
    /// SCT.5: a translation request or a translated request without DTE.
    DeviceTlbDisabled = 0x44,
    /// SCT.6: a request with PASID without PASIDE.
    PasidDisabled = 0x45,
    /// SCT.7: the PASID lies beyond the directory.
    PasidBeyondDirectory = 0x46,
    /// SCT.8: a page request without PRE.
    PageRequestDisabled = 0x47,
    /// SCT.9: RID_PASID cannot be used.
    RidPasidInvalid = 0x48,
    /// SPD.1: the PASID directory entry cannot be read.
    PasidDirectoryUnreadable = 0x50,
    /// SPD.2: the PASID directory entry is not present.
    PasidDirectoryNotPresent = 0x51,
    /// SPD.3: the PASID directory entry has reserved bits set.
    PasidDirectoryReserved = 0x52,
    /// SPT.1: the PASID table entry cannot be read.
    PasidEntryUnreadable = 0x58,
    /// SPT.2: the PASID table entry is not present.
    PasidEntryNotPresent = 0x59,
    /// SPT.3: the PASID table entry has reserved bits set.
    PasidEntryReserved = 0x5A,
    /// SPT.4: the PASID table entry asks for a type, a width or a paging mode that there is not.
    PasidEntryInvalid = 0x5B,
    /// SPT.5: a request to execute without ERE.
    ExecuteDisabled = 0x5C,
    /// SPT.6: a request with supervisor privilege without SRE.
    SupervisorDisabled = 0x5D,
    /// SFS.1: a first-stage entry cannot be read.
    FirstStageUnreadable = 0x70,
    /// SFS.2: a first-stage entry is not present.
    FirstStageNotPresent = 0x71,
    /// SFS.3: a first-stage entry has reserved bits set.
    FirstStageReserved = 0x72,
    /// SFS.4: the top first-stage table cannot be read.
    FirstStageTopUnreadable = 0x73,
    /// SFS.5: a first-stage table lies beyond what the second stage can translate.
    NestedTableBeyondWidth = 0x74,
    /// SFS.6: the second stage gives no permission to read the top first-stage table.
    NestedTopReadDenied = 0x75,
    /// SFS.7: the second stage gives no permission to read a first-stage entry.
    NestedEntryReadDenied = 0x76,
    /// SFS.8: the second stage gives no permission to mark a first-stage entry accessed or dirty.
    NestedEntryWriteDenied = 0x77,
    /// SSS.1: a second-stage entry cannot be read.
    ScalableSecondStageUnreadable = 0x78,
    /// SSS.2: a second-stage entry is not present.
    ScalableSecondStageNotPresent = 0x79,
    /// SSS.3: a second-stage entry has reserved bits set.
    ScalableSecondStageReserved = 0x7A,
    /// SSS.4: the top second-stage table cannot be read.
    ScalableSecondStageTopUnreadable = 0x7B,
    /// SSS.5: a second-stage entry is to be marked by a walk that does not snoop.
    SecondStageMarkNotSnooped = 0x7C,
    /// SSS.6: a second-stage entry could not be marked in one piece.
    SecondStageMarkFailed = 0x7D,
    /// SGN.1: the address is not canonical.
    NotCanonical = 0x80,
    /// SGN.2: a request with user privilege to what is the supervisor's.
    UserDenied = 0x81,
    /// SGN.3: no permission to execute.
    ExecuteDenied = 0x82,
    /// SGN.4: an address that passes through, or was translated already, lies beyond the host's width.
    ScalableBeyondHostWidth = 0x83,
    /// SGN.5: the address lies beyond what the second stage can translate.
    ScalableBeyondWidth = 0x84,
    /// SGN.6: no permission to write.
    ScalableWriteDenied = 0x85,
    /// SGN.7: no permission to read.
    ScalableReadDenied = 0x86,
    /// SGN.8: the address or the output lies in the interrupt range.
    ScalableInterruptRange = 0x87,
    /// SFS.9: a first-stage entry is to be marked by a walk that does not snoop.
    FirstStageMarkNotSnooped = 0x90,
    /// SFS.10: a first-stage entry could not be marked in one piece.
    FirstStageMarkFailed = 0x91,
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
                | Self::PageRequestInLegacyMode
                | Self::ScalableRootUnreadable
                | Self::ScalableRootNotPresent
                | Self::ScalableRootReserved
                | Self::ScalableContextUnreadable
                | Self::PasidDirectoryUnreadable
                | Self::PasidEntryUnreadable
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
    /// A translation request.
    Translation(TranslationRequest),
    /// A page request.
    PageRequest(PageRequest),
    /// An interrupt request with this index; 0 where it has none.
    Interrupt(u16),
}

/// A fault record, low and high half (§11.4.7.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FaultRecord(pub(crate) [u64; 2]);

impl FaultRecord {
    /// Bit F of the high half: the record is pending.
    pub(crate) const PENDING: u64 = 1 << 63;
    /// Bit T1 of the high half: a read, or with T2 an AtomicOp.
    const READ: u64 = 1 << 62;
    /// Bit T2 of the high half, alone.
    const PAGE_REQUEST: u64 = 1 << 28;
    /// Bit T2 of the high half.
    const ATOMIC: u64 = 1 << 28;
    /// AT = 10b of the high half: the address was translated already.
    const TRANSLATED: u64 = 2 << 60;
    /// AT = 01b of the high half: a translation request.
    const TRANSLATION: u64 = 1 << 60;
    /// PP of the high half: the request had a PASID, which stands in PV.
    const PASID: u64 = 1 << 31;
    const PASID_SHIFT: u32 = 40;
    /// PRIV and EXE of the high half.
    const PRIVILEGED: u64 = 1 << 29;
    const EXECUTE: u64 = 1 << 30;

    pub(crate) fn new(source: SourceId, reason: FaultReason, info: FaultInfo) -> Self {
        let (low, kind) = match info {
            FaultInfo::Memory { iova, request } => (iova.0 & !0xFFF, Self::kind(&request)),
            FaultInfo::Translation(TranslationRequest {
                source, pasid, privileged, execute, iova, ..
            }) => {
                // It asks for permission to read at least.
                let access = Access::Read;
                let request = Request { source, pasid, privileged, execute, access, translated: false };
                (iova.0 & !0xFFF, Self::kind(&request) | Self::TRANSLATION)
            }
            FaultInfo::PageRequest(request) => {
                let PageRequest { pasid, privileged, execute, iova, .. } = request;
                (iova.0 & !0xFFF, Self::PAGE_REQUEST | Self::space(pasid, privileged, execute))
            }
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
        kind | translated | Self::space(request.pasid, request.privileged, request.execute)
    }

    /// PP, PV, PRIV and EXE.
    fn space(pasid: Option<Pasid>, privileged: bool, execute: bool) -> u64 {
        let Some(pasid) = pasid else { return 0 };
        let privileged = if privileged { Self::PRIVILEGED } else { 0 };
        let execute = if execute { Self::EXECUTE } else { 0 };
        Self::PASID | u64::from(pasid.0) << Self::PASID_SHIFT | privileged | execute
    }
}
