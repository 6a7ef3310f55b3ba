//! A device that holds translations and answers as a test wants it to.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use super::Machine;
use crate::{DeviceTlb, DeviceTlbInvalidation, InvalidationCompletion, PageResponse, SourceId};

/// What it was asked for since the last time, and how it answers.
pub(crate) struct Device {
    source: AtomicU16,
    answer: Mutex<InvalidationCompletion>,
    invalidations: Mutex<Vec<DeviceTlbInvalidation>>,
    responses: Mutex<Vec<PageResponse>>,
    on_invalidation: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Device {
    /// A device with this requester ID behind the machine's unit.
    pub(crate) fn new(machine: &Machine, source: SourceId) -> Arc<Self> {
        let device = Arc::new(Self {
            source: AtomicU16::new(source.0),
            answer: Mutex::new(InvalidationCompletion::Done),
            invalidations: Mutex::default(),
            responses: Mutex::default(),
            on_invalidation: Mutex::default(),
        });
        machine.unit.register_device_tlb(&(Arc::clone(&device) as Arc<dyn DeviceTlb>));
        device
    }

    pub(crate) fn answers(&self, answer: InvalidationCompletion) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn renumber(&self, source: SourceId) {
        self.source.store(source.0, Ordering::Relaxed);
    }

    /// Runs `hook` whenever it is asked to forget.
    pub(crate) fn on_invalidation(&self, hook: impl Fn() + Send + 'static) {
        *self.on_invalidation.lock().unwrap() = Some(Box::new(hook));
    }

    pub(crate) fn take_invalidations(&self) -> Vec<DeviceTlbInvalidation> {
        std::mem::take(&mut self.invalidations.lock().unwrap())
    }

    pub(crate) fn take_responses(&self) -> Vec<PageResponse> {
        std::mem::take(&mut self.responses.lock().unwrap())
    }
}

impl DeviceTlb for Device {
    fn source_id(&self) -> SourceId {
        SourceId(self.source.load(Ordering::Relaxed))
    }

    fn invalidate(&self, what: &DeviceTlbInvalidation) -> InvalidationCompletion {
        if let Some(hook) = &*self.on_invalidation.lock().unwrap() {
            hook();
        }
        self.invalidations.lock().unwrap().push(*what);
        *self.answer.lock().unwrap()
    }

    fn page_response(&self, response: &PageResponse) {
        self.responses.lock().unwrap().push(*response);
    }
}
