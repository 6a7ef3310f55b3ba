//! A first-stage table (§3.6), alone or with a second stage behind it.

use super::marks::{MarkError, Marked, Marker, Marks};
use super::{Demand, Found, Inner, Lack, Leaf, Rights};
use crate::spec::INTERRUPT_RANGE;
use crate::spec::fault::FaultReason;
use crate::spec::first_stage::FirstStageEntry;
use crate::spec::pasid::FirstStageOptions;
use crate::spec::second_stage::{Level, Target};
use crate::{Capabilities, GuestAddress, Iova, TableMemory};

/// A first-stage table, by its topmost part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) root: GuestAddress,
    /// The level of the entries in `root`: 4 or 5.
    pub(crate) top: Level,
    /// The bits of an address that a device may use (CAP.MGAW).
    pub(crate) width: u8,
    pub(crate) options: FirstStageOptions,
    pub(crate) marks: Marks,
}

/// What lies behind a first stage: memory, or a second stage.
pub(crate) trait Behind {
    /// Where the entry at `entry` is to be read.
    fn readable(&self, entry: GuestAddress, top: bool) -> Result<GuestAddress, FaultReason>;

    /// Where the entry at `entry`, which has been read, is to be written.
    fn writable(&self, entry: GuestAddress) -> Result<GuestAddress, FaultReason>;

    /// What becomes of the page `leaf`, for a request to the address `output` in it.
    fn page(&self, leaf: Leaf, output: GuestAddress, demand: Demand) -> Result<Leaf, FaultReason>;
}

/// Nothing but memory.
pub(crate) struct Memory;

impl Behind for Memory {
    fn readable(&self, entry: GuestAddress, _top: bool) -> Result<GuestAddress, FaultReason> {
        Ok(entry)
    }

    fn writable(&self, entry: GuestAddress) -> Result<GuestAddress, FaultReason> {
        Ok(entry)
    }

    fn page(&self, leaf: Leaf, output: GuestAddress, _demand: Demand) -> Result<Leaf, FaultReason> {
        if INTERRUPT_RANGE.contains(&output.0) {
            return Err(FaultReason::ScalableInterruptRange);
        }
        Ok(leaf)
    }
}

impl Table {
    /// Whether `iova` is an address that the table can translate at all: canonical, and in the lower half
    /// one that a device may use.
    pub(crate) const fn covers(&self, iova: Iova) -> bool {
        // All bits from the highest that the table translates upwards are alike.
        match iova.0 >> (self.top.width() - 1) {
            0 => iova.0 >> self.width == 0,
            upper => upper == u64::MAX >> (self.top.width() - 1),
        }
    }

    /// Whether requests like this are allowed at all, whatever the entries say.
    pub(crate) const fn admits(&self, demand: Demand) -> Result<(), FaultReason> {
        if demand.execute && !self.options.contains(FirstStageOptions::EXECUTE) {
            return Err(FaultReason::ExecuteDisabled);
        }
        if demand.privileged && !self.options.contains(FirstStageOptions::SUPERVISOR) {
            return Err(FaultReason::SupervisorDisabled);
        }
        Ok(())
    }

    /// Finds the page that `iova` lies in, if `demand` may use it, beginning at `start` instead of the top
    /// if that is known. At each level permission is checked before reserved bits.
    ///
    /// Entries on the way are marked accessed, also if one further on turns out to be bad; the last one only
    /// if the page may be used.
    pub(crate) fn walk(
        &self,
        memory: &impl TableMemory,
        behind: &impl Behind,
        capabilities: &Capabilities,
        iova: Iova,
        demand: Demand,
        start: Option<Inner>,
    ) -> Result<Found, FaultReason> {
        if !self.covers(iova) {
            return Err(FaultReason::NotCanonical);
        }
        let marker = Marker::new(self.marks);
        let mut walk = Walk { table: self, memory, behind, capabilities, iova, demand, marker };
        // Where the way to it denies the request already, the walk has to find that out in its order.
        let start = start.filter(|inner| demand.allowed_by(inner.rights));
        let mut inner = start.unwrap_or(Inner { table: self.root, level: self.top, rights: Rights::ALL });
        loop {
            match walk.step(&inner)? {
                Step::Down(next) => inner = next,
                Step::Again => {}
                Step::Page(leaf) => return Ok(Found { leaf, inner }),
            }
        }
    }
}

/// One walk.
struct Walk<'a, M, B> {
    table: &'a Table,
    memory: &'a M,
    behind: &'a B,
    capabilities: &'a Capabilities,
    iova: Iova,
    demand: Demand,
    marker: Marker,
}

