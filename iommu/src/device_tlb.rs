//! Devices that hold translations or send page requests (chapter 4), and how the unit reaches them.

use std::sync::{Arc, PoisonError, RwLock, Weak};

use crate::queue::Queue;
use crate::unit::{Outbox, Unit};
use crate::{DeviceTlb, DeviceTlbInvalidation, InvalidationCompletion, PageResponse, SourceId, TableMemory};

/// The devices, as long as they live.
#[derive(Default)]
pub(crate) struct DeviceTlbs {
    devices: RwLock<Vec<Weak<dyn DeviceTlb>>>,
}

impl DeviceTlbs {
    fn register(&self, device: &Arc<dyn DeviceTlb>) {
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        devices.retain(|device| device.strong_count() > 0);
        devices.push(Arc::downgrade(device));
    }

    /// The device that has this requester ID now.
    fn find(&self, source: SourceId) -> Option<Arc<dyn DeviceTlb>> {
        let devices = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        devices.iter().filter_map(Weak::upgrade).find(|device| device.source_id() == source)
    }
}

impl<M: TableMemory + 'static> Unit<M> {
    /// Makes a device known that holds translations or sends page requests, to be done before it asks for any.
    /// It is forgotten when it is dropped.
    ///
    /// Of two with one requester ID the first counts. Invalidations for a requester ID that nobody has are not
    /// answered, which stops the queue by a time-out error (§6.5.2.10), as they would on a bus.
    pub fn register_device_tlb(&self, device: &Arc<dyn DeviceTlb>) {
        self.devices.register(device);
    }

    /// Has a device forget translations. A device that is not there does not answer, like one that is silent.
    pub(crate) fn invalidate_device_tlb(
        &self,
        queue: &mut Queue,
        source: SourceId,
        what: &DeviceTlbInvalidation,
        outbox: &mut Outbox,
    ) {
        let completion = self.devices.find(source).map(|device| device.invalidate(what));
        match completion {
            Some(InvalidationCompletion::Done) => {}
            Some(InvalidationCompletion::Malformed) => {
                outbox.fault(self.faults.completion_error(&self.registers, source));
            }
            Some(InvalidationCompletion::Silent) | None => queue.unanswered(source),
        }
    }

    /// Gives a device software's answer to its page requests. One that has gone needs none.
    pub(crate) fn respond(&self, source: SourceId, response: &PageResponse) {
        if let Some(device) = self.devices.find(source) {
            device.page_response(response);
        }
    }
}

#[cfg(test)]
mod tests;
