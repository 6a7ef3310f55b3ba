//! ACPI's fixed hardware: events, sleep control, the power management timer, general-purpose events
//! (ACPI specification 6.5, §4.8).

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::clock::{Clock, Deadline, Timed, ticks, time_of};
use super::lock;
use super::power::{Power, PowerRequest};
use crate::InterruptLine;
use crate::bus::{EMPTY_BUS, PortDevice, PortRange, read_each, write_each};

/// The power management block. The FADT names its ports; its interrupt is the SCI, level-triggered.
///
/// The machine is always in ACPI mode, so SCI_EN reads 1 and there is no SMI command port.
pub struct PowerManagement {
    power: Arc<dyn Power>,
    sci: Arc<dyn InterruptLine>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    deadline: Mutex<Deadline>,
}

/// What the guest can see or has set.
#[derive(Clone, Copy, Default)]
struct State {
    /// PM1 status and enable.
    status: u16,
    enable: u16,
    /// The bits of PM1 control that are kept.
    control: u16,
    /// General-purpose event status and enable.
    event_status: u32,
    event_enable: u32,
    /// Times the timer's top bit had changed when its status was last brought up to date.
    half_turns: u64,
}

/// PM1 status and enable bits (§4.8.3.1).
mod event {
    pub(super) const TIMER: u16 = 1 << 0;
    pub(super) const POWER_BUTTON: u16 = 1 << 8;
    /// Timer, global lock, power button, sleep button, RTC: what can raise the SCI.
    pub(super) const ALL: u16 = 1 << 0 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 10;
    /// The same, bus master status, and wake status.
    pub(super) const STATUS: u16 = ALL | 1 << 4 | 1 << 15;
}

/// PM1 control bits (§4.8.3.2.1).
mod control {
    pub(super) const SCI_ENABLE: u16 = 1 << 0;
    /// BM_RLD and SLP_TYP.
    pub(super) const KEPT: u16 = 1 << 1 | SLEEP_TYPE;
    pub(super) const SLEEP_TYPE: u16 = 0x7 << SLEEP_TYPE_SHIFT;
    pub(super) const SLEEP_TYPE_SHIFT: u16 = 10;
    pub(super) const SLEEP_ENABLE: u16 = 1 << 13;
}

#[derive(Clone, Copy)]
enum Register {
    Status,
    Enable,
    Control,
    Timer,
    EventStatus,
    EventEnable,
}

/// The register that `port` belongs to and the place of its byte there, in bits.
fn decode(port: u16) -> Option<(Register, u32)> {
    let (register, first) = match port {
        0x600..=0x601 => (Register::Status, 0x600),
        0x602..=0x603 => (Register::Enable, 0x602),
        0x604..=0x605 => (Register::Control, 0x604),
        0x608..=0x60B => (Register::Timer, 0x608),
        0x620..=0x623 => (Register::EventStatus, 0x620),
        0x624..=0x627 => (Register::EventEnable, 0x624),
        _ => return None,
    };
    Some((register, 8 * u32::from(port - first)))
}

/// The timer's frequency in hertz (§4.8.2.1).
const FREQUENCY: u64 = 3_579_545;
/// Ticks between two changes of the 32-bit timer's top bit.
const HALF_TURN: u64 = 1 << 31;

impl PowerManagement {
    /// PM1a event block, 4 bytes: FADT PM1a_EVT_BLK.
    pub const EVENT_BLOCK: u16 = 0x600;
    /// PM1a control block, 2 bytes: FADT PM1a_CNT_BLK.
    pub const CONTROL_BLOCK: u16 = 0x604;
    /// The timer, 4 bytes and 32 bits wide (FADT flag TMR_VAL_EXT): FADT PM_TMR_BLK.
    pub const TIMER_BLOCK: u16 = 0x608;
    /// General-purpose event block 0, 8 bytes: FADT GPE0_BLK.
    pub const GENERAL_EVENT_BLOCK: u16 = 0x620;
    /// SLP_TYP of the soft-off state: what the DSDT's `_S5` must hold.
    pub const SOFT_OFF: u16 = 5;

