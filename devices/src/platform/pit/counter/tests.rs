use proptest::prelude::*;

use super::*;

/// A counter with an open gate in mode `mode`, started at tick 0.
fn counter(mode: u8, count: u16) -> Counter {
    let mut counter = Counter::new(true);
    counter.program(mode << 1, Access::Both);
    for byte in count.to_le_bytes() {
        counter.write(byte, 0);
    }
    counter
}

fn read16(counter: &mut Counter, now: Tick) -> u16 {
    u16::from_le_bytes([counter.read(now), counter.read(now)])
}

#[test]
fn terminal_count_raises_the_output_and_wraps() {
    let mut counter = counter(0, 1000);
    assert!(!counter.output(999));
    assert!(counter.output(1000));
    assert_eq!(read16(&mut counter, 400), 600);
    assert_eq!(read16(&mut counter, 1001), 0xFFFF);
    assert_eq!(counter.next_rise(10), Some(1000));
    assert_eq!(counter.rises(5000), 1);
    assert_eq!(counter.next_rise(5000), None);
}

#[test]
fn the_first_byte_of_a_new_count_stops_the_terminal_count() {
    let mut counter = counter(0, 1000);
    counter.write(0x10, 500);
    assert_eq!(counter.next_rise(500), None);
    counter.write(0x00, 600);
    assert_eq!(counter.next_rise(600), Some(616));
}

#[test]
fn the_rate_generator_falls_for_one_tick_of_each_period() {
    let mut counter = counter(2, 100);
    let low: Vec<_> = (0..300).filter(|&now| !counter.output(now)).collect();
    assert_eq!(low, [99, 199, 299]);
    assert_eq!(counter.rises(300), 3);
    assert_eq!(counter.next_rise(300), Some(400));
    assert_eq!(read16(&mut counter, 130), 70);
}

#[test]
fn the_square_wave_is_high_for_the_greater_half() {
    let mut counter = counter(3, 5);
    let output: Vec<_> = (0..10).map(|now| counter.output(now)).collect();
    assert_eq!(output, [[true; 3].as_slice(), &[false; 2]].concat().repeat(2));
    assert_eq!(read16(&mut counter, 0) % 2, 0);
    assert_eq!(counter.rises(10), 2);
}

#[test]
fn the_strobe_is_one_tick_after_the_count() {
    let counter = counter(4, 50);
    assert!(counter.output(49));
    assert!(!counter.output(50));
    assert!(counter.output(51));
    assert_eq!(counter.next_rise(0), Some(51));
    assert_eq!(counter.rises(51), 1);
}

#[test]
fn a_count_of_0_is_the_longest() {
    assert_eq!(counter(2, 0).period(), Some(0x1_0000));
    let mut decimal = Counter::new(true);
    decimal.program(0b101, Access::Both);
    decimal.write(0, 0);
    decimal.write(0, 0);
    assert_eq!(decimal.period(), Some(10_000));
    assert_eq!(read16(&mut decimal, 1), 0x9999);
}

#[test]
fn a_closed_gate_holds_a_count() {
    let mut counter = counter(0, 1000);
    counter.set_gate(false, 300);
    assert_eq!(counter.next_rise(300), None);
    assert_eq!(read16(&mut counter, 9000), 700);
    counter.set_gate(true, 9000);
    assert_eq!(counter.next_rise(9000), Some(9700));
}

#[test]
fn a_rise_of_the_gate_begins_a_period_and_starts_a_one_shot() {
    let mut periodic = counter(2, 100);
    periodic.set_gate(false, 99);
    assert!(periodic.output(99), "high while the gate is closed");
    periodic.set_gate(true, 150);
    assert_eq!(periodic.next_rise(150), Some(250));

    let mut one_shot = counter(1, 100);
    assert!(one_shot.output(1000), "not started");
    one_shot.set_gate(false, 1000);
    one_shot.set_gate(true, 1001);
    one_shot.set_gate(false, 1002);
    assert!(!one_shot.output(1100));
    assert!(one_shot.output(1101));
}

#[test]
fn a_latched_count_stays_until_it_is_read() {
    let mut counter = counter(2, 0x8000);
    counter.latch_count(0x10);
    counter.latch_count(0x20);
    assert_eq!(read16(&mut counter, 0x30), 0x7FF0);
    assert_eq!(read16(&mut counter, 0x30), 0x7FD0);
}

#[test]
fn a_latched_status_is_read_before_a_latched_count() {
    let mut counter = counter(2, 0x8000);
    counter.latch_count(0x10);
    counter.latch_status(0x10);
    assert_eq!(counter.read(0x10), 0b1011_0100);
    assert_eq!(read16(&mut counter, 0x10), 0x7FF0);
    counter.program(0, Access::Low);
    counter.latch_status(0x10);
    assert_eq!(counter.read(0x10), 0b0101_0000, "output low, no count yet");
}

#[test]
fn single_bytes_are_accessed_alone() {
    let mut counter = Counter::new(true);
    counter.program(0b100, Access::High);
    counter.write(0x12, 0);
    assert_eq!(counter.period(), Some(0x1200));
    assert_eq!([counter.read(0), counter.read(0)], [0x12, 0x12]);
    counter.program(0b100, Access::Low);
    counter.write(0x34, 0);
    assert_eq!(counter.period(), Some(0x34));
}

proptest! {
    #[test]
    fn the_next_rise_is_where_the_rises_count_up(control: u8, count: u16, now in 0_u64..1 << 40) {
        let mut counter = Counter::new(true);
        counter.program(control, Access::Both);
        for byte in count.to_le_bytes() {
            counter.write(byte, 0);
        }
        if let Some(next) = counter.next_rise(now) {
            prop_assert!(next > now);
            prop_assert_eq!(counter.rises(next - 1), counter.rises(now));
            prop_assert_eq!(counter.rises(next), counter.rises(now) + 1);
        }
    }
}
