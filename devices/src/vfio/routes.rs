//! How the interrupts that VFIO signals reach the guest, as an assigned function sees it.

use std::io;
use std::sync::Arc;

use iommu::MsiMessage;
use vmm_sys_util::eventfd::EventFd;

/// What is to happen when a vector's eventfd is signalled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signal {
    /// Nothing: the guest has not switched the vector on.
    #[default]
    Discard,
    /// The vector becomes pending, and is sent when it may be: the guest masked it.
    Hold,
    /// The guest gets this message, as far as the remapping unit lets it.
    Send(MsiMessage),
}

/// The message-signalled interrupts of one function on their way to the guest.
///
/// A vector has one eventfd for as long as the routes live, so that what VFIO was given stays right however
/// often the guest changes its mind. Nothing signalled is lost between one [`Signal`] and the next.
pub trait VectorRoutes: Send + Sync {
    /// What VFIO shall signal for `vector`. Until told otherwise its signals are discarded.
    fn eventfd(&self, vector: u16) -> io::Result<Arc<EventFd>>;

    /// Changes what happens to some vectors, all at once. On return no signal is treated the old way any
    /// more. Vectors without an eventfd are skipped.
    fn set(&self, changes: &[(u16, Signal)]);

    /// Whether `vector` was signalled while it was held.
    fn is_pending(&self, vector: u16) -> bool;

    /// Judges all messages again, because the function's requester ID has changed.
    fn renumbered(&self);
}
