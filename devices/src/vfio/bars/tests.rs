use super::super::fake::{Event, FakeHost, FakeSlots};
use super::*;

/// [`direct_parts`] on (start, end) pairs.
fn parts(mappable: &[(u64, u64)], trapped: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let ranges = |pairs: &[(u64, u64)]| pairs.iter().map(|(start, end)| *start..*end).collect::<Vec<_>>();
    direct_parts(&ranges(mappable), ranges(trapped).into_iter()).map(|part| (part.start, part.end)).collect()
}

fn at(bases: &[(usize, u64)]) -> [Option<BarRange>; BAR_COUNT] {
    let mut ranges = [None; BAR_COUNT];
    for &(bar, base) in bases {
        ranges[bar] = Some(BarRange { space: BarSpace::Memory, base, length: 0x4000 });
    }
    ranges
}

fn bars() -> (FakeSlots, DirectBars) {
    let mut host = FakeHost::new();
    host.bar(0, 4, 0x4000);
    host.bar(2, 0, 0x4000);
    host.bar(3, 0, 0x800);
    host.bar(5, 1, 0x100);
    let slots = FakeSlots::default();
    let bars = DirectBars::new(&host, Arc::new(slots.clone()), &[(0, 0x2000..0x2100)]);
    (slots, bars)
}

#[test]
fn pages_with_something_trapped_are_left_out() {
    let whole = [(0, 0x4000)];
    assert_eq!(parts(&whole, &[]), whole);
    assert_eq!(parts(&whole, &[(0x2000, 0x2010)]), [(0, 0x2000), (0x3000, 0x4000)]);
    assert_eq!(parts(&whole, &[(0x1FF8, 0x2008)]), [(0, 0x1000), (0x3000, 0x4000)]);
    assert_eq!(parts(&whole, &[(0, 0x800), (0x3800, 0x3808)]), [(0x1000, 0x3000)]);
    assert_eq!(parts(&whole, &whole), []);
}

#[test]
fn less_than_a_page_is_never_direct() {
    assert_eq!(parts(&[(0, 0x800)], &[]), []);
    assert_eq!(parts(&[(0x800, 0x2800), (0x3000, 0x3800)], &[]), [(0x1000, 0x2000)]);
}

#[test]
fn a_bar_is_shown_where_the_guest_puts_it_and_moves() {
    let (slots, bars) = bars();
    bars.follow(&at(&[(0, 0x10_0000)]));
    assert_eq!(slots.used(), [(0x10_0000, 0x2000), (0x10_3000, 0x1000)]);
    slots.log.take();
    bars.follow(&at(&[(0, 0x10_0000)]));
    assert_eq!(slots.log.take(), [], "what stays where it is is left alone");
    bars.follow(&at(&[(0, 0x20_0000)]));
    assert_eq!(slots.used(), [(0x20_0000, 0x2000), (0x20_3000, 0x1000)]);
    bars.hide();
    assert_eq!(slots.used(), []);
}

#[test]
fn two_bars_can_change_places() {
    let (slots, bars) = bars();
    bars.follow(&at(&[(0, 0x10_0000), (2, 0x20_0000)]));
    bars.follow(&at(&[(2, 0x10_0000), (0, 0x20_0000)]));
    assert_eq!(slots.used(), [(0x10_0000, 0x4000), (0x20_0000, 0x2000), (0x20_3000, 0x1000)]);
}

#[test]
fn a_bar_on_top_of_something_else_is_reached_through_us() {
    let (slots, bars) = bars();
    bars.follow(&at(&[(0, 0x10_0000), (2, 0x10_1000)]));
    assert_eq!(slots.used(), [(0x10_0000, 0x2000), (0x10_3000, 0x1000)]);
    bars.follow(&at(&[(0, 0x10_0000), (2, 0x20_0000)]));
    assert_eq!(slots.used().len(), 3);
}

#[test]
fn addresses_that_cannot_be_are_not_shown() {
    let (slots, bars) = bars();
    bars.follow(&at(&[(0, u64::MAX - 0xFFF), (2, 0x800)]));
    assert_eq!(slots.used(), []);
    let mut ports = [None; BAR_COUNT];
    ports[0] = Some(BarRange { space: BarSpace::Port, base: 0x1000, length: 0x4000 });
    bars.follow(&ports);
    assert_eq!(slots.used(), []);
}

#[test]
fn everything_that_goes_has_gone_before_anything_comes() {
    let (slots, bars) = bars();
    bars.follow(&at(&[(0, 0x10_0000), (2, 0x20_0000)]));
    slots.log.take();
    bars.follow(&at(&[(0, 0x30_0000), (2, 0x40_0000)]));
    let events = slots.log.take();
    let last_hidden = events.iter().rposition(|event| matches!(event, Event::Hidden(_))).unwrap();
    let first_shown = events.iter().position(|event| matches!(event, Event::Shown(..))).unwrap();
    assert!(last_hidden < first_shown);
}
