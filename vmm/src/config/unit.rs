//! What the remapping unit is to be able to do: a profile, and single features added or left out.

use std::str::FromStr;

use iommu::{Capabilities, CapabilitiesBuilder, Feature, Profile, UnknownFeature};

/// The profiles by name.
const PROFILES: [(&str, Profile); 4] = [
    ("legacy", Profile::Legacy),
    ("second-stage", Profile::SecondStage),
    ("first-stage", Profile::FirstStage),
    ("full", Profile::Full),
];

/// A profile of the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct ProfileChoice(pub Profile);

impl Default for ProfileChoice {
    fn default() -> Self {
        Self(Profile::Legacy)
    }
}

impl FromStr for ProfileChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = PROFILES.iter().find(|(name, _)| *name == text);
        found.map(|(_, profile)| Self(*profile)).ok_or_else(|| {
            format!(
                "There is no profile `{text}`: --iommu-profile takes legacy, second-stage, first-stage or full"
            )
        })
    }
}

/// Features that the profile is to get or to lose, as in `+posted-interrupts,-pass-through`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct FeatureChanges(Vec<(Feature, bool)>);

impl FromStr for FeatureChanges {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let changes = text.split(',').map(|change| {
            let (wanted, name) = match change.split_at_checked(1) {
                Some(("+", name)) => (true, name),
                Some(("-", name)) => (false, name),
                _ => {
                    return Err(format!(
                        "`{change}` neither adds nor takes a feature: write +NAME or -NAME, \
                         as in --iommu-features=+posted-interrupts,-pass-through"
                    ));
                }
            };
            let feature = name.parse().map_err(|error: UnknownFeature| {
                let names: Vec<_> = Feature::ALL.iter().map(|feature| feature.name()).collect();
                format!("{error}: --iommu-features takes any of {}", names.join(", "))
            })?;
            Ok((feature, wanted))
        });
        changes.collect::<Result<_, _>>().map(Self)
    }
}

/// The unit that was asked for.
#[derive(Clone, Debug, Default)]
pub struct UnitSpec {
    /// What it can do to begin with.
    pub profile: ProfileChoice,
    /// What it can do more or less.
    pub features: FeatureChanges,
    /// Its width, if the user insists.
    pub width: Option<u8>,
}

impl UnitSpec {
    /// The widths there are.
    const WIDTHS: [u8; 3] = [39, 48, 57];
    /// The width where nobody has asked for one.
    pub const WIDEST: u8 = 48;
    /// The narrower width, for hosts that cannot follow.
    pub const NARROW: u8 = 39;

    /// Refuses what cannot be, with or without assigned functions behind the unit.
    pub(super) fn check(&self, assigned: bool) -> Result<(), String> {
        let width = self.width.unwrap_or(Self::WIDEST);
        if !Self::WIDTHS.contains(&width) {
            return Err(format!(
                "A remapping unit of {width} bits does not exist: --iommu-width takes 39, 48 or 57"
            ));
        }
        let capabilities = self.wanted(width).build().map_err(|conflict| {
            format!("Such a remapping unit cannot be: {conflict}. Change --iommu-features")
        })?;
        if !assigned {
            return Ok(());
        }
        if capabilities.has(Feature::FirstStage) {
            return Err("Assigned functions cannot follow first-stage tables, because a guest never \
                        announces what it maps there: with --vfio take --iommu-profile legacy or \
                        second-stage"
                .into());
        }
        if capabilities.has(Feature::SecondStageDirty) {
            return Err(
                "Assigned functions cannot mark a guest's second-stage tables, because the host goes by \
                        tables of its own: drop +second-stage-dirty or --vfio"
                    .into(),
            );
        }
        if !capabilities.has(Feature::CachingMode) {
            return Err("Assigned functions need caching mode, because without it a guest does not \
                        announce what it maps: drop -caching-mode or --vfio"
                .into());
        }
        Ok(())
    }

    /// What a unit of `width` bits is to be able to do.
    pub fn wanted(&self, width: u8) -> CapabilitiesBuilder {
        let profile = Capabilities::builder(self.profile.0, width);
        self.features.0.iter().fold(profile, |builder, &(feature, wanted)| {
            if wanted { builder.with(feature) } else { builder.without(feature) }
        })
    }
}

#[cfg(test)]
mod tests;
