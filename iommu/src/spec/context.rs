//! The tables that lead from a requester to its address space in legacy mode: root table (§9.1) and context
//! table (§9.3).

use crate::spec::{PAGE_ADDRESS, bits, mask};
use crate::{Capabilities, DomainId, GuestAddress};

/// Entries are 16 bytes: one root entry per bus, one context entry per device and function.
pub(crate) const ENTRY_SIZE: u64 = 16;

/// What RTADDR_REG points to, by its field TTM (§11.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableMode {
    Legacy,
    Scalable,
    Reserved,
    Abort,
}

/// A value of RTADDR_REG (§11.4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RootPointer(pub(crate) u64);

impl RootPointer {
    pub(crate) const fn mode(self) -> TableMode {
        match bits(self.0, 11, 10) {
            0 => TableMode::Legacy,
            1 => TableMode::Scalable,
            2 => TableMode::Reserved,
            _ => TableMode::Abort,
        }
    }

    /// The root table.
    pub(crate) const fn table(self) -> GuestAddress {
        GuestAddress(self.0 & PAGE_ADDRESS)
    }
}

/// A root entry of legacy mode (§9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RootEntry(pub(crate) [u64; 2]);

impl RootEntry {
    pub(crate) const fn present(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether a bit is set that must be zero.
    pub(crate) fn reserved(self, capabilities: &Capabilities) -> bool {
        self.0[0] & (mask(11, 1) | capabilities.beyond_host_width()) != 0 || self.0[1] != 0
    }

    /// The context table of this bus.
    pub(crate) const fn context_table(self) -> GuestAddress {
        GuestAddress(self.0[0] & PAGE_ADDRESS)
    }
}

/// How a context entry wants requests treated: its field TT (§9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TranslationType {
    /// Untranslated requests go through the second-stage table; no others are allowed.
    Untranslated,
    /// As above, and device-TLBs are allowed.
    All,
    /// Addresses are used as they are.
    PassThrough,
    /// No meaning.
    Reserved,
}

/// A context entry of legacy mode (§9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContextEntry(pub(crate) [u64; 2]);

impl ContextEntry {
    pub(crate) const fn present(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Fault processing disable: qualified faults are not recorded. Counts also in an entry not present.
    pub(crate) const fn fault_processing_disabled(self) -> bool {
        self.0[0] & 2 != 0
    }

    pub(crate) const fn translation_type(self) -> TranslationType {
        match bits(self.0[0], 3, 2) {
            0 => TranslationType::Untranslated,
            1 => TranslationType::All,
            2 => TranslationType::PassThrough,
            _ => TranslationType::Reserved,
        }
    }

    /// The top second-stage table.
    pub(crate) const fn second_stage_table(self) -> GuestAddress {
        GuestAddress(self.0[0] & PAGE_ADDRESS)
    }

    /// The field AW as it stands: 1, 2, 3 for 39, 48, 57 bits.
    pub(crate) const fn address_width(self) -> u8 {
        bits(self.0[1], 2, 0) as u8
    }

    pub(crate) const fn domain(self) -> DomainId {
        DomainId(bits(self.0[1], 23, 8) as u16)
    }

    /// Whether a bit is set that must be zero.
    pub(crate) fn reserved(self, capabilities: &Capabilities) -> bool {
        let pointer = match self.translation_type() {
            TranslationType::PassThrough => 0,
            _ => capabilities.beyond_host_width(),
        };
        let domain = u64::from(!capabilities.domain_mask()) << 8;
        self.0[0] & (mask(11, 4) | pointer) != 0 || self.0[1] & (1 << 7 | mask(63, 24) | domain) != 0
    }
}
