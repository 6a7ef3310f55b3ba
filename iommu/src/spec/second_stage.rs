//! Second-stage paging entries (§9.8).

use crate::spec::{PAGE_ADDRESS, bits, mask};
use crate::{Capabilities, Feature, GuestAddress, Iova, Permissions};

/// A level of a second-stage table: 1 holds 4 KiB leaves, 5 is the highest there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Level(u8);

impl Level {
    /// Leaves of 4 KiB.
    pub(crate) const PAGE: Self = Self(1);
    /// Leaves of 2 MiB.
    pub(crate) const PAGE_2M: Self = Self(2);
    /// Leaves of 1 GiB.
    pub(crate) const PAGE_1G: Self = Self(3);

    /// The top level for a context entry's field AW: 1, 2, 3 mean 3, 4, 5 levels.
    pub(crate) const fn top(address_width: u8) -> Option<Self> {
        match address_width {
            1..=3 => Some(Self(address_width + 2)),
            _ => None,
        }
    }

    /// The level with this number, 1 to 5.
    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            1..=5 => Some(Self(number)),
            _ => None,
        }
    }

    /// The level below; none below the leaves of 4 KiB.
    pub(crate) const fn below(self) -> Option<Self> {
        match self.0 {
            0 | 1 => None,
            level => Some(Self(level - 1)),
        }
    }

    /// The level above; none above the highest.
    pub(crate) const fn above(self) -> Option<Self> {
        Self::from_number(self.0 + 1)
    }

    /// 1 to 5.
    pub(crate) const fn number(self) -> u8 {
        self.0
    }

    /// The lowest address bit that this level's index looks at.
    pub(crate) const fn shift(self) -> u32 {
        self.0 as u32 * 9 + 3
    }

    /// How many bytes one entry of this level spans.
    pub(crate) const fn span(self) -> u64 {
        1 << self.shift()
    }

    /// The bits of an input address that a table whose top is this level can translate: 39, 48 or 57.
    pub(crate) const fn width(self) -> u8 {
        self.0 * 9 + 12
    }

    /// Where in a table of this level the entry for `iova` lies, in bytes.
    pub(crate) const fn offset(self, iova: Iova) -> u64 {
        bits(iova.0 >> self.shift(), 8, 0) * 8
    }
}

const READ: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const PAGE_SIZE: u64 = 1 << 7;
const SNOOP: u64 = 1 << 11;
const TRANSIENT: u64 = 1 << 62;

/// One entry of a second-stage table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SecondStageEntry(pub(crate) u64);

/// A bit is set that must be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReservedBits;

/// What an entry that is present leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A table of the level below.
    Table(GuestAddress),
    /// The memory itself, as much as the entry's level spans.
    Leaf(GuestAddress),
}

impl SecondStageEntry {
    /// Marks, where SSADE says that there are any.
    pub(crate) const ACCESSED: u64 = 1 << 8;
    pub(crate) const DIRTY: u64 = 1 << 9;

    /// What this entry alone allows; nothing means that it is not present, and then no other bit counts.
    pub(crate) const fn permissions(self) -> Permissions {
        Permissions::from_bits_truncate((self.0 & (READ | WRITE)) as u8)
    }

    /// Where an entry found at `level` leads.
    pub(crate) fn target(self, level: Level, capabilities: &Capabilities) -> Result<Target, ReservedBits> {
        let large = self.0 & PAGE_SIZE != 0 && level > Level::PAGE;
        if large && !capabilities.has_large_pages(level) {
            return Err(ReservedBits);
        }
        let leaf = large || level == Level::PAGE;
        let reserved = if leaf {
            let snoop = if capabilities.has(Feature::SnoopControl) { 0 } else { SNOOP };
            let below_page = (level.span() - 1) & PAGE_ADDRESS;
            snoop | TRANSIENT | below_page
        } else {
            SNOOP
        };
        // Bits 63:52 are the guest's own, bar the one above.
        let address = mask(51, 12);
        if self.0 & (reserved | capabilities.beyond_host_width() & address) != 0 {
            return Err(ReservedBits);
        }
        let address = GuestAddress(self.0 & address);
        Ok(if leaf { Target::Leaf(address) } else { Target::Table(address) })
    }
}
