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
    Mutant {
        name: "urgent-suppressed",
        why: "An urgent interrupt waits like any other while notifications are suppressed.",
        file: "iommu/src/spec/posted.rs",
        find: "(urgent || self.0 & Self::SUPPRESSED == 0)",
        replace: "(urgent && false || self.0 & Self::SUPPRESSED == 0)",
        killed_by: Test::unit(
            "iommu",
            "interrupt::post::tests::only_urgent_interrupts_disturb_software_that_suppresses_notifications",
        ),
    },
    Mutant {
        name: "stale-outstanding-believed",
        why: "A notification was outstanding before the vector was posted; that software has taken it since, and \
              without the vector, goes unnoticed.",
        file: "iommu/src/interrupt/post.rs",
        find: "let notifies = control.notifies(entry.urgent());",
        replace: "let notifies = control.notifies(entry.urgent());\n            \
                  if !notifies {\n                return Ok(None);\n            }",
        killed_by: Test::unit("iommu", "interrupt::post::tests::what_software_does_meanwhile_counts"),
    },
    Mutant {
        name: "descriptor-judged-once",
        why: "A descriptor that gets reserved bits after it was looked at is used all the same.",
        file: "iommu/src/interrupt/post.rs",
        find: "Err(found) => control = checked(Control(found))?,",
        replace: "Err(found) => control = Control(found),",
        killed_by: Test::unit("iommu", "interrupt::post::tests::what_software_does_meanwhile_counts"),
    },
    Mutant {
        name: "posting-without-end",
        why: "Software that keeps changing a descriptor keeps a processor of the host for ever.",
        file: "iommu/src/interrupt/post.rs",
        find: "for _ in 0..ATTEMPTS {",
        replace: "loop {",
        killed_by: Test::unit(
            "iommu",
            "interrupt::post::tests::a_descriptor_that_keeps_changing_costs_a_bounded_time_and_loses_nothing",
        )
        .or_hang(),
    },
    Mutant {
        name: "interrupts-undrained",
        why: "The invalidation of an entry completes while an interrupt by it is still on its way.",
        file: "iommu/src/interrupt.rs",
        find: "        self.sections.drain();\n",
        replace: "",
        killed_by: Test::unit("iommu", "interrupt::post::tests::an_invalidation_waits_for_the_notification"),
    },
];
