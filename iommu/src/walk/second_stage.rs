//! The second-stage table of a domain (§3.7).

use super::Demand;
use crate::spec::fault::FaultReason;
use crate::spec::second_stage::{Level, SecondStageEntry, Target};
use crate::{Capabilities, GuestAddress, Iova, Permissions, TableMemory};

/// A second-stage table, by its topmost part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) root: GuestAddress,
    /// The level of the entries in `root`.
    pub(crate) top: Level,
    /// The bits of an address that it translates: no more than `top` reaches and the unit supports.
    pub(crate) width: u8,
}

/// The end of a walk: one page, of the size that `level` spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) guest: GuestAddress,
    pub(crate) level: Level,
    /// What every level on the way allows.
    pub(crate) permissions: Permissions,
}

impl Table {
    pub(crate) fn new(root: GuestAddress, top: Level, capabilities: &Capabilities) -> Self {
        Self { root, top, width: top.width().min(capabilities.guest_address_width()) }
    }

    /// Whether `iova` is an address that the table can translate at all.
    pub(crate) const fn covers(&self, iova: Iova) -> bool {
        iova.0 >> self.width == 0
    }

    /// Finds the page that `iova` lies in, if `demand` may use it. At each level permission is checked
    /// before reserved bits.
    pub(crate) fn walk(
        &self,
        memory: &impl TableMemory,
        capabilities: &Capabilities,
        iova: Iova,
        demand: Demand,
    ) -> Result<Leaf, FaultReason> {
        if !self.covers(iova) {
            return Err(FaultReason::AddressBeyondWidth);
        }
        let mut table = self.root;
        let mut level = self.top;
        let mut permissions = Permissions::READ_WRITE;
        loop {
            let entry = memory.read_u64(GuestAddress(table.0 | level.offset(iova)));
            let entry = SecondStageEntry(entry.map_err(|_| self.unreadable(level))?);
            permissions &= entry.permissions();
            if !demand.allowed_by(permissions) {
                return Err(demand.denial(permissions));
            }
            let target = entry.target(level, capabilities).map_err(|_| FaultReason::SecondStageReserved)?;
            match (target, level.below()) {
                (Target::Table(next), Some(below)) => (table, level) = (next, below),
                (Target::Table(guest) | Target::Leaf(guest), _) => {
                    return Ok(Leaf { guest, level, permissions });
                }
            }
        }
    }

    /// The reason when an entry of `level` cannot be read: the topmost table is the context entry's fault.
    const fn unreadable(&self, level: Level) -> FaultReason {
        if level.number() == self.top.number() {
            FaultReason::ContextInvalid
        } else {
            FaultReason::SecondStageUnreadable
        }
    }
}

#[cfg(test)]
mod tests;
