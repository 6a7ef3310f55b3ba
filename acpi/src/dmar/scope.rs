//! Device scopes: how the table names a device (section 8.3.1).

use zerocopy::IntoBytes;

use super::Error;
use super::layout::ScopeLayout;

/// What kind of thing a scope names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeKind {
    /// One PCI function that is not a bridge.
    Endpoint,
    /// A bridge and everything below it.
    SubHierarchy,
    /// An IOAPIC; the path gives the requester ID of its interrupts.
    IoApic {
        /// Its ID in the MADT.
        id: u8,
    },
    /// A timer block that sends MSIs.
    Hpet {
        /// Its number in the HPET table.
        number: u8,
    },
    /// A device that an ANDD describes.
    Namespace {
        /// Its number in the ANDD.
        number: u8,
    },
}

impl ScopeKind {
    /// The type field.
    fn code(self) -> u8 {
        match self {
            Self::Endpoint => 1,
            Self::SubHierarchy => 2,
            Self::IoApic { .. } => 3,
            Self::Hpet { .. } => 4,
            Self::Namespace { .. } => 5,
        }
    }

    /// The enumeration ID field, zero for what PCI itself enumerates.
    fn enumeration_id(self) -> u8 {
        match self {
            Self::Endpoint | Self::SubHierarchy => 0,
            Self::IoApic { id } => id,
            Self::Hpet { number } | Self::Namespace { number } => number,
        }
    }
}

/// Properties of an integrated device in an [SIDP](super::Sidp): bits of its scope's flags byte. Zero in
/// scopes of other structures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SidpFlags(pub u8);

impl SidpFlags {
    /// Requests without PASID must not use nested translation.
    pub const NO_NESTED_WITHOUT_PASID: Self = Self(1 << 0);
    /// Requests without PASID must not use the PASID entry's page-walk snoop.
    pub const NO_PAGE_WALK_SNOOP_WITHOUT_PASID: Self = Self(1 << 1);
    /// Requests without PASID must not use the PASID entry's page snoop.
    pub const NO_PAGE_SNOOP_WITHOUT_PASID: Self = Self(1 << 2);
    /// The address translation cache is hardened against software.
    pub const ATC_HARDENED: Self = Self(1 << 3);
    /// The address translation cache must be enabled.
    pub const ATC_REQUIRED: Self = Self(1 << 4);
    /// All bits that mean something.
    pub const ALL: Self = Self(0x1f);
}

/// One step of a path: the next bridge, or at the end the device itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// Device number.
    pub device: u8,
    /// Function number.
    pub function: u8,
}

/// Names one device by the bus it starts from and the way from there, so that the name stays right when the
/// guest renumbers the buses below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// What is named.
    pub kind: ScopeKind,
    /// The bus of the first step.
    pub start_bus: u8,
    /// The way: bridges, then the device.
    pub path: Vec<PathStep>,
    /// Properties, for an SIDP.
    pub flags: SidpFlags,
}

impl Scope {
    /// A PCI function on a root bus, one step away.
    pub fn endpoint(bus: u8, device: u8, function: u8) -> Self {
        Self::pci(ScopeKind::Endpoint, bus, &[PathStep { device, function }])
    }

    /// A bridge on a root bus, with all that is below.
    pub fn sub_hierarchy(bus: u8, device: u8, function: u8) -> Self {
        Self::pci(ScopeKind::SubHierarchy, bus, &[PathStep { device, function }])
    }

    /// A PCI function or bridge by its whole path.
    pub fn pci(kind: ScopeKind, start_bus: u8, path: &[PathStep]) -> Self {
        Self { kind, start_bus, path: path.to_vec(), flags: SidpFlags::default() }
    }

    /// The IOAPIC with this ID in the MADT, whose interrupts carry `requester_id` (bus in bits 15:8, device
    /// in 7:3, function in 2:0). Operating systems refuse zero.
    pub fn ioapic(id: u8, requester_id: u16) -> Self {
        Self::platform(ScopeKind::IoApic { id }, requester_id)
    }

    /// The HPET block with this number, whose MSIs carry `requester_id`.
    pub fn hpet(number: u8, requester_id: u16) -> Self {
        Self::platform(ScopeKind::Hpet { number }, requester_id)
    }

    /// The device an ANDD gives this number, whose requests carry `requester_id`.
    pub fn namespace(number: u8, requester_id: u16) -> Self {
        Self::platform(ScopeKind::Namespace { number }, requester_id)
    }

    fn platform(kind: ScopeKind, requester_id: u16) -> Self {
        let [devfn, bus] = requester_id.to_le_bytes();
        Self::pci(kind, bus, &[PathStep { device: devfn >> 3, function: devfn & 7 }])
    }

    /// The same with properties.
    #[must_use]
    pub fn with_flags(mut self, flags: SidpFlags) -> Self {
        self.flags = flags;
        self
    }

    /// Appends the bytes.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let length = size_of::<ScopeLayout>() + 2 * self.path.len();
        let length = match u8::try_from(length) {
            Ok(length) if !self.path.is_empty() => length,
            _ => return Err(Error::PathLength(self.path.len())),
        };
        let fixed = ScopeLayout {
            kind: self.kind.code(),
            length,
            flags: self.flags.0,
            reserved: 0,
            enumeration_id: self.kind.enumeration_id(),
            start_bus: self.start_bus,
        };
        bytes.extend(fixed.as_bytes());
        for step in &self.path {
            bytes.extend([step.device, step.function]);
        }
        Ok(())
    }
}
