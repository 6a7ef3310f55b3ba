//! Surroundings for the tests of platform devices.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use iommu::MsiMessage;
use proptest::prelude::*;

use super::{Clock, LevelPins, PinRoutes, Power, PowerRequest};
use crate::{InterruptLine, MsiSink, PortDevice, PortRange};

/// Remembers what it was told, in order.
pub(crate) struct Recorder<T>(Mutex<Vec<T>>);

impl<T> Recorder<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    pub(crate) fn push(&self, item: T) {
        self.0.lock().unwrap().push(item);
    }

    /// What came since the last call.
    pub(crate) fn taken(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(crate) type RecordedPower = Recorder<PowerRequest>;

impl Power for RecordedPower {
    fn request(&self, request: PowerRequest) {
        self.push(request);
    }
}

pub(crate) type RecordedLine = Recorder<bool>;

impl InterruptLine for RecordedLine {
    fn set(&self, asserted: bool) {
        self.push(asserted);
    }
}

pub(crate) type RecordedMessages = Recorder<MsiMessage>;

impl MsiSink for RecordedMessages {
    fn deliver(&self, message: MsiMessage) {
        self.push(message);
    }
}

/// A clock that stands still until it is told.
pub(crate) struct ManualClock {
    pub(crate) monotonic: Mutex<Duration>,
    pub(crate) wall: Mutex<Duration>,
}

impl ManualClock {
    /// A clock at its start, with the calendar at `wall` since 1970.
    pub(crate) fn new(wall: Duration) -> Arc<Self> {
        Arc::new(Self { monotonic: Mutex::default(), wall: Mutex::new(wall) })
    }

    pub(crate) fn advance(&self, by: Duration) {
        *self.monotonic.lock().unwrap() += by;
        *self.wall.lock().unwrap() += by;
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        *self.monotonic.lock().unwrap()
    }

    fn wall(&self) -> Duration {
        *self.wall.lock().unwrap()
    }
}

/// What a guest may do to a device of ports.
#[derive(Clone, Debug)]
pub(crate) enum PortStep {
    Read(u16, usize),
    Write(u16, Vec<u8>),
}

impl PortStep {
    /// Accesses of 1 to 8 bytes that begin at the device's ports or wherever else.
    pub(crate) fn any(ports: &[PortRange]) -> impl Strategy<Value = Self> + use<> {
        let own: Vec<u16> = ports.iter().flat_map(|range| range.first..range.first + range.count).collect();
        let port = prop_oneof![9 => prop::sample::select(own), 1 => any::<u16>()];
        prop_oneof![
            (port.clone(), 1_usize..=8).prop_map(|(port, length)| Self::Read(port, length)),
            (port.clone(), any::<u8>()).prop_map(|(port, byte)| Self::Write(port, vec![byte])),
            (port, prop::collection::vec(any::<u8>(), 1..=8))
                .prop_map(|(port, data)| Self::Write(port, data)),
        ]
    }

    pub(crate) fn take(&self, device: &dyn PortDevice) {
        match self {
            Self::Read(port, length) => device.read(*port, &mut vec![0; *length]),
            Self::Write(port, data) => device.write(*port, data),
        }
    }
}

/// Reads one byte.
pub(crate) fn inb(device: &dyn PortDevice, port: u16) -> u8 {
    let mut data = [0];
    device.read(port, &mut data);
    data[0]
}

/// Writes one byte.
pub(crate) fn outb(device: &dyn PortDevice, port: u16, value: u8) {
    device.write(port, &[value]);
}

/// A machine that needs to know nothing.
pub(crate) struct Ignored;

impl PinRoutes for Ignored {
    fn changed(&self, _pins: &LevelPins) {}
}