    /// A block in its power-on state. `sci` is the system control interrupt.
    pub fn new(
        power: Arc<dyn Power>,
        sci: Arc<dyn InterruptLine>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Arc<Self>> {
        let state = State { half_turns: ticks(clock.monotonic(), FREQUENCY) / HALF_TURN, ..State::default() };
        let deadline = Mutex::new(Deadline::new()?);
        Ok(Arc::new(Self { power, sci, clock, state: Mutex::new(state), deadline }))
    }

    /// Presses the power button: the guest is asked to turn itself off.
    pub fn press_power_button(&self) {
        self.change(|state| state.status |= event::POWER_BUTTON);
    }

    /// Raises a general-purpose event; there are 32.
    pub fn raise_event(&self, number: u8) {
        let bit = 1_u32.checked_shl(u32::from(number)).unwrap_or(0);
        self.change(|state| state.event_status |= bit);
    }

    /// Brings the block to its power-on state; the timer counts on.
    pub fn reset(&self) {
        self.change(|state| *state = State { half_turns: state.half_turns, ..State::default() });
    }

    /// Changes the state and lets the SCI and the deadline follow.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let now = self.clock.monotonic();
        let mut state = lock(&self.state);
        state.follow_timer(now);
        let result = change(&mut state);
        self.sci.set(state.wants_interrupt());
        lock(&self.deadline).set(now, state.next_timer_event());
        result
    }
}

impl State {
    /// Notes a change of the timer's top bit in its status.
    fn follow_timer(&mut self, now: Duration) {
        let half_turns = ticks(now, FREQUENCY) / HALF_TURN;
        if half_turns != self.half_turns {
            self.half_turns = half_turns;
            self.status |= event::TIMER;
        }
    }

    fn wants_interrupt(&self) -> bool {
        self.status & self.enable & event::ALL != 0 || self.event_status & self.event_enable != 0
    }

    /// When the timer will want an interrupt, if it may and does not yet.
    fn next_timer_event(&self) -> Option<Duration> {
        (self.enable & !self.status & event::TIMER != 0)
            .then(|| time_of((self.half_turns + 1).saturating_mul(HALF_TURN), FREQUENCY))
    }

    fn read(&self, port: u16, timer: u32) -> u8 {
        let Some((register, shift)) = decode(port) else { return EMPTY_BUS };
        let value = match register {
            Register::Status => self.status.into(),
            Register::Enable => self.enable.into(),
            Register::Control => (self.control | control::SCI_ENABLE).into(),
            Register::Timer => timer,
            Register::EventStatus => self.event_status,
            Register::EventEnable => self.event_enable,
        };
        (value >> shift) as u8
    }

    /// Writes a byte; whether it puts the machine into soft-off.
    fn write(&mut self, port: u16, byte: u8) -> bool {
        let Some((register, shift)) = decode(port) else { return false };
        let (value, others) = (u32::from(byte) << shift, !(0xFF << shift));
        match register {
            Register::Status => self.status &= !(value as u16 & event::STATUS),
            Register::Enable => {
                self.enable = (u32::from(self.enable) & others | value) as u16 & event::ALL;
            }
            Register::Control => {
                self.control = (u32::from(self.control) & others | value) as u16 & control::KEPT;
                let sleep_type = (self.control & control::SLEEP_TYPE) >> control::SLEEP_TYPE_SHIFT;
                return value as u16 & control::SLEEP_ENABLE != 0 && sleep_type == PowerManagement::SOFT_OFF;
            }
            Register::Timer => {}
            Register::EventStatus => self.event_status &= !value,
            Register::EventEnable => self.event_enable = self.event_enable & others | value,
        }
        false
    }
}

impl PortDevice for PowerManagement {
    fn ports(&self) -> Vec<PortRange> {
        vec![
            PortRange::new(Self::EVENT_BLOCK, 4),
            PortRange::new(Self::CONTROL_BLOCK, 2),
            PortRange::new(Self::TIMER_BLOCK, 4),
            PortRange::new(Self::GENERAL_EVENT_BLOCK, 8),
        ]
    }

    fn read(&self, port: u16, data: &mut [u8]) {
        let now = self.clock.monotonic();
        // The timer is the hot register, and its status bit may wait for a read of the status.
        let timer = ticks(now, FREQUENCY) as u32;
        let mut state = lock(&self.state);
        state.follow_timer(now);
        read_each(port, data, |port| state.read(port, timer));
    }

    fn write(&self, port: u16, data: &[u8]) {
        let soft_off = self.change(|state| {
            let mut soft_off = false;
            write_each(port, data, |port, value| soft_off |= state.write(port, value));
            soft_off
        });
        if soft_off {
            self.power.request(PowerRequest::Off);
        }
    }
}

impl Timed for PowerManagement {
    fn timer(&self) -> RawFd {
        lock(&self.deadline).as_raw_fd()
    }

    fn act(&self) {
        self.change(|_| ());
    }
}

#[cfg(test)]
mod tests;
