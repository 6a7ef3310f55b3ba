//! The table's structures as they lie in memory, little-endian and unpadded (VT-d specification, chapter 8).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Numbers of the structure types.
pub(super) mod kind {
    pub(crate) const DRHD: u16 = 0;
    pub(crate) const RMRR: u16 = 1;
    pub(crate) const ATSR: u16 = 2;
    pub(crate) const RHSA: u16 = 3;
    pub(crate) const ANDD: u16 = 4;
    pub(crate) const SATC: u16 = 5;
    pub(crate) const SIDP: u16 = 6;
}

/// DRHD flag: the unit takes every device of its segment that no other unit names.
pub(super) const INCLUDE_PCI_ALL: u8 = 1;
/// ATSR flag: all root ports of the segment support ATS.
pub(super) const ALL_PORTS: u8 = 1;
/// SATC flag: the address translation caches must be enabled.
pub(super) const ATC_REQUIRED: u8 = 1;

/// The length of the header every ACPI table begins with.
pub(super) const SDT_HEADER: usize = 36;

/// What follows the ACPI header (section 8.1).
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct TableBody {
    pub(super) width_less_one: u8,
    pub(super) flags: u8,
    pub(super) reserved: [u8; 10],
}

/// What every structure begins with (section 8.2).
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Head {
    pub(super) kind: U16,
    pub(super) length: U16,
}

/// A remapping unit, then device scopes (section 8.3).
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct DrhdLayout {
    pub(super) head: Head,
    pub(super) flags: u8,
    pub(super) size: u8,
    pub(super) segment: U16,
    pub(super) base: U64,
}

/// Reserved memory, then device scopes (section 8.4).
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RmrrLayout {
    pub(super) head: Head,
    pub(super) reserved: U16,
    pub(super) segment: U16,
    pub(super) base: U64,
    pub(super) limit: U64,
}

/// Root ports with ATS, or integrated devices with a cache, then device scopes (sections 8.5 and 8.8).
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct AtsLayout {
    pub(super) head: Head,
    pub(super) flags: u8,
    pub(super) reserved: u8,
    pub(super) segment: U16,
}

/// A unit's proximity domain (section 8.6).
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RhsaLayout {
    pub(super) head: Head,
    pub(super) reserved: U32,
    pub(super) base: U64,
    pub(super) proximity_domain: U32,
}

/// A namespace device, then its name with a NUL (section 8.7).
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct AnddLayout {
    pub(super) head: Head,
    pub(super) reserved: [u8; 3],
    pub(super) device_number: u8,
}

/// Properties of integrated devices, then device scopes (section 8.9).
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct SidpLayout {
    pub(super) head: Head,
    pub(super) reserved: U16,
    pub(super) segment: U16,
}

/// A device scope, then its path in pairs of device and function number (section 8.3.1).
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct ScopeLayout {
    pub(super) kind: u8,
    pub(super) length: u8,
    pub(super) flags: u8,
    pub(super) reserved: u8,
    pub(super) enumeration_id: u8,
    pub(super) start_bus: u8,
}
