//! The 8254 interval timer, and port 0x61 that belongs to its third counter.

mod counter;

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::counter::{Access, Counter, Tick};
use super::clock::{Clock, Deadline, Timed, ticks, time_of};
use super::lock;
use crate::InterruptLine;
use crate::bus::{EMPTY_BUS, PortDevice, PortRange, read_each, write_each};

/// The timer: counter 0 is ISA interrupt 0, counter 1 used to refresh memory, counter 2 is the speaker's,
/// with which guests measure the processor's frequency.
///
/// Every rise of counter 0's output is a pulse of the interrupt's wire. Pulses are never closer together
/// than [`SHORTEST_GAP`]: at counts below 120 the rises in between are lost. Apart from that none are: those
/// that the host was late for follow at twice the programmed rate, up to [`MOST_OWED`] of them.
pub struct Pit {
    line: Arc<dyn InterruptLine>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    deadline: Mutex<Deadline>,
}

/// Time between two interrupts at least, so that a guest cannot make the host do nothing else.
const SHORTEST_GAP: Duration = Duration::from_micros(100);
/// Interrupts that may have to be caught up on; what is beyond is lost.
const MOST_OWED: u64 = 1000;
/// The counters' clock, in hertz.
const FREQUENCY: u64 = 1_193_182;

#[derive(Clone)]
struct State {
    counters: [Counter; 3],
    /// Rises of counter 0 that have been turned into interrupts, since it was last started.
    delivered: u64,
    /// When the last of them was.
    last: Option<Duration>,
    /// The bits of port 0x61 that are merely kept.
    kept: u8,
}

const CONTROL_PORT: u16 = 0x43;
const SPEAKER_PORT: u16 = 0x61;

/// Port 0x61 (ICH9 §13.7.1).
mod speaker {
    pub(super) const GATE: u8 = 1 << 0;
    /// Speaker on, and the enables of parity and channel errors.
    pub(super) const KEPT: u8 = 0b1110;
    pub(super) const REFRESH: u8 = 1 << 4;
    pub(super) const OUTPUT: u8 = 1 << 5;
}

/// Ticks between two refreshes of memory, about 15 µs.
const REFRESH_PERIOD: Tick = 18;

impl Default for State {
    fn default() -> Self {
        Self {
            counters: [Counter::new(true), Counter::new(true), Counter::new(false)],
            delivered: 0,
            last: None,
            kept: 0,
        }
    }
}

impl Pit {
    /// A timer whose counters are not programmed. `line` is ISA interrupt 0.
    pub fn new(line: Arc<dyn InterruptLine>, clock: Arc<dyn Clock>) -> io::Result<Arc<Self>> {
        let deadline = Mutex::new(Deadline::new()?);
        Ok(Arc::new(Self { line, clock, state: Mutex::default(), deadline }))
    }

    /// Stops the counters.
    pub fn reset(&self) {
        let mut state = lock(&self.state);
        *state = State::default();
        lock(&self.deadline).set(Duration::ZERO, None);
    }

    fn now(&self) -> Tick {
        ticks(self.clock.monotonic(), FREQUENCY)
    }

    /// Delivers an interrupt if one is due and sees to the next.
    fn deliver(&self, state: &mut State) {
        let now = self.clock.monotonic();
        if state.take_due(now) {
            self.line.set(true);
            self.line.set(false);
        }
        lock(&self.deadline).set(now, state.next_delivery(now));
    }
}

impl State {
    /// Interrupts that the guest should have had by now and has not.
    fn owed(&self, now: Duration) -> u64 {
        self.counters[0].rises(ticks(now, FREQUENCY)).saturating_sub(self.delivered)
    }

    /// Whether an interrupt is due. It counts as delivered.
    fn take_due(&mut self, now: Duration) -> bool {
        let owed = self.owed(now);
        if owed == 0 || self.last.is_some_and(|last| now < last + self.gap()) {
            return false;
        }
        let too_fast = self.period().is_some_and(|period| period < SHORTEST_GAP);
        let lost = if too_fast { owed - 1 } else { owed.saturating_sub(MOST_OWED) };
        self.delivered += lost + 1;
        self.last = Some(now);
        true
    }

