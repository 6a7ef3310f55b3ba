//! Groups as those see them who assign functions.

use std::sync::Arc;

use super::audit::Audit;
use super::statistics::Statistics;
use crate::AssignedFunction;

/// The name of a group among those of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupId(pub(super) u64);

/// The name of a function among those of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MemberId(pub(super) u64);

/// What is done for groups and their functions, whatever memory the tables are in.
pub(super) trait Keeper: Send + Sync {
    /// Adds a function to a group; it counts from the next `refresh` on.
    fn join(&self, group: GroupId, function: Arc<dyn AssignedFunction>) -> MemberId;
    /// Looks at a function again.
    fn refresh(&self, group: GroupId, member: MemberId);
    /// Forgets a function.
    fn detach(&self, group: GroupId, member: MemberId);
    /// Forgets a group, which reaches nothing from then on.
    fn disband(&self, group: GroupId);
    fn statistics(&self, group: GroupId) -> Statistics;
    fn audit(&self, group: GroupId) -> Audit;
}

/// Functions that the host cannot tell apart, so that all of them reach the same. Made by
/// [`Unit::group`](crate::Unit::group); when it and all attachments in it are dropped, its host is given back.
///
/// A function that may not send anything, since its Bus Master bit is clear, has no say in where the group
/// goes as long as another may. Where those that may send are treated differently by the guest's tables, the
/// group reaches nothing, and the guest gets a fault for each of them.
pub struct Group {
    keeper: Arc<dyn Keeper>,
    id: GroupId,
}

impl Group {
    pub(super) fn new(keeper: Arc<dyn Keeper>, id: GroupId) -> Self {
        Self { keeper, id }
    }

    /// What has been asked of the host for the address space that the group is in, and what that holds; nothing
    /// while the group is in none. It may be shared: see [`Statistics::seats`]. Waits for invalidations.
    pub fn statistics(&self) -> Statistics {
        self.keeper.statistics(self.id)
    }

    /// Compares what the host maps for the group with what the guest's tables say at this moment. Reads all of
    /// them, and holds invalidations up meanwhile.
    pub fn audit(&self) -> Audit {
        self.keeper.audit(self.id)
    }

    pub(super) const fn id(&self) -> GroupId {
        self.id
    }

    pub(super) const fn keeper(&self) -> &Arc<dyn Keeper> {
        &self.keeper
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.keeper.disband(self.id);
    }
}
