//! The pair of 8259A interrupt controllers of an ISA machine.

mod chip;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use self::chip::{CASCADE, Chip};
use super::lock;
use super::wire::{EndListener, EndListeners};
use crate::InterruptLine;
use crate::bus::{EMPTY_BUS, PortDevice, PortRange, read_each, write_each};

/// Two 8259As, the second on the first one's input 2: sixteen inputs, one output, and a vector for the
/// processor that acknowledges.
///
/// The machine starts as firmware leaves it: everything masked, vectors from 0x08 and 0x70, and the system
/// control interrupt (input 9) level-triggered.
pub struct Pic {
    output: Arc<dyn InterruptLine>,
    state: Mutex<Pair>,
    /// What the output was last told.
    pending: AtomicBool,
    listeners: [EndListeners; INPUTS as usize],
}

#[derive(Clone)]
struct Pair {
    first: Chip,
    second: Chip,
}

/// Inputs of the pair.
const INPUTS: u8 = 16;
/// The input that is asked for when the request has gone.
const SPURIOUS: u8 = 7;

/// Inputs by their bits, of both chips.
type Inputs = u16;

mod port {
    pub(super) const FIRST_COMMAND: u16 = 0x20;
    pub(super) const FIRST_DATA: u16 = 0x21;
    pub(super) const SECOND_COMMAND: u16 = 0xA0;
    pub(super) const SECOND_DATA: u16 = 0xA1;
    /// Edge or level, a bit for each input [ELCR].
    pub(super) const FIRST_LEVEL: u16 = 0x4D0;
    pub(super) const SECOND_LEVEL: u16 = 0x4D1;
}

impl Default for Pair {
    fn default() -> Self {
        // Timer, keyboard, cascade; clock and coprocessor cannot be chosen. The cascade follows the second
        // chip, which is what its pulses between acknowledgements amount to.
        Self { first: Chip::new(0x08, 1 << CASCADE, 0xF8), second: Chip::new(0x70, 1 << 1, 0xDE) }
    }
}

impl Pic {
    /// A pair whose INT pin is `output`. It is set with the pair's lock held, so that its changes come in
    /// order: whoever listens does not call the pair from there.
    pub fn new(output: Arc<dyn InterruptLine>) -> Arc<Self> {
        Arc::new(Self {
            output,
            state: Mutex::default(),
            pending: AtomicBool::new(false),
            listeners: std::array::from_fn(|_| EndListeners::default()),
        })
    }

    /// Whether the processor is to be interrupted.
    pub fn pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Acknowledges on behalf of the processor and gives it the vector: the spurious one if the request has
    /// gone meanwhile.
    pub fn acknowledge(&self) -> u8 {
        let mut vector = 0;
        self.change(|state| {
            let (acknowledged, ended) = state.acknowledge();
            vector = acknowledged;
            ended
        });
        vector
    }

    /// The end of the wire at `input`, which counts modulo 16.
    pub(super) fn input(self: &Arc<Self>, input: u8) -> Arc<dyn InterruptLine> {
        Arc::new(Input { pic: self.clone(), input: input % INPUTS })
    }

    /// Brings the pair to its state at start; the wires stay as the devices hold them.
    pub fn reset(&self) {
        self.change(|state| {
            let new = Pair::default();
            state.first.reset(&new.first);
            state.second.reset(&new.second);
            0
        });
    }

    /// Changes the state; `change` gives the inputs whose interrupts have ended. Their devices hear of it
    /// before the output follows.
    fn change(&self, change: impl FnOnce(&mut Pair) -> Inputs) {
        let mut state = lock(&self.state);
        let ended = change(&mut state);
        if ended != 0 {
            drop(state);
            for (input, listeners) in self.listeners.iter().enumerate() {
                if ended & 1 << input != 0 {
                    listeners.notify();
                }
            }
            state = lock(&self.state);
        }
        let pending = state.pending();
        if self.pending.swap(pending, Ordering::Release) != pending {
            self.output.set(pending);
        }
    }
}

impl Pair {
    /// Wires the second chip's output to the first one; whether the first one's is asserted.
    fn pending(&mut self) -> bool {
        self.first.set_input(CASCADE, self.second.pending().is_some());
        self.first.pending().is_some()
    }

    fn set_input(&mut self, input: u8, asserted: bool) {
        let chip = if input < 8 { &mut self.first } else { &mut self.second };
        chip.set_input(input % 8, asserted);
    }

    /// The vector, and what has ended with the acknowledgement.
    fn acknowledge(&mut self) -> (u8, Inputs) {
        // Brings the cascade up to date.
        self.pending();
        let Some(input) = self.first.pending() else { return (self.first.vector(SPURIOUS), 0) };
        let mut ended = Inputs::from(self.first.acknowledge(input));
        if input != CASCADE {
            return (self.first.vector(input), ended);
        }
        let Some(input) = self.second.pending() else { return (self.second.vector(SPURIOUS), ended) };
        ended |= Inputs::from(self.second.acknowledge(input)) << 8;
        (self.second.vector(input), ended)
    }

    /// Reads a port; also what has ended with that.
    fn read(&mut self, port: u16) -> (u8, Inputs) {
        let of_second = |(value, ended)| (value, Inputs::from(ended) << 8);
        let of_first = |(value, ended)| (value, Inputs::from(ended));
        match port {
            port::FIRST_COMMAND => of_first(self.first.read_command()),
            port::FIRST_DATA => of_first(self.first.read_data()),
            port::SECOND_COMMAND => of_second(self.second.read_command()),
            port::SECOND_DATA => of_second(self.second.read_data()),
            port::FIRST_LEVEL => (self.first.level(), 0),
            port::SECOND_LEVEL => (self.second.level(), 0),
            _ => (EMPTY_BUS, 0),
        }
    }

    /// Writes a port; gives what has ended.
    fn write(&mut self, port: u16, value: u8) -> Inputs {
        match port {
            port::FIRST_COMMAND => return self.first.write_command(value).into(),
            port::FIRST_DATA => self.first.write_data(value),
            port::SECOND_COMMAND => return Inputs::from(self.second.write_command(value)) << 8,
            port::SECOND_DATA => self.second.write_data(value),
            port::FIRST_LEVEL => self.first.set_level(value),
            port::SECOND_LEVEL => self.second.set_level(value),
            _ => {}
        }
        0
    }
}

impl PortDevice for Pic {
    fn ports(&self) -> Vec<PortRange> {
        [port::FIRST_COMMAND, port::SECOND_COMMAND, port::FIRST_LEVEL]
            .map(|first| PortRange::new(first, 2))
            .to_vec()
    }

    fn read(&self, port: u16, data: &mut [u8]) {
        self.change(|state| {
            let mut all_ended = 0;
            read_each(port, data, |port| {
                let (value, ended) = state.read(port);
                all_ended |= ended;
                value
            });
            all_ended
        });
    }

    fn write(&self, port: u16, data: &[u8]) {
        self.change(|state| {
            let mut ended = 0;
            write_each(port, data, |port, value| ended |= state.write(port, value));
            ended
        });
    }
}

/// The end of a wire at the pair.
struct Input {
    pic: Arc<Pic>,
    /// Below 16.
    input: u8,
}

impl InterruptLine for Input {
    fn set(&self, asserted: bool) {
        self.pic.change(|state| {
            state.set_input(self.input, asserted);
            0
        });
    }

    fn on_end(&self, listener: EndListener) {
        self.pic.listeners[usize::from(self.input)].add(listener);
    }
}

#[cfg(test)]
mod tests;
