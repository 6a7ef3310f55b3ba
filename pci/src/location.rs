//! Where a function is: the numbers of a moment, and the place that keeps them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Bus, device and function numbers as they travel in a transaction: `bus << 8 | device << 3 | function`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bdf(pub u16);

impl Bdf {
    /// Puts the three numbers together; only the low 5 bits of `device` and 3 of `function` count.
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Self((bus as u16) << 8 | ((device & 31) as u16) << 3 | (function & 7) as u16)
    }

    /// The bus number.
    pub const fn bus(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The device number, 0–31.
    pub const fn device(self) -> u8 {
        (self.0 >> 3) as u8 & 31
    }

    /// The function number, 0–7.
    pub const fn function(self) -> u8 {
        self.0 as u8 & 7
    }
}

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus(), self.device(), self.function())
    }
}

impl fmt::Debug for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number of one bus, shared by everything on it. The bridge above owns it; the guest may change it at
/// any time.
#[derive(Clone, Debug, Default)]
pub struct BusNumber(Arc<AtomicU8>);

impl BusNumber {
    /// A bus that starts with this number.
    pub fn new(number: u8) -> Self {
        Self(Arc::new(AtomicU8::new(number)))
    }

    /// The number now.
    pub fn get(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }

    /// Renumbers the bus.
    pub fn set(&self, number: u8) {
        self.0.store(number, Ordering::Release);
    }
}

/// A function's place: a bus, whatever its number is now, and the device and function numbers on it.
#[derive(Clone, Debug)]
pub struct Location {
    bus: BusNumber,
    device: u8,
    function: u8,
    conventional: bool,
}

impl Location {
    /// A place on `bus`, which is PCI Express.
    pub fn new(bus: BusNumber, device: u8, function: u8) -> Self {
        Self { bus, device: device & 31, function: function & 7, conventional: false }
    }

    /// A place on the conventional PCI bus `bus`.
    pub fn conventional(bus: BusNumber, device: u8, function: u8) -> Self {
        Self { conventional: true, ..Self::new(bus, device, function) }
    }

    /// The requester ID of whatever the function sends now.
    ///
    /// Requests on a conventional bus do not say who sends them. The bridge to PCI Express sends them on
    /// under one ID for all: the number of its secondary bus, device 0, function 0 (PCI Express to PCI/PCI-X
    /// Bridge, 2.3; VT-d, 3.4.1).
    pub fn requester_id(&self) -> Bdf {
        if self.conventional { Bdf::new(self.bus.get(), 0, 0) } else { self.bdf() }
    }

    /// The numbers of this moment, at which configuration accesses reach the function.
    pub fn bdf(&self) -> Bdf {
        Bdf::new(self.bus.get(), self.device, self.function)
    }

    /// The device number, which never changes.
    pub fn device(&self) -> u8 {
        self.device
    }

    /// The function number, which never changes.
    pub fn function(&self) -> u8 {
        self.function
    }
}
