//! The wire: VFIO tells of its interrupts by edges, the guest's controllers want a level.
//!
//! The kernel masks the wire when it fires and signals the eventfd. We assert ours, and when the guest ends
//! the interrupt we deassert it and have the kernel look again: a device that still interrupts fires at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmm_sys_util::eventfd::EventFd;

use super::host::{HostFunction, InterruptKind};
use crate::InterruptLine;

pub(super) struct Intx {
    host: Arc<dyn HostFunction>,
    line: Arc<dyn InterruptLine>,
    trigger: Arc<EventFd>,
    /// Held while the line is set, so that it cannot be left asserted by a signal that comes too late. The
    /// controllers behind the line hold no lock when they call back.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    enabled: bool,
    asserted: bool,
}

impl Intx {
    pub(super) fn new(
        host: Arc<dyn HostFunction>,
        line: Arc<dyn InterruptLine>,
        trigger: Arc<EventFd>,
    ) -> Arc<Self> {
        let intx = Arc::new(Self { host, line, trigger, state: Mutex::default() });
        let listener = Arc::downgrade(&intx);
        intx.line.on_end(Arc::new(move || {
            if let Some(intx) = listener.upgrade() {
                intx.ended();
            }
        }));
        intx
    }

    pub(super) fn enable(&self) {
        let mut state = self.state();
        if state.enabled {
            return;
        }
        match self.host.set_triggers(InterruptKind::Intx, 0, &[Some(&self.trigger)]) {
            Ok(()) => state.enabled = true,
            Err(error) => tracing::warn!("The host does not pass INTx on: {error}"),
        }
    }

    pub(super) fn disable(&self) {
        let mut state = self.state();
        if !std::mem::take(&mut state.enabled) {
            return;
        }
        if let Err(error) = self.host.disable(InterruptKind::Intx) {
            tracing::warn!("The host does not switch INTx off: {error}");
        }
        // A signal under way is for nobody any more; errors say that there is none.
        let _ = self.trigger.read();
        self.deassert(&mut state);
    }

    /// The eventfd was signalled.
    pub(super) fn fired(&self) {
        let mut state = self.state();
        if self.trigger.read().is_ok() && state.enabled {
            state.asserted = true;
            self.line.set(true);
        }
    }

    /// The guest ended an interrupt of the wire, perhaps another device's.
    fn ended(&self) {
        let mut state = self.state();
        if state.asserted {
            self.deassert(&mut state);
            self.arm();
        }
    }

    /// The guest set or cleared Interrupt Disable, and the hardware's bit has followed.
    pub(super) fn disabled_by_guest(&self, disabled: bool) {
        let mut state = self.state();
        if !state.enabled {
            return;
        }
        if disabled {
            self.deassert(&mut state);
        } else {
            // The kernel kept the wire masked if it fired meanwhile.
            self.arm();
        }
    }

    fn deassert(&self, state: &mut State) {
        if std::mem::take(&mut state.asserted) {
            self.line.set(false);
        }
    }

    fn arm(&self) {
        if let Err(error) = self.host.unmask_wire() {
            tracing::warn!("The host does not arm INTx again: {error}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
