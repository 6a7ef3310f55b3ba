//! Interrupt wires that several devices share, and the ISA interrupts in particular.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::lock;
use crate::InterruptLine;

/// Called when the guest ends an interrupt.
pub(crate) type EndListener = Arc<dyn Fn() + Send + Sync>;

/// The devices that want to hear of the end of an interrupt.
#[derive(Default)]
pub(crate) struct EndListeners(Mutex<Vec<EndListener>>);

impl EndListeners {
    pub(crate) fn add(&self, listener: EndListener) {
        lock(&self.0).push(listener);
    }

    /// Calls every listener, with no lock held.
    pub(crate) fn notify(&self) {
        let listeners = lock(&self.0).clone();
        for listener in listeners {
            listener();
        }
    }
}

/// A wire that is asserted while any of the devices on it asserts it.
///
/// It may lead to several inputs: an ISA interrupt leads to an 8259 and to the IOAPIC. The wire's lock is
/// held while the inputs are told, so that they see its changes in order.
pub struct Wire {
    inputs: Vec<Arc<dyn InterruptLine>>,
    holders: Mutex<usize>,
}

impl Wire {
    /// A deasserted wire that leads to `inputs`.
    pub fn new(inputs: Vec<Arc<dyn InterruptLine>>) -> Arc<Self> {
        Arc::new(Self { inputs, holders: Mutex::new(0) })
    }

    /// One device's share of the wire, given back when it is dropped.
    pub fn share(self: &Arc<Self>) -> Arc<dyn InterruptLine> {
        Arc::new(Share { wire: self.clone(), asserted: AtomicBool::new(false) })
    }
}

/// One device's share of a wire.
struct Share {
    wire: Arc<Wire>,
    /// Changes only under the wire's lock.
    asserted: AtomicBool,
}

impl InterruptLine for Share {
    fn set(&self, asserted: bool) {
        let mut holders = lock(&self.wire.holders);
        if self.asserted.swap(asserted, Ordering::Relaxed) == asserted {
            return;
        }
        let before = *holders;
        *holders = if asserted { before + 1 } else { before - 1 };
        if (before == 0) != (*holders == 0) {
            for input in &self.wire.inputs {
                input.set(asserted);
            }
        }
    }

    fn on_end(&self, listener: EndListener) {
        for input in &self.wire.inputs {
            input.on_end(listener.clone());
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests;