/// What the entry of one level leads to.
enum Step {
    Down(Inner),
    /// The guest has changed it meanwhile.
    Again,
    Page(Leaf),
}

impl<M: TableMemory, B: Behind> Walk<'_, M, B> {
    fn step(&mut self, inner: &Inner) -> Result<Step, FaultReason> {
        let Inner { table, level, rights } = *inner;
        let place = GuestAddress(table.0 | level.offset(self.iova));
        let top = level == self.table.top;
        let address = self.behind.readable(place, top)?;
        let entry = self.memory.read_u64(address).map(FirstStageEntry);
        let entry = entry.map_err(|_| {
            if top { FaultReason::FirstStageTopUnreadable } else { FaultReason::FirstStageUnreadable }
        })?;

        if !entry.present() {
            return Err(FaultReason::FirstStageNotPresent);
        }
        let rights = rights & self.rights(entry);
        if !self.demand.allowed_by(rights) {
            return Err(denial(self.demand.lacking(rights)));
        }
        let target = entry.target(level, self.capabilities).map_err(|_| FaultReason::FirstStageReserved)?;
        match (target, level.below()) {
            (Target::Table(next), Some(below)) => Ok(match self.mark(place, entry, self.accessed())? {
                Marked::Done => Step::Down(Inner { table: next, level: below, rights }),
                Marked::Changed => Step::Again,
            }),
            (Target::Table(guest) | Target::Leaf(guest), _) => {
                self.page(place, entry, Leaf { guest, level, rights })
            }
        }
    }

    /// The end of the walk: the entry at `place` leads to `leaf`, which `demand` may use as far as the first
    /// stage is concerned.
    fn page(&mut self, place: GuestAddress, entry: FirstStageEntry, leaf: Leaf) -> Result<Step, FaultReason> {
        // What follows behind may mark pages, so what is known to fail fails before.
        let certain = if self.demand.dirties(Rights::empty()) { FirstStageEntry::DIRTY } else { 0 };
        if self.marker.must_write(entry.0, self.accessed() | certain) {
            self.behind.writable(place)?;
        }
        let page = self.behind.page(leaf, leaf.output(self.iova), self.demand);
        let wanted = match page {
            Ok(page) if self.demand.dirties(page.rights) => self.accessed() | FirstStageEntry::DIRTY,
            Err(FaultReason::ScalableInterruptRange) => 0,
            Ok(_) | Err(_) => self.accessed(),
        };
        if self.mark(place, entry, wanted)? == Marked::Changed {
            return Ok(Step::Again);
        }
        let mut page = page?;
        if (entry.0 | wanted) & FirstStageEntry::DIRTY == 0 {
            page.rights |= Rights::CLEAN;
        }
        Ok(Step::Page(page))
    }

    fn rights(&self, entry: FirstStageEntry) -> Rights {
        let mut rights = Rights::READ;
        if entry.writable() {
            rights |= Rights::ANY_WRITE;
        } else if !self.table.options.contains(FirstStageOptions::WRITE_PROTECT) {
            rights |= Rights::SUPERVISOR_WRITE;
        }
        if entry.user() {
            rights |= Rights::USER;
        }
        if entry.executable() {
            rights |= Rights::EXECUTE;
        }
        rights
    }

    const fn accessed(&self) -> u64 {
        if self.table.options.contains(FirstStageOptions::EXTENDED_ACCESSED) {
            FirstStageEntry::ACCESSED | FirstStageEntry::EXTENDED_ACCESSED
        } else {
            FirstStageEntry::ACCESSED
        }
    }

    /// Sets the bits `wanted` in the entry at `place`.
    fn mark(
        &mut self,
        place: GuestAddress,
        entry: FirstStageEntry,
        wanted: u64,
    ) -> Result<Marked, FaultReason> {
        if !self.marker.must_write(entry.0, wanted) {
            return Ok(Marked::Done);
        }
        let address = self.behind.writable(place)?;
        self.marker.set(self.memory, address, entry.0, wanted).map_err(|error| match error {
            MarkError::NotSnooped => FaultReason::FirstStageMarkNotSnooped,
            MarkError::Failed => FaultReason::FirstStageMarkFailed,
        })
    }
}

const fn denial(lack: Lack) -> FaultReason {
    match lack {
        Lack::Read => FaultReason::ScalableReadDenied,
        Lack::Write => FaultReason::ScalableWriteDenied,
        Lack::Execute => FaultReason::ExecuteDenied,
        Lack::Privilege => FaultReason::UserDenied,
    }
}

#[cfg(test)]
mod tests;
