//! The structures of the table, as data that encodes itself.

use zerocopy::{Immutable, IntoBytes};

use super::layout::{
    ALL_PORTS, ATC_REQUIRED, AnddLayout, AtsLayout, DrhdLayout, Head, INCLUDE_PCI_ALL, RhsaLayout,
    RmrrLayout, SidpLayout, kind,
};
use super::{Error, Scope};

/// A DMA remapping hardware unit (section 8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drhd {
    /// PCI segment it serves.
    pub segment: u16,
    /// Where its registers are.
    pub base: u64,
    /// Its registers take 2 to this power pages of 4096 bytes; at most 15.
    pub window_order: u8,
    /// Whether it takes every device of the segment that no other unit names. Its scopes then name no PCI
    /// devices.
    pub include_all: bool,
    /// The devices behind it.
    pub scopes: Vec<Scope>,
}

impl Drhd {
    /// Length of the register window in bytes.
    pub fn window_length(&self) -> u64 {
        4096 << self.window_order.min(15)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        if self.window_order > 15 {
            return Err(Error::WindowSize(self.window_order));
        }
        let fixed = DrhdLayout {
            head: head(kind::DRHD),
            flags: if self.include_all { INCLUDE_PCI_ALL } else { 0 },
            size: self.window_order,
            segment: self.segment.into(),
            base: self.base.into(),
        };
        with_scopes("DRHD", &fixed, &self.scopes)
    }
}

/// A reserved memory region: memory that devices use on their own, which software must map one to one for
/// them (section 8.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rmrr {
    /// PCI segment of the devices.
    pub segment: u16,
    /// First address, a multiple of 4096.
    pub base: u64,
    /// Last address, included; the one after is a multiple of 4096.
    pub limit: u64,
    /// The devices.
    pub scopes: Vec<Scope>,
}

impl Rmrr {
    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let fixed = RmrrLayout {
            head: head(kind::RMRR),
            reserved: 0.into(),
            segment: self.segment.into(),
            base: self.base.into(),
            limit: self.limit.into(),
        };
        with_scopes("RMRR", &fixed, &self.scopes)
    }
}

/// Root ports that support address translation services (section 8.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Atsr {
    /// PCI segment of the ports.
    pub segment: u16,
    /// Whether all ports of the segment do; then there are no scopes.
    pub all_ports: bool,
    /// The ports, as sub-hierarchies.
    pub scopes: Vec<Scope>,
}

impl Atsr {
    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let flags = if self.all_ports { ALL_PORTS } else { 0 };
        with_scopes("ATSR", &ats(kind::ATSR, flags, self.segment), &self.scopes)
    }
}

/// The proximity domain of a unit (section 8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhsa {
    /// Where the unit's registers are.
    pub base: u64,
    /// The domain, as the SRAT numbers it.
    pub proximity_domain: u32,
}

impl Rhsa {
    pub(super) fn encode(self) -> Vec<u8> {
        let fixed = RhsaLayout {
            head: Head { kind: kind::RHSA.into(), length: (size_of::<RhsaLayout>() as u16).into() },
            reserved: 0.into(),
            base: self.base.into(),
            proximity_domain: self.proximity_domain.into(),
        };
        fixed.as_bytes().to_vec()
    }
}

/// A device that PCI does not enumerate, by its name in the ACPI namespace (section 8.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Andd {
    /// The number by which scopes refer to it.
    pub number: u8,
    /// The full path of its object, such as `\_SB.PCI0.UAR0`.
    pub name: String,
}

impl Andd {
    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        if !self.name.starts_with('\\') || !self.name.chars().all(|c| c.is_ascii_graphic()) {
            return Err(Error::NamespaceName(self.name.clone()));
        }
        let fixed = AnddLayout { head: head(kind::ANDD), reserved: [0; 3], device_number: self.number };
        let mut bytes = fixed.as_bytes().to_vec();
        bytes.extend(self.name.as_bytes());
        bytes.push(0);
        with_length("ANDD", bytes)
    }
}

/// Integrated devices with an address translation cache (section 8.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Satc {
    /// PCI segment of the devices.
    pub segment: u16,
    /// Whether the devices do not work without their cache.
    pub atc_required: bool,
    /// The devices, as endpoints.
    pub scopes: Vec<Scope>,
}

impl Satc {
    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let flags = if self.atc_required { ATC_REQUIRED } else { 0 };
        with_scopes("SATC", &ats(kind::SATC, flags, self.segment), &self.scopes)
    }
}

/// Properties of integrated devices, each in the flags of its scope (section 8.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidp {
    /// PCI segment of the devices.
    pub segment: u16,
    /// The devices, as endpoints.
    pub scopes: Vec<Scope>,
}

impl Sidp {
    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let fixed = SidpLayout { head: head(kind::SIDP), reserved: 0.into(), segment: self.segment.into() };
        with_scopes("SIDP", &fixed, &self.scopes)
    }
}

/// A head whose length [`with_length`] fills in.
fn head(kind: u16) -> Head {
    Head { kind: kind.into(), length: 0.into() }
}

fn ats(kind: u16, flags: u8, segment: u16) -> AtsLayout {
    AtsLayout { head: head(kind), flags, reserved: 0, segment: segment.into() }
}

fn with_scopes(
    name: &'static str,
    fixed: &(impl IntoBytes + Immutable),
    scopes: &[Scope],
) -> Result<Vec<u8>, Error> {
    let mut bytes = fixed.as_bytes().to_vec();
    for scope in scopes {
        scope.encode(&mut bytes)?;
    }
    with_length(name, bytes)
}

/// Writes the final length into the head.
fn with_length(name: &'static str, mut bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    let length = u16::try_from(bytes.len()).map_err(|_| Error::TooLong { name, length: bytes.len() })?;
    bytes[2..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}
