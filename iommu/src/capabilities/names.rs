//! The features by name, as people write them.

use std::fmt;
use std::str::FromStr;

use super::Feature;

/// The name is none of [`Feature::ALL`]'s.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("There is no feature `{0}`")]
pub struct UnknownFeature(pub String);

/// One list for both directions: the compiler sees to it that no feature is left out.
macro_rules! names {
    ($($feature:ident = $name:literal,)*) => {
        impl Feature {
            /// Every feature there is, in the order of their bits.
            pub const ALL: &'static [Self] = &[$(Self::$feature),*];

            /// Its name in words, such as `posted-interrupts`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$feature => $name,)*
                }
            }
        }
    };
}

names! {
    ProtectedLowMemory = "protected-low-memory",
    ProtectedHighMemory = "protected-high-memory",
    CachingMode = "caching-mode",
    ZeroLengthRead = "zero-length-read",
    SecondStage2M = "second-stage-2m",
    SecondStage1G = "second-stage-1g",
    PageSelective = "page-selective",
    DrainWrites = "drain-writes",
    DrainReads = "drain-reads",
    FirstStage1G = "first-stage-1g",
    PostedInterrupts = "posted-interrupts",
    FirstStage5Levels = "first-stage-5-levels",
    EnhancedCommands = "enhanced-commands",
    SirtpInvalidates = "sirtp-invalidates",
    SrtpInvalidates = "srtp-invalidates",
    Coherent = "coherent",
    Queue = "queue",
    DeviceTlb = "device-tlb",
    InterruptRemapping = "interrupt-remapping",
    ExtendedInterruptMode = "extended-interrupt-mode",
    PassThrough = "pass-through",
    SnoopControl = "snoop-control",
    Nested = "nested",
    PageRequests = "page-requests",
    Execute = "execute",
    Supervisor = "supervisor",
    NoWrite = "no-write",
    ExtendedAccessed = "extended-accessed",
    Pasid = "pasid",
    Throttling = "throttling",
    PageRequestDrain = "page-request-drain",
    Scalable = "scalable",
    SecondStageDirty = "second-stage-dirty",
    SecondStage = "second-stage",
    FirstStage = "first-stage",
    WalkSnoop = "walk-snoop",
    RidPasid = "rid-pasid",
    PerformanceMonitoring = "performance-monitoring",
    AbortMode = "abort-mode",
    RidPrivilege = "rid-privilege",
    StopMarker = "stop-marker",
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Feature {
    type Err = UnknownFeature;

    fn from_str(text: &str) -> Result<Self, UnknownFeature> {
        let found = Self::ALL.iter().copied().find(|feature| feature.name() == text);
        found.ok_or_else(|| UnknownFeature(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_is_found_by_its_name_and_stands_in_the_order_of_the_bits() {
        for feature in Feature::ALL {
            assert_eq!(feature.to_string().parse(), Ok(*feature));
        }
        assert!(Feature::ALL.is_sorted_by(|a, b| (*a as u8) < *b as u8));
        assert_eq!("posting".parse::<Feature>(), Err(UnknownFeature("posting".into())));
    }
}
