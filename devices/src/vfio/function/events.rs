//! What the kernel signals to this program itself: the wire, errors, and the host's wish.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use event_manager::{EventOps, EventSet, EventSubscriber, Events};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::{HostEvent, VfioFunction};

/// The eventfds.
pub(super) struct Triggers {
    pub(super) wire: Arc<EventFd>,
    pub(super) error: EventFd,
    pub(super) request: EventFd,
}

/// Marks of the event loop's events.
mod mark {
    pub(super) const WIRE: u32 = 0;
    pub(super) const ERROR: u32 = 1;
    pub(super) const REQUEST: u32 = 2;
}

impl EventSubscriber for VfioFunction {
    fn process(&self, events: Events, _ops: &mut EventOps) {
        match events.data() {
            mark::WIRE => {
                if let Some(wire) = &self.wire {
                    wire.fired();
                }
            }
            mark::ERROR if self.triggers.error.read().is_ok() => {
                tracing::error!("The host reports an error of {}: the guest loses the device", self.name);
                self.off.store(true, Ordering::Release);
                self.silence(&mut self.state());
                (self.events)(HostEvent::Failed);
            }
            mark::REQUEST if self.triggers.request.read().is_ok() => {
                if self.is_present() {
                    tracing::warn!("The host wants {} back: the guest is asked to power off", self.name);
                    (self.events)(HostEvent::Requested);
                } else if !self.off.swap(true, Ordering::AcqRel) {
                    // The host asks again and again, and nothing is written to what is not there.
                    self.state().interrupts.quiet();
                    self.cut_off();
                    (self.events)(HostEvent::Gone);
                }
            }
            _ => {}
        }
    }

    fn init(&self, ops: &mut EventOps) {
        let Triggers { wire, error, request } = &self.triggers;
        for (eventfd, mark) in [(&**wire, mark::WIRE), (error, mark::ERROR), (request, mark::REQUEST)] {
            if let Err(error) = ops.add(Events::with_data(eventfd, mark, EventSet::IN)) {
                tracing::error!("Events of {} cannot be watched: {error}", self.name);
            }
        }
    }
}

impl VfioFunction {
    /// Has the event loop no longer wait for it: it is being taken out.
    pub fn unwatch(&self, ops: &mut EventOps) {
        let Triggers { wire, error, request } = &self.triggers;
        for eventfd in [&**wire, error, request] {
            if let Err(error) = ops.remove(Events::empty(eventfd)) {
                tracing::error!("Events of {} are still watched: {error}", self.name);
            }
        }
    }
}

impl Triggers {
    pub(super) fn new() -> io::Result<Self> {
        let eventfd = || EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC);
        Ok(Self { wire: Arc::new(eventfd()?), error: eventfd()?, request: eventfd()? })
    }
}
