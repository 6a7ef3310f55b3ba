//! How a guest ends its machine or starts it anew, and the two simplest ways to say so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::bus::{EMPTY_BUS, PortDevice, PortRange, read_each, write_each};

/// What the guest wants of the machine as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerRequest {
    /// Turn the machine off.
    Off,
    /// Start the machine anew.
    Reboot,
    /// End the program with this exit status.
    Exit(u8),
}

/// Who fulfils these requests.
pub trait Power: Send + Sync {
    /// Takes note of `request` and returns; the vCPU that made it is still inside its access.
    fn request(&self, request: PowerRequest);
}

/// The port by which a test guest ends the program: writing `value` gives the exit status
/// `value << 1 | 1`, cut to 8 bits. It is odd, so that it never looks like success by accident; QEMU's
/// `isa-debug-exit` device does the same.
pub struct DebugExit {
    power: Arc<dyn Power>,
}

impl DebugExit {
    /// The port everyone gives it.
    pub const PORT: u16 = 0xF4;

    /// A debug-exit port that reports to `power`.
    pub fn new(power: Arc<dyn Power>) -> Self {
        Self { power }
    }
}

impl PortDevice for DebugExit {
    fn ports(&self) -> Vec<PortRange> {
        vec![PortRange::new(Self::PORT, 4)]
    }

    fn read(&self, _port: u16, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&self, port: u16, data: &[u8]) {
        if port == Self::PORT
            && let Some(&value) = data.first()
        {
            self.power.request(PowerRequest::Exit(value << 1 | 1));
        }
    }
}

/// The reset control register (port 0xCF9), which the FADT names as the reset register, and system control
/// port A (port 0x92).
///
/// Port 0xCF9 lies inside the doubleword of PCI's CONFIG_ADDRESS: only accesses that begin at it are meant.
pub struct ResetControl {
    power: Arc<dyn Power>,
    control: AtomicU8,
    port_a: AtomicU8,
}

/// Reset control: the bit whose rise resets the processor.
const RESET_CPU: u8 = 1 << 2;
/// Reset control: the bits that can be read back.
const RESET_CONTROL_WRITABLE: u8 = 0b1110;
/// Port A: reset of the processor alone.
const FAST_INIT: u8 = 1 << 0;
/// Port A: address line 20, which is always open here.
const FAST_A20: u8 = 1 << 1;

impl ResetControl {
    /// The reset control register's port.
    pub const PORT: u16 = 0xCF9;
    /// What written to [`PORT`](Self::PORT) resets the machine at once.
    pub const RESET_VALUE: u8 = 0x06;
    const PORT_A: u16 = 0x92;

    /// Registers in their power-on state that report to `power`.
    pub fn new(power: Arc<dyn Power>) -> Self {
        Self { power, control: AtomicU8::new(0), port_a: AtomicU8::new(FAST_A20) }
    }

    /// Stores `value` and asks for a reboot if it makes `trigger` rise.
    fn store(&self, register: &AtomicU8, value: u8, trigger: u8) {
        let before = register.swap(value, Ordering::Relaxed);
        if value & !before & trigger != 0 {
            self.power.request(PowerRequest::Reboot);
        }
    }
}

impl PortDevice for ResetControl {
    fn ports(&self) -> Vec<PortRange> {
        vec![PortRange::new(Self::PORT, 1), PortRange::new(Self::PORT_A, 1)]
    }

    fn read(&self, port: u16, data: &mut [u8]) {
        read_each(port, data, |port| match port {
            Self::PORT => self.control.load(Ordering::Relaxed),
            Self::PORT_A => self.port_a.load(Ordering::Relaxed),
            _ => EMPTY_BUS,
        });
    }

    fn write(&self, port: u16, data: &[u8]) {
        write_each(port, data, |port, value| match port {
            Self::PORT => self.store(&self.control, value & RESET_CONTROL_WRITABLE, RESET_CPU),
            Self::PORT_A => self.store(&self.port_a, value & (FAST_INIT | FAST_A20), FAST_INIT),
            _ => {}
        });
    }
}

#[cfg(test)]
mod tests;
