//! What holds an assigned function in the shadow.

use std::sync::Arc;

use super::audit::Audit;
use super::group::{Group, MemberId};
use super::statistics::Statistics;

/// Keeps an assigned function attached to its unit; when the last one of a group is dropped, the group reaches
/// nothing.
pub struct Attachment {
    group: Arc<Group>,
    member: MemberId,
}

impl Attachment {
    pub(super) fn new(group: Arc<Group>, member: MemberId) -> Self {
        Self { group, member }
    }

    /// Looks again at the function's Bus Master bit and requester ID, and brings the host's mappings in
    /// line. On return they are. To be called after either has changed.
    pub fn refresh(&self) {
        self.group.keeper().refresh(self.group.id(), self.member);
    }

    /// [`Group::statistics`] of its group.
    pub fn statistics(&self) -> Statistics {
        self.group.statistics()
    }

    /// [`Group::audit`] of its group.
    pub fn audit(&self) -> Audit {
        self.group.audit()
    }
}

#[cfg(test)]
impl Attachment {
    pub(super) const fn group(&self) -> &Arc<Group> {
        &self.group
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.group.keeper().detach(self.group.id(), self.member);
    }
}
