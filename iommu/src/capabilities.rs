//! What a unit can do: the capability registers, built by name.

mod names;

use crate::spec::registers::{FRCD, FRCD_COUNT, IVA};
use crate::spec::second_stage::Level;
use crate::spec::{bits, mask};

pub use names::UnknownFeature;

/// The values of CAP_REG and ECAP_REG (§11.4.2, §11.4.3) and what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    cap: u64,
    ecap: u64,
    host_address_width: u8,
}

impl Feature {
    /// Its bits in CAP_REG and in ECAP_REG: one bit in one of them.
    const fn bits(self) -> (u64, u64) {
        let bit = self as u32;
        if bit < 64 { (1 << bit, 0) } else { (0, 1 << (bit - 64)) }
    }
}

/// What a unit can do, each by the name the specification gives its bit. The discriminant is the bit: CAP_REG
/// from 0 on, ECAP_REG from 64 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Feature {
    /// CAP.PLMR: a protected region of memory below 4 GiB.
    ProtectedLowMemory = 5,
    /// CAP.PHMR: a protected region of memory anywhere.
    ProtectedHighMemory = 6,
    /// CAP.CM: not-present entries may be cached, so software announces every change (§6.1).
    CachingMode = 7,
    /// CAP.ZLR: a read of zero bytes succeeds where only writing is allowed.
    ZeroLengthRead = 22,
    /// CAP.SSLPS: second-stage pages of 2 MiB.
    SecondStage2M = 34,
    /// CAP.SSLPS: second-stage pages of 1 GiB.
    SecondStage1G = 35,
    /// CAP.PSI: page-selective invalidation.
    PageSelective = 39,
    /// CAP.DWD: invalidations wait for writes under way.
    DrainWrites = 54,
    /// CAP.DRD: invalidations wait for reads under way.
    DrainReads = 55,
    /// CAP.FS1GP: first-stage pages of 1 GiB.
    FirstStage1G = 56,
    /// CAP.PI: posted interrupts.
    PostedInterrupts = 59,
    /// CAP.FS5LP: first-stage tables of five levels.
    FirstStage5Levels = 60,
    /// CAP.ECMDS: enhanced commands.
    EnhancedCommands = 61,
    /// CAP.ESIRTPS: taking an interrupt remapping table into use invalidates what is cached of the last.
    SirtpInvalidates = 62,
    /// CAP.ESRTPS: taking a root table into use invalidates what is cached of the last.
    SrtpInvalidates = 63,
    /// ECAP.C: the unit's table walks see the processors' caches.
    Coherent = 64,
    /// ECAP.QI: queued invalidation.
    Queue = 64 + 1,
    /// ECAP.DT: device-TLBs (address translation services).
    DeviceTlb = 64 + 2,
    /// ECAP.IR: interrupt remapping.
    InterruptRemapping = 64 + 3,
    /// ECAP.EIM: 32-bit interrupt destinations.
    ExtendedInterruptMode = 64 + 4,
    /// ECAP.PT: pass-through.
    PassThrough = 64 + 6,
    /// ECAP.SC: bit SNP of second-stage leaves, PGSNP of PASID table entries.
    SnoopControl = 64 + 7,
    /// ECAP.NEST: first-stage tables that are themselves translated by the second stage.
    Nested = 64 + 26,
    /// ECAP.PRS: page requests.
    PageRequests = 64 + 29,
    /// ECAP.ERS: requests to execute.
    Execute = 64 + 30,
    /// ECAP.SRS: requests with supervisor privilege.
    Supervisor = 64 + 31,
    /// ECAP.NWFS: the no-write flag of translation requests counts.
    NoWrite = 64 + 33,
    /// ECAP.EAFS: the extended accessed flag of first-stage entries.
    ExtendedAccessed = 64 + 34,
    /// ECAP.PASID: requests with PASID.
    Pasid = 64 + 40,
    /// ECAP.DIT: device-TLB invalidations can be throttled.
    Throttling = 64 + 41,
    /// ECAP.PDS: a wait descriptor can wait for page requests (its flag PD).
    PageRequestDrain = 64 + 42,
    /// ECAP.SMTS: scalable mode.
    Scalable = 64 + 43,
    /// ECAP.SSADS: accessed and dirty bits in second-stage entries.
    SecondStageDirty = 64 + 45,
    /// ECAP.SSTS: second-stage tables in scalable mode.
    SecondStage = 64 + 46,
    /// ECAP.FSTS: first-stage tables.
    FirstStage = 64 + 47,
    /// ECAP.SMPWCS: bit PWSNP of PASID table entries.
    WalkSnoop = 64 + 48,
    /// ECAP.RPS: the field RID_PASID of scalable context entries.
    RidPasid = 64 + 49,
    /// ECAP.PMS: performance monitoring.
    PerformanceMonitoring = 64 + 51,
    /// ECAP.ADMS: the table mode that aborts every request.
    AbortMode = 64 + 52,
    /// ECAP.RPRIVS: the field RID_PRIV of scalable context entries.
    RidPrivilege = 64 + 53,
    /// ECAP.SMS: stop markers among page requests.
    StopMarker = 64 + 58,
}

