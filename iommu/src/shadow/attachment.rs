//! What holds an assigned function in the shadow.

use std::sync::Arc;

use super::audit::Audit;
use super::follower::Follow;
use super::statistics::Statistics;

/// Keeps an assigned function attached to its unit; dropping it takes every mapping away.
pub struct Attachment {
    follower: Arc<dyn Follow>,
}

impl Attachment {
    pub(super) fn new(follower: Arc<dyn Follow>) -> Self {
        Self { follower }
    }

    /// Looks again at the function's Bus Master bit and requester ID, and brings the host's mappings in
    /// line. On return they are. To be called after either has changed.
    pub fn refresh(&self) {
        self.follower.refresh();
    }

    /// What has been mapped so far, and what is now. Takes no lock.
    pub fn statistics(&self) -> Statistics {
        self.follower.statistics()
    }

    /// Compares what the host maps with what the guest's tables say at this moment. Reads all of them, and
    /// holds invalidations up meanwhile.
    pub fn audit(&self) -> Audit {
        self.follower.audit()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.follower.detach();
    }
}
