//! The serial port: a 16550A on a terminal.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use vm_superio::Trigger;
use vm_superio::serial::NoEvents;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::lock;
use crate::InterruptLine;
use crate::bus::{EMPTY_BUS, PortDevice, PortRange, read_each, write_each};

/// Where the guest's output goes. Every byte is written and flushed at once.
pub type SerialOutput = Box<dyn Write + Send>;

/// A serial port of eight registers.
///
/// Its interrupt is that of the ISA bus, an edge: each new cause pulses the wire.
pub struct Serial {
    base: u16,
    state: Mutex<State>,
    room: EventFd,
}

struct State {
    uart: Uart,
    /// Input that has not yet found room in the receive FIFO, at most [`BACKLOG`] bytes.
    backlog: VecDeque<u8>,
    /// Input had to be turned away.
    turned_away: bool,
}

/// Bytes of input that wait outside of the UART's own FIFO.
const BACKLOG: usize = 4096;

impl Serial {
    /// The first port's base.
    pub const COM1: u16 = 0x3F8;
    /// Ports it takes.
    const COUNT: u16 = 8;

    /// A port at `base` that interrupts by `line` and writes to `output`.
    pub fn new(base: u16, line: Arc<dyn InterruptLine>, output: SerialOutput) -> io::Result<Self> {
        let state = State {
            uart: Uart::new(line, output),
            backlog: VecDeque::with_capacity(BACKLOG),
            turned_away: false,
        };
        Ok(Self { base, state: Mutex::new(state), room: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)? })
    }

    /// Gives the guest input; how many of the bytes were taken. The rest may be offered again when
    /// [`room`](Self::room) is signalled.
    pub fn enqueue(&self, input: &[u8]) -> usize {
        let mut state = lock(&self.state);
        let taken = input.len().min(BACKLOG - state.backlog.len());
        state.backlog.extend(&input[..taken]);
        state.turned_away |= taken < input.len();
        state.feed();
        taken
    }

    /// Signalled when the guest has read everything after input was turned away.
    pub fn room(&self) -> &EventFd {
        &self.room
    }

    /// Brings the registers to their power-on state; waiting input stays.
    pub fn reset(&self) {
        lock(&self.state).uart.reset();
    }

    fn after_access(&self, state: &mut State) {
        state.feed();
        if state.turned_away && state.backlog.is_empty() {
            state.turned_away = false;
            // It fails only when it has been signalled 2^64 times over.
            let _ = self.room.write(1);
        }
    }
}

impl State {
    /// Fills the receive FIFO from the backlog once the guest has emptied it, so that input costs an
    /// interrupt for each FIFO and not for each byte.
    fn feed(&mut self) {
        if self.uart.wants_input() {
            let taken = self.uart.receive(self.backlog.make_contiguous());
            self.backlog.drain(..taken);
        }
    }
}

impl PortDevice for Serial {
    fn ports(&self) -> Vec<PortRange> {
        vec![PortRange::new(self.base, Self::COUNT)]
    }

    fn read(&self, port: u16, data: &mut [u8]) {
        let mut state = lock(&self.state);
        read_each(port, data, |port| match port.wrapping_sub(self.base) {
            offset @ 0..Self::COUNT => state.uart.read(offset as u8),
            _ => EMPTY_BUS,
        });
        self.after_access(&mut state);
    }

    fn write(&self, port: u16, data: &[u8]) {
        let mut state = lock(&self.state);
        write_each(port, data, |port, value| {
            if let offset @ 0..Self::COUNT = port.wrapping_sub(self.base) {
                state.uart.write(offset as u8, value);
            }
        });
        self.after_access(&mut state);
    }
}

/// vm-superio's UART, and what drivers other than Linux's want beyond it: interrupt causes that are reported
/// one at a time by their priority, only while enabled, and until they are dealt with; and a receive FIFO
/// that can be cleared.
struct Uart {
    inner: vm_superio::Serial<Pulse, NoEvents, SerialOutput>,
    /// The interrupt enable register.
    enabled: u8,
    /// "Transmitter empty" is to be reported.
    transmitted: bool,
}

/// Register offsets (PC16550D §8); 0 and 1 are the divisor while DLAB is set.
mod register {
    pub(super) const DATA: u8 = 0;
    pub(super) const INTERRUPT_ENABLE: u8 = 1;
    pub(super) const INTERRUPT_IDENTIFICATION: u8 = 2;
    pub(super) const FIFO_CONTROL: u8 = 2;
    pub(super) const LINE_CONTROL: u8 = 3;
    pub(super) const MODEM_CONTROL: u8 = 4;
    pub(super) const LINE_STATUS: u8 = 5;
    pub(super) const SCRATCH: u8 = 7;
}

