//! The PCI tree as plain data, and how a scope's path leads through it.

use crate::dmar::PathStep;

/// What there is for scopes to name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Every PCI function.
    pub functions: Vec<PciFunction>,
    /// The IDs of the IOAPICs in the MADT.
    pub ioapics: Vec<u8>,
}

/// One PCI function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciFunction {
    /// Segment.
    pub segment: u16,
    /// Bus number now.
    pub bus: u8,
    /// Device number.
    pub device: u8,
    /// Function number.
    pub function: u8,
    /// What its header says.
    pub kind: PciKind,
}

/// What a function's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PciKind {
    /// Header type 0.
    Endpoint,
    /// Header type 1.
    Bridge {
        /// The bus below.
        secondary: u8,
        /// The highest bus below.
        subordinate: u8,
        /// Whether it is a root port.
        root_port: bool,
    },
}

impl PciFunction {
    /// Bus, device and function as a requester ID.
    pub(super) fn requester_id(self) -> u16 {
        u16::from_be_bytes([self.bus, self.device << 3 | self.function])
    }

    /// Whether `other` is this function or lies below it.
    pub(super) fn contains(self, other: Self) -> bool {
        if self == other {
            return true;
        }
        match self.kind {
            PciKind::Endpoint => false,
            PciKind::Bridge { secondary, subordinate, .. } => {
                self.segment == other.segment && (secondary..=subordinate).contains(&other.bus)
            }
        }
    }
}

impl std::fmt::Display for PciFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.segment, self.bus, self.device, self.function)
    }
}

impl Topology {
    /// Follows `path` from `bus`; `None` where a step leads to nothing.
    pub(super) fn resolve(&self, segment: u16, bus: u8, path: &[PathStep]) -> Option<&PciFunction> {
        let (bus, last) = self.walk(segment, bus, path)?;
        self.at(segment, bus, last)
    }

    /// The requester ID a path leads to, whether or not PCI shows a function there.
    pub(super) fn requester_id(&self, segment: u16, bus: u8, path: &[PathStep]) -> Option<u16> {
        let (bus, last) = self.walk(segment, bus, path)?;
        Some(u16::from_be_bytes([bus, (last.device & 31) << 3 | last.function & 7]))
    }

    /// Follows the bridges of `path` to the bus of its last step.
    fn walk(&self, segment: u16, mut bus: u8, path: &[PathStep]) -> Option<(u8, PathStep)> {
        let (last, bridges) = path.split_last()?;
        for step in bridges {
            match self.at(segment, bus, *step)?.kind {
                PciKind::Bridge { secondary, .. } => bus = secondary,
                PciKind::Endpoint => return None,
            }
        }
        Some((bus, *last))
    }

    /// The function with this requester ID.
    pub(super) fn by_requester_id(&self, segment: u16, id: u16) -> Option<&PciFunction> {
        self.functions.iter().find(|function| function.segment == segment && function.requester_id() == id)
    }

    fn at(&self, segment: u16, bus: u8, step: PathStep) -> Option<&PciFunction> {
        self.functions.iter().find(|function| {
            (function.segment, function.bus) == (segment, bus)
                && (function.device, function.function) == (step.device, step.function)
        })
    }
}
