use iommu::Capabilities;

use super::*;

fn legacy(features: &str) -> CapabilitiesBuilder {
    features.parse::<FeatureChanges>().unwrap().apply(Capabilities::legacy(48).to_builder())
}

#[test]
fn features_are_added_and_taken_by_name_and_the_last_word_counts() {
    let capabilities = legacy("+posted-interrupts,-pass-through").build().unwrap();
    assert!(capabilities.has(Feature::PostedInterrupts) && !capabilities.has(Feature::PassThrough));
    let capabilities = legacy("-snoop-control,+snoop-control").build().unwrap();
    assert_eq!(capabilities, Capabilities::legacy(48));
}

#[test]
fn every_profile_has_a_name_and_none_means_auto() {
    assert_eq!(ProfileChoice::default(), "auto".parse().unwrap());
    for profile in [Profile::Legacy, Profile::SecondStage, Profile::FirstStage, Profile::Full] {
        assert_eq!(profile_name(profile).parse(), Ok(ProfileChoice::Named(profile)));
    }
}

#[test]
fn what_does_not_exist_is_refused_with_what_does() {
    let hint = |error: String, hint: &str| assert!(error.contains(hint) && !error.contains('\n'), "{error}");
    let profiles = "auto, legacy, second-stage, first-stage, nested or full";
    hint("scalable".parse::<ProfileChoice>().unwrap_err(), profiles);
    hint("+posting".parse::<FeatureChanges>().unwrap_err(), "`posting`: --iommu-features takes any of");
    hint("+posting".parse::<FeatureChanges>().unwrap_err(), "posted-interrupts");
    for text in ["posted-interrupts", "", "+queue,", "ßqueue"] {
        hint(text.parse::<FeatureChanges>().unwrap_err(), "+NAME or -NAME");
    }
    for width in [0, 40, 64] {
        let unit = UnitSpec { width: Some(width), ..UnitSpec::default() };
        hint(unit.check().unwrap_err(), "39, 48 or 57");
    }
    assert!(UnitSpec { width: Some(57), ..UnitSpec::default() }.check().is_ok());
}
