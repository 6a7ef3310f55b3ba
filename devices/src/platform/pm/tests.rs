use proptest::prelude::*;

use super::*;
use crate::platform::testing::{ManualClock, PortStep, RecordedLine, RecordedPower, outb};

struct Bench {
    pm: Arc<PowerManagement>,
    power: Arc<RecordedPower>,
    sci: Arc<RecordedLine>,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Self {
        let (power, sci) = (RecordedPower::new(), RecordedLine::new());
        let clock = ManualClock::new(Duration::ZERO);
        let pm = PowerManagement::new(power.clone(), sci.clone(), clock.clone()).unwrap();
        Self { pm, power, sci, clock }
    }

    fn read16(&self, port: u16) -> u16 {
        let mut data = [0; 2];
        self.pm.read(port, &mut data);
        u16::from_le_bytes(data)
    }

    fn timer(&self) -> u32 {
        let mut data = [0; 4];
        self.pm.read(0x608, &mut data);
        u32::from_le_bytes(data)
    }

    fn write16(&self, port: u16, value: u16) {
        self.pm.write(port, &value.to_le_bytes());
    }

    /// The SCI as it stands.
    fn sci(&self) -> bool {
        self.sci.taken().last().copied().unwrap_or_default()
    }
}

#[test]
fn soft_off_turns_the_machine_off() {
    let bench = Bench::new();
    // First the type alone, then with the enable bit, as ACPICA writes it.
    bench.write16(0x604, 5 << 10 | 1);
    assert!(bench.power.taken().is_empty());
    bench.write16(0x604, 1 << 13 | 5 << 10 | 1);
    assert_eq!(bench.power.taken(), [PowerRequest::Off]);
    assert_eq!(bench.read16(0x604), 5 << 10 | 1, "the enable bit reads 0");
}

#[test]
fn sleep_states_that_do_not_exist_have_no_effect() {
    let bench = Bench::new();
    for sleep_type in (0..8).filter(|&sleep_type| sleep_type != PowerManagement::SOFT_OFF) {
        bench.write16(0x604, 1 << 13 | sleep_type << 10);
    }
    assert!(bench.power.taken().is_empty());
}

#[test]
fn the_machine_is_always_in_acpi_mode() {
    let bench = Bench::new();
    bench.write16(0x604, 0);
    assert_eq!(bench.read16(0x604), 1);
}

#[test]
fn the_timer_counts_at_its_frequency_in_32_bits() {
    let bench = Bench::new();
    assert_eq!(bench.timer(), 0);
    bench.clock.advance(Duration::from_secs(2));
    assert_eq!(bench.timer(), 2 * 3_579_545);
    bench.clock.advance(Duration::from_mins(20));
    assert_eq!(u64::from(bench.timer()), 1202 * 3_579_545 % (1 << 32));
}

#[test]
fn the_power_button_interrupts_until_its_status_is_cleared() {
    let bench = Bench::new();
    bench.write16(0x602, 1 << 8);
    assert!(!bench.sci());
    bench.pm.press_power_button();
    assert!(bench.sci());
    assert_eq!(bench.read16(0x600), 1 << 8);
    bench.write16(0x600, 1 << 9);
    assert!(bench.sci(), "clearing another bit clears no neighbour");
    bench.write16(0x600, 1 << 8);
    assert!(!bench.sci());
}

#[test]
fn a_byte_write_touches_its_byte_alone() {
    let bench = Bench::new();
    bench.write16(0x602, 0x0521);
    outb(&*bench.pm, 0x602, 0x01);
    assert_eq!(bench.read16(0x602), 0x0501);
    bench.pm.press_power_button();
    outb(&*bench.pm, 0x600, 0xFF);
    assert_eq!(bench.read16(0x600), 1 << 8);
}

#[test]
fn the_timer_interrupts_when_its_top_bit_changes() {
    let bench = Bench::new();
    bench.write16(0x602, 1);
    let half_turn = time_of(1 << 31, 3_579_545);
    assert_eq!(lock(&bench.pm.state).next_timer_event(), Some(half_turn));
    bench.pm.act();
    assert!(!bench.sci());
    bench.clock.advance(half_turn);
    bench.pm.act();
    assert!(bench.sci());
    assert_eq!(lock(&bench.pm.state).next_timer_event(), None, "nothing more until it is cleared");
    bench.write16(0x600, 1);
    assert!(!bench.sci());
    assert_eq!(lock(&bench.pm.state).next_timer_event(), Some(time_of(1 << 32, 3_579_545)));
}

#[test]
fn a_general_purpose_event_interrupts_when_enabled() {
    let bench = Bench::new();
    bench.pm.raise_event(9);
    assert!(!bench.sci());
    outb(&*bench.pm, 0x625, 0x02);
    assert!(bench.sci());
    outb(&*bench.pm, 0x621, 0x02);
    assert!(!bench.sci());
    bench.pm.raise_event(255);
    bench.pm.reset();
    assert_eq!(bench.read16(0x624), 0);
}

proptest! {
    #[test]
    fn any_access_is_survived(steps in prop::collection::vec(PortStep::any(&Bench::new().pm.ports()), 1..100)) {
        let bench = Bench::new();
        for step in steps {
            step.take(&*bench.pm);
            bench.clock.advance(Duration::from_secs(100));
            bench.pm.act();
        }
    }
}
