use proptest::prelude::*;

use super::*;
use crate::platform::testing::{ManualClock, PortStep, RecordedLine, inb, outb};

struct Bench {
    pit: Arc<Pit>,
    line: Arc<RecordedLine>,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Self {
        let (line, clock) = (RecordedLine::new(), ManualClock::new(Duration::ZERO));
        Self { pit: Pit::new(line.clone(), clock.clone()).unwrap(), line, clock }
    }

    fn out(&self, port: u16, value: u8) {
        outb(&*self.pit, port, value);
    }

    fn read(&self, port: u16) -> u8 {
        inb(&*self.pit, port)
    }

    /// Programs counter 0.
    fn program(&self, mode: u8, count: u16) {
        self.out(0x43, 0x30 | mode << 1);
        for byte in count.to_le_bytes() {
            self.out(0x40, byte);
        }
    }

    /// Runs the event loop for `time` and counts interrupts and wake-ups.
    fn run(&self, time: Duration) -> (usize, usize) {
        let end = self.clock.monotonic() + time;
        let mut wake_ups = 0;
        loop {
            let now = self.clock.monotonic();
            match lock(&self.pit.state).next_delivery(now) {
                Some(next) if next <= end => self.clock.advance(next.saturating_sub(now)),
                _ => break,
            }
            self.pit.act();
            wake_ups += 1;
        }
        self.clock.advance(end.saturating_sub(self.clock.monotonic()));
        (self.line.taken().len() / 2, wake_ups)
    }
}

#[test]
fn a_periodic_timer_keeps_its_rate() {
    for mode in [2, 3] {
        let bench = Bench::new();
        // 250 Hz, as a kernel programs it.
        bench.program(mode, 4773);
        assert_eq!(bench.run(Duration::from_secs(10)), (2499, 2499));
    }
}

#[test]
fn a_one_shot_timer_fires_once() {
    for mode in [0, 4] {
        let bench = Bench::new();
        bench.program(mode, 11_932);
        assert_eq!(bench.run(Duration::from_millis(9)).0, 0);
        assert_eq!(bench.run(Duration::from_millis(2)).0, 1);
        assert_eq!(bench.run(Duration::from_secs(1)), (0, 0));
        bench.program(mode, 11_932);
        assert_eq!(bench.run(Duration::from_millis(11)).0, 1);
    }
}

#[test]
fn a_new_mode_stops_the_interrupts() {
    let bench = Bench::new();
    bench.program(2, 4773);
    bench.run(Duration::from_secs(1));
    bench.out(0x43, 0x30);
    assert_eq!(bench.run(Duration::from_secs(1)), (0, 0));
    bench.program(2, 4773);
    bench.pit.reset();
    assert_eq!(bench.run(Duration::from_secs(1)), (0, 0));
}

#[test]
fn a_tiny_count_does_not_keep_the_host_busy() {
    let bench = Bench::new();
    bench.program(2, 1);
    let (interrupts, wake_ups) = bench.run(Duration::from_secs(1));
    assert_eq!(interrupts, wake_ups);
    assert!((9990..=10_000).contains(&interrupts), "{interrupts}");
}

#[test]
fn reprogramming_in_a_loop_does_not_outrun_the_rate_limit() {
    let bench = Bench::new();
    for _ in 0..10_000 {
        bench.program(4, 1);
        bench.clock.advance(Duration::from_micros(10));
        bench.pit.act();
    }
    assert!(bench.line.taken().len() / 2 <= 1001);
}

#[test]
fn interrupts_the_host_was_late_for_follow_at_twice_the_rate() {
    let bench = Bench::new();
    bench.program(2, 11_932);
    bench.clock.advance(Duration::from_secs(1));
    bench.pit.act();
    assert_eq!(bench.line.taken().len() / 2, 1, "one at a time");
    assert_eq!(bench.run(Duration::from_millis(500)).0, 99);
    let caught_up = 100 + bench.run(Duration::from_secs(2)).0;
    assert_eq!(caught_up, 349);
}

#[test]
fn a_very_late_host_catches_up_only_so_far() {
    let bench = Bench::new();
    bench.program(2, 1193);
    bench.clock.advance(Duration::from_hours(1));
    let (interrupts, _) = bench.run(Duration::from_secs(10));
    assert!((10_990..=11_010).contains(&interrupts), "{interrupts}");
}

#[test]
fn linux_measures_the_processor_with_counter_2() {
    let bench = Bench::new();
    // Gate open, speaker off; terminal count of 10 ms.
    let speaker = bench.read(0x61);
    bench.out(0x61, speaker & !0x02 | 0x01);
    bench.out(0x43, 0xB0);
    bench.out(0x42, 0x9C);
    bench.out(0x42, 0x2E);
    assert_eq!(bench.read(0x61) & 0x21, 0x01);
    bench.clock.advance(Duration::from_micros(9_990));
    assert_eq!(bench.read(0x61) & 0x20, 0);
    bench.clock.advance(Duration::from_micros(20));
    assert_eq!(bench.read(0x61) & 0x20, 0x20);
    assert!(bench.line.taken().is_empty(), "the speaker's counter interrupts nobody");
}

#[test]
fn linux_measures_quickly_by_the_high_byte_alone() {
    let bench = Bench::new();
    bench.out(0x61, 0x01);
    bench.out(0x43, 0xB0);
    bench.out(0x42, 0xFF);
    bench.out(0x42, 0xFF);
    let high = || {
        bench.read(0x42);
        bench.read(0x42)
    };
    assert_eq!(high(), 0xFF);
    bench.clock.advance(time_of(256, FREQUENCY));
    assert_eq!(high(), 0xFE);
}

#[test]
fn the_read_back_command_latches_several_counters_at_once() {
    let bench = Bench::new();
    bench.program(2, 1000);
    bench.out(0x61, 1);
    bench.out(0x43, 0xB4);
    bench.out(0x42, 0x00);
    bench.out(0x42, 0x20);
    bench.clock.advance(time_of(100, FREQUENCY));
    bench.out(0x43, 0xC0 | 0x08 | 0x02);
    bench.clock.advance(Duration::from_millis(5));
    assert_eq!([bench.read(0x40), bench.read(0x40), bench.read(0x40)], [0xB4, 0x84, 0x03]);
    assert_eq!([bench.read(0x42), bench.read(0x42), bench.read(0x42)], [0xB4, 0x9C, 0x1F]);
    assert_eq!(bench.read(0x43), 0);
}

#[test]
fn memory_refresh_toggles() {
    let bench = Bench::new();
    let first = bench.read(0x61) & 0x10;
    bench.clock.advance(Duration::from_micros(16));
    assert_ne!(bench.read(0x61) & 0x10, first);
}

proptest! {
    #[test]
    fn any_access_is_survived(
        steps in prop::collection::vec((PortStep::any(&Bench::new().pit.ports()), 0_u64..1_000_000), 1..200),
    ) {
        let bench = Bench::new();
        for (step, microseconds) in steps {
            step.take(&*bench.pit);
            bench.clock.advance(Duration::from_micros(microseconds));
            bench.pit.act();
            prop_assert!(bench.line.taken().len() <= 4);
        }
    }
}
