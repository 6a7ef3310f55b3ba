//! From a requester and an address to guest memory, by the tables alone: nothing here is cached, recorded or
//! remembered.

pub(crate) mod first_stage;
pub(crate) mod leaves;
pub(crate) mod legacy;
mod marks;
pub(crate) mod nested;
mod rights;
pub(crate) mod scalable;
pub(crate) mod second_stage;

pub(crate) use marks::Marks;
pub(crate) use rights::{Demand, Lack, Rights};

use crate::spec::context::{RootPointer, TableMode};
use crate::spec::fault::FaultReason;
use crate::spec::second_stage::Level;
use crate::{Capabilities, DomainId, Feature, GuestAddress, Iova, Pasid};

/// What the hardware goes by at this moment. It need not be what the registers show: RTADDR_REG counts from
/// GCMD.SRTP on, and a status bit is set only after everything that follows from it has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Whether DMA is translated at all; if not, every address stands for itself.
    pub(crate) translating: bool,
    /// RTADDR_REG as GCMD.SRTP last found it.
    pub(crate) root: RootPointer,
    pub(crate) capabilities: Capabilities,
}

impl View {
    /// The mode of the root table, if the unit has it (§11.4.5).
    pub(crate) const fn mode(&self) -> Result<TableMode, Fault> {
        let mode = self.root.mode();
        let supported = match mode {
            TableMode::Legacy => true,
            TableMode::Scalable => self.capabilities.has(Feature::Scalable),
            TableMode::Abort => self.capabilities.has(Feature::AbortMode),
            TableMode::Reserved => false,
        };
        if supported { Ok(mode) } else { Err(Fault::new(FaultReason::TableModeInvalid, false)) }
    }
}

/// A request that cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reason: FaultReason,
    /// Whether it is to be recorded: false if a structure on the way has FPD set and the reason is one that
    /// FPD qualifies.
    pub(crate) recorded: bool,
}

impl Fault {
    /// A fault under the FPD bits met so far.
    pub(crate) const fn new(reason: FaultReason, fault_processing_disabled: bool) -> Self {
        Self { reason, recorded: !(fault_processing_disabled && reason.qualified()) }
    }
}

/// Where a requester's addresses lead, and the tags of what is remembered of it (§6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressSpace {
    pub(crate) domain: DomainId,
    /// Part of the tag wherever a PASID table entry says first-stage, nested or pass-through; legacy mode
    /// and second-stage tables go by the domain alone.
    pub(crate) pasid: Option<Pasid>,
    /// Some structure on the way has FPD: faults found further on are not recorded.
    pub(crate) fault_processing_disabled: bool,
    pub(crate) mapping: Mapping,
}

/// What an address space makes of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// It stays as it is, if guest addresses have as many bits.
    PassThrough,
    /// The table decides.
    SecondStage(second_stage::Table),
    /// The table decides.
    FirstStage(first_stage::Table),
    /// The first table decides, and what it finds, its own parts included, goes through the second.
    Nested(first_stage::Table, second_stage::Table),
}

impl AddressSpace {
    /// Whether it was found in scalable mode; faults have other names there.
    pub(crate) const fn scalable(&self) -> bool {
        match self.mapping {
            Mapping::PassThrough => self.pasid.is_some(),
            Mapping::SecondStage(table) => table.scalable,
            Mapping::FirstStage(_) | Mapping::Nested(..) => true,
        }
    }

    /// The fault of a request that ends in the interrupt range.
    pub(crate) const fn interrupt_range(&self) -> FaultReason {
        if self.scalable() { FaultReason::ScalableInterruptRange } else { FaultReason::InterruptRange }
    }

    /// The fault of an address that passes through, or was translated already, and that no memory has.
    pub(crate) const fn beyond_host_width(&self) -> FaultReason {
        if self.scalable() { FaultReason::ScalableBeyondHostWidth } else { FaultReason::AddressBeyondWidth }
    }
}

impl Mapping {
    /// Whether requests like this are allowed at all, whatever the tables say.
    pub(crate) const fn admits(&self, demand: Demand) -> Result<(), FaultReason> {
        match self {
            Self::PassThrough | Self::SecondStage(_) => Ok(()),
            Self::FirstStage(table) | Self::Nested(table, _) => table.admits(demand),
        }
    }
}

/// The end of a walk: one page, of the size that `level` spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) guest: GuestAddress,
    pub(crate) level: Level,
    /// What every level on the way allows.
    pub(crate) rights: Rights,
}

impl Leaf {
    /// Where `iova`, which must lie in this page, leads.
    pub(crate) const fn output(&self, iova: Iova) -> GuestAddress {
        GuestAddress(self.guest.0 | iova.0 & (self.level.span() - 1))
    }
}

/// A table on the way of a walk: where another walk may begin, for addresses that share the way so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inner {
    /// Its address: one that the second stage translates, if there is one above.
    pub(crate) table: GuestAddress,
    /// The level of its entries.
    pub(crate) level: Level,
    /// What the levels above allow.
    pub(crate) rights: Rights,
}

/// What a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) leaf: Leaf,
    /// The table that the leaf's entry is in. In a nested walk that is the one of the first stage.
    pub(crate) inner: Inner,
}
