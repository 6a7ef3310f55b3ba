//! CMOS memory and the real-time clock in it (MC146818A).

mod calendar;
mod clock;

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex};

use self::clock::{Now, RealTimeClock};
use super::clock::{Clock, Deadline, Timed};
use super::lock;
use crate::InterruptLine;
use crate::bus::{EMPTY_BUS, PortDevice, PortRange, read_each, write_each};

/// How much RAM the machine has, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct MemorySize {
    /// From address 0 to the hole below 4 GiB.
    pub low: u64,
    /// From 4 GiB on.
    pub high: u64,
}

/// The index and data ports 0x70 and 0x71 with 128 bytes behind them. The clock's interrupt is ISA
/// interrupt 8; its time is the host's, UTC, until the guest sets it.
///
/// Bit 7 of the index port, which masks NMIs, is ignored: nothing here raises one.
pub struct Cmos {
    line: Arc<dyn InterruptLine>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    deadline: Mutex<Deadline>,
}

struct State {
    index: usize,
    /// What is not the clock's. The guest may write all of it.
    memory: [u8; SIZE],
    clock: RealTimeClock,
}

const SIZE: usize = 128;
const INDEX_PORT: u16 = 0x70;
const DATA_PORT: u16 = 0x71;

impl Cmos {
    /// CMOS memory as firmware leaves it.
    pub fn new(
        memory: MemorySize,
        line: Arc<dyn InterruptLine>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Arc<Self>> {
        let real_time = RealTimeClock::new(Now::of(&*clock));
        let state = State { index: 0, memory: firmware_memory(memory), clock: real_time };
        Ok(Arc::new(Self { line, clock, state: Mutex::new(state), deadline: Mutex::new(Deadline::new()?) }))
    }

    /// What a reset of the machine does: interrupts are off; time, memory and shutdown status stay.
    pub fn reset(&self) {
        self.change(|state, _| {
            state.index = 0;
            state.clock.reset();
        });
    }

    /// Changes the state and lets the interrupt and the deadline follow.
    fn change<R>(&self, change: impl FnOnce(&mut State, Now) -> R) -> R {
        let now = Now::of(&*self.clock);
        let mut state = lock(&self.state);
        state.clock.follow(now);
        let result = change(&mut state, now);
        self.line.set(state.clock.wants_interrupt());
        lock(&self.deadline).set(now.monotonic, state.clock.next_event(now));
        result
    }
}

impl State {
    fn read(&mut self, now: Now) -> u8 {
        self.clock.read(self.index, now).unwrap_or_else(|| self.memory[self.index])
    }

    fn write(&mut self, value: u8, now: Now) {
        if !self.clock.write(self.index, value, now) {
            self.memory[self.index] = value;
        }
    }
}

/// The bytes by which firmware tells of memory and equipment.
fn firmware_memory(size: MemorySize) -> [u8; SIZE] {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    let mut memory = [0; SIZE];
    let mut put = |at: usize, value: u64, length: usize| {
        let most = (1 << (8 * length)) - 1;
        memory[at..at + length].copy_from_slice(&value.min(most).to_le_bytes()[..length]);
    };
    // A coprocessor and nothing else.
    put(0x14, 0x02, 1);
    // KiB below 640 KiB, and twice KiB above 1 MiB.
    put(0x15, 640, 2);
    let extended = size.low.saturating_sub(MIB) / KIB;
    put(0x17, extended, 2);
    put(0x30, extended, 2);
    // Units of 64 KiB above 16 MiB and above 4 GiB.
    put(0x34, size.low.saturating_sub(16 * MIB) / (64 * KIB), 2);
    put(0x5B, size.high / (64 * KIB), 3);
    memory
}

impl PortDevice for Cmos {
    fn ports(&self) -> Vec<PortRange> {
        vec![PortRange::new(INDEX_PORT, 2)]
    }

    fn read(&self, port: u16, data: &mut [u8]) {
        self.change(|state, now| {
            read_each(port, data, |port| match port {
                DATA_PORT => state.read(now),
                // The index cannot be read back.
                _ => EMPTY_BUS,
            });
        });
    }

    fn write(&self, port: u16, data: &[u8]) {
        self.change(|state, now| {
            write_each(port, data, |port, value| match port {
                INDEX_PORT => state.index = usize::from(value) % SIZE,
                DATA_PORT => state.write(value, now),
                _ => {}
            });
        });
    }
}

impl Timed for Cmos {
    fn timer(&self) -> RawFd {
        lock(&self.deadline).as_raw_fd()
    }

    fn act(&self) {
        self.change(|_, _| ());
    }
}

#[cfg(test)]
mod tests;
