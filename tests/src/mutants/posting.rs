//! Defects of posting.

use super::{Mutant, Test};

pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "notified-twice",
        why: "Software is notified of every interrupt although it has not come for the first.",
        file: "iommu/src/spec/posted.rs",
        find: "self.0 & Self::OUTSTANDING == 0 && (urgent",
        replace: "(urgent",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s5_posting::s5_2_3_one_notification_until_software_has_come",
        ),
    },
    Mutant {
        name: "suppression-ignored",
        why: "Software that runs with notifications suppressed is notified all the same.",
        file: "iommu/src/spec/posted.rs",
        find: " && (urgent || self.0 & Self::SUPPRESSED == 0)",
        replace: "",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s5_posting::s5_2_3_suppressed_notifications_are_for_urgent_interrupts_only",
        ),
    },
    Mutant {
        name: "outstanding-not-noted",
        why: "Nothing notes that software has been notified.",
        file: "iommu/src/interrupt/post.rs",
        find: "let new = control.0 | if notifies { Control::OUTSTANDING } else { 0 };",
        replace: "let new = control.0;",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s5_posting::s5_2_1_a_posted_entry_names_a_descriptor_and_a_vector",
        ),
    },
    Mutant {
        name: "descriptor-cut-short",
        why: "A descriptor above 4 GiB is taken for one below.",
        file: "iommu/src/spec/interrupt.rs",
        find: "GuestAddress(bits(low, 63, 38) << 6 | bits(high, 63, 32) << 32)",
        replace: "GuestAddress(bits(low, 63, 38) << 6 | bits(high, 63, 32) & 0)",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s5_posting::s5_2_3_a_descriptor_that_is_no_memory",
        ),
    },
    Mutant {
        name: "posted-source-unchecked",
        why: "A function posts the interrupts of another.",
        file: "iommu/src/interrupt.rs",
        find: "if !entry.accepts(source) {",
        replace: "if !entry.is_posted() && !entry.accepts(source) {",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s5_posting::s5_2_1_sources_are_validated_as_for_remapped_entries",
        ),
    },
    Mutant {
        name: "descriptor-bits-accepted",
        why: "Reserved bits of a descriptor are taken for part of the notification.",
        file: "iommu/src/interrupt/post.rs",
        find: "if control.reserved(extended) { Err",
        replace: "if false { Err",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s5_posting::s9_11_descriptors_have_reserved_bits",
        ),
    },
    Mutant {
        name: "posting-unasked",
        why: "Entries of posted format are followed by a unit that does not offer it.",
        file: "iommu/src/spec/interrupt.rs",
        find: "!posting || low &",
        replace: "low &",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s5_posting::s9_10_a_unit_that_does_not_post_has_no_such_entries",
        ),
    },
];
