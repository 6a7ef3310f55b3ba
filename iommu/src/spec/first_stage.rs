//! First-stage paging entries (§9.7): the format of the processors' own tables.

use crate::spec::second_stage::{Level, ReservedBits, Target};
use crate::spec::{PAGE_ADDRESS, mask};
use crate::{Capabilities, Feature, GuestAddress};

/// One entry of a first-stage table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirstStageEntry(pub(crate) u64);

impl FirstStageEntry {
    const PRESENT: u64 = 1 << 0;
    const WRITE: u64 = 1 << 1;
    const USER: u64 = 1 << 2;
    pub(crate) const ACCESSED: u64 = 1 << 5;
    pub(crate) const DIRTY: u64 = 1 << 6;
    const PAGE_SIZE: u64 = 1 << 7;
    /// Set along with [`Self::ACCESSED`] where EAFE says so.
    pub(crate) const EXTENDED_ACCESSED: u64 = 1 << 10;
    /// Bit 12 of a large page's entry chooses a memory type.
    const LARGE_PAT: u64 = 1 << 12;
    const EXECUTE_DISABLE: u64 = 1 << 63;

    pub(crate) const fn present(self) -> bool {
        self.0 & Self::PRESENT != 0
    }

    pub(crate) const fn writable(self) -> bool {
        self.0 & Self::WRITE != 0
    }

    /// U/S: requests with user privilege are allowed.
    pub(crate) const fn user(self) -> bool {
        self.0 & Self::USER != 0
    }

    pub(crate) const fn executable(self) -> bool {
        self.0 & Self::EXECUTE_DISABLE == 0
    }

    /// Where an entry found at `level` leads.
    pub(crate) fn target(self, level: Level, capabilities: &Capabilities) -> Result<Target, ReservedBits> {
        let large = self.0 & Self::PAGE_SIZE != 0 && level > Level::PAGE;
        let has_large = match level {
            Level::PAGE_2M => true,
            Level::PAGE_1G => capabilities.has(Feature::FirstStage1G),
            _ => false,
        };
        if large && !has_large {
            return Err(ReservedBits);
        }
        // Bits 63:52 are the guest's own, or XD.
        let address = mask(51, 12);
        let below_page = if large { (level.span() - 1) & PAGE_ADDRESS } else { 0 };
        let reserved = below_page & !Self::LARGE_PAT | capabilities.beyond_host_width() & address;
        if self.0 & reserved != 0 {
            return Err(ReservedBits);
        }
        let address = GuestAddress(self.0 & address & !below_page);
        Ok(if large || level == Level::PAGE { Target::Leaf(address) } else { Target::Table(address) })
    }
}
