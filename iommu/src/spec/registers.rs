//! The register window (§11.4): where each register lies and what its bits mean.

use crate::{Capabilities, Feature};

// Offsets in bytes. A name with `_HIGH` is the upper half of a 64-bit register.
pub(crate) const VER: u64 = 0x000;
pub(crate) const CAP: u64 = 0x008;
pub(crate) const ECAP: u64 = 0x010;
pub(crate) const GCMD: u64 = 0x018;
pub(crate) const GSTS: u64 = 0x01C;
pub(crate) const RTADDR: u64 = 0x020;
pub(crate) const CCMD: u64 = 0x028;
pub(crate) const FSTS: u64 = 0x034;
/// FECTL, FEDATA, FEADDR and FEUADDR follow each other from here.
pub(crate) const FECTL: u64 = 0x038;
pub(crate) const PMEN: u64 = 0x064;
pub(crate) const PLMBASE: u64 = 0x068;
pub(crate) const PLMLIMIT: u64 = 0x06C;
pub(crate) const PHMBASE: u64 = 0x070;
pub(crate) const PHMLIMIT: u64 = 0x078;
pub(crate) const IQH: u64 = 0x080;
pub(crate) const IQT: u64 = 0x088;
pub(crate) const IQA: u64 = 0x090;
pub(crate) const ICS: u64 = 0x09C;
/// IECTL, IEDATA, IEADDR and IEUADDR follow each other from here.
pub(crate) const IECTL: u64 = 0x0A0;
pub(crate) const IQERCD: u64 = 0x0B0;
pub(crate) const IRTA: u64 = 0x0B8;
pub(crate) const PQH: u64 = 0x0C0;
pub(crate) const PQT: u64 = 0x0C8;
pub(crate) const PQA: u64 = 0x0D0;
pub(crate) const PRS: u64 = 0x0DC;
/// PECTL, PEDATA, PEADDR and PEUADDR follow each other from here.
pub(crate) const PECTL: u64 = 0x0E0;
/// IVA_REG; IOTLB_REG follows. Where they lie is ours to choose and named in ECAP.IRO.
pub(crate) const IVA: u64 = 0x0F0;
pub(crate) const IOTLB: u64 = IVA + 8;
/// The first fault recording register, 16 bytes each, as long as there are no more than [`FRCD_NEAR`]. Where it
/// lies is ours to choose and named in CAP.FRO.
pub(crate) const FRCD: u64 = 0x220;
/// So many have room there.
pub(crate) const FRCD_NEAR: usize = 14;

/// Protected regions are made of pieces of this size. It is ours to choose; software finds it by writing ones.
pub(crate) const PROTECTED_GRANULE: u64 = 1 << 20;

/// VER_REG: version 1.0. Versions from 6 on have no register-based invalidation.
pub(crate) const VERSION: u32 = 0x10;

bitflags::bitflags! {
    /// GCMD_REG and GSTS_REG (§11.4.4): the command's bit and the status that answers it are the same.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Global: u32 {
        /// TE, TES: DMA remapping.
        const TRANSLATION = 1 << 31;
        /// SRTP, RTPS: take RTADDR_REG into use.
        const ROOT_POINTER = 1 << 30;
        /// WBF, WBFS: flush the write buffer.
        const WRITE_BUFFER = 1 << 27;
        /// QIE, QIES: queued invalidation.
        const QUEUE = 1 << 26;
        /// IRE, IRES: interrupt remapping.
        const INTERRUPT_REMAPPING = 1 << 25;
        /// SIRTP, IRTPS: take IRTA_REG into use.
        const INTERRUPT_POINTER = 1 << 24;
        /// CFI, CFIS: let compatibility-format interrupts pass.
        const COMPATIBILITY = 1 << 23;
    }

    /// FSTS_REG (§11.4.7.1), without FRI.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct FaultStatus: u32 {
        /// PFO: a fault was lost.
        const OVERFLOW = 1 << 0;
        /// PPF: a record is pending.
        const PENDING = 1 << 1;
        /// IQE: the invalidation queue has stopped at a descriptor.
        const QUEUE_ERROR = 1 << 4;
        /// ICE: a device completed an invalidation wrongly.
        const COMPLETION_ERROR = 1 << 5;
        /// ITE: a device did not complete an invalidation.
        const TIMEOUT_ERROR = 1 << 6;
    }
}

