//! The named sets of features.

use super::Feature;

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
    /// Scalable mode with first-stage and second-stage tables, but not one behind the other, and with caching mode:
    /// second-stage tables can be followed, and a host whose own unit nests walks first-stage tables itself.
    Nested,
    /// Everything but posted interrupts: first-stage, second-stage and nested tables, PASIDs of 20 bits,
    /// device-TLBs, page requests, abort mode, performance counters. Cannot be followed.
    Full,
}

/// What every profile has.
pub(super) const COMMON: &[Feature] = &[
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
    /// How many faults can be pending.
    pub(super) const fn fault_records(self) -> usize {
        match self {
            Self::Full => 64,
            Self::Legacy | Self::SecondStage | Self::FirstStage | Self::Nested => 8,
        }
    }

    pub(super) const fn features(self) -> &'static [Feature] {
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
            Self::Nested => &[
                Feature::CachingMode,
                Feature::Scalable,
                Feature::FirstStage,
                Feature::FirstStage1G,
                Feature::SecondStage,
                Feature::WalkSnoop,
                Feature::RidPasid,
                Feature::SrtpInvalidates,
                Feature::SirtpInvalidates,
            ],
            Self::Full => &[
                Feature::ProtectedLowMemory,
                Feature::ProtectedHighMemory,
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
                Feature::DeviceTlb,
                Feature::Throttling,
                Feature::PageRequests,
                Feature::PageRequestDrain,
                Feature::StopMarker,
                Feature::EnhancedCommands,
                Feature::PerformanceMonitoring,
                Feature::SrtpInvalidates,
                Feature::SirtpInvalidates,
            ],
        }
    }
}
