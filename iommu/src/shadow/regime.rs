//! How a function's DMA is treated: what a context cache would hold for it.

use super::Tables;
use crate::spec::context::TableMode;
use crate::walk::second_stage::Table;
use crate::walk::{AddressSpace, Mapping, View, legacy, scalable};
use crate::{AssignedFunction, DomainId, SourceId, TableMemory};

/// What decides where a function's addresses lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// They lead nowhere.
    Blocked,
    /// They are guest addresses.
    Identity,
    /// This table says.
    Translated(Table),
}

/// The treatment of a function, good until the guest or the unit says that it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Regime {
    pub(super) kind: Kind,
    /// The tag by which invalidations name it. Without a valid context entry that is domain 0, which
    /// software announces a new entry with (§6.1).
    pub(super) domain: DomainId,
    /// Whether faults of this function are to be recorded: the inverse of its context entry's FPD.
    pub(super) recorded: bool,
}

impl Regime {
    pub(super) const BLOCKED: Self = Self { kind: Kind::Blocked, domain: DomainId(0), recorded: true };

    /// What is to become of `function`'s requests, as things stand.
    ///
    /// Addresses that nothing translates are of use only while the function may send any: without its Bus
    /// Master bit it is blocked, so that not all of guest memory is pinned for a device nobody drives.
    pub(super) fn of(function: &dyn AssignedFunction, tables: &Tables<impl TableMemory>) -> Self {
        let view = tables.view();
        let identity = || if function.bus_master() { Kind::Identity } else { Kind::Blocked };
        if !view.translating {
            return Self { kind: identity(), ..Self::BLOCKED };
        }
        let Some(space) = space(&view, tables.memory(), function.source_id()) else {
            return Self::BLOCKED;
        };
        let AddressSpace { domain, fault_processing_disabled, mapping, .. } = space;
        let kind = match mapping {
            Mapping::PassThrough => identity(),
            Mapping::SecondStage(table) => Kind::Translated(table),
            // Software does not announce what it adds to a first stage, so it cannot be followed.
            Mapping::FirstStage(_) | Mapping::Nested(..) => Kind::Blocked,
        };
        Self { kind, domain, recorded: !fault_processing_disabled }
    }
}

/// The address space of `source`'s requests without PASID.
fn space(view: &View, memory: &impl TableMemory, source: SourceId) -> Option<AddressSpace> {
    match view.mode().ok()? {
        TableMode::Legacy => Some(legacy::context(view, memory, source).ok()?.space),
        TableMode::Scalable => {
            let context = scalable::context(view, memory, source).ok()?;
            scalable::address_space(view, memory, &context, context.rid_pasid).ok()
        }
        TableMode::Reserved | TableMode::Abort => None,
    }
}
