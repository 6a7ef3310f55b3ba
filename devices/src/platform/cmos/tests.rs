use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::platform::testing::{ManualClock, PortStep, RecordedLine, inb, outb};

/// 2026-11-21 02:03:04, a Saturday.
const START: Duration = Duration::from_secs(1_795_226_584);

struct Bench {
    cmos: Arc<Cmos>,
    line: Arc<RecordedLine>,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Self {
        let (line, clock) = (RecordedLine::new(), ManualClock::new(START));
        let memory = MemorySize { low: 3 << 30, high: 5 << 30 };
        let cmos = Cmos::new(memory, line.clone(), clock.clone()).unwrap();
        Self { cmos, line, clock }
    }

    fn read(&self, index: u8) -> u8 {
        outb(&*self.cmos, 0x70, index);
        inb(&*self.cmos, 0x71)
    }

    fn write(&self, index: u8, value: u8) {
        outb(&*self.cmos, 0x70, index | 0x80);
        outb(&*self.cmos, 0x71, value);
    }

    fn time(&self) -> [u8; 8] {
        [0, 2, 4, 6, 7, 8, 9, 0x32].map(|index| self.read(index))
    }

    /// Lets time pass and the event loop run.
    fn wait(&self, time: Duration) {
        self.clock.advance(time);
        self.cmos.act();
    }

    fn interrupted(&self) -> bool {
        self.line.taken().contains(&true)
    }

    fn next_event(&self) -> Option<Duration> {
        let now = Now::of(&*self.clock);
        lock(&self.cmos.state).clock.next_event(now).map(|event| event.saturating_sub(now.monotonic))
    }
}

#[test]
fn the_time_is_the_hosts() {
    let bench = Bench::new();
    assert_eq!(bench.time(), [0x04, 0x03, 0x02, 7, 0x21, 0x11, 0x26, 0x20]);
    bench.wait(Duration::from_mins(1));
    assert_eq!(bench.time()[..2], [0x04, 0x04]);
    assert_eq!(bench.read(0x0D), 0x80);
}

#[test]
fn a_time_that_was_set_goes_on_from_there() {
    let bench = Bench::new();
    let control = bench.read(0x0B);
    bench.write(0x0B, control | 0x80);
    for (index, value) in [(0, 0x58), (2, 0x59), (4, 0x23), (7, 0x31), (8, 0x12), (9, 0x99), (0x32, 0x19)] {
        bench.write(index, value);
    }
    bench.wait(Duration::from_secs(10));
    assert_eq!(bench.time()[0], 0x58, "time stands still while it is set");
    bench.write(0x0B, control);
    bench.wait(Duration::from_secs(3));
    assert_eq!(bench.time(), [0x01, 0x00, 0x00, 7, 0x01, 0x01, 0x00, 0x20]);
}

#[test]
fn an_update_is_announced_before_the_second_turns() {
    let bench = Bench::new();
    assert_eq!(bench.read(0x0A) & 0x80, 0);
    bench.wait(Duration::from_millis(998));
    assert_eq!(bench.read(0x0A) & 0x80, 0x80);
    assert_eq!(bench.read(0), 0x04);
    bench.wait(Duration::from_millis(2));
    assert_eq!(bench.read(0x0A) & 0x80, 0);
    assert_eq!(bench.read(0), 0x05);
    bench.write(0x0B, 0x82);
    bench.wait(Duration::from_millis(999));
    assert_eq!(bench.read(0x0A) & 0x80, 0, "no updates while the time is set");
}

#[test]
fn the_update_interrupt_comes_once_a_second_and_is_ended_by_reading_register_c() {
    let bench = Bench::new();
    bench.wait(Duration::from_millis(400));
    bench.write(0x0B, 0x12);
    assert_eq!(bench.next_event(), Some(Duration::from_millis(600)));
    assert!(!bench.interrupted());
    bench.wait(Duration::from_millis(600));
    assert!(bench.interrupted());
    assert_eq!(bench.next_event(), None, "nothing more until register C is read");
    assert_eq!(bench.read(0x0C) & 0x90, 0x90);
    assert_eq!(bench.read(0x0C), 0);
    assert_eq!(bench.line.taken().last(), Some(&false));
    assert_eq!(bench.next_event(), Some(Duration::from_secs(1)));
}

