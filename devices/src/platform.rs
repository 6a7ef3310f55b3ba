//! The devices every PC has: interrupt controllers, timers, serial port, power.

mod clock;
mod cmos;
mod i8042;
mod ioapic;
mod isa;
mod pic;
mod pit;
mod pm;
mod power;
mod serial;
#[cfg(test)]
mod testing;
mod wide;
mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use clock::{Clock, HostClock, Timed, TimerEvents};
pub use cmos::{Cmos, MemorySize};
pub use i8042::I8042;
pub use ioapic::{IoApic, LevelPins, PINS, PinRoutes};
pub use isa::{IsaInterrupt, IsaWires};
pub use pic::Pic;
pub use pit::Pit;
pub use pm::PowerManagement;
pub use power::{DebugExit, Power, PowerRequest, ResetControl};
pub use serial::{Serial, SerialOutput};
pub use wire::Wire;

/// Locks a device's state. Every state is valid between two statements, so that a panic elsewhere is no
/// reason to give up on it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
