//! How a function's DMA is treated: what a context cache would hold for it.

use super::Tables;
use super::walked::NamedTable;
use crate::spec::context::TableMode;
use crate::walk::second_stage::Table;
use crate::walk::{AddressSpace, Mapping, Marks, View, legacy, scalable};
use crate::{AssignedFunction, DomainId, FirstStage, Pasid, SourceId, TableMemory};

/// What decides where a function's addresses lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// They lead nowhere.
    Blocked,
    /// They are guest addresses.
    Identity,
    /// This table says.
    Translated(Table),
    /// This first-stage table says, which the host's unit would have to walk itself.
    FirstStage(FirstStage),
    /// A table says that the host cannot be made to go by, so they lead nowhere.
    Unfollowed,
}

/// What an address space follows. Groups that ask for the same may share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Guest memory, each address for itself.
    Identity,
    /// This table, whose changes are announced under this domain.
    Table(Table, DomainId),
    /// This first-stage table, which is not followed but walked by the host's unit.
    FirstStage(NamedTable),
}

impl Content {
    /// The first-stage table, if it is one.
    pub(super) fn first_stage(self) -> Option<FirstStage> {
        match self {
            Self::FirstStage(named) => Some(named.table),
            Self::Identity | Self::Table(..) => None,
        }
    }

    /// Whether `other` maps the same, if perhaps under another name.
    pub(super) fn maps_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::Identity, Self::Identity) => true,
            (Self::Table(one, _), Self::Table(another, _)) => one == another,
            _ => false,
        }
    }
}

/// The treatment of a function, good until the guest or the unit says that it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Regime {
    pub(super) kind: Kind,
    /// The tag by which invalidations name it. Without a valid context entry that is domain 0, which
    /// software announces a new entry with (§6.1).
    pub(super) domain: DomainId,
    /// The PASID of its requests without one, by which invalidations of scalable mode name it too; none if no
    /// table was found, and in legacy mode.
    pub(super) pasid: Option<Pasid>,
    /// Whether it was found in scalable mode; faults have other names there.
    pub(super) scalable: bool,
    /// Whether faults of this function are to be recorded: no entry on the way to its table has FPD.
    pub(super) recorded: bool,
}

impl Regime {
    pub(super) const BLOCKED: Self =
        Self { kind: Kind::Blocked, domain: DomainId(0), pasid: None, scalable: false, recorded: true };

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
        let scalable = view.root.mode() == TableMode::Scalable;
        let Some((space, pasid)) = space(&view, tables.memory(), function.source_id()) else {
            return Self { scalable, ..Self::BLOCKED };
        };
        let AddressSpace { domain, fault_processing_disabled, mapping, .. } = space;
        let kind = match mapping {
            Mapping::PassThrough => identity(),
            Mapping::SecondStage(table) if table.marks == Marks::Absent => Kind::Translated(table),
            Mapping::FirstStage(table) => FirstStage::of(&table).map_or(Kind::Unfollowed, Kind::FirstStage),
            // The host would not mark the guest's entries, and its unit walks no two stages of the guest's.
            Mapping::SecondStage(_) | Mapping::Nested(..) => Kind::Unfollowed,
        };
        Self { kind, domain, pasid, scalable, recorded: !fault_processing_disabled }
    }

    /// Whether a PASID-cache invalidation names what was found, of every PASID or of one. Where nothing was
    /// found, any may: what stands in an entry that is not in order is not looked at.
    pub(super) fn is_of(&self, domain: DomainId, pasid: Option<Pasid>) -> bool {
        let Some(own) = self.pasid else { return self.scalable };
        self.domain == domain && pasid.is_none_or(|pasid| pasid == own)
    }
}

/// The address space of `source`'s requests without PASID, and the PASID that stands for it in scalable mode.
fn space(view: &View, memory: &impl TableMemory, source: SourceId) -> Option<(AddressSpace, Option<Pasid>)> {
    match view.mode().ok()? {
        TableMode::Legacy => Some((legacy::context(view, memory, source).ok()?.space, None)),
        TableMode::Scalable => {
            let context = scalable::context(view, memory, source).ok()?;
            let space = scalable::address_space(view, memory, &context, context.rid_pasid).ok()?;
            Some((space, Some(context.rid_pasid)))
        }
        TableMode::Reserved | TableMode::Abort => None,
    }
}
