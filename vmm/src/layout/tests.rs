use super::*;

#[test]
fn ram_splits_at_three_gibibytes() {
    assert_eq!(ram(1 << 30), [(0, 1 << 30)]);
    assert_eq!(ram(LOW_RAM_END), [(0, LOW_RAM_END)]);
    assert_eq!(ram(6 << 30), [(0, LOW_RAM_END), (HIGH_RAM_START, 3 << 30)]);
}

#[test]
fn high_window_stays_above_ram_and_inside_the_address_width() {
    assert_eq!(high_window(1 << 30, 39), Some(8 << 30..72 << 30));
    let window = high_window(6 << 30, 36).unwrap();
    assert!(window.start >= 7 << 30);
    assert_eq!(window.end, 1 << 36);
    assert_eq!(high_window(64 << 30, 36), None);
}
