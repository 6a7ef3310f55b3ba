//! The tables that requesters are looked up in: root tables (§9.1, §9.2) and context tables (§9.3, §9.4) of
//! both modes.

use crate::spec::{PAGE_ADDRESS, bits, mask};
use crate::{Capabilities, DomainId, Feature, GuestAddress, Pasid};

/// Root entries, one per bus, are 16 bytes, as are the context entries of legacy mode, one per device and
/// function.
pub(crate) const ENTRY_SIZE: u64 = 16;
/// Context entries of scalable mode are 32 bytes, and a table has those of half a bus.
pub(crate) const SCALABLE_ENTRY_SIZE: u64 = 32;

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

/// The half of a root entry of scalable mode that serves a device and function (§9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScalableRootEntry(pub(crate) u64);

impl ScalableRootEntry {
    pub(crate) const fn present(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether a bit is set that must be zero.
    pub(crate) const fn reserved(self, capabilities: &Capabilities) -> bool {
        self.0 & (mask(11, 1) | capabilities.beyond_host_width()) != 0
    }

    /// The context table of this half of the bus.
    pub(crate) const fn context_table(self) -> GuestAddress {
        GuestAddress(self.0 & PAGE_ADDRESS)
    }
}

/// A context entry of scalable mode (§9.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScalableContextEntry(pub(crate) [u64; 4]);

impl ScalableContextEntry {
    const DEVICE_TLB: u64 = 1 << 2;
    const PASID: u64 = 1 << 3;
    const PAGE_REQUESTS: u64 = 1 << 4;
    const RID_PASID: u64 = mask(19, 0);
    const RID_PRIVILEGE: u64 = 1 << 20;

    pub(crate) const fn present(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Fault processing disable; counts also in an entry not present.
    pub(crate) const fn fault_processing_disabled(self) -> bool {
        self.0[0] & 2 != 0
    }

    /// DTE: the function may have a device-TLB.
    pub(crate) const fn device_tlb(self) -> bool {
        self.0[0] & Self::DEVICE_TLB != 0
    }

    /// PASIDE: requests with PASID are allowed.
    pub(crate) const fn pasid_enabled(self) -> bool {
        self.0[0] & Self::PASID != 0
    }

    /// PRE: page requests are allowed.
    pub(crate) const fn page_requests(self) -> bool {
        self.0[0] & Self::PAGE_REQUESTS != 0
    }

    pub(crate) const fn pasid_directory(self) -> GuestAddress {
        GuestAddress(self.0[0] & PAGE_ADDRESS)
    }

    /// The highest PASID that the directory, by its size PDTS, has a place for.
    pub(crate) const fn last_pasid(self) -> Pasid {
        Pasid((1 << (bits(self.0[0], 11, 9) + 13)) - 1)
    }

    /// The PASID of requests without one.
    pub(crate) const fn rid_pasid(self) -> Pasid {
        Pasid((self.0[1] & Self::RID_PASID) as u32)
    }

    /// Whether requests without PASID have supervisor privilege.
    pub(crate) const fn rid_privileged(self) -> bool {
        self.0[1] & Self::RID_PRIVILEGE != 0
    }

    /// Whether a bit is set that must be zero, be it for want of what it asks for.
    pub(crate) fn reserved(self, capabilities: &Capabilities) -> bool {
        let without = |feature, bits| if capabilities.has(feature) { 0 } else { bits };
        let low = mask(8, 5)
            | capabilities.beyond_host_width()
            | without(Feature::DeviceTlb, Self::DEVICE_TLB)
            | without(Feature::Pasid, Self::PASID)
            | without(Feature::PageRequests, Self::PAGE_REQUESTS);
        let high = mask(63, 21)
            | without(Feature::RidPasid, Self::RID_PASID)
            | without(Feature::RidPrivilege, Self::RID_PRIVILEGE);
        self.0[0] & low != 0 || self.0[1] & high != 0 || self.0[2] | self.0[3] != 0
    }
}
