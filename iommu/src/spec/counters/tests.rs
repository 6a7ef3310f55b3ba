use super::*;
use crate::Profile;

const FULL: Capabilities = Capabilities::new(Profile::Full, 48);

fn reset_u64(offset: u64, capabilities: &Capabilities) -> u64 {
    let [low, high] = [offset, offset + 4].map(|word| u64::from(reset_value(word, capabilities)));
    high << 32 | low
}

#[test]
fn s11_4_13_the_capability_says_how_many_counters_of_which_kind_there_are() {
    let capability = reset_u64(PERFCAP, &FULL);
    assert_eq!(capability & 0xFFFF, 8, "counters");
    assert_eq!(capability >> 16 & 0x7F, 48, "bits");
    assert_eq!(capability >> 24 & 0x1F, 5, "groups");
    assert_eq!(capability >> 32 & 0x1F, 0b01111, "filters: no page-table level");
    assert_eq!(
        capability >> 49 & 0b111,
        0b010,
        "interrupts, no freeze on overflow, no lists for each counter"
    );
    assert_eq!(1024 << (capability >> 52 & 7), COUNTER_STRIDE);
}

#[test]
fn s11_4_13_only_events_that_occur_are_offered() {
    let offered = |group: u64, capabilities| reset_u64(PERFEVNTCAP + group * 8, &capabilities);
    assert_eq!([0, 1, 2, 3, 4, 5].map(|group| offered(group, FULL)), [0x02, 0x41, 0xFF, 0x03, 0x03, 0]);
    let posting = FULL.with(Feature::PostedInterrupts);
    assert_eq!(offered(4, posting), 0x07);
    let legacy = Capabilities::legacy(48).to_builder();
    let legacy = legacy.with(Feature::EnhancedCommands).with(Feature::PerformanceMonitoring).build().unwrap();
    assert_eq!([0, 1, 2, 3, 4].map(|group| offered(group, legacy)), [0x02, 0x01, 0x33, 0x03, 0x03]);
}

#[test]
fn s11_4_14_only_commands_that_exist_are_offered() {
    let offered = [0, 1, 2, 3].map(|register| reset_u64(ECCAP + register * 8, &FULL));
    assert_eq!(offered, [0, 0, 0, 1 << 48 | 1 << 49 | 1 << 52 | 1 << 53]);
    for code in 0..=u8::MAX {
        let known = offered[usize::from(code / 64)] >> (code % 64) & 1 == 1;
        assert_eq!(Command::decode(code).is_some(), known, "{code:#x}");
    }
}

#[test]
fn s11_4_13_blocks_lie_apart_and_inside_the_window() {
    let blocks = [
        (PERFCFGOFF, configuration_offset(COUNTERS) - CONFIGURATION, 0x100),
        (PERFFRZOFF, 8, 8),
        (PERFOVFOFF, 8, 8),
        (PERFCNTROFF, COUNTERS as u64 * COUNTER_STRIDE, COUNTER_STRIDE),
    ];
    let mut ranges = Vec::new();
    for (register, length, alignment) in blocks {
        let start = u64::from(reset_value(register, &FULL));
        assert!(start.is_multiple_of(alignment));
        ranges.push(start..start + length);
    }
    ranges.sort_by_key(|range| range.start);
    assert!(ranges[0].start >= 0x2000, "There may be fault records");
    assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start), "{ranges:x?}");
    assert!(ranges.last().unwrap().end <= FULL.window_size());
    assert!(FULL.window_size().is_power_of_two());
}

#[test]
fn every_event_has_a_place_of_its_own() {
    for (index, event) in Event::ALL.into_iter().enumerate() {
        assert_eq!(event as usize, index);
        let place = event.place();
        assert!(place.1.is_power_of_two() && u64::from(place.0) < GROUPS);
        assert_eq!(Event::ALL.into_iter().filter(|other| other.place() == place).count(), 1, "{event:?}");
        let select = |group: u64, bits: u64| Configuration(bits << 32 | group << 8).selects(event);
        assert!(select(place.0.into(), place.1.into()));
        assert!(!select(u64::from(place.0) + 1, place.1.into()));
        assert!(!select(place.0.into(), !u64::from(place.1) & 0xFFF_FFFF));
    }
}