bitflags::bitflags! {
    /// PRS_REG (§11.4.11.4): software clears by writing 1.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct PageRequestStatus: u32 {
        /// PPR: a request has been put into the queue.
        const PENDING = 1 << 0;
        /// PRO: a request has been dropped for want of room.
        const OVERFLOW = 1 << 1;
    }
}

impl Global {
    /// The commands that a unit with `capabilities` knows: the others are reserved.
    pub(crate) fn supported(capabilities: &Capabilities) -> Self {
        let queue = if capabilities.has(Feature::Queue) { Self::QUEUE } else { Self::empty() };
        let remapping = if capabilities.has(Feature::InterruptRemapping) {
            Self::INTERRUPT_REMAPPING | Self::INTERRUPT_POINTER | Self::COMPATIBILITY
        } else {
            Self::empty()
        };
        Self::TRANSLATION | Self::ROOT_POINTER | Self::WRITE_BUFFER | queue | remapping
    }
}

impl FaultStatus {
    /// Where FRI, the index of the first pending record, lies.
    pub(crate) const INDEX_SHIFT: u32 = 8;
    /// What software clears by writing 1.
    pub(crate) const CLEARABLE: Self =
        Self::OVERFLOW.union(Self::QUEUE_ERROR).union(Self::COMPLETION_ERROR).union(Self::TIMEOUT_ERROR);
}

/// Bit IM of an event control register (§11.4.7.2): hold messages back. Set at reset.
pub(crate) const EVENT_MASKED: u32 = 1 << 31;
/// Bit IP of an event control register: a message is held back.
pub(crate) const EVENT_PENDING: u32 = 1 << 30;

/// Bit IWC of ICS_REG (§11.4.9.4): a wait descriptor that asked for an interrupt has completed.
pub(crate) const WAIT_COMPLETE: u32 = 1;

/// Bit ICC of CCMD_REG and bit IVT of IOTLB_REG: run; cleared when done.
pub(crate) const RUN: u64 = 1 << 63;

/// CCMD_REG (§11.4.6.1).
pub(crate) mod ccmd {
    use super::RUN;
    use crate::spec::{bits, mask};

    /// Everything but CAIG.
    pub(crate) const WRITABLE: u64 = mask(33, 0) | mask(62, 61) | RUN;
    /// SID and FM.
    pub(crate) const WRITE_ONLY: u64 = mask(33, 16);

    /// CIRG, the granularity asked for.
    pub(crate) const fn requested(value: u64) -> u64 {
        bits(value, 62, 61)
    }

    /// The command done: `value` with ICC clear and CAIG saying what was done, 0 for nothing.
    pub(crate) const fn done(value: u64, granularity: u64) -> u64 {
        value & !(RUN | mask(60, 59)) | granularity << 59
    }
}

/// IOTLB_REG and IVA_REG (§11.4.6.2, §11.4.6.3).
pub(crate) mod iotlb {
    use super::RUN;
    use crate::DomainId;
    use crate::spec::{bits, mask};

    /// DID, the drain bits, IIRG and IVT.
    pub(crate) const WRITABLE: u64 = mask(49, 32) | mask(61, 60) | RUN;

    /// IIRG, the granularity asked for.
    pub(crate) const fn requested(value: u64) -> u64 {
        bits(value, 61, 60)
    }

    /// DID, the domain.
    pub(crate) const fn domain(value: u64) -> DomainId {
        DomainId(bits(value, 47, 32) as u16)
    }

    /// The command done: `value` with IVT clear and IAIG saying what was done, 0 for nothing.
    pub(crate) const fn done(value: u64, granularity: u64) -> u64 {
        value & !(RUN | mask(58, 57)) | granularity << 57
    }
}

/// Why the invalidation queue stopped: IQERCD.IQEI (§11.4.9.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum QueueError {
    /// The status of a wait descriptor could not be written: no code says so.
    NoInformation = 0,
    /// The tail lies beyond the queue.
    TailBeyondQueue = 1,
    /// A descriptor cannot be read.
    FetchFailed = 2,
    /// There is no such descriptor here.
    InvalidType = 3,
    /// Reserved bits are set, or a field has a value that means nothing.
    ReservedField = 4,
    /// Descriptors have another width than the table mode calls for.
    InvalidWidth = 5,
    /// The tail does not lie at the beginning of a descriptor.
    TailMisaligned = 6,
    /// RTADDR_REG, as taken into use, names a table mode that there is not.
    InvalidTableMode = 7,
}
