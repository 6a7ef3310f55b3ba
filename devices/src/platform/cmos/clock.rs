//! The real-time clock: time of day, alarm, and its three interrupts.

use std::time::Duration;

use super::calendar::{Format, Moment};
use crate::platform::clock::{Clock, ticks, time_of};

/// The host's time at an access.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) monotonic: Duration,
    pub(super) wall: Duration,
}

impl Now {
    pub(super) fn of(clock: &dyn Clock) -> Self {
        Self { monotonic: clock.monotonic(), wall: clock.wall() }
    }

    fn second(self) -> i64 {
        // The sum and differences with what a guest can set stay far inside.
        self.wall.as_secs().cast_signed()
    }
}

/// The clock's registers.
#[derive(Clone)]
pub(super) struct RealTimeClock {
    /// What the guest's calendar is ahead of the host's, in seconds.
    ahead: i64,
    /// The time registers as the guest sets them, in the order of [`TIME`]; valid while SET is.
    held: [u8; TIME.len()],
    /// Seconds, minutes, hours of the alarm as they stand in the registers.
    alarm: [u8; 3],
    a: u8,
    b: u8,
    /// Register C without its summary bit.
    flags: u8,
    /// The host's second and the number of the period at which the flags were last brought up to date.
    second_seen: i64,
    period_seen: u64,
}

/// Register numbers.
mod register {
    pub(super) const SECONDS: usize = 0x00;
    pub(super) const SECONDS_ALARM: usize = 0x01;
    pub(super) const MINUTES: usize = 0x02;
    pub(super) const MINUTES_ALARM: usize = 0x03;
    pub(super) const HOURS: usize = 0x04;
    pub(super) const HOURS_ALARM: usize = 0x05;
    pub(super) const WEEKDAY: usize = 0x06;
    pub(super) const DAY: usize = 0x07;
    pub(super) const MONTH: usize = 0x08;
    pub(super) const YEAR: usize = 0x09;
    pub(super) const A: usize = 0x0A;
    pub(super) const B: usize = 0x0B;
    pub(super) const C: usize = 0x0C;
    pub(super) const D: usize = 0x0D;
    /// Where the FADT says the century is.
    pub(super) const CENTURY: usize = 0x32;
}

/// The registers that hold the time.
const TIME: [usize; 8] = [
    register::SECONDS,
    register::MINUTES,
    register::HOURS,
    register::WEEKDAY,
    register::DAY,
    register::MONTH,
    register::YEAR,
    register::CENTURY,
];

/// Register A.
mod a {
    pub(super) const UPDATE_IN_PROGRESS: u8 = 1 << 7;
    pub(super) const DIVIDER: u8 = 0x70;
    /// The divider of a crystal of 32 768 Hz runs.
    pub(super) const RUNNING: u8 = 0x20;
    pub(super) const RATE: u8 = 0x0F;
    /// 1024 Hz.
    pub(super) const DEFAULT_RATE: u8 = 6;
}

/// Register B.
mod b {
    pub(super) const SET: u8 = 1 << 7;
    pub(super) const BINARY: u8 = 1 << 2;
    pub(super) const HOURS_24: u8 = 1 << 1;
    pub(super) const UPDATE: u8 = super::flag::UPDATE;
    pub(super) const INTERRUPTS: u8 = super::flag::ALL;
}

/// Register C, and at the same places the enable bits of register B.
mod flag {
    pub(super) const PERIODIC: u8 = 1 << 6;
    pub(super) const ALARM: u8 = 1 << 5;
    pub(super) const UPDATE: u8 = 1 << 4;
    pub(super) const ALL: u8 = PERIODIC | ALARM | UPDATE;
    pub(super) const SUMMARY: u8 = 1 << 7;
}

