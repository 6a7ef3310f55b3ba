//! The features, each a bit of a capability register, and what each needs of others.

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

impl Feature {
    /// Its bits in CAP_REG and in ECAP_REG: one bit in one of them.
    pub(super) const fn bits(self) -> (u64, u64) {
        let bit = self as u32;
        if bit < 64 { (1 << bit, 0) } else { (0, 1 << (bit - 64)) }
    }

    /// The specification's name of its bit, such as `ECAP.SMTS`.
    pub const fn bit(self) -> &'static str {
        match self {
            Self::ProtectedLowMemory => "CAP.PLMR",
            Self::ProtectedHighMemory => "CAP.PHMR",
            Self::CachingMode => "CAP.CM",
            Self::ZeroLengthRead => "CAP.ZLR",
            Self::SecondStage2M => "CAP.SSLPS (2 MiB)",
            Self::SecondStage1G => "CAP.SSLPS (1 GiB)",
            Self::PageSelective => "CAP.PSI",
            Self::DrainWrites => "CAP.DWD",
            Self::DrainReads => "CAP.DRD",
            Self::FirstStage1G => "CAP.FS1GP",
            Self::PostedInterrupts => "CAP.PI",
            Self::FirstStage5Levels => "CAP.FS5LP",
            Self::EnhancedCommands => "CAP.ECMDS",
            Self::SirtpInvalidates => "CAP.ESIRTPS",
            Self::SrtpInvalidates => "CAP.ESRTPS",
            Self::Coherent => "ECAP.C",
            Self::Queue => "ECAP.QI",
            Self::DeviceTlb => "ECAP.DT",
            Self::InterruptRemapping => "ECAP.IR",
            Self::ExtendedInterruptMode => "ECAP.EIM",
            Self::PassThrough => "ECAP.PT",
            Self::SnoopControl => "ECAP.SC",
            Self::Nested => "ECAP.NEST",
            Self::PageRequests => "ECAP.PRS",
            Self::Execute => "ECAP.ERS",
            Self::Supervisor => "ECAP.SRS",
            Self::NoWrite => "ECAP.NWFS",
            Self::ExtendedAccessed => "ECAP.EAFS",
            Self::Pasid => "ECAP.PASID",
            Self::Throttling => "ECAP.DIT",
            Self::PageRequestDrain => "ECAP.PDS",
            Self::Scalable => "ECAP.SMTS",
            Self::SecondStageDirty => "ECAP.SSADS",
            Self::SecondStage => "ECAP.SSTS",
            Self::FirstStage => "ECAP.FSTS",
            Self::WalkSnoop => "ECAP.SMPWCS",
            Self::RidPasid => "ECAP.RPS",
            Self::PerformanceMonitoring => "ECAP.PMS",
            Self::AbortMode => "ECAP.ADMS",
            Self::RidPrivilege => "ECAP.RPRIVS",
            Self::StopMarker => "ECAP.SMS",
        }
    }
}

/// The first of each needs at least one of the others (§11.4.2, §11.4.3).
pub(super) const NEEDS: &[(Feature, &[Feature])] = &[
    (Feature::SecondStage1G, &[Feature::SecondStage2M]),
    (Feature::DeviceTlb, &[Feature::Queue]),
    (Feature::InterruptRemapping, &[Feature::Queue]),
    (Feature::Scalable, &[Feature::Queue]),
    (Feature::Scalable, &[Feature::FirstStage, Feature::SecondStage, Feature::PassThrough]),
    (Feature::ExtendedInterruptMode, &[Feature::InterruptRemapping]),
    (Feature::PostedInterrupts, &[Feature::InterruptRemapping]),
    (Feature::NoWrite, &[Feature::DeviceTlb]),
    (Feature::Throttling, &[Feature::DeviceTlb]),
    (Feature::PageRequests, &[Feature::DeviceTlb]),
    (Feature::PageRequestDrain, &[Feature::PageRequests]),
    (Feature::StopMarker, &[Feature::PageRequests]),
    (Feature::FirstStage, &[Feature::Scalable]),
    (Feature::FirstStage1G, &[Feature::FirstStage]),
    (Feature::FirstStage5Levels, &[Feature::FirstStage]),
    (Feature::ExtendedAccessed, &[Feature::FirstStage]),
    (Feature::SecondStage, &[Feature::Scalable]),
    (Feature::SecondStageDirty, &[Feature::SecondStage]),
    (Feature::Nested, &[Feature::FirstStage]),
    (Feature::Nested, &[Feature::SecondStage]),
    (Feature::Pasid, &[Feature::Scalable]),
    (Feature::Execute, &[Feature::Scalable]),
    (Feature::Supervisor, &[Feature::Scalable]),
    (Feature::WalkSnoop, &[Feature::Scalable]),
    (Feature::RidPasid, &[Feature::Scalable]),
    (Feature::RidPrivilege, &[Feature::Scalable]),
    (Feature::PerformanceMonitoring, &[Feature::EnhancedCommands]),
];
