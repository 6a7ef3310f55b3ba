//! Devices that hold translations (chapter 4): what passes between them and the unit, apart from requests to
//! memory.

use crate::{GuestAddress, Iova, Pasid, Permissions, SourceId};

/// A translation request (§4.1): a device asks where an address leads, to use the answer later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TranslationRequest {
    /// Who asks.
    pub source: SourceId,
    /// The address space; none in a request without PASID.
    pub pasid: Option<Pasid>,
    /// The translation is for requests with supervisor privilege; has no meaning without PASID.
    pub privileged: bool,
    /// The device wants to execute there; has no meaning without PASID.
    pub execute: bool,
    /// The no-write flag: the device does not ask for permission to write, and no dirty bit is to be set.
    pub no_write: bool,
    /// The address, of which the low 12 bits do not count.
    pub iova: Iova,
}

/// What a translation request is answered with (§4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Where the page begins in guest memory.
    pub address: GuestAddress,
    /// How many bytes, from `address` on, the answer holds for: a power of two, 4096 at least.
    pub size: u64,
    /// What the device may do there; none means that it is to ask for the page, or give up.
    pub permissions: Permissions,
    /// The answer holds for requests with supervisor privilege.
    pub privileged: bool,
    /// There is no use in translated requests here: the device is to send untranslated ones.
    pub untranslated_only: bool,
}

/// A translation request that got no answer but a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TranslationError {
    /// The device is not to ask: translation is off, or its context entry does not allow it.
    #[error("Unsupported request")]
    Unsupported,
    /// The tables cannot be used.
    #[error("Completer abort")]
    Aborted,
}

/// A page request message (§7.5): a device asks software to make a page usable.
#[expect(clippy::struct_excessive_bools, reason = "The message is made of independent bits")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageRequest {
    /// Who asks.
    pub source: SourceId,
    /// The address space; none in a request without PASID.
    pub pasid: Option<Pasid>,
    /// For requests with supervisor privilege; has no meaning without PASID.
    pub privileged: bool,
    /// To execute; has no meaning without PASID.
    pub execute: bool,
    /// To read.
    pub read: bool,
    /// To write.
    pub write: bool,
    /// The last request of its group: one response answers all of them.
    pub last: bool,
    /// The page request group index, 9 bits.
    pub group: u16,
    /// The address, of which the low 12 bits do not count.
    pub iova: Iova,
}

impl PageRequest {
    /// Whether it is a stop marker: the device will not use the address space any more, and wants no answer.
    pub const fn is_stop_marker(&self) -> bool {
        self.last && !self.read && !self.write
    }
}

/// How a group of page requests ended (§7.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageResponseCode {
    /// Every page is usable.
    Success,
    /// At least one page is not there or not allowed.
    InvalidRequest,
    /// Something broke; the device is to stop asking.
    Failure,
}

/// The answer to a group of page requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageResponse {
    /// The address space of the group; none if its requests had none.
    pub pasid: Option<Pasid>,
    /// The page request group index, 9 bits.
    pub group: u16,
    /// How it ended.
    pub code: PageResponseCode,
}

/// What a device-TLB is to forget (§6.5.2.5, §6.5.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceTlbInvalidation {
    /// Whose translations.
    pub scope: DeviceTlbScope,
    /// An address in the range, aligned to its size.
    pub iova: Iova,
    /// The size of the range in bytes, a power of two; none for everything.
    pub size: Option<u64>,
}

/// Whose translations a device-TLB is to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceTlbScope {
    /// Those without PASID.
    WithoutPasid,
    /// Those of this address space.
    Pasid(Pasid),
    /// Those of every PASID.
    EveryPasid,
}

/// How a device answers an invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidationCompletion {
    /// It has forgotten, and no request that used what it forgot is under way.
    Done,
    /// It answers wrongly: an invalidation completion error.
    Malformed,
    /// It does not answer: an invalidation time-out error.
    Silent,
}

/// A device that holds translations or sends page requests.
///
/// Called with the unit's queue locked, by a thread that writes a register: an answer must not wait for a lock
/// that anyone holds while writing a register of the unit or calling [`Unit::resume`](crate::Unit::resume). A
/// device that keeps what a translation request gave it asks and keeps under the same
/// lock that [`DeviceTlb::invalidate`] takes; otherwise it could keep what it has just been told to forget.
pub trait DeviceTlb: Send + Sync {
    /// The requester ID the guest gave it, live: guests renumber buses.
    fn source_id(&self) -> SourceId;

    /// Forgets translations. On return no request under way uses what was forgotten.
    fn invalidate(&self, what: &DeviceTlbInvalidation) -> InvalidationCompletion;

    /// Takes the answer to a group of page requests. It may be to a group that the device never asked for, or
    /// has been given an answer to: software writes what it likes (§7.9).
    fn page_response(&self, response: &PageResponse);
}
