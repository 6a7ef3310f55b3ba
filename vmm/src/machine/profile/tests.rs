use super::*;
use crate::config::FeatureChanges;

const HOST: Abilities = Abilities { width: 48, coherent: true, nesting: None, pasid_bits: 0 };
/// A host's unit that can do everything.
const WALKER: HostUnit = HostUnit { cap: u64::MAX, ecap: u64::MAX };
const NONE: Circumstances = Circumstances { assigned: None, slots: false };
const SLOTS: Circumstances = Circumstances { slots: true, ..NONE };
const ASSIGNED: Circumstances = assigned(HOST);
const NESTING: Circumstances = assigned(Abilities { nesting: Some(WALKER), ..HOST });

const fn assigned(host: Abilities) -> Circumstances {
    Circumstances { assigned: Some(host), slots: false }
}

fn unit(profile: &str, features: &str) -> UnitSpec {
    let features = if features.is_empty() { FeatureChanges::default() } else { features.parse().unwrap() };
    UnitSpec { profile: profile.parse().unwrap(), features, width: None }
}

fn chosen(profile: &str, features: &str, circumstances: Circumstances) -> Capabilities {
    choose(&unit(profile, features), circumstances).unwrap().capabilities
}

#[test]
fn the_machine_chooses_what_serves_it_best_and_says_why() {
    let legacy = Capabilities::legacy(48);
    let without_snoop = |capabilities: Capabilities| {
        capabilities.to_builder().without(Feature::SnoopControl).build().unwrap()
    };
    let nested = Capabilities::new(Profile::Nested, 48);
    let small = HostUnit { cap: !(1 << 56), ..WALKER };
    let smaller = nested.to_builder().without(Feature::FirstStage1G).build().unwrap();
    let table = [
        (NONE, Capabilities::new(Profile::Full, 48), "`full`", "no function is assigned"),
        (ASSIGNED, legacy, "`legacy`", "never announces first-stage"),
        (NESTING, nested, "`nested`", "walks first-stage tables itself"),
        (assigned(Abilities { nesting: Some(small), ..HOST }), smaller, "`nested`", "walks first-stage"),
        (
            assigned(Abilities { nesting: Some(WALKER), width: 47, ..HOST }),
            Capabilities::legacy(39),
            "`legacy`",
            "39 bits",
        ),
        // What may come later the host has not been asked about.
        (SLOTS, without_snoop(legacy), "`legacy`", "may be plugged in"),
        (Circumstances { slots: true, ..ASSIGNED }, without_snoop(legacy), "`legacy`", "may be plugged in"),
        (Circumstances { slots: true, ..NESTING }, without_snoop(legacy), "`legacy`", "may be plugged in"),
        (assigned(Abilities { coherent: false, ..HOST }), without_snoop(legacy), "`legacy`", "48 bits"),
        (assigned(Abilities { width: 39, ..HOST }), Capabilities::legacy(39), "`legacy`", "39 bits"),
        (assigned(Abilities { width: 47, ..HOST }), Capabilities::legacy(39), "`legacy`", "39 bits"),
        (assigned(Abilities { width: 57, ..HOST }), legacy, "`legacy`", "48 bits"),
    ];
    for (circumstances, expected, name, why) in table {
        let chosen = choose(&UnitSpec::default(), circumstances).unwrap();
        let reason = chosen.reason.expect("the machine chose");
        assert!(reason.contains(name) && reason.contains(why) && !reason.contains('\n'), "{reason}");
        assert_eq!(chosen.capabilities, expected, "{circumstances:?}");
    }
}

#[test]
fn pasids_are_those_that_the_host_carries_out() {
    let host = Abilities { nesting: Some(WALKER), pasid_bits: 10, ..HOST };
    let bits = |profile, features, host| chosen(profile, features, assigned(host)).pasid_bits();
    assert_eq!(bits("nested", "", host), 10);
    assert_eq!(bits("auto", "", host), 10);
    assert_eq!(bits("nested", "", Abilities { pasid_bits: 31, ..host }), 20);
    assert_eq!(bits("nested", "", Abilities { pasid_bits: 0, ..host }), 0);
    assert_eq!(bits("nested", "-pasid", host), 0);
    // Where they would have nothing to lead to.
    assert_eq!(bits("second-stage", "", host), 0);
    assert_eq!(bits("auto", "", Abilities { nesting: None, ..host }), 0);
}

#[test]
fn the_width_and_the_profile_that_the_user_names_stand() {
    let spec = UnitSpec { width: Some(57), ..unit("second-stage", "") };
    let wide = assigned(Abilities { width: 57, ..HOST });
    let expected = Capabilities::new(Profile::SecondStage, 57);
    assert_eq!(choose(&spec, wide), Ok(Chosen { capabilities: expected, reason: None }));
}

#[test]
fn no_profile_posts_interrupts_unless_asked() {
    let profiles =
        [Profile::Legacy, Profile::SecondStage, Profile::FirstStage, Profile::Nested, Profile::Full];
    for profile in profiles {
        let capabilities = chosen(profile_name(profile), "", NONE);
        assert_eq!(capabilities, Capabilities::new(profile, 48));
        assert!(!capabilities.has(Feature::PostedInterrupts));
    }
    assert!(chosen("auto", "+posted-interrupts", ASSIGNED).has(Feature::PostedInterrupts));
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence_that_says_what_to_do() {
    let announces = "legacy or second-stage, or drop --vfio";
    let narrow = assigned(Abilities { nesting: Some(WALKER), width: 47, ..HOST });
    let table = [
        ("full", "-scalable", NONE, "needs ECAP.SMTS; change --iommu-features"),
        ("first-stage", "", ASSIGNED, announces),
        ("full", "", ASSIGNED, announces),
        ("full", "", SLOTS, "legacy or second-stage, or drop the slots"),
        ("first-stage", "", Circumstances { slots: true, ..NESTING }, announces),
        ("second-stage", "+second-stage-dirty", ASSIGNED, "drop +second-stage-dirty or --vfio"),
        ("full", "", NESTING, "drop +second-stage-dirty or --vfio"),
        ("nested", "", ASSIGNED, "does not walk a guest's first-stage tables"),
        ("nested", "", SLOTS, "or drop the slots for them"),
        ("nested", "", Circumstances { slots: true, ..NESTING }, "or drop the slots for them"),
        ("nested", "", narrow, "have 48 bits, and the remapping unit would have 39"),
        ("nested", "+nested", NESTING, "no more than one stage"),
        ("nested", "+execute", NESTING, "drop +execute or --vfio"),
        ("legacy", "-caching-mode", ASSIGNED, "drop -caching-mode or --vfio"),
        ("second-stage", "-caching-mode", SLOTS, "drop -caching-mode or the slots"),
        ("first-stage", "-caching-mode", NESTING, "drop -caching-mode or --vfio"),
    ];
    for (profile, features, circumstances, hint) in table {
        let error = choose(&unit(profile, features), circumstances).unwrap_err();
        assert!(error.contains(hint) && !error.contains('\n'), "{profile} {features}: {error}");
    }
}

#[test]
fn what_only_assigned_functions_need_is_free_without_them() {
    for (profile, features) in [
        ("legacy", "-caching-mode"),
        ("second-stage", "+second-stage-dirty"),
        ("first-stage", ""),
        ("full", ""),
    ] {
        assert!(choose(&unit(profile, features), NONE).is_ok(), "{profile} {features}");
    }
    assert!(chosen("first-stage", "", NESTING).has(Feature::CachingMode));
    assert!(!chosen("first-stage", "", NONE).has(Feature::CachingMode));
}
