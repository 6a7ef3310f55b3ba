//! A device that holds translations and sends page requests.

use std::sync::{Arc, Mutex};

use iommu::{
    DeviceTlb, DeviceTlbInvalidation, InvalidationCompletion, Iova, PageRequest, PageResponse, Pasid,
    SourceId, Translation, TranslationError, TranslationRequest,
};

use super::Bench;

/// [`Bench::DEVICE`], with what the unit has told it.
pub(crate) struct Device {
    answer: InvalidationCompletion,
    invalidations: Mutex<Vec<DeviceTlbInvalidation>>,
    responses: Mutex<Vec<PageResponse>>,
}

impl Device {
    /// One that answers invalidations like this.
    pub(crate) fn new(bench: &Bench, answer: InvalidationCompletion) -> Arc<Self> {
        let device = Arc::new(Self { answer, invalidations: Mutex::default(), responses: Mutex::default() });
        bench.unit.register_device_tlb(&(Arc::clone(&device) as Arc<dyn DeviceTlb>));
        device
    }

    /// What it was to forget since the last time.
    pub(crate) fn invalidations(&self) -> Vec<DeviceTlbInvalidation> {
        std::mem::take(&mut self.invalidations.lock().unwrap())
    }

    /// Software's answers to it since the last time.
    pub(crate) fn responses(&self) -> Vec<PageResponse> {
        std::mem::take(&mut self.responses.lock().unwrap())
    }
}

impl DeviceTlb for Device {
    fn source_id(&self) -> SourceId {
        Bench::DEVICE
    }

    fn invalidate(&self, what: &DeviceTlbInvalidation) -> InvalidationCompletion {
        self.invalidations.lock().unwrap().push(*what);
        self.answer
    }

    fn page_response(&self, response: &PageResponse) {
        self.responses.lock().unwrap().push(*response);
    }
}

/// A translation request of [`Bench::DEVICE`] without PASID.
pub(crate) const fn translation(iova: u64) -> TranslationRequest {
    TranslationRequest {
        source: Bench::DEVICE,
        pasid: None,
        privileged: false,
        execute: false,
        no_write: false,
        iova: Iova(iova),
    }
}

/// A page request of [`Bench::DEVICE`] with PASID 0, to read, the last of group 7.
pub(crate) const fn page_request(iova: u64) -> PageRequest {
    PageRequest {
        source: Bench::DEVICE,
        pasid: Some(Pasid(0)),
        privileged: false,
        execute: false,
        read: true,
        write: false,
        last: true,
        group: 7,
        iova: Iova(iova),
    }
}

impl Bench {
    /// Asks where an address leads, without PASID.
    pub(crate) fn ask(&self, iova: u64) -> Result<Translation, TranslationError> {
        self.unit.translate(&translation(iova))
    }
}
