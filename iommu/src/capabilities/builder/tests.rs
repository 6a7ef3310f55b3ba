use super::*;

const PROFILES: [Profile; 4] = [Profile::Legacy, Profile::SecondStage, Profile::FirstStage, Profile::Full];

fn refusal(builder: CapabilitiesBuilder) -> String {
    builder.build().unwrap_err().to_string()
}

#[test]
fn every_profile_is_possible_at_every_width() {
    for profile in PROFILES {
        for width in [39, 48, 57] {
            let capabilities = Capabilities::builder(profile, width).build().unwrap();
            assert_eq!(capabilities, Capabilities::new(profile, width));
            assert_eq!(capabilities.to_builder().build(), Ok(capabilities));
        }
    }
}

/// Everything there is at once, so that each need can be made to fail alone.
fn everything() -> CapabilitiesBuilder {
    NEEDS.iter().fold(Capabilities::builder(Profile::Full, 48), |builder, (feature, needs)| {
        needs.iter().fold(builder.with(*feature), |builder, needed| builder.with(*needed))
    })
}

#[test]
fn a_feature_without_what_it_stands_on_is_refused_and_both_are_named() {
    assert!(everything().build().is_ok());
    for (feature, needs) in NEEDS {
        // Only this one and what it needs apart from `needs`, however deep.
        let without = needs.iter().fold(everything(), |builder, needed| builder.without(*needed));
        let conflict = without.build().unwrap_err();
        let Conflict::Missing { needs: missing, .. } = conflict else { panic!("{conflict}") };
        assert!(missing.iter().any(|needed| needs.contains(needed)), "{feature:?}: {conflict}");
        let lone = NEEDS.iter().filter(|(other, _)| other != feature);
        let lone = lone.fold(without, |builder, (other, _)| builder.without(*other));
        let (one, several) = (feature.bit(), needs.iter().map(|needed| needed.bit()));
        let text = refusal(lone);
        assert!(text.starts_with(&format!("{one} needs ")), "{text}");
        if NEEDS.iter().filter(|(other, _)| other == feature).count() == 1 {
            assert_eq!(text, format!("{one} needs {}", several.collect::<Vec<_>>().join(" or ")));
        }
    }
}

#[test]
fn the_needs_of_the_capability_registers_are_all_there() {
    let refused = |profile, feature: Feature| refusal(Capabilities::builder(profile, 48).without(feature));
    assert_eq!(refused(Profile::SecondStage, Feature::Queue), "ECAP.IR needs ECAP.QI");
    assert_eq!(refused(Profile::Legacy, Feature::InterruptRemapping), "ECAP.EIM needs ECAP.IR");
    let second = Capabilities::builder(Profile::SecondStage, 48).without(Feature::InterruptRemapping);
    let second = second.without(Feature::ExtendedInterruptMode);
    assert_eq!(refusal(second.without(Feature::Queue)), "ECAP.SMTS needs ECAP.QI");
    let nothing = second.without(Feature::SecondStage).without(Feature::PassThrough);
    assert_eq!(refusal(nothing), "ECAP.SMTS needs ECAP.FSTS or ECAP.SSTS or ECAP.PT");
    let legacy = Capabilities::builder(Profile::Legacy, 48);
    for (feature, refusal_text) in [
        (Feature::PageRequests, "ECAP.PRS needs ECAP.DT"),
        (Feature::PageRequestDrain, "ECAP.PDS needs ECAP.PRS"),
        (Feature::Nested, "ECAP.NEST needs ECAP.FSTS"),
        (Feature::Pasid, "ECAP.PASID needs ECAP.SMTS"),
        (Feature::Execute, "ECAP.ERS needs ECAP.SMTS"),
        (Feature::Supervisor, "ECAP.SRS needs ECAP.SMTS"),
        (Feature::SecondStageDirty, "ECAP.SSADS needs ECAP.SSTS"),
        (Feature::FirstStage5Levels, "CAP.FS5LP needs ECAP.FSTS"),
        (Feature::PerformanceMonitoring, "ECAP.PMS needs CAP.ECMDS"),
    ] {
        assert_eq!(refusal(legacy.with(feature)), refusal_text);
    }
    assert_eq!(refusal(legacy.without(Feature::SecondStage2M)), "CAP.SSLPS (1 GiB) needs CAP.SSLPS (2 MiB)");
}

#[test]
fn the_address_mask_has_to_reach_over_the_largest_page() {
    let builder = Capabilities::builder(Profile::Legacy, 48);
    let text = "CAP.MAMV is 17, but CAP.SSLPS (1 GiB) needs at least 18";
    assert_eq!(refusal(builder.max_address_mask(17)), text);
    let small = builder.without(Feature::SecondStage1G);
    assert_eq!(small.max_address_mask(9).build().unwrap().max_address_mask(), 9);
    let text = "CAP.MAMV is 8, but CAP.SSLPS (2 MiB) needs at least 9";
    assert_eq!(refusal(small.max_address_mask(8)), text);
    assert!(small.without(Feature::SecondStage2M).max_address_mask(0).build().is_ok());
    // Without page-selective invalidation the field means nothing.
    assert!(builder.without(Feature::PageSelective).max_address_mask(0).build().is_ok());
}

#[test]
fn numbers_that_their_fields_cannot_hold_are_refused() {
    let full = Capabilities::builder(Profile::Full, 48);
    for (builder, field) in [
        (Capabilities::builder(Profile::Full, 40), "CAP.MGAW"),
        (Capabilities::builder(Profile::Full, 0), "CAP.MGAW"),
        (full.table_widths(&[]), "CAP.SAGAW"),
        (full.table_widths(&[48, 40]), "CAP.SAGAW"),
        (full.host_address_width(31), "The host address width"),
        (full.host_address_width(53), "The host address width"),
        (full.domain_bits(3), "CAP.ND"),
        (full.domain_bits(15), "CAP.ND"),
        (full.domain_bits(18), "CAP.ND"),
        (full.pasid_bits(0), "ECAP.PSS"),
        (full.pasid_bits(21), "ECAP.PSS"),
        (full.fault_records(0), "CAP.NFR"),
        (full.fault_records(257), "CAP.NFR"),
        (full.max_address_mask(53), "CAP.MAMV"),
    ] {
        let text = refusal(builder);
        assert!(text.starts_with(&format!("{field} cannot stand for ")), "{text}");
    }
}

#[test]
fn numbers_are_found_in_their_fields() {
    let builder = Capabilities::builder(Profile::Full, 48).pasid_bits(8).domain_bits(10).fault_records(256);
    let capabilities = builder.host_address_width(40).table_widths(&[48]).build().unwrap();
    assert_eq!(capabilities.pasid_bits(), 8);
    assert_eq!(capabilities.domain_mask(), 0x3FF);
    assert_eq!(capabilities.fault_records(), 256);
    assert_eq!(capabilities.host_address_width(), 40);
    assert_eq!(bits(capabilities.cap(), 12, 8), 0b0100);
    assert_eq!(capabilities.to_builder().build(), Ok(capabilities));
    let more = capabilities.with(Feature::DeviceTlb);
    assert!(more.has(Feature::DeviceTlb) && more.pasid_bits() == 8);
    let without = capabilities.to_builder().without(Feature::Pasid).build().unwrap();
    assert_eq!((without.pasid_bits(), bits(without.ecap(), 39, 35)), (0, 0));
}
