//! Requests by translations: the device asks where addresses lead, keeps the answers, and sends translated requests;
//! where a page is missing it asks software for it.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use iommu::{Access, GuestAddress, Iova, PageResponseCode, Permissions, Translation};

use super::command::{Command, Flags, Status};
use super::engine::Engine;
use crate::{Attributes, PageWish, Requests};

/// How often a translation is asked for before the device gives up: each time software said that the page was there,
/// or took the translation back before it could be used.
const ATTEMPTS: u32 = 64;
/// How long the device looks away while it waits for an answer.
const NAP: Duration = Duration::from_millis(20);
/// How long it leaves software alone that has said the page was there when it was not.
const PAUSE: Duration = Duration::from_millis(1);

/// A translated request.
const TRANSLATED: Attributes =
    Attributes { pasid: None, privileged: false, execute: false, translated: true };

impl Engine<'_> {
    /// Has `work` send a request for up to `length` bytes from `iova` on, of which it is told how many lie together,
    /// by a translation of the device's own if the command says so. While it works the translation holds.
    pub(super) fn send<R>(
        &self,
        command: &Command,
        attributes: Attributes,
        iova: Iova,
        length: u64,
        access: Access,
        work: impl FnOnce(&Requests<'_>, Iova, u64) -> Result<R, Status>,
    ) -> Result<R, Status> {
        let untranslated = self.inner.function.master().requests(attributes);
        if !command.flags.contains(Flags::CACHED) {
            return work(&untranslated, iova, length);
        }
        let mut needed = match access {
            Access::Read => Permissions::READ,
            Access::Write => Permissions::WRITE,
            Access::Atomic => Permissions::READ_WRITE,
        };
        needed.set(Permissions::EXECUTE, attributes.execute);
        for _ in 0..ATTEMPTS {
            let generation = {
                // Held while the request is under way: an invalidation waits for it.
                let translations = self.inner.translations.read().unwrap_or_else(PoisonError::into_inner);
                if let Some(found) = translations.find(attributes, iova, needed) {
                    self.inner.count(|counters| counters.hits = counters.hits.wrapping_add(1));
                    let GuestAddress(address) = found.address;
                    let translated = self.inner.function.master().requests(TRANSLATED);
                    return work(&translated, Iova(address), length.min(found.length));
                }
                translations.generation()
            };
            let translation = self.ask(&untranslated, generation, attributes, iova, false)?;
            if translation.untranslated_only {
                let left = 0x1000 - (iova.0 & 0xFFF);
                return work(&untranslated, iova, length.min(left));
            }
            if !translation.permissions.contains(needed) {
                if !command.flags.contains(Flags::PAGES) {
                    return Err(Status::NoPermission);
                }
                self.fetch_page(&untranslated, attributes, iova, access)?;
            }
            if self.stopped() {
                return Err(Status::Stopped);
            }
        }
        Err(Status::Unsettled)
    }

    /// A translation request, whose answer is kept.
    pub(super) fn ask(
        &self,
        requests: &Requests<'_>,
        generation: u64,
        attributes: Attributes,
        iova: Iova,
        no_write: bool,
    ) -> Result<Translation, Status> {
        self.inner.count(|counters| counters.misses = counters.misses.wrapping_add(1));
        let translation = requests.translate(iova, no_write)?;
        self.inner.translations().keep(generation, attributes, iova, translation);
        Ok(translation)
    }

    /// A page request of a group of its own, and the wait for its answer.
    fn fetch_page(
        &self,
        requests: &Requests<'_>,
        attributes: Attributes,
        iova: Iova,
        access: Access,
    ) -> Result<(), Status> {
        let (read, write) = (access != Access::Write, access != Access::Read);
        let group = self.inner.pages().free_group();
        let wish = PageWish { read, write, last: true, group };
        self.request_page(requests, attributes, iova, wish, true)?;
        match self.await_answer()? {
            PageResponseCode::Success => {
                std::thread::sleep(PAUSE);
                Ok(())
            }
            PageResponseCode::InvalidRequest => Err(Status::PageRefused),
            PageResponseCode::Failure => Err(Status::PageFailed),
        }
    }

    /// A page request message.
    pub(super) fn request_page(
        &self,
        requests: &Requests<'_>,
        attributes: Attributes,
        iova: Iova,
        wish: PageWish,
        awaited: bool,
    ) -> Result<(), Status> {
        let granted = self.inner.function.translation_services().page_requests;
        // A stop marker asks for nothing.
        let asks = wish.read || wish.write;
        if asks && !self.inner.pages().begin(wish.group, attributes.pasid, granted, awaited) {
            return Err(Status::TooManyPages);
        }
        self.inner.count(|counters| counters.page_requests = counters.page_requests.wrapping_add(1));
        if let Some(response) = requests.page_request(wish, iova)? {
            self.inner.take_response(&response);
        }
        Ok(())
    }

    /// Waits for the answer to the group that was last sent to be waited for.
    pub(super) fn await_answer(&self) -> Result<PageResponseCode, Status> {
        let patience = self.inner.patience();
        let begin = Instant::now();
        let mut pages = self.inner.pages();
        loop {
            if let Some(code) = pages.awaited() {
                return Ok(code);
            }
            if self.stopped() {
                return Err(Status::Stopped);
            }
            if begin.elapsed() > patience {
                return Err(Status::NoAnswer);
            }
            let waited = self.inner.answered.wait_timeout(pages, NAP);
            pages = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
