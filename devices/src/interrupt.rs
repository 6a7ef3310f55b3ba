//! How devices raise interrupts.

use std::sync::Arc;

use iommu::{Blocked, MsiMessage, SourceId};

use crate::Remapping;

/// Where interrupts that have been judged go: the hypervisor.
pub trait MsiSink: Send + Sync {
    /// Delivers a message as it is. Called in a section that the remapping unit waits for: it must not call
    /// back into the unit.
    fn deliver(&self, message: MsiMessage);
}

/// A level-sensitive interrupt wire, such as INTx behind the PCI swizzle or an ISA interrupt.
pub trait InterruptLine: Send + Sync {
    /// Asserts or deasserts this device's share of the wire.
    fn set(&self, asserted: bool);

    /// Has `listener` called whenever the guest ends an interrupt of this wire (EOI), before the controller
    /// looks whether the wire is still asserted. A device that learns of its own interrupts by edges, as
    /// VFIO does of INTx, deasserts there and asks the hardware again. Wires that know no end ignore it.
    fn on_end(&self, _listener: Arc<dyn Fn() + Send + Sync>) {}
}

/// Something that sends message-signalled interrupts under its own requester ID.
pub struct InterruptSource {
    remapping: Remapping,
    sink: Arc<dyn MsiSink>,
}

impl InterruptSource {
    /// Interrupts that pass through `remapping` on their way to `sink`.
    pub fn new(remapping: Remapping, sink: Arc<dyn MsiSink>) -> Self {
        Self { remapping, sink }
    }

    /// Sends `request` as `source`, or posts it; a refused one has been recorded and is dropped.
    pub fn send(&self, source: SourceId, request: MsiMessage) -> Result<(), Blocked> {
        match &self.remapping {
            Remapping::Absent => self.sink.deliver(request),
            Remapping::Unit(unit) => {
                unit.remap(source, request, |message| self.sink.deliver(message))?;
            }
        }
        Ok(())
    }
}