/// A set of features that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Legacy mode, complete, with caching mode: the tables of assigned devices can be followed.
    Legacy,
    /// Scalable mode with second-stage tables only, with caching mode: they can be followed too.
    SecondStage,
    /// Scalable mode with first-stage tables only. Software does not announce what it maps there, so they
    /// cannot be followed.
    FirstStage,
    /// Everything but posted interrupts: first-stage, second-stage and nested tables, PASIDs of 20 bits,
    /// device-TLBs, page requests, abort mode. Cannot be followed.
    Full,
}

/// What every profile has.
const COMMON: [Feature; 12] = [
    Feature::ZeroLengthRead,
    Feature::SecondStage2M,
    Feature::SecondStage1G,
    Feature::PageSelective,
    Feature::DrainWrites,
    Feature::DrainReads,
    Feature::Coherent,
    Feature::Queue,
    Feature::InterruptRemapping,
    Feature::ExtendedInterruptMode,
    Feature::PassThrough,
    Feature::SnoopControl,
];

impl Profile {
    const fn features(self) -> &'static [Feature] {
        match self {
            Self::Legacy => &[Feature::CachingMode],
            Self::SecondStage => &[
                Feature::CachingMode,
                Feature::Scalable,
                Feature::SecondStage,
                Feature::WalkSnoop,
                Feature::RidPasid,
                Feature::SrtpInvalidates,
                Feature::SirtpInvalidates,
            ],
            Self::FirstStage => &[
                Feature::Scalable,
                Feature::FirstStage,
                Feature::FirstStage1G,
                Feature::WalkSnoop,
                Feature::RidPasid,
                Feature::SrtpInvalidates,
                Feature::SirtpInvalidates,
            ],
            Self::Full => &[
                Feature::Scalable,
                Feature::FirstStage,
                Feature::FirstStage1G,
                Feature::SecondStage,
                Feature::SecondStageDirty,
                Feature::Nested,
                Feature::WalkSnoop,
                Feature::RidPasid,
                Feature::RidPrivilege,
                Feature::Pasid,
                Feature::Execute,
                Feature::Supervisor,
                Feature::ExtendedAccessed,
                Feature::AbortMode,
                Feature::SrtpInvalidates,
                Feature::SirtpInvalidates,
            ],
        }
    }
}

/// ND: domain identifiers have `4 + 2 * 6` = 16 bits.
const DOMAINS_64K: u64 = 6;
const SAGAW_39: u64 = 1 << 9;
const SAGAW_48: u64 = 1 << 10;
const SAGAW_57: u64 = 1 << 11;
const MGAW_SHIFT: u32 = 16;
const FRO_SHIFT: u32 = 24;
const NFR_SHIFT: u32 = 40;
const MAMV_SHIFT: u32 = 48;
const IRO_SHIFT: u32 = 8;
const MHMV_SHIFT: u32 = 20;
const PSS_SHIFT: u32 = 35;

/// The largest address mask: 2^18 pages, one page of 1 GiB.
const MAX_ADDRESS_MASK: u64 = 18;
/// The largest interrupt index mask: 2^15 entries.
const MAX_INDEX_MASK: u64 = 15;
/// The widest guest physical address that x86 processors know.
const MAX_HOST_WIDTH: u8 = 52;

