//! The shadow: for every assigned function, the host's mappings kept equal to what the guest's tables say.
//!
//! The host's IOMMU carries out an assigned function's DMA, by mappings that only the host can make. So the
//! guest's tables are followed: when the guest announces a change, the range it names is read again,
//! compared with what is committed on the host, and the difference is carried out.

mod attachment;
mod audit;
mod commitment;
mod difference;
mod extent;
mod follower;
mod regime;
mod report;
mod space;
mod statistics;
#[cfg(test)]
mod tests;
mod wanted;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use crate::invalidation::Invalidation;
use crate::protected::ProtectedRegions;
use crate::spec::context::RootPointer;
use crate::walk::View;
use crate::{AssignedFunction, Capabilities, GuestAddress, HostMapper, TableMemory};

use follower::{Follow, Follower};

pub use attachment::Attachment;
pub use audit::Audit;
pub use extent::Extent;
pub(crate) use report::ShadowFault;
pub use statistics::Statistics;

/// Every assigned function behind one unit.
pub(crate) struct Shadow<M> {
    tables: Arc<Tables<M>>,
    followers: RwLock<Vec<Weak<Follower<M>>>>,
}

impl<M: TableMemory + 'static> Shadow<M> {
    /// A shadow of tables in `memory`, for a unit in its power-on state.
    pub(crate) fn new(memory: Arc<M>, capabilities: &Capabilities, protected: Arc<ProtectedRegions>) -> Self {
        let tables = Arc::new(Tables::new(memory, *capabilities, protected));
        Self { tables, followers: RwLock::default() }
    }

    /// Puts `function` under the shadow: from now on `mapper`, which maps nothing yet, follows what its
    /// tables say.
    pub(crate) fn attach(
        &self,
        function: Arc<dyn AssignedFunction>,
        mapper: Box<dyn HostMapper>,
        ram: Vec<(GuestAddress, u64)>,
    ) -> Attachment {
        let follower = Arc::new(Follower::new(function, mapper, ram, self.tables.clone()));
        {
            let mut followers = self.followers.write().unwrap_or_else(PoisonError::into_inner);
            followers.retain(|follower| follower.strong_count() > 0);
            followers.push(Arc::downgrade(&follower));
        }
        // Every invalidation from here on reaches it, and the tables are read after this: nothing is missed.
        follower.refresh();
        Attachment::new(follower)
    }

    /// Whether there is any function that the host's mappings are kept for.
    pub(crate) fn follows_any(&self) -> bool {
        !self.followers.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Does what an invalidation asks for; on return the host's mappings are in line and nothing that the
    /// guest took back is reachable. `view` is what the hardware goes by from now on: the shadow keeps it
    /// for attachments that are refreshed later.
    ///
    /// Called with the queue mutex held, before completion is reported. Gives the faults to record.
    #[must_use]
    pub(crate) fn apply(&self, view: &View, what: &Invalidation) -> Vec<ShadowFault> {
        *lock(&self.tables.view) = *view;
        let followers = self.followers.read().unwrap_or_else(PoisonError::into_inner);
        followers.iter().filter_map(Weak::upgrade).flat_map(|follower| follower.apply(what)).collect()
    }
}

/// The guest's tables, and what the hardware goes by in them.
struct Tables<M> {
    memory: Arc<M>,
    view: Mutex<View>,
    protected: Arc<ProtectedRegions>,
}

impl<M> Tables<M> {
    /// Tables that nothing is translated by, as after power-on.
    fn new(memory: Arc<M>, capabilities: Capabilities, protected: Arc<ProtectedRegions>) -> Self {
        let view = View { translating: false, root: RootPointer::default(), capabilities };
        Self { memory, view: Mutex::new(view), protected }
    }

    /// What of guest memory no address reaches that is not translated.
    fn protected(&self) -> [Range<u64>; 2] {
        self.protected.ranges()
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
