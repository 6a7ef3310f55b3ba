//! A function for tests that writes down what happens to it.

use std::sync::{Arc, Mutex};

use crate::{
    BAR_COUNT, Bar, BarRange, Bdf, Endpoint, EndpointBuilder, ExpressKind, Function, Identity, InterruptPin,
    Location, RootComplex, Windows,
};

pub(crate) const WINDOWS: Windows = Windows {
    memory32: 0xC000_0000..0xE000_0000,
    memory64: 0x8_0000_0000..0x10_0000_0000,
    ports: 0x1000..0x1_0000,
};

/// Something that happened to a [`Probe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Read { bar: usize, offset: u64, length: usize },
    Write { bar: usize, offset: u64, data: Vec<u8> },
    Reachable([Option<BarRange>; BAR_COUNT]),
    Renumbered(Bdf),
    Upstream(bool),
    Reset,
}

/// Reads of its BARs give `mark`.
pub(crate) struct Probe {
    pub(crate) endpoint: Endpoint,
    pub(crate) location: Location,
    mark: u8,
    events: Mutex<Vec<Event>>,
}

impl Probe {
    /// A probe with these BARs, INTA, a PCI Express capability with function-level reset, and power
    /// management, in this order.
    pub(crate) fn new(location: Location, mark: u8, bars: &[(usize, Bar)]) -> Arc<Self> {
        let mut builder = EndpointBuilder::new(&Identity {
            vendor: 0x1234,
            device: u16::from(mark),
            revision: 0,
            class: 0x08_8000,
            subsystem_vendor: 0,
            subsystem: 0,
        });
        for (index, bar) in bars {
            builder.bar(*index, *bar).unwrap();
        }
        builder.interrupt_pin(InterruptPin::A, |_| {});
        builder.express(ExpressKind::Endpoint, true).unwrap();
        builder.power_management().unwrap();
        Arc::new(Self { endpoint: builder.build(), location, mark, events: Mutex::default() })
    }

    /// What has happened since the last time of asking.
    pub(crate) fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

impl Function for Probe {
    fn config_read(&self, offset: u16, data: &mut [u8]) {
        assert_aligned(offset, data.len());
        self.endpoint.config_read(offset, data);
        // As a function of a device with several that is given to a guest alone.
        if offset <= 0x0E
            && let Some(header_type) = data.get_mut(usize::from(0x0E - offset))
        {
            *header_type |= 0x80;
        }
    }

    fn config_write(&self, offset: u16, data: &[u8]) {
        assert_aligned(offset, data.len());
        if self.endpoint.config_write(offset, data).reset {
            self.reset();
        }
    }

    fn bars(&self) -> [Option<BarRange>; BAR_COUNT] {
        self.endpoint.bars()
    }

    fn bar_read(&self, bar: usize, offset: u64, data: &mut [u8]) {
        assert!((1..=8).contains(&data.len()));
        self.note(Event::Read { bar, offset, length: data.len() });
        data.fill(self.mark);
    }

    fn bar_write(&self, bar: usize, offset: u64, data: &[u8]) {
        assert!((1..=8).contains(&data.len()));
        self.note(Event::Write { bar, offset, data: data.to_vec() });
    }

    fn reachable(&self, bars: &[Option<BarRange>; BAR_COUNT]) {
        self.note(Event::Reachable(*bars));
    }

    fn renumbered(&self) {
        self.note(Event::Renumbered(self.location.bdf()));
    }

    fn upstream(&self, open: bool) {
        self.note(Event::Upstream(open));
    }

    fn reset(&self) {
        self.note(Event::Reset);
        self.endpoint.reset();
    }
}

fn assert_aligned(offset: u16, length: usize) {
    assert!(matches!(length, 1 | 2 | 4) && usize::from(offset) % length == 0 && offset < 4096);
}

/// The offset in ECAM of a register.
pub(crate) fn ecam(bdf: Bdf, register: u16) -> u64 {
    u64::from(bdf.0) << 12 | u64::from(register)
}

/// Configuration accesses by width, for tests that read better so.
pub(crate) trait Config {
    fn read8(&self, bdf: Bdf, register: u16) -> u8;
    fn read16(&self, bdf: Bdf, register: u16) -> u16;
    fn read32(&self, bdf: Bdf, register: u16) -> u32;
    fn write16(&self, bdf: Bdf, register: u16, value: u16);
    fn write32(&self, bdf: Bdf, register: u16, value: u32);
}

impl Config for RootComplex {
    fn read8(&self, bdf: Bdf, register: u16) -> u8 {
        let mut data = [0];
        self.ecam_read(ecam(bdf, register), &mut data);
        data[0]
    }

    fn read16(&self, bdf: Bdf, register: u16) -> u16 {
        let mut data = [0; 2];
        self.ecam_read(ecam(bdf, register), &mut data);
        u16::from_le_bytes(data)
    }

    fn read32(&self, bdf: Bdf, register: u16) -> u32 {
        let mut data = [0; 4];
        self.ecam_read(ecam(bdf, register), &mut data);
        u32::from_le_bytes(data)
    }

    fn write16(&self, bdf: Bdf, register: u16, value: u16) {
        self.ecam_write(ecam(bdf, register), &value.to_le_bytes());
    }

    fn write32(&self, bdf: Bdf, register: u16, value: u32) {
        self.ecam_write(ecam(bdf, register), &value.to_le_bytes());
    }
}