#[test]
fn the_alarm_rings_at_its_time_of_day() {
    let bench = Bench::new();
    // 03:01:00, in 57 minutes and 56 seconds.
    for (index, value) in [(1, 0x00), (3, 0x01), (5, 0x03)] {
        bench.write(index, value);
    }
    bench.write(0x0B, 0x22);
    let wait = Duration::from_secs(57 * 60 + 56);
    assert_eq!(bench.next_event(), Some(wait));
    bench.wait(Duration::from_secs(57 * 60 + 55));
    assert!(!bench.interrupted());
    bench.wait(Duration::from_secs(1));
    assert!(bench.interrupted());
    assert_eq!(bench.read(0x0C) & 0xA0, 0xA0);
    assert_eq!(bench.next_event(), Some(Duration::from_hours(24)));
}

#[test]
fn alarm_registers_may_match_anything() {
    let bench = Bench::new();
    for index in [1, 3, 5] {
        bench.write(index, 0xFF);
    }
    bench.write(0x0B, 0x22);
    assert_eq!(bench.next_event(), Some(Duration::from_secs(1)));
    bench.write(1, 0x04);
    assert_eq!(bench.next_event(), Some(Duration::from_mins(1)));
    bench.write(3, 0x03);
    assert_eq!(bench.next_event(), Some(Duration::from_hours(1)));
    bench.write(1, 0x61);
    assert_eq!(bench.next_event(), None, "there is no second 61");
}

#[test]
fn the_periodic_interrupt_has_the_rate_of_register_a() {
    for (rate, period) in [(1, 128), (2, 256), (3, 4), (6, 32), (15, 16_384)] {
        let bench = Bench::new();
        bench.write(0x0A, 0x20 | rate);
        bench.write(0x0B, 0x42);
        let period = super::super::clock::time_of(period, 32_768);
        assert_eq!(bench.next_event(), Some(period));
        bench.wait(period);
        assert!(bench.interrupted());
        assert_eq!(bench.read(0x0C) & 0xC0, 0xC0);
    }
    let bench = Bench::new();
    bench.write(0x0B, 0x42);
    bench.write(0x0A, 0x76);
    assert_eq!(bench.next_event(), None, "the divider is held in reset");
}

#[test]
fn enabling_an_interrupt_whose_flag_is_up_raises_it() {
    let bench = Bench::new();
    bench.wait(Duration::from_secs(1));
    assert!(!bench.interrupted());
    bench.write(0x0B, 0x12);
    assert!(bench.interrupted());
    bench.cmos.reset();
    assert_eq!(bench.line.taken().last(), Some(&false));
    assert_eq!(bench.read(0x0B), 0x02);
}

#[test]
fn memory_sizes_and_shutdown_status_are_kept() {
    let bench = Bench::new();
    let word = |index: u8| u16::from_le_bytes([bench.read(index), bench.read(index + 1)]);
    assert_eq!(word(0x15), 640);
    assert_eq!(word(0x17), u16::MAX);
    assert_eq!(word(0x30), u16::MAX);
    assert_eq!(word(0x34), (3 << 14) - (16 << 4));
    assert_eq!([word(0x5B), word(0x5D)], [0x4000, 1]);
    bench.write(0x0F, 0x0A);
    assert_eq!(bench.read(0x0F), 0x0A);
    assert_eq!(inb(&*bench.cmos, 0x70), EMPTY_BUS);
}

proptest! {
    #[test]
    fn any_access_is_survived(steps in prop::collection::vec((PortStep::any(&Bench::new().cmos.ports()), 0_u64..100_000), 1..200)) {
        let bench = Bench::new();
        for (step, seconds) in steps {
            step.take(&*bench.cmos);
            bench.wait(Duration::from_secs(seconds));
            prop_assert!(bench.next_event().is_none_or(|wait| wait <= Duration::from_hours(25)));
        }
    }

    #[test]
    fn any_registers_are_survived(values: [u8; 14], century: u8, wait in 0_u64..200_000) {
        let bench = Bench::new();
        for (index, value) in (0..).zip(values) {
            bench.write(index, value);
        }
        bench.write(0x32, century);
        bench.wait(Duration::from_secs(wait));
        bench.time();
    }
}
