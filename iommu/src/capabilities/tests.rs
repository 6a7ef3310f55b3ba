use super::*;
use crate::spec::registers::{FRCD, IOTLB};
use crate::spec::second_stage::SecondStageEntry;

#[test]
fn the_legacy_profile_is_what_stock_kernels_accept_and_more() {
    let capabilities = Capabilities::legacy(48);
    // Known to be accepted without a warning: 48 bits, all page sizes, draining, one fault record.
    let (cap, ecap) = (0xD2_008C_222F_0606, 0xF0_0F4A);
    let more = 1 << 7 | 1 << 22 | 7 << 40;
    assert_eq!(capabilities.cap(), cap | more, "{:#x}", capabilities.cap());
    let more = 1 << 0 | 1 << 4 | 1 << 7;
    assert_eq!(capabilities.ecap(), ecap | more, "{:#x}", capabilities.ecap());
}

#[test]
fn widths_follow_from_one_number() {
    for (width, levels_3, levels_4) in [(39, true, false), (48, true, true)] {
        let capabilities = Capabilities::legacy(width);
        assert_eq!(capabilities.guest_address_width(), width);
        assert_eq!(capabilities.host_address_width(), width);
        assert_eq!(capabilities.beyond_host_width(), u64::MAX << width);
        assert_eq!(capabilities.second_stage_top(1).is_some(), levels_3);
        assert_eq!(capabilities.second_stage_top(2).is_some(), levels_4);
        for other in [0, 3, 4, 5, 7, 255] {
            assert_eq!(capabilities.second_stage_top(other), None);
        }
    }
}

#[test]
fn fields_read_as_they_are_meant() {
    let capabilities = Capabilities::legacy(48);
    assert_eq!(capabilities.domain_mask(), 0xFFFF);
    assert_eq!((capabilities.max_address_mask(), capabilities.max_index_mask()), (18, 15));
    assert!(capabilities.has(Feature::ExtendedInterruptMode) && capabilities.has(Feature::PassThrough));
    assert_eq!(bits(capabilities.cap(), 33, 24) * 16, FRCD);
    assert_eq!(bits(capabilities.cap(), 47, 40) + 1, 8);
    assert_eq!(bits(capabilities.ecap(), 17, 8) * 16 + 8, IOTLB);
    assert_eq!(capabilities.window_size(), 0x1000);
}

#[test]
#[should_panic(expected = "39, 48 or 57 bits")]
fn other_widths_are_refused() {
    let _ = Capabilities::legacy(40);
}

#[test]
fn fault_records_lie_where_they_have_room() {
    for records in [1, 8, 14, 15, 64, 256] {
        let builder = Capabilities::builder(Profile::Legacy, 48).fault_records(records);
        let capabilities = builder.build().unwrap();
        let offset = bits(capabilities.cap(), 33, 24) * 16;
        assert_eq!(capabilities.fault_records(), records);
        assert_eq!(capabilities.fault_record_offset(), offset);
        let end = offset + records as u64 * 16;
        assert!(end <= 0x300 || offset >= 0x1000 && end <= capabilities.window_size(), "{records}");
        assert!(capabilities.window_size().is_power_of_two());
    }
}

#[test]
fn snoop_control_that_is_not_offered_makes_its_bit_reserved() {
    let capabilities = Capabilities::legacy(48).without(Feature::SnoopControl);
    assert_eq!(Capabilities::legacy(48).ecap() ^ capabilities.ecap(), 1 << 7);
    let snooped = SecondStageEntry(0x1000 | 1 << 11 | 3);
    assert!(snooped.target(Level::PAGE, &Capabilities::legacy(48)).is_ok());
    assert!(snooped.target(Level::PAGE, &capabilities).is_err());
}

#[test]
fn the_readme_says_what_each_profile_has() {
    const README: &str = include_str!("../../README.md");
    let profiles =
        [Profile::Legacy, Profile::SecondStage, Profile::FirstStage, Profile::Nested, Profile::Full];
    for feature in Feature::ALL {
        let cells = profiles.map(|profile| {
            match [48, 57].map(|width| Capabilities::new(profile, width).has(*feature)) {
                [true, _] => "yes",
                [false, true] => "57 bits",
                [false, false] => "",
            }
        });
        let row = format!("| `{feature}` | {} | {} |\n", feature.bit(), cells.join(" | "));
        assert!(README.contains(&row), "the README lacks: {row}");
    }
    for profile in profiles {
        let row = format!("| {} |\n", Capabilities::new(profile, 48).fault_records());
        let line = README.split_inclusive('\n').find(|line| line.starts_with(&format!("| `{profile:?}` | ")));
        assert!(line.is_some_and(|line| line.ends_with(&row)), "{profile:?} has{row}");
    }
}
