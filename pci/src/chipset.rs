//! The two functions of the chipset that guests look for: they only say that they are there.

use std::sync::Arc;

use crate::{BAR_COUNT, BarRange, Endpoint, EndpointBuilder, Function, Identity};

/// The host bridge of the Q35 chipset.
const HOST_BRIDGE: Identity = Identity {
    vendor: 0x8086,
    device: 0x29C0,
    revision: 0,
    class: 0x06_0000,
    subsystem_vendor: 0,
    subsystem: 0,
};

/// The LPC bridge of the ICH9: the way to the ISA devices.
const ISA_BRIDGE: Identity = Identity { device: 0x2918, revision: 2, class: 0x06_0100, ..HOST_BRIDGE };

/// A function that has a header and nothing else.
pub(crate) struct Chipset {
    endpoint: Endpoint,
}

impl Chipset {
    /// What is at 00:00.0.
    pub(crate) fn host_bridge() -> Arc<Self> {
        Self::new(&HOST_BRIDGE)
    }

    /// What is at 00:1f.0.
    pub(crate) fn isa_bridge() -> Arc<Self> {
        Self::new(&ISA_BRIDGE)
    }

    fn new(identity: &Identity) -> Arc<Self> {
        Arc::new(Self { endpoint: EndpointBuilder::new(identity).build() })
    }
}

impl Function for Chipset {
    fn config_read(&self, offset: u16, data: &mut [u8]) {
        self.endpoint.config_read(offset, data);
    }

    fn config_write(&self, offset: u16, data: &[u8]) {
        // It sends nothing and has nothing to reset.
        let _ = self.endpoint.config_write(offset, data);
    }

    fn bars(&self) -> [Option<BarRange>; BAR_COUNT] {
        [None; BAR_COUNT]
    }

    fn bar_read(&self, _bar: usize, _offset: u64, data: &mut [u8]) {
        data.fill(0xFF);
    }

    fn bar_write(&self, _bar: usize, _offset: u64, _data: &[u8]) {}

    fn reset(&self) {
        self.endpoint.reset();
    }
}
