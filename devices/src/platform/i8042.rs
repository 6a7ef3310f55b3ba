//! The keyboard controller, with no keyboard: what is left of it is the reset line.

use std::sync::{Arc, Mutex};

use super::lock;
use super::power::{Power, PowerRequest};
use crate::InterruptLine;
use crate::bus::{EMPTY_BUS, PortDevice, PortRange, read_each, write_each};

/// An i8042 that passes its tests, has neither a keyboard nor a mouse, and resets the machine.
///
/// A byte for the absent keyboard is answered at once by "time-out, resend", so that a driver need not wait
/// for what will not come.
pub struct I8042 {
    power: Arc<dyn Power>,
    keyboard: Arc<dyn InterruptLine>,
    state: Mutex<State>,
}

#[derive(Clone)]
struct State {
    /// The command byte, "configuration" in newer books.
    configuration: u8,
    /// A command that waits for its parameter.
    command: Option<Parameter>,
    /// A byte for the guest.
    output: Option<u8>,
    /// It stands for an answer that did not come.
    timed_out: bool,
    /// The last write was a command.
    command_last: bool,
    output_port: u8,
}

/// What the next byte written to the data port is for.
#[derive(Clone, Copy)]
enum Parameter {
    Configuration,
    OutputPort,
    /// To be read back as though a device had sent it.
    Loopback,
}

const DATA_PORT: u16 = 0x60;
const COMMAND_PORT: u16 = 0x64;

/// The status register.
mod status {
    pub(super) const OUTPUT_FULL: u8 = 1 << 0;
    /// The self-test has been passed.
    pub(super) const SYSTEM: u8 = 1 << 2;
    pub(super) const COMMAND_LAST: u8 = 1 << 3;
    pub(super) const NOT_LOCKED: u8 = 1 << 4;
    pub(super) const TIME_OUT: u8 = 1 << 6;
}

/// The command byte.
mod configuration {
    pub(super) const KEYBOARD_INTERRUPT: u8 = 1 << 0;
    pub(super) const SYSTEM: u8 = 1 << 2;
    pub(super) const KEYBOARD_OFF: u8 = 1 << 4;
    pub(super) const MOUSE_OFF: u8 = 1 << 5;
}

/// Output port: the processor runs while it is set.
const RESET_NOT: u8 = 1 << 0;
/// Output port: address line 20.
const A20: u8 = 1 << 1;

const SELF_TEST_PASSED: u8 = 0x55;
const PORT_TEST_PASSED: u8 = 0x00;
/// The mouse port's clock is stuck low: there is none.
const PORT_TEST_FAILED: u8 = 0x01;
/// What a controller says in place of a device that is silent.
const RESEND: u8 = 0xFE;

impl Default for State {
    fn default() -> Self {
        Self {
            configuration: configuration::SYSTEM | configuration::MOUSE_OFF,
            command: None,
            output: None,
            timed_out: false,
            command_last: false,
            output_port: RESET_NOT | A20,
        }
    }
}

impl I8042 {
    /// A controller in its power-on state. `keyboard` is its first port's interrupt.
    pub fn new(power: Arc<dyn Power>, keyboard: Arc<dyn InterruptLine>) -> Self {
        Self { power, keyboard, state: Mutex::default() }
    }

    /// Brings the controller to its power-on state.
    pub fn reset(&self) {
        self.change(|state| *state = State::default());
    }

    /// Changes the state and lets the interrupt follow.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = lock(&self.state);
        let result = change(&mut state);
        let enabled = state.configuration & configuration::KEYBOARD_INTERRUPT != 0;
        self.keyboard.set(enabled && state.output.is_some());
        result
    }
}

impl State {
    fn status(&self) -> u8 {
        let mut status = status::NOT_LOCKED | self.configuration & status::SYSTEM;
        if self.output.is_some() {
            status |= status::OUTPUT_FULL;
        }
        if self.command_last {
            status |= status::COMMAND_LAST;
        }
        if self.timed_out {
            status |= status::TIME_OUT;
        }
        status
    }

    fn take_output(&mut self) -> u8 {
        self.timed_out = false;
        self.output.take().unwrap_or(0)
    }

    fn answer(&mut self, byte: u8) {
        self.timed_out = false;
        self.output = Some(byte);
    }

    /// Obeys a command; whether it resets the machine.
    fn command(&mut self, command: u8) -> bool {
        self.command_last = true;
        self.command = None;
        match command {
            0x20 => self.answer(self.configuration),
            0x60 => self.command = Some(Parameter::Configuration),
            0xA7 => self.configuration |= configuration::MOUSE_OFF,
            0xA8 => self.configuration &= !configuration::MOUSE_OFF,
            0xA9 => self.answer(PORT_TEST_FAILED),
            0xAA => {
                self.configuration |= configuration::SYSTEM;
                self.answer(SELF_TEST_PASSED);
            }
            0xAB => self.answer(PORT_TEST_PASSED),
            0xAD => self.configuration |= configuration::KEYBOARD_OFF,
            0xAE => self.configuration &= !configuration::KEYBOARD_OFF,
            0xD0 => self.answer(self.output_port),
            0xD1 => self.command = Some(Parameter::OutputPort),
            // The byte for the mouse port's loopback comes back as the keyboard port's: there is no second
            // port, and a driver that looks for one sees so without waiting.
            0xD2 | 0xD3 => self.command = Some(Parameter::Loopback),
            // Pulses the output port's bits that are 0 in the command.
            0xF0..=0xFF => return command & RESET_NOT == 0,
            // 0xD4, a byte for the absent mouse, goes where one for the absent keyboard goes.
            _ => {}
        }
        false
    }

    /// Takes a byte at the data port; whether it resets the machine.
    fn data(&mut self, byte: u8) -> bool {
        self.command_last = false;
        match self.command.take() {
            Some(Parameter::Configuration) => self.configuration = byte,
            Some(Parameter::OutputPort) => {
                self.output_port = byte;
                return byte & RESET_NOT == 0;
            }
            Some(Parameter::Loopback) => self.answer(byte),
            None => {
                self.answer(RESEND);
                self.timed_out = true;
            }
        }
        false
    }
}

impl PortDevice for I8042 {
    fn ports(&self) -> Vec<PortRange> {
        vec![PortRange::new(DATA_PORT, 1), PortRange::new(COMMAND_PORT, 1)]
    }

    fn read(&self, port: u16, data: &mut [u8]) {
        self.change(|state| {
            read_each(port, data, |port| match port {
                DATA_PORT => state.take_output(),
                COMMAND_PORT => state.status(),
                _ => EMPTY_BUS,
            });
        });
    }

    fn write(&self, port: u16, data: &[u8]) {
        let reset = self.change(|state| {
            let mut reset = false;
            write_each(port, data, |port, byte| match port {
                DATA_PORT => reset |= state.data(byte),
                COMMAND_PORT => reset |= state.command(byte),
                _ => {}
            });
            reset
        });
        if reset {
            self.power.request(PowerRequest::Reboot);
        }
    }
}

#[cfg(test)]
mod tests;
