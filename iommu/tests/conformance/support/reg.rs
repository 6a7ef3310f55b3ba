//! Registers by offset, and the bits that tests speak of (§11.4).

pub(crate) const VER: u64 = 0x00;
pub(crate) const CAP: u64 = 0x08;
pub(crate) const ECAP: u64 = 0x10;
pub(crate) const GCMD: u64 = 0x18;
pub(crate) const GSTS: u64 = 0x1C;
pub(crate) const RTADDR: u64 = 0x20;
pub(crate) const CCMD: u64 = 0x28;
pub(crate) const FSTS: u64 = 0x34;
pub(crate) const FECTL: u64 = 0x38;
pub(crate) const FEDATA: u64 = 0x3C;
pub(crate) const FEADDR: u64 = 0x40;
pub(crate) const FEUADDR: u64 = 0x44;
pub(crate) const IQH: u64 = 0x80;
pub(crate) const IQT: u64 = 0x88;
pub(crate) const IQA: u64 = 0x90;
pub(crate) const ICS: u64 = 0x9C;
pub(crate) const IECTL: u64 = 0xA0;
pub(crate) const IEDATA: u64 = 0xA4;
pub(crate) const IEADDR: u64 = 0xA8;
pub(crate) const IEUADDR: u64 = 0xAC;
pub(crate) const IQERCD: u64 = 0xB0;
pub(crate) const IRTA: u64 = 0xB8;
pub(crate) const PMEN: u64 = 0x64;
pub(crate) const PLMBASE: u64 = 0x68;
pub(crate) const PLMLIMIT: u64 = 0x6C;
pub(crate) const PHMBASE: u64 = 0x70;
pub(crate) const PHMLIMIT: u64 = 0x78;
pub(crate) const PQH: u64 = 0xC0;
pub(crate) const PQT: u64 = 0xC8;
pub(crate) const PQA: u64 = 0xD0;
pub(crate) const PRS: u64 = 0xDC;
pub(crate) const PECTL: u64 = 0xE0;
pub(crate) const PEDATA: u64 = 0xE4;
pub(crate) const PEADDR: u64 = 0xE8;
pub(crate) const PEUADDR: u64 = 0xEC;

/// Bits of GCMD and GSTS.
pub(crate) const TE: u32 = 1 << 31;
pub(crate) const SRTP: u32 = 1 << 30;
pub(crate) const WBF: u32 = 1 << 27;
pub(crate) const QIE: u32 = 1 << 26;
pub(crate) const IRE: u32 = 1 << 25;
pub(crate) const SIRTP: u32 = 1 << 24;
pub(crate) const CFI: u32 = 1 << 23;

/// Bits of FSTS.
pub(crate) const PFO: u32 = 1 << 0;
pub(crate) const PPF: u32 = 1 << 1;
pub(crate) const IQE: u32 = 1 << 4;

/// Bits of the event control registers.
pub(crate) const IM: u32 = 1 << 31;
pub(crate) const IP: u32 = 1 << 30;
pub(crate) const ICE: u32 = 1 << 5;
pub(crate) const ITE: u32 = 1 << 6;