/// Register D: time and memory are valid.
const VALID: u8 = 1 << 7;
/// The crystal, in hertz.
const CRYSTAL: u64 = 32_768;
/// How long before a new second the update is announced: 244 µs of warning and 1984 µs of update.
const UPDATE_TIME: Duration = Duration::from_micros(2228);
/// The two top bits of an alarm register that make it match always.
const ANY: u8 = 0xC0;

impl RealTimeClock {
    /// A clock that shows the host's time, in BCD and 24 hours.
    pub(super) fn new(now: Now) -> Self {
        Self {
            ahead: 0,
            held: [0; TIME.len()],
            alarm: [0; 3],
            a: a::RUNNING | a::DEFAULT_RATE,
            b: b::HOURS_24,
            flags: 0,
            second_seen: now.second(),
            period_seen: 0,
        }
    }

    /// What the reset pin does.
    pub(super) fn reset(&mut self) {
        self.b &= !b::INTERRUPTS;
        self.flags = 0;
    }

    /// Raises the flags of what has happened since the last call.
    pub(super) fn follow(&mut self, now: Now) {
        if let Some(period) = self.period() {
            let seen = ticks(now.monotonic, CRYSTAL) / period;
            if seen != self.period_seen {
                self.period_seen = seen;
                self.flags |= flag::PERIODIC;
            }
        }
        let second = now.second();
        if second != self.second_seen && self.updates() {
            self.flags |= flag::UPDATE;
            if self.until_alarm().is_some_and(|wait| self.second_seen + wait <= second) {
                self.flags |= flag::ALARM;
            }
        }
        self.second_seen = second;
    }

    pub(super) fn wants_interrupt(&self) -> bool {
        self.flags & self.b & flag::ALL != 0
    }

    /// When the clock will want an interrupt, as monotonic time. Once it does, nothing more happens until
    /// the guest has read register C: a guest that does not cannot make the timer run.
    pub(super) fn next_event(&self, now: Now) -> Option<Duration> {
        if self.wants_interrupt() {
            return None;
        }
        let enabled = |flag| self.b & flag != 0;
        let second =
            |second: i64| now.monotonic + Duration::from_secs(second.max(0) as u64).saturating_sub(now.wall);
        let periodic = self
            .period()
            .filter(|_| enabled(flag::PERIODIC))
            .map(|period| time_of((self.period_seen + 1).saturating_mul(period), CRYSTAL));
        let update = (enabled(flag::UPDATE) && self.updates()).then(|| second(self.second_seen + 1));
        let alarm = self
            .until_alarm()
            .filter(|_| enabled(flag::ALARM) && self.updates())
            .map(|wait| second(self.second_seen + wait));
        [periodic, update, alarm].into_iter().flatten().min()
    }

    /// Reads a register; `None` if it is not the clock's.
    pub(super) fn read(&mut self, index: usize, now: Now) -> Option<u8> {
        Some(match index {
            register::A => self.a | if self.is_updating(now) { a::UPDATE_IN_PROGRESS } else { 0 },
            register::B => self.b,
            register::C => {
                let summary = if self.wants_interrupt() { flag::SUMMARY } else { 0 };
                summary | std::mem::take(&mut self.flags)
            }
            register::D => VALID,
            register::SECONDS_ALARM => self.alarm[0],
            register::MINUTES_ALARM => self.alarm[1],
            register::HOURS_ALARM => self.alarm[2],
            _ => {
                let position = TIME.iter().position(|&register| register == index)?;
                if self.b & b::SET == 0 { self.shown(now)[position] } else { self.held[position] }
            }
        })
    }

    /// Writes a register; whether it is the clock's.
    pub(super) fn write(&mut self, index: usize, value: u8, now: Now) -> bool {
        match index {
            register::A => {
                self.a = value & !a::UPDATE_IN_PROGRESS;
                // A period begins anew.
                self.period_seen = self.period().map_or(0, |period| ticks(now.monotonic, CRYSTAL) / period);
            }
            register::B => self.write_b(value, now),
            register::C | register::D => {}
            register::SECONDS_ALARM => self.alarm[0] = value,
            register::MINUTES_ALARM => self.alarm[1] = value,
            register::HOURS_ALARM => self.alarm[2] = value,
            _ => {
                let Some(position) = TIME.iter().position(|&register| register == index) else {
                    return false;
                };
                if self.b & b::SET == 0 {
                    self.held = self.shown(now);
                    self.held[position] = value;
                    self.take_held(now);
                } else {
                    self.held[position] = value;
                }
            }
        }
        true
    }

