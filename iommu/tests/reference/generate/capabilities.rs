//! Sets of capabilities: a profile, without some of what it has.

use iommu::{Capabilities, Feature, Profile};
use proptest::prelude::*;

/// Features that tables and requests depend on and that a unit may lack, one by one.
const REMOVABLE: [Feature; 13] = [
    Feature::ZeroLengthRead,
    Feature::SecondStage1G,
    Feature::SnoopControl,
    Feature::FirstStage1G,
    Feature::FirstStage5Levels,
    Feature::RidPasid,
    Feature::RidPrivilege,
    Feature::ExtendedAccessed,
    Feature::Execute,
    Feature::Supervisor,
    Feature::SecondStageDirty,
    Feature::WalkSnoop,
    Feature::AbortMode,
];

/// Some of what `profiles` name, for every width.
pub fn capabilities(profiles: &'static [Profile]) -> impl Strategy<Value = Capabilities> {
    let width = prop_oneof![1 => Just(39), 3 => Just(48), 2 => Just(57)];
    let removed = proptest::collection::vec(proptest::bool::weighted(0.1), REMOVABLE.len());
    (proptest::sample::select(profiles), width, removed).prop_map(|(profile, width, removed)| {
        let mut builder = Capabilities::builder(profile, width);
        for (feature, _) in REMOVABLE.into_iter().zip(removed).filter(|(_, removed)| *removed) {
            builder = builder.without(feature);
        }
        builder.build().unwrap()
    })
}
