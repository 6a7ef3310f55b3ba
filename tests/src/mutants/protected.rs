//! Defects of protected memory regions.

use super::{Mutant, Test};

pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "protected-without-its-end",
        why: "The last granule of a protected region is not part of it.",
        file: "iommu/src/protected.rs",
        find: "{ start..end + PROTECTED_GRANULE }",
        replace: "{ start..end }",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s11_more_registers::s11_4_8_regions_block_what_no_table_leads_to",
        ),
    },
    Mutant {
        name: "protected-recorded",
        why: "Every request that a protected region blocks is a fault, and the log is full of them.",
        file: "iommu/src/translate.rs",
        find: "reachable.map(|length| Reach { guest, length }).ok_or(Fault { reason, recorded: false })",
        replace: "reachable.map(|length| Reach { guest, length }).ok_or(Fault { reason, recorded: true })",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s11_more_registers::s11_4_8_regions_block_what_no_table_leads_to",
        ),
    },
    Mutant {
        name: "protected-from-tables-only",
        why: "A protected region is open to requests that pass through.",
        file: "iommu/src/translate.rs",
        find: "return self.unprotected(reach, request.access);",
        replace: "return Ok(reach);",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s11_more_registers::s11_4_8_with_translation_on_what_passes_through_is_blocked",
        ),
    },
    Mutant {
        name: "protected-from-its-start-only",
        why: "A request that begins before a protected region runs into it.",
        file: "iommu/src/protected.rs",
        find: "length.min(distance)",
        replace: "length",
        killed_by: Test::unit(
            "iommu",
            "protected::tests::without_translation_nothing_in_a_region_is_reached",
        ),
    },
];
