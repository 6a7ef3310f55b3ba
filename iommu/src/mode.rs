//! What the unit goes by at this moment, as opposed to what its registers show: it changes first, and the
//! status registers follow when everything that comes with the change has been done.
//!
//! Each mode is one word, so that a request sees it whole; only the holder of the queue's lock changes it.

use crate::spec::context::RootPointer;
use crate::spec::interrupt::TablePointer;

/// How requests to memory are treated: RTADDR_REG as last taken into use, and in a bit it does not use,
/// whether translation is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DmaMode(pub(crate) u64);

impl DmaMode {
    /// The bit that is not RTADDR_REG's.
    pub(crate) const TRANSLATING: u64 = 1 << 0;

    pub(crate) const fn translating(self) -> bool {
        self.0 & Self::TRANSLATING != 0
    }

    pub(crate) const fn root(self) -> RootPointer {
        RootPointer(self.0 & !Self::TRANSLATING)
    }

    pub(crate) const fn with_translating(self, on: bool) -> Self {
        Self(self.0 & !Self::TRANSLATING | if on { Self::TRANSLATING } else { 0 })
    }

    /// `root` is a value of RTADDR_REG, whose low bits read 0.
    pub(crate) const fn with_root(self, root: RootPointer) -> Self {
        Self(root.0 & !Self::TRANSLATING | self.0 & Self::TRANSLATING)
    }
}

/// How interrupt requests are treated: IRTA_REG as last taken into use, and in bits it does not use,
/// whether remapping is on and whether compatibility format may pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InterruptMode(pub(crate) u64);

impl InterruptMode {
    const REMAPPING: u64 = 1 << 4;
    const COMPATIBILITY: u64 = 1 << 5;
    /// The bits that are not IRTA_REG's.
    pub(crate) const OWN: u64 = Self::REMAPPING | Self::COMPATIBILITY;

    pub(crate) const fn remapping(self) -> bool {
        self.0 & Self::REMAPPING != 0
    }

    /// Whether CFI asks for compatibility format to pass.
    pub(crate) const fn compatibility(self) -> bool {
        self.0 & Self::COMPATIBILITY != 0
    }

    /// Whether compatibility format passes while remapping is on: CFI says so, and EIME does not forbid it.
    pub(crate) const fn compatibility_passes(self) -> bool {
        self.compatibility() && !self.table().extended()
    }

    pub(crate) const fn table(self) -> TablePointer {
        TablePointer(self.0 & !Self::OWN)
    }

    pub(crate) const fn with_remapping(self, on: bool) -> Self {
        Self(self.0 & !Self::REMAPPING | if on { Self::REMAPPING } else { 0 })
    }

    pub(crate) const fn with_compatibility(self, on: bool) -> Self {
        Self(self.0 & !Self::COMPATIBILITY | if on { Self::COMPATIBILITY } else { 0 })
    }

    /// `table` is a value of IRTA_REG, whose reserved bits read 0.
    pub(crate) const fn with_table(self, table: TablePointer) -> Self {
        Self(table.0 & !Self::OWN | self.0 & Self::OWN)
    }
}