    /// When an interrupt will be due.
    fn next_delivery(&self, now: Duration) -> Option<Duration> {
        let next = if self.owed(now) == 0 {
            time_of(self.counters[0].next_rise(ticks(now, FREQUENCY))?, FREQUENCY)
        } else {
            now
        };
        Some(self.last.map_or(next, |last| next.max(last + self.gap())))
    }

    /// Time between two interrupts while catching up, and at least.
    fn gap(&self) -> Duration {
        self.period().map_or(SHORTEST_GAP, |period| SHORTEST_GAP.max(period / 2))
    }

    fn period(&self) -> Option<Duration> {
        self.counters[0].period().map(|period| time_of(period, FREQUENCY))
    }

    /// Obeys a control word; whether it is about counter 0's mode.
    fn control(&mut self, word: u8, now: Tick) -> bool {
        let Some(counter) = self.counters.get_mut(usize::from(word >> 6)) else {
            self.read_back(word, now);
            return false;
        };
        let access = match word >> 4 & 3 {
            0 => {
                counter.latch_count(now);
                return false;
            }
            1 => Access::Low,
            2 => Access::High,
            _ => Access::Both,
        };
        counter.program(word, access);
        word >> 6 == 0
    }

    /// Latches counts and status of several counters at once.
    fn read_back(&mut self, word: u8, now: Tick) {
        const NOT_COUNT: u8 = 1 << 5;
        const NOT_STATUS: u8 = 1 << 4;
        for (number, counter) in self.counters.iter_mut().enumerate() {
            if word & 2 << number == 0 {
                continue;
            }
            if word & NOT_COUNT == 0 {
                counter.latch_count(now);
            }
            if word & NOT_STATUS == 0 {
                counter.latch_status(now);
            }
        }
    }

    fn read(&mut self, port: u16, now: Tick) -> u8 {
        match port {
            0x40..=0x42 => self.counters[usize::from(port - 0x40)].read(now),
            // The control word cannot be read back.
            CONTROL_PORT => 0,
            SPEAKER_PORT => {
                let flag = |set: bool, bit: u8| if set { bit } else { 0 };
                let counter = &self.counters[2];
                self.kept
                    | flag(counter.gate(), speaker::GATE)
                    | flag((now / REFRESH_PERIOD).is_multiple_of(2), speaker::REFRESH)
                    | flag(counter.output(now), speaker::OUTPUT)
            }
            _ => EMPTY_BUS,
        }
    }

    /// Writes a byte; whether counter 0 begins anew with it.
    fn write(&mut self, port: u16, value: u8, now: Tick) -> bool {
        match port {
            0x40 => return self.counters[0].write(value, now),
            0x41..=0x42 => {
                self.counters[usize::from(port - 0x40)].write(value, now);
            }
            CONTROL_PORT => return self.control(value, now),
            SPEAKER_PORT => {
                self.kept = value & speaker::KEPT;
                self.counters[2].set_gate(value & speaker::GATE != 0, now);
            }
            _ => {}
        }
        false
    }
}

impl PortDevice for Pit {
    fn ports(&self) -> Vec<PortRange> {
        vec![PortRange::new(0x40, 4), PortRange::new(SPEAKER_PORT, 1)]
    }

    fn read(&self, port: u16, data: &mut [u8]) {
        let now = self.now();
        let mut state = lock(&self.state);
        read_each(port, data, |port| state.read(port, now));
    }

    fn write(&self, port: u16, data: &[u8]) {
        let now = self.now();
        let mut state = lock(&self.state);
        let mut restarted = false;
        write_each(port, data, |port, value| restarted |= state.write(port, value, now));
        if restarted {
            state.delivered = 0;
            self.deliver(&mut state);
        }
    }
}

impl Timed for Pit {
    fn timer(&self) -> RawFd {
        lock(&self.deadline).as_raw_fd()
    }

    fn act(&self) {
        self.deliver(&mut lock(&self.state));
    }
}

#[cfg(test)]
mod tests;