    fn write_b(&mut self, value: u8, now: Now) {
        let was_set = self.b & b::SET != 0;
        self.b = value;
        if value & b::SET == 0 {
            if was_set {
                self.take_held(now);
            }
        } else {
            self.b &= !b::UPDATE;
            if !was_set {
                self.held = self.shown(now);
            }
        }
    }

    fn format(&self) -> Format {
        Format { binary: self.b & b::BINARY != 0, hours_24: self.b & b::HOURS_24 != 0 }
    }

    /// The time in the registers' format.
    fn shown(&self, now: Now) -> [u8; TIME.len()] {
        let moment = Moment::from_seconds(now.second() + self.ahead);
        let format = self.format();
        [
            format.encode(moment.second),
            format.encode(moment.minute),
            format.encode_hour(moment.hour),
            format.encode(moment.weekday()),
            format.encode(moment.day),
            format.encode(moment.month),
            format.encode(moment.year),
            format.encode(moment.year.div_euclid(100)),
        ]
    }

    /// Sets the clock to what the guest has put into the time registers.
    fn take_held(&mut self, now: Now) {
        let format = self.format();
        let [second, minute, hour, _, day, month, year, century] = self.held;
        let moment = Moment {
            year: format.decode(century) * 100 + format.decode(year),
            month: format.decode(month),
            day: format.decode(day),
            hour: format.decode_hour(hour),
            minute: format.decode(minute),
            second: format.decode(second),
        };
        self.ahead = moment.to_seconds() - now.second();
    }

    /// The divider runs.
    fn runs(&self) -> bool {
        self.a & a::DIVIDER == a::RUNNING
    }

    /// The time goes on by itself.
    fn updates(&self) -> bool {
        self.runs() && self.b & b::SET == 0
    }

    fn is_updating(&self, now: Now) -> bool {
        let into_second = Duration::from_nanos(now.wall.subsec_nanos().into());
        self.updates() && into_second + UPDATE_TIME >= Duration::from_secs(1)
    }

    /// Length of a period in ticks of the crystal.
    fn period(&self) -> Option<u64> {
        match self.a & a::RATE {
            _ if !self.runs() => None,
            0 => None,
            // The two slowest-looking rates stand in for 256 and 128 Hz.
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// Seconds from the one last seen to the next that the alarm matches, at least 1; `None` if it matches
    /// no time of day.
    fn until_alarm(&self) -> Option<i64> {
        let format = self.format();
        let [second, minute, hour] = self.alarm;
        // `None` stands for any.
        let plain = |byte: u8| (byte < ANY).then(|| format.decode(byte));
        let (second, minute) = (plain(second), plain(minute));
        let hour = (hour < ANY).then(|| format.decode_hour(hour));

        let seen = (self.second_seen + self.ahead).rem_euclid(24 * 60 * 60);
        let (minute_seen, second_seen) = (seen / 60, seen % 60);
        // Look at each minute of the day to come, and at the present one at its end once more.
        (0..=24 * 60).find_map(|minutes| {
            let candidate = (minute_seen + minutes) % (24 * 60);
            if hour.is_some_and(|hour| hour != candidate / 60)
                || minute.is_some_and(|minute| minute != candidate % 60)
            {
                return None;
            }
            let first = if minutes == 0 { second_seen + 1 } else { 0 };
            let second = second.unwrap_or(first);
            (first..60).contains(&second).then(|| minutes * 60 + second - second_seen)
        })
    }
}
