//! What the unit asks of the device: to forget translations, and to take answers to page requests.

use std::sync::PoisonError;

use iommu::{
    DeviceTlb, DeviceTlbInvalidation, InvalidationCompletion, PageResponse, PageResponseCode, SourceId,
};

use super::Inner;

/// What has happened since power-on or reset.
#[derive(Clone, Copy, Default)]
pub(super) struct Counters {
    pub(super) hits: u32,
    pub(super) misses: u32,
    pub(super) page_requests: u32,
    pub(super) invalidations: u32,
    pub(super) last: Option<DeviceTlbInvalidation>,
}

impl Inner {
    /// What software has disabled is given up.
    pub(super) fn follow_services(&self) {
        let services = self.function.translation_services();
        if !services.translations {
            self.translations().clear();
        }
        if services.page_requests == 0 {
            self.pages().give_up();
        }
    }

    /// Takes software's answer to a group of page requests.
    pub(super) fn take_response(&self, response: &PageResponse) {
        let expected = self.pages().answer(response);
        self.answered.notify_all();
        self.function.show_page_response(expected, response.code == PageResponseCode::Failure);
    }

    /// Notes that something has happened.
    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl DeviceTlb for Inner {
    fn source_id(&self) -> SourceId {
        self.function.master().source_id()
    }

    fn invalidate(&self, what: &DeviceTlbInvalidation) -> InvalidationCompletion {
        let completion = self.state().registers.invalidation_answer();
        if completion == InvalidationCompletion::Done {
            // Waits for requests by what is held.
            self.translations().invalidate(what);
        }
        self.count(|counters| {
            counters.invalidations = counters.invalidations.wrapping_add(1);
            counters.last = Some(*what);
        });
        completion
    }

    fn page_response(&self, response: &PageResponse) {
        self.take_response(response);
    }
}