const ENABLE_RECEIVED: u8 = 1 << 0;
const ENABLE_TRANSMITTED: u8 = 1 << 1;

/// Interrupt identification: two bits that say that there are FIFOs, and the cause.
const FIFOS: u8 = 0xC0;
const CAUSE_NONE: u8 = 0b0001;
const CAUSE_TRANSMITTED: u8 = 0b0010;
const CAUSE_RECEIVED: u8 = 0b0100;

const CLEAR_RECEIVED: u8 = 1 << 1;
/// Line control: eight data bits.
const EIGHT_BITS: u8 = 0b11;
const DIVISOR_ACCESS: u8 = 1 << 7;
/// Modem control: interrupts reach the wire.
const OUT2: u8 = 1 << 3;
const LOOPBACK: u8 = 1 << 4;
const DATA_READY: u8 = 1 << 0;

impl Uart {
    fn new(line: Arc<dyn InterruptLine>, output: SerialOutput) -> Self {
        Self { inner: vm_superio::Serial::new(Pulse(line), output), enabled: 0, transmitted: false }
    }

    fn read(&mut self, offset: u8) -> u8 {
        match offset {
            register::INTERRUPT_IDENTIFICATION => self.identify(),
            _ => self.inner.read(offset),
        }
    }

    fn write(&mut self, offset: u8, value: u8) {
        match offset {
            register::INTERRUPT_ENABLE if !self.divisor_access() => {
                // A cause that is enabled again interrupts again: forget that it once was reported.
                self.inner.read(register::INTERRUPT_IDENTIFICATION);
                self.transmitted = false;
                self.enabled = value;
            }
            register::FIFO_CONTROL if value & CLEAR_RECEIVED != 0 => self.clear_received(),
            _ => {}
        }
        // An output that is gone, such as a closed terminal, loses bytes as an unplugged cable does.
        let _ = self.inner.write(offset, value);
    }

    /// Reads the cause of highest priority.
    fn identify(&mut self) -> u8 {
        let noted = self.inner.read(register::INTERRUPT_IDENTIFICATION);
        self.transmitted |= noted & CAUSE_TRANSMITTED != 0;
        let cause = if self.enabled & ENABLE_RECEIVED != 0 && self.has_received() {
            CAUSE_RECEIVED
        } else if self.enabled & ENABLE_TRANSMITTED != 0 && std::mem::take(&mut self.transmitted) {
            CAUSE_TRANSMITTED
        } else {
            CAUSE_NONE
        };
        FIFOS | cause
    }

    fn has_received(&mut self) -> bool {
        self.inner.read(register::LINE_STATUS) & DATA_READY != 0
    }

    fn divisor_access(&mut self) -> bool {
        self.inner.read(register::LINE_CONTROL) & DIVISOR_ACCESS != 0
    }

    /// The receive FIFO is empty and connected.
    fn wants_input(&mut self) -> bool {
        !self.has_received() && self.inner.read(register::MODEM_CONTROL) & LOOPBACK == 0
    }

    /// Puts input into the receive FIFO; how many bytes found room.
    fn receive(&mut self, input: &[u8]) -> usize {
        self.inner.enqueue_raw_bytes(input).unwrap_or(0)
    }

    fn clear_received(&mut self) {
        let line_control = self.inner.read(register::LINE_CONTROL);
        let _ = self.inner.write(register::LINE_CONTROL, line_control & !DIVISOR_ACCESS);
        // The FIFO is finite and nothing fills it meanwhile.
        while self.has_received() {
            self.inner.read(register::DATA);
        }
        let _ = self.inner.write(register::LINE_CONTROL, line_control);
    }

    fn reset(&mut self) {
        self.clear_received();
        for (offset, value) in [
            (register::LINE_CONTROL, EIGHT_BITS),
            (register::INTERRUPT_ENABLE, 0),
            (register::MODEM_CONTROL, OUT2),
            (register::SCRATCH, 0),
        ] {
            self.write(offset, value);
        }
    }
}

/// An interrupt of the ISA bus: the rise is what counts.
struct Pulse(Arc<dyn InterruptLine>);

impl Trigger for Pulse {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        self.0.set(true);
        self.0.set(false);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
