//! The shadow: for every assigned function, the host's mappings kept equal to what the guest's tables say.
//!
//! The host's IOMMU carries out an assigned function's DMA, by mappings that only the host can make. So the
//! guest's tables are followed: when the guest announces a change, the range it names is read again,
//! compared with what is committed on the host, and the difference is carried out.

mod assignment;
mod assignments;
mod attachment;
mod audit;
mod commitment;
mod difference;
mod extent;
mod group;
mod member;
mod operation;
mod part;
mod pasids;
mod peers;
mod regime;
mod report;
mod space;
mod spaces;
mod statistics;
#[cfg(test)]
mod tests;
mod walked;
mod wanted;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::invalidation::Invalidation;
use crate::protected::ProtectedRegions;
use crate::spec::context::RootPointer;
use crate::walk::View;
use crate::{AssignedFunction, Capabilities, GuestAddress, HostDma, TableMemory};

use assignments::Assignments;
use group::{GroupId, Keeper, MemberId};
use peers::Peers;
use report::{Log, Told};

pub use attachment::Attachment;
pub use audit::{Audit, GroupAudit};
pub use extent::Extent;
pub use group::Group;
pub(crate) use report::ShadowFault;
pub use statistics::Statistics;

/// The most faults kept from operations that have nobody to give them to.
const PENDING_LIMIT: usize = 64;

/// Every assigned function behind one unit.
pub(crate) struct Shadow<M>(Arc<Core<M>>);

/// What the shadow and the handles to its groups share.
struct Core<M> {
    tables: Tables<M>,
    assignments: Mutex<Assignments>,
    /// Faults of attaching and refreshing. They go to the guest with the next invalidation.
    pending: Mutex<Vec<ShadowFault>>,
    log: Log,
}

impl<M: TableMemory + 'static> Shadow<M> {
    /// A shadow of tables in `memory`, for a unit in its power-on state.
    pub(crate) fn new(memory: Arc<M>, capabilities: &Capabilities, protected: Arc<ProtectedRegions>) -> Self {
        Self(Arc::new(Core {
            tables: Tables::new(memory, *capabilities, protected),
            assignments: Mutex::default(),
            pending: Mutex::default(),
            log: Log::default(),
        }))
    }

    /// Adds a group of the host, which reaches nothing yet.
    pub(crate) fn group(&self, host: HostDma, ram: Vec<(GuestAddress, u64)>) -> Arc<Group> {
        let id = lock(&self.0.assignments).add_group(host, ram);
        Arc::new(Group::new(self.0.clone(), id))
    }

    /// Puts `function`, which is in `group`, under the shadow: from now on the host follows what its tables say.
    ///
    /// # Panics
    ///
    /// If the group is one of another unit.
    pub(crate) fn attach(&self, function: Arc<dyn AssignedFunction>, group: &Arc<Group>) -> Attachment {
        let own = std::ptr::addr_eq(Arc::as_ptr(group.keeper()), Arc::as_ptr(&self.0));
        assert!(own, "A function is attached to the unit that knows its group");
        let member = self.0.join(group.id(), function);
        // Every invalidation from here on reaches it, and the tables are read after this: nothing is missed.
        self.0.refresh(group.id(), member);
        Attachment::new(group.clone(), member)
    }

    /// Whether there is any function that the host's mappings are kept for.
    pub(crate) fn follows_any(&self) -> bool {
        lock(&self.0.assignments).has_members()
    }

    /// Does what invalidations ask for; on return the host's mappings are in line and nothing that the guest
    /// took back is reachable. `view` is what the hardware goes by from now on: the shadow keeps it
    /// for attachments that are refreshed later.
    ///
    /// Called with the queue mutex held, before completion is reported. Gives the faults to record.
    #[must_use]
    pub(crate) fn apply(&self, view: &View, batch: &[Invalidation]) -> Vec<ShadowFault> {
        let told = {
            let mut assignments = lock(&self.0.assignments);
            *lock(&self.0.tables.view) = *view;
            assignments.apply(batch, &self.0.tables)
        };
        let mut faults = std::mem::take(&mut *lock(&self.0.pending));
        faults.extend(told.finish(&self.0.log));
        faults
    }

    /// From now on guest addresses in `target` lead to a BAR that the host lets functions reach.
    pub(crate) fn add_peer(&self, target: &Range<u64>) {
        let told = {
            let mut assignments = lock(&self.0.assignments);
            lock(&self.0.tables.peers).add(target);
            assignments.target_appeared(target, &self.0.tables)
        };
        self.0.keep(told);
    }

    /// Guest addresses in `target` lead nowhere any more, and the host maps nothing to there from now on. On
    /// return nothing reaches what was there.
    pub(crate) fn remove_peer(&self, target: &Range<u64>) {
        let told = {
            let mut assignments = lock(&self.0.assignments);
            lock(&self.0.tables.peers).remove(target);
            assignments.target_disappeared(target, &self.0.tables)
        };
        self.0.keep(told);
    }

    /// Compares what the host maps for each group with what the tables say at this moment.
    pub(crate) fn audit(&self) -> Vec<GroupAudit> {
        lock(&self.0.assignments).audits(&self.0.tables)
    }

    /// What has been asked of the host for all groups that there are and were.
    pub(crate) fn statistics(&self) -> Statistics {
        lock(&self.0.assignments).total()
    }
}

