//! What the remapping unit is to be able to do: a profile, and single features added or left out.

use std::str::FromStr;

use iommu::{CapabilitiesBuilder, Feature, Profile, UnknownFeature};

/// The profiles by name; the one that the machine chooses is not known yet.
const PROFILES: [(&str, ProfileChoice); 6] = [
    ("auto", ProfileChoice::Auto),
    ("legacy", ProfileChoice::Named(Profile::Legacy)),
    ("second-stage", ProfileChoice::Named(Profile::SecondStage)),
    ("first-stage", ProfileChoice::Named(Profile::FirstStage)),
    ("nested", ProfileChoice::Named(Profile::Nested)),
    ("full", ProfileChoice::Named(Profile::Full)),
];

/// A profile of the unit, or the leave to choose one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum ProfileChoice {
    /// The one that serves the machine best.
    #[default]
    Auto,
    /// This one or none.
    Named(Profile),
}

/// The name of a profile on the command line.
pub fn profile_name(profile: Profile) -> &'static str {
    let named = PROFILES.iter().find(|(_, choice)| *choice == ProfileChoice::Named(profile));
    named.map_or("auto", |(name, _)| name)
}

impl FromStr for ProfileChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = PROFILES.iter().find(|(name, _)| *name == text);
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            format!(
                "There is no profile `{text}`: --iommu-profile takes auto, legacy, second-stage, first-stage, \
                 nested or full"
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

    /// Refuses a width that does not exist.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.width {
            Some(width) if !Self::WIDTHS.contains(&width) => Err(format!(
                "A remapping unit of {width} bits does not exist: --iommu-width takes 39, 48 or 57"
            )),
            _ => Ok(()),
        }
    }
}

impl FeatureChanges {
    /// Changes `profile` as the user said, in his order.
    pub fn apply(&self, profile: CapabilitiesBuilder) -> CapabilitiesBuilder {
        self.0.iter().fold(
            profile,
            |builder, &(feature, wanted)| {
                if wanted { builder.with(feature) } else { builder.without(feature) }
            },
        )
    }
}

#[cfg(test)]
mod tests;
