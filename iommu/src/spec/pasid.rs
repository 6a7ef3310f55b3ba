//! The tables that lead from a PASID to an address space: PASID directory (§9.5) and PASID table (§9.6).

use crate::spec::second_stage::Level;
use crate::spec::{PAGE_ADDRESS, bits, mask};
use crate::{Capabilities, DomainId, Feature, GuestAddress};

/// The PASID bits that a PASID table is indexed by; those above index the directory.
pub(crate) const TABLE_BITS: u32 = 6;
/// Directory entries are 8 bytes.
pub(crate) const DIRECTORY_ENTRY_SIZE: u64 = 8;
/// PASID table entries are 64 bytes.
pub(crate) const ENTRY_SIZE: u64 = 64;

/// A PASID directory entry (§9.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryEntry(pub(crate) u64);

impl DirectoryEntry {
    pub(crate) const fn present(self) -> bool {
        self.0 & 1 != 0
    }

    /// Fault processing disable; counts also in an entry not present.
    pub(crate) const fn fault_processing_disabled(self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether a bit is set that must be zero.
    pub(crate) const fn reserved(self, capabilities: &Capabilities) -> bool {
        self.0 & (mask(11, 2) | capabilities.beyond_host_width()) != 0
    }

    pub(crate) const fn pasid_table(self) -> GuestAddress {
        GuestAddress(self.0 & PAGE_ADDRESS)
    }
}

/// How addresses are translated: the field PGTT (§9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TranslationType {
    FirstStage,
    SecondStage,
    Nested,
    PassThrough,
    /// No meaning.
    Reserved,
}

bitflags::bitflags! {
    /// What a PASID table entry says of its first stage. The bits are those of its third word.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub(crate) struct FirstStageOptions: u8 {
        /// SRE: requests with supervisor privilege are allowed.
        const SUPERVISOR = 1 << 0;
        /// ERE: requests to execute are allowed. Later revisions of the specification have no such bit; it
        /// means something only together with ECAP.ERS, which they do not have either.
        const EXECUTE = 1 << 1;
        /// WPE: read-only pages are so for supervisor privilege too.
        const WRITE_PROTECT = 1 << 4;
        /// EAFE: the extended accessed flag is set.
        const EXTENDED_ACCESSED = 1 << 7;
    }
}

/// A PASID table entry (§9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PasidEntry(pub(crate) [u64; 8]);

impl PasidEntry {
    const SECOND_STAGE_DIRTY: u64 = 1 << 9;
    const WALK_SNOOP: u64 = 1 << 23;
    const PAGE_SNOOP: u64 = 1 << 24;

    pub(crate) const fn present(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Fault processing disable; counts also in an entry not present.
    pub(crate) const fn fault_processing_disabled(self) -> bool {
        self.0[0] & 2 != 0
    }

    /// The field AW as it stands: 1, 2, 3 for second-stage tables of 39, 48, 57 bits.
    pub(crate) const fn address_width(self) -> u8 {
        bits(self.0[0], 4, 2) as u8
    }

    pub(crate) const fn translation_type(self) -> TranslationType {
        match bits(self.0[0], 8, 6) {
            1 => TranslationType::FirstStage,
            2 => TranslationType::SecondStage,
            3 => TranslationType::Nested,
            4 => TranslationType::PassThrough,
            _ => TranslationType::Reserved,
        }
    }

    /// SSADE: second-stage entries have accessed and dirty bits.
    pub(crate) const fn second_stage_dirty(self) -> bool {
        self.0[0] & Self::SECOND_STAGE_DIRTY != 0
    }

    pub(crate) const fn second_stage_table(self) -> GuestAddress {
        GuestAddress(self.0[0] & PAGE_ADDRESS)
    }

    pub(crate) const fn domain(self) -> DomainId {
        DomainId(self.0[1] as u16)
    }

    /// PWSNP: walks see the processors' caches.
    pub(crate) const fn walk_snoop(self) -> bool {
        self.0[1] & Self::WALK_SNOOP != 0
    }

    pub(crate) const fn first_stage_options(self) -> FirstStageOptions {
        FirstStageOptions::from_bits_truncate(self.0[2] as u8)
    }

    /// The top level for the field FSPM, if the unit has such tables.
    pub(crate) const fn first_stage_top(self, capabilities: &Capabilities) -> Option<Level> {
        match bits(self.0[2], 3, 2) {
            0 => Level::from_number(4),
            1 if capabilities.has(Feature::FirstStage5Levels) => Level::from_number(5),
            _ => None,
        }
    }

    pub(crate) const fn first_stage_table(self) -> GuestAddress {
        GuestAddress(self.0[2] & PAGE_ADDRESS)
    }

    /// Whether a bit is set that must be zero, be it for want of what it asks for.
    ///
    /// AW is no such field, whatever the unit can do: Linux sets it in every entry, and where there is no
    /// second stage it is ignored.
    pub(crate) fn reserved(self, capabilities: &Capabilities) -> bool {
        let without = |feature, bits| if capabilities.has(feature) { 0 } else { bits };
        let beyond = capabilities.beyond_host_width();
        let second_stage = 1 << 5
            | mask(11, 10)
            | beyond
            | without(Feature::SecondStage, PAGE_ADDRESS)
            | without(Feature::SecondStageDirty, Self::SECOND_STAGE_DIRTY);
        // Memory types (CD, EMTE, PAT) are for units with ECAP.MTS, which this one is not.
        let tags = u64::from(!capabilities.domain_mask())
            | mask(22, 16)
            | mask(63, 25)
            | without(Feature::WalkSnoop, Self::WALK_SNOOP)
            | without(Feature::SnoopControl, Self::PAGE_SNOOP);
        let option = |option: FirstStageOptions| u64::from(option.bits());
        let first_stage = mask(11, 8)
            | beyond
            | without(Feature::FirstStage, PAGE_ADDRESS)
            | without(Feature::Supervisor, option(FirstStageOptions::SUPERVISOR))
            | without(Feature::Execute, option(FirstStageOptions::EXECUTE))
            | without(Feature::ExtendedAccessed, option(FirstStageOptions::EXTENDED_ACCESSED));
        let [low, middle, high, rest @ ..] = self.0;
        low & second_stage != 0 || middle & tags != 0 || high & first_stage != 0 || rest != [0; 5]
    }
}
