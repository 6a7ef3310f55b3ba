//! How a function's DMA is treated: what a context cache would hold for it.

use super::Tables;
use super::walked::NamedTable;
use crate::spec::context::TableMode;
use crate::walk::second_stage::Table;
use crate::walk::{AddressSpace, Mapping, Marks, View, legacy, scalable};
use crate::{AssignedFunction, DomainId, FirstStage, Pasid, SourceId, TableMemory};

/// What stands for requests without PASID on the host.
const NO_PASID: Pasid = Pasid(0);
/// No PASID has more bits.
const PASID_BITS: u32 = 20;
/// The most PASIDs of a function that are followed.
pub(super) const PASID_LIMIT: usize = 1024;

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
    pub(super) fn of(function: &dyn AssignedFunction, tables: &Tables<impl TableMemory>) -> Self {
        let view = tables.view();
        let identity = || untranslated(function);
        if !view.translating {
            return Self { kind: identity(), ..Self::BLOCKED };
        }
        let scalable = view.root.mode() == TableMode::Scalable;
        let Some((space, pasid)) = space(&view, tables.memory(), function.source_id()) else {
            return Self { scalable, ..Self::BLOCKED };
        };
        let regime = Self::of_space(&space, pasid, identity);
        // On the host, requests without PASID and those with PASID 0 are the same.
        let apart = function.pasid_bits() != 0 && pasid.is_some_and(|pasid| pasid != NO_PASID);
        Self { kind: if apart { Kind::Unfollowed } else { regime.kind }, scalable, ..regime }
    }

    /// What is to become of `function`'s requests with `pasid`, as things stand.
    pub(super) fn of_pasid(
        function: &dyn AssignedFunction,
        pasid: Pasid,
        tables: &Tables<impl TableMemory>,
    ) -> Self {
        let view = tables.view();
        let nowhere = Self { scalable: true, ..Self::BLOCKED };
        let Some(context) = pasids(&view, tables.memory(), function) else { return nowhere };
        if pasid > last_pasid(&context, function) {
            return nowhere;
        }
        let Ok(space) = scalable::address_space(&view, tables.memory(), &context, pasid) else {
            return nowhere;
        };
        let identity = || untranslated(function);
        Self { scalable: true, ..Self::of_space(&space, Some(pasid), identity) }
    }

    fn of_space(space: &AddressSpace, pasid: Option<Pasid>, identity: impl Fn() -> Kind) -> Self {
        let &AddressSpace { domain, fault_processing_disabled, mapping, .. } = space;
        let kind = match mapping {
            Mapping::PassThrough => identity(),
            Mapping::SecondStage(table) if table.marks == Marks::Absent => Kind::Translated(table),
            Mapping::FirstStage(table) => FirstStage::of(&table).map_or(Kind::Unfollowed, Kind::FirstStage),
            // The host would not mark the guest's entries, and its unit walks no two stages of the guest's.
            Mapping::SecondStage(_) | Mapping::Nested(..) => Kind::Unfollowed,
        };
        Self { kind, domain, pasid, scalable: false, recorded: !fault_processing_disabled }
    }

    /// Whether a PASID-cache invalidation names what was found, of every PASID or of one. Where nothing was
    /// found, any may: what stands in an entry that is not in order is not looked at.
    pub(super) fn is_of(&self, domain: DomainId, pasid: Option<Pasid>) -> bool {
        let Some(own) = self.pasid else { return self.scalable };
        self.domain == domain && pasid.is_none_or(|pasid| pasid == own)
    }
}

/// The PASIDs other than 0 that have an entry for `function`'s requests, and where a limit ended the search.
pub(super) fn present_pasids(
    function: &dyn AssignedFunction,
    tables: &Tables<impl TableMemory>,
) -> (Vec<Pasid>, Option<Pasid>) {
    let view = tables.view();
    let Some(context) = pasids(&view, tables.memory(), function) else { return (Vec::new(), None) };
    let last = last_pasid(&context, function);
    let found = scalable::present(&view, tables.memory(), &context, last, PASID_LIMIT);
    (found.pasids.into_iter().filter(|pasid| *pasid != NO_PASID).collect(), found.cut_short)
}

/// What the tables say of `function`, if it may send requests with PASID.
fn pasids(
    view: &View,
    memory: &impl TableMemory,
    function: &dyn AssignedFunction,
) -> Option<scalable::Context> {
    if !view.translating || view.mode().ok()? != TableMode::Scalable || function.pasid_bits() == 0 {
        return None;
    }
    scalable::context(view, memory, function.source_id()).ok().filter(|context| context.pasid_enabled)
}

/// The highest PASID that means anything.
fn last_pasid(context: &scalable::Context, function: &dyn AssignedFunction) -> Pasid {
    let bits = u32::from(function.pasid_bits()).min(PASID_BITS);
    context.last_pasid.min(Pasid((1 << bits) - 1))
}

/// What becomes of addresses that nothing translates. They are of use only while the function may send any: without its
/// Bus Master bit it is blocked, so that not all of guest memory is pinned for a device nobody drives.
fn untranslated(function: &dyn AssignedFunction) -> Kind {
    if function.bus_master() { Kind::Identity } else { Kind::Blocked }
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
