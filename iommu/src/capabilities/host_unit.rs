//! The host's own remapping unit, as far as it does the work of the guest's.

use super::{CapabilitiesBuilder, Feature};

/// CAP_REG and ECAP_REG of a host's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostUnit {
    /// CAP_REG.
    pub cap: u64,
    /// ECAP_REG.
    pub ecap: u64,
}

/// What the one that walks first-stage tables has to know of them.
const WALKED: [Feature; 5] = [
    Feature::FirstStage1G,
    Feature::FirstStage5Levels,
    Feature::ExtendedAccessed,
    Feature::Supervisor,
    Feature::WalkSnoop,
];

impl HostUnit {
    /// Whether it can walk first-stage tables of guests.
    pub const fn nests(self) -> bool {
        self.has(Feature::Scalable)
            && self.has(Feature::FirstStage)
            && self.has(Feature::SecondStage)
            && self.has(Feature::Nested)
    }

    const fn has(self, feature: Feature) -> bool {
        let (cap, ecap) = feature.bits();
        self.cap & cap != 0 || self.ecap & ecap != 0
    }

    /// What both can do, as far as that is a matter of single bits.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { cap: self.cap & other.cap, ecap: self.ecap & other.ecap }
    }
}

impl CapabilitiesBuilder {
    /// Does without what a unit with these registers cannot do for first-stage tables that it walks itself.
    pub const fn walked_by(self, unit: HostUnit) -> Self {
        let mut builder = self;
        let mut index = 0;
        while index < WALKED.len() {
            if !unit.has(WALKED[index]) {
                builder = builder.without(WALKED[index]);
            }
            index += 1;
        }
        builder
    }
}

#[cfg(test)]
mod tests {
    use crate::{Capabilities, Feature, HostUnit, Profile};

    #[test]
    fn a_unit_that_nests_has_all_of_it() {
        let full = Capabilities::new(Profile::Full, 48);
        let host =
            |capabilities: Capabilities| HostUnit { cap: capabilities.cap(), ecap: capabilities.ecap() };
        assert!(host(full).nests());
        for profile in [Profile::Legacy, Profile::SecondStage, Profile::FirstStage, Profile::Nested] {
            assert!(!host(Capabilities::new(profile, 48)).nests());
        }
        assert!(!host(full).and(host(Capabilities::legacy(48))).nests());
    }

    #[test]
    fn first_stages_are_those_that_the_host_walks() {
        let wanted = Capabilities::builder(Profile::Nested, 57).with(Feature::ExtendedAccessed);
        let all = HostUnit { cap: u64::MAX, ecap: u64::MAX };
        assert_eq!(wanted.walked_by(all).build(), wanted.build());
        let bounded = wanted.walked_by(HostUnit { cap: 0, ecap: 0 }).build().unwrap();
        let lost = [
            Feature::FirstStage1G,
            Feature::FirstStage5Levels,
            Feature::ExtendedAccessed,
            Feature::WalkSnoop,
        ];
        for feature in Feature::ALL {
            let wanted = wanted.has(*feature);
            assert_eq!(bounded.has(*feature), wanted && !lost.contains(feature), "{feature}");
        }
    }
}