impl Capabilities {
    /// What `profile` names, for addresses of `width` bits: 39, 48 or 57. Guest addresses, like those that
    /// devices use, have as many, but no more than 52.
    ///
    /// # Panics
    ///
    /// If `width` is none of these.
    pub const fn new(profile: Profile, width: u8) -> Self {
        let widths = match width {
            39 => SAGAW_39,
            48 => SAGAW_39 | SAGAW_48,
            57 => SAGAW_39 | SAGAW_48 | SAGAW_57,
            _ => panic!("Tables have 39, 48 or 57 bits"),
        };
        let mut capabilities = Self {
            cap: DOMAINS_64K
                | widths
                | (width as u64 - 1) << MGAW_SHIFT
                | (FRCD / 16) << FRO_SHIFT
                | (FRCD_COUNT as u64 - 1) << NFR_SHIFT
                | MAX_ADDRESS_MASK << MAMV_SHIFT,
            ecap: (IVA / 16) << IRO_SHIFT | MAX_INDEX_MASK << MHMV_SHIFT,
            host_address_width: if width < MAX_HOST_WIDTH { width } else { MAX_HOST_WIDTH },
        };
        let mut index = 0;
        while index < COMMON.len() {
            capabilities = capabilities.with(COMMON[index]);
            index += 1;
        }
        let features = profile.features();
        index = 0;
        while index < features.len() {
            capabilities = capabilities.with(features[index]);
            index += 1;
        }
        if capabilities.has(Feature::FirstStage) && width == 57 {
            capabilities = capabilities.with(Feature::FirstStage5Levels);
        }
        if capabilities.has(Feature::Pasid) {
            capabilities.ecap |= 19 << PSS_SHIFT;
        }
        capabilities
    }

    /// Legacy mode, complete: second-stage tables of up to `width` bits (39 or 48), 2 MiB and 1 GiB pages,
    /// pass-through, queued invalidation, caching mode, interrupt remapping with extended interrupt mode.
    ///
    /// # Panics
    ///
    /// If `width` is neither 39, 48 nor 57.
    pub const fn legacy(width: u8) -> Self {
        Self::new(Profile::Legacy, width)
    }

    /// The same with `feature`.
    #[must_use]
    pub const fn with(self, feature: Feature) -> Self {
        let (cap, ecap) = feature.bits();
        Self { cap: self.cap | cap, ecap: self.ecap | ecap, ..self }
    }

    /// The same without `feature`. Without snoop control, for one: where devices may bypass the processors'
    /// caches although a page says otherwise (SNP), the guest must not be promised that they do not.
    #[must_use]
    pub const fn without(self, feature: Feature) -> Self {
        let (cap, ecap) = feature.bits();
        Self { cap: self.cap & !cap, ecap: self.ecap & !ecap, ..self }
    }

    /// Whether the unit has `feature`.
    pub const fn has(&self, feature: Feature) -> bool {
        let (cap, ecap) = feature.bits();
        self.cap & cap != 0 || self.ecap & ecap != 0
    }

    /// The bits of a PASID: ECAP.PSS + 1; 0 without PASIDs.
    pub const fn pasid_bits(&self) -> u8 {
        if self.has(Feature::Pasid) { bits(self.ecap, 39, 35) as u8 + 1 } else { 0 }
    }

    /// CAP_REG (§11.4.2).
    pub const fn cap(&self) -> u64 {
        self.cap
    }

    /// ECAP_REG (§11.4.3).
    pub const fn ecap(&self) -> u64 {
        self.ecap
    }

    /// The bits of a guest physical address, as the DMAR table says them too (§8.1).
    pub const fn host_address_width(&self) -> u8 {
        self.host_address_width
    }

    /// The bits of an address that a device may use: CAP.MGAW + 1.
    pub const fn guest_address_width(&self) -> u8 {
        bits(self.cap, 21, 16) as u8 + 1
    }

    pub(crate) const fn max_address_mask(&self) -> u8 {
        bits(self.cap, 53, 48) as u8
    }

    pub(crate) const fn max_index_mask(&self) -> u8 {
        bits(self.ecap, 23, 20) as u8
    }

    /// The bits that a domain identifier may have set.
    pub(crate) const fn domain_mask(&self) -> u16 {
        mask(bits(self.cap, 2, 0) as u32 * 2 + 3, 0) as u16
    }

    /// Address bits that no guest memory has.
    pub(crate) const fn beyond_host_width(&self) -> u64 {
        mask(63, self.host_address_width as u32)
    }

    /// The top level of a second-stage table for a context entry's field AW, if SAGAW has it.
    pub(crate) fn second_stage_top(&self, address_width: u8) -> Option<Level> {
        let supported = address_width < 5 && self.cap & 1 << (8 + address_width) != 0;
        Level::top(address_width).filter(|_| supported)
    }

    pub(crate) fn has_large_pages(&self, level: Level) -> bool {
        match level {
            Level::PAGE_2M => self.has(Feature::SecondStage2M),
            Level::PAGE_1G => self.has(Feature::SecondStage1G),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