impl<M: TableMemory + 'static> Core<M> {
    /// Keeps what an operation has to tell for the next invalidation, since nobody waits for it.
    fn keep(&self, told: Told) {
        let faults = told.finish(&self.log);
        let mut pending = lock(&self.pending);
        let room = PENDING_LIMIT.saturating_sub(pending.len());
        pending.extend(faults.into_iter().take(room));
    }
}

impl<M: TableMemory + 'static> Keeper for Core<M> {
    fn join(&self, group: GroupId, function: Arc<dyn AssignedFunction>) -> MemberId {
        lock(&self.assignments).join(group, function)
    }

    fn refresh(&self, group: GroupId, member: MemberId) {
        let told = lock(&self.assignments).refresh(group, member, &self.tables);
        self.keep(told);
    }

    fn detach(&self, group: GroupId, member: MemberId) {
        let told = lock(&self.assignments).detach(group, member, &self.tables);
        self.keep(told);
    }

    fn disband(&self, group: GroupId) {
        lock(&self.assignments).disband(group);
    }

    fn statistics(&self, group: GroupId) -> Statistics {
        lock(&self.assignments).statistics(group)
    }

    fn audit(&self, group: GroupId) -> Audit {
        lock(&self.assignments).audit(group, &self.tables)
    }
}

/// The guest's tables, and what the hardware goes by in them.
struct Tables<M> {
    memory: Arc<M>,
    view: Mutex<View>,
    protected: Arc<ProtectedRegions>,
    peers: Mutex<Peers>,
}

impl<M> Tables<M> {
    /// Tables that nothing is translated by, as after power-on.
    fn new(memory: Arc<M>, capabilities: Capabilities, protected: Arc<ProtectedRegions>) -> Self {
        let view = View { translating: false, root: RootPointer::default(), capabilities };
        Self { memory, view: Mutex::new(view), protected, peers: Mutex::default() }
    }

    /// What of guest memory no address reaches that is not translated.
    fn protected(&self) -> [Range<u64>; 2] {
        self.protected.ranges()
    }

    /// The BARs of other functions, each address for itself.
    fn peers(&self) -> Vec<Extent> {
        lock(&self.peers).identity()
    }

    /// How many bytes there are of them.
    fn peer_bytes(&self) -> u64 {
        lock(&self.peers).bytes()
    }

    fn memory(&self) -> &M {
        &self.memory
    }

    fn view(&self) -> View {
        *lock(&self.view)
    }
}

/// Locks a mutex. What it guards is whole even after a panic elsewhere: every step leaves it so.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
