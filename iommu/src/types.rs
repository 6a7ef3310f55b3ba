//! The quantities every part of the crate speaks of.

use std::fmt;

/// A requester's bus, device and function as it stands in a transaction: `bus << 8 | device << 3 | function`.
///
/// The specification calls it *source-id* in interrupt requests and fault records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u16);

impl SourceId {
    /// The bus number: the index into the root table.
    pub const fn bus(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Device and function: the index into the context table.
    pub const fn devfn(self) -> u8 {
        self.0 as u8
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus(), self.devfn() >> 3, self.devfn() & 7)
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An I/O virtual address: the address a device puts on the bus, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Iova(pub u64);

impl fmt::Display for Iova {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Iova {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A domain identifier: the guest's name for one address space, and the tag of its cached translations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId(pub u16);

/// A process address space identifier, 20 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pasid(pub u32);

/// What a request does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// The device reads memory.
    Read,
    /// The device writes memory.
    Write,
    /// The device reads memory and writes it in one go (an AtomicOp): it needs permission for both.
    Atomic,
}

bitflags::bitflags! {
    /// What a translation lets a device do.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Permissions: u8 {
        /// The device may read.
        const READ = 1;
        /// The device may write.
        const WRITE = 2;
        /// The device may execute what it reads.
        const EXECUTE = 4;
        /// The device may read and write.
        const READ_WRITE = 3;
    }
}

impl Permissions {
    /// Whether `access` is among them.
    pub const fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => self.contains(Self::READ),
            Access::Write => self.contains(Self::WRITE),
            Access::Atomic => self.contains(Self::READ_WRITE),
        }
    }
}

/// A request to memory as it stands on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Who asks.
    pub source: SourceId,
    /// The address space it asks for; none in a request without PASID.
    pub pasid: Option<Pasid>,
    /// It asks with supervisor privilege; has no meaning without PASID.
    pub privileged: bool,
    /// It wants to execute what it reads; has no meaning without PASID.
    pub execute: bool,
    /// What it does.
    pub access: Access,
    /// Its address is one that a translation request gave (AT = 10b), and not to be translated again.
    pub translated: bool,
}

impl Request {
    /// An untranslated request without PASID.
    pub const fn new(source: SourceId, access: Access) -> Self {
        Self { source, pasid: None, privileged: false, execute: false, access, translated: false }
    }

    /// The same in the address space `pasid`.
    #[must_use]
    pub const fn with_pasid(self, pasid: Pasid) -> Self {
        Self { pasid: Some(pasid), ..self }
    }

    /// The same with supervisor privilege.
    #[must_use]
    pub const fn privileged(self) -> Self {
        Self { privileged: true, ..self }
    }

    /// The same, to execute.
    #[must_use]
    pub const fn executing(self) -> Self {
        Self { execute: true, ..self }
    }

    /// The same with an address that has been translated.
    #[must_use]
    pub const fn translated(self) -> Self {
        Self { translated: true, ..self }
    }
}

/// A message-signalled interrupt as it travels: a 32-bit write of `data` to `address`.
///
/// In a *remapped* message address bits 63:40 hold destination bits 31:8, as the unit's own event registers
/// and KVM's 32-bit destination format both have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MsiMessage {
    /// Where the device writes.
    pub address: u64,
    /// What it writes.
    pub data: u32,
}
