//! The second-stage table of a domain (§3.7).

use super::marks::{MarkError, Marked, Marker, Marks};
use super::{Demand, Found, Inner, Lack, Leaf, Rights};
use crate::spec::INTERRUPT_RANGE;
use crate::spec::fault::FaultReason;
use crate::spec::second_stage::{Level, SecondStageEntry, Target};
use crate::{Capabilities, GuestAddress, Iova, TableMemory};

/// A second-stage table, by its topmost part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) root: GuestAddress,
    /// The level of the entries in `root`.
    pub(crate) top: Level,
    /// The bits of an address that it translates: no more than `top` reaches and the unit supports.
    pub(crate) width: u8,
    pub(crate) marks: Marks,
    /// Whether it was found in scalable mode; faults have other names there.
    pub(crate) scalable: bool,
}

/// The names of faults.
struct Reasons {
    beyond_width: FaultReason,
    top_unreadable: FaultReason,
    unreadable: FaultReason,
    reserved: FaultReason,
    write_denied: FaultReason,
    read_denied: FaultReason,
    interrupt_range: FaultReason,
}

const LEGACY: Reasons = Reasons {
    beyond_width: FaultReason::AddressBeyondWidth,
    // The topmost table is the context entry's fault.
    top_unreadable: FaultReason::ContextInvalid,
    unreadable: FaultReason::SecondStageUnreadable,
    reserved: FaultReason::SecondStageReserved,
    write_denied: FaultReason::WriteDenied,
    read_denied: FaultReason::ReadDenied,
    interrupt_range: FaultReason::InterruptRange,
};

const SCALABLE: Reasons = Reasons {
    beyond_width: FaultReason::ScalableBeyondWidth,
    top_unreadable: FaultReason::ScalableSecondStageTopUnreadable,
    unreadable: FaultReason::ScalableSecondStageUnreadable,
    reserved: FaultReason::ScalableSecondStageReserved,
    write_denied: FaultReason::ScalableWriteDenied,
    read_denied: FaultReason::ScalableReadDenied,
    interrupt_range: FaultReason::ScalableInterruptRange,
};

impl Table {
    /// A table of legacy mode.
    pub(crate) fn new(root: GuestAddress, top: Level, capabilities: &Capabilities) -> Self {
        let width = top.width().min(capabilities.guest_address_width());
        Self { root, top, width, marks: Marks::Absent, scalable: false }
    }

    /// A table of scalable mode.
    pub(crate) fn scalable(
        root: GuestAddress,
        top: Level,
        capabilities: &Capabilities,
        marks: Marks,
    ) -> Self {
        Self { marks, scalable: true, ..Self::new(root, top, capabilities) }
    }

    /// Whether `iova` is an address that the table can translate at all.
    pub(crate) const fn covers(&self, iova: Iova) -> bool {
        iova.0 >> self.width == 0
    }

    /// Finds the page that `iova` lies in, if `demand` may use it, beginning at `start` instead of the top
    /// if that is known. At each level permission is checked before reserved bits.
    ///
    /// Entries on the way are marked accessed, also if one further on turns out to be bad; the last one only
    /// if the page may be used.
    pub(crate) fn walk(
        &self,
        memory: &impl TableMemory,
        capabilities: &Capabilities,
        iova: Iova,
        demand: Demand,
        start: Option<Inner>,
    ) -> Result<Found, FaultReason> {
        let reasons = self.reasons();
        if !self.covers(iova) {
            return Err(reasons.beyond_width);
        }
        let mut marker = Marker::new(self.marks);
        // Where the way to it denies the request already, the walk has to find that out in its order.
        let start = start.filter(|inner| demand.allowed_by(inner.rights));
        let mut inner = start.unwrap_or(Inner { table: self.root, level: self.top, rights: Rights::ALL });
        loop {
            let Inner { table, level, rights } = inner;
            let address = GuestAddress(table.0 | level.offset(iova));
            let entry = memory
                .read_u64(address)
                .map(SecondStageEntry)
                .map_err(|_| if level == self.top { reasons.top_unreadable } else { reasons.unreadable })?;
            let rights = rights & Rights::of_second_stage(entry);
            if !demand.allowed_by(rights) {
                return Err(self.denial(demand, rights));
            }
            let target = entry.target(level, capabilities).map_err(|_| reasons.reserved)?;
            let mut mark = |wanted| {
                marker.set(memory, address, entry.0, wanted).map_err(|error| match error {
                    MarkError::NotSnooped => FaultReason::SecondStageMarkNotSnooped,
                    MarkError::Failed => FaultReason::SecondStageMarkFailed,
                })
            };
            match (target, level.below()) {
                (Target::Table(next), Some(below)) => {
                    if mark(SecondStageEntry::ACCESSED)? == Marked::Done {
                        inner = Inner { table: next, level: below, rights };
                    }
                }
                (Target::Table(guest) | Target::Leaf(guest), _) => {
                    let mut leaf = Leaf { guest, level, rights };
                    if INTERRUPT_RANGE.contains(&leaf.output(iova).0) {
                        return Err(reasons.interrupt_range);
                    }
                    let dirty = if demand.dirties(rights) { SecondStageEntry::DIRTY } else { 0 };
                    if mark(SecondStageEntry::ACCESSED | dirty)? == Marked::Done {
                        if self.marks != Marks::Absent && (entry.0 | dirty) & SecondStageEntry::DIRTY == 0 {
                            leaf.rights |= Rights::CLEAN;
                        }
                        return Ok(Found { leaf, inner });
                    }
                }
            }
        }
    }

    /// The reason when entries that allow `rights` do not allow `demand`.
    fn denial(&self, demand: Demand, rights: Rights) -> FaultReason {
        if self.scalable && !rights.intersects(Rights::READ | Rights::ANY_WRITE) {
            return FaultReason::ScalableSecondStageNotPresent;
        }
        match demand.lacking(rights) {
            Lack::Write => self.reasons().write_denied,
            // There is no other permission here: what may be read may be executed, by anyone.
            Lack::Read | Lack::Execute | Lack::Privilege => self.reasons().read_denied,
        }
    }

    const fn reasons(&self) -> &'static Reasons {
        if self.scalable { &SCALABLE } else { &LEGACY }
    }
}

#[cfg(test)]
mod tests;
