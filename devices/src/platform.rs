//! The devices every PC has: interrupt controllers, timers, serial port, power.

mod power;
#[cfg(test)]
mod testing;

pub use power::{DebugExit, Power, PowerRequest, ResetControl};
