use super::*;

fn unit(profile: &str, features: &str) -> UnitSpec {
    let features = if features.is_empty() { FeatureChanges::default() } else { features.parse().unwrap() };
    UnitSpec { profile: profile.parse().unwrap(), features, width: None }
}

#[test]
fn features_are_added_and_taken_by_name_and_the_last_word_counts() {
    let capabilities = unit("legacy", "+posted-interrupts,-pass-through").wanted(48).build().unwrap();
    assert!(capabilities.has(Feature::PostedInterrupts) && !capabilities.has(Feature::PassThrough));
    let capabilities = unit("legacy", "-snoop-control,+snoop-control").wanted(48).build().unwrap();
    assert_eq!(capabilities, Capabilities::legacy(48));
}

#[test]
fn no_profile_posts_interrupts_unless_asked() {
    for (name, profile) in PROFILES {
        let capabilities = unit(name, "").wanted(48).build().unwrap();
        assert_eq!(capabilities, Capabilities::new(profile, 48));
        assert!(!capabilities.has(Feature::PostedInterrupts));
    }
}

#[test]
fn what_does_not_exist_is_refused_with_what_does() {
    let hint = |error: String, hint: &str| assert!(error.contains(hint) && !error.contains('\n'), "{error}");
    hint("scalable".parse::<ProfileChoice>().unwrap_err(), "legacy, second-stage, first-stage or full");
    hint("+posting".parse::<FeatureChanges>().unwrap_err(), "`posting`: --iommu-features takes any of");
    hint("+posting".parse::<FeatureChanges>().unwrap_err(), "posted-interrupts");
    for text in ["posted-interrupts", "", "+queue,", "ßqueue"] {
        hint(text.parse::<FeatureChanges>().unwrap_err(), "+NAME or -NAME");
    }
    let impossible = unit("full", "-scalable").check(false);
    hint(impossible.unwrap_err(), "needs ECAP.SMTS. Change --iommu-features");
    for width in [0, 40, 64] {
        let unit = UnitSpec { width: Some(width), ..UnitSpec::default() };
        hint(unit.check(false).unwrap_err(), "39, 48 or 57");
    }
    assert!(UnitSpec { width: Some(57), ..UnitSpec::default() }.check(true).is_ok());
}

#[test]
fn assigned_functions_need_tables_that_are_announced() {
    for profile in ["legacy", "second-stage"] {
        assert_eq!(unit(profile, "").check(true), Ok(()));
        assert!(unit(profile, "-caching-mode").check(true).unwrap_err().contains("caching mode"));
        assert!(unit(profile, "-caching-mode").check(false).is_ok());
    }
    for profile in ["first-stage", "full"] {
        assert_eq!(unit(profile, "").check(false), Ok(()));
        let error = unit(profile, "").check(true).unwrap_err();
        assert!(error.contains("announces") && error.contains("legacy or second-stage"), "{error}");
    }
    // Nor can the host keep marks in a guest's tables.
    assert!(unit("second-stage", "+second-stage-dirty").check(true).unwrap_err().contains("mark"));
    assert_eq!(unit("second-stage", "+second-stage-dirty").check(false), Ok(()));
}
