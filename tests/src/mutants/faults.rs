//! Defects of fault reporting.

use super::{Mutant, Test};

pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "record-without-function",
        why: "A fault record names the device and not which of its functions it was.",
        file: "iommu/src/spec/fault.rs",
        find: "| source.0 as u64",
        replace: "| (source.0 & !7) as u64",
        killed_by: Test::unit("iommu", "fault::tests::a_record_says_who_wanted_what_and_why_not"),
    },
    Mutant {
        name: "status-without-index",
        why: "FSTS always names record 0, wherever the first pending record is.",
        file: "iommu/src/fault.rs",
        find: ".bits() | index << FaultStatus::INDEX_SHIFT;",
        replace: ".bits();",
        killed_by: Test::unit("iommu", "fault::tests::the_status_names_the_first_record_of_a_series"),
    },
    Mutant {
        name: "record-without-interrupt-index",
        why: "The record of a blocked interrupt does not say which entry of the table it was.",
        file: "iommu/src/spec/fault.rs",
        find: "FaultInfo::Interrupt(index) => ((index as u64) << 48, 0),",
        replace: "FaultInfo::Interrupt(_) => (0, 0),",
        killed_by: Test::unit("iommu", "interrupt::tests::refused_requests_are_recorded_with_their_index"),
    },
    Mutant {
        name: "event-open-at-reset",
        why: "Events are not masked after power-on: a fault before software has set them up sends vector 0.",
        file: "iommu/src/registers.rs",
        find: "FECTL | IECTL | PECTL if is_there(offset, capabilities) => EVENT_MASKED,",
        replace: "FECTL | IECTL | PECTL if is_there(offset, capabilities) => 0,",
        killed_by: Test::unit("iommu", "fault::tests::before_software_unmasks_the_event_no_message_is_sent"),
    },
    Mutant {
        name: "masked-event-sent",
        why: "A masked event is noted as pending, and sent all the same.",
        file: "iommu/src/event.rs",
        find: "            registers.set(self.0, control | EVENT_PENDING);
            return None;",
        replace: "            registers.set(self.0, control | EVENT_PENDING);",
        killed_by: Test::unit("iommu", "fault::tests::a_masked_event_waits_until_it_is_unmasked"),
    },
    Mutant {
        name: "masked-event-lost",
        why: "A masked event is not noted as pending, so that unmasking it tells nobody.",
        file: "iommu/src/event.rs",
        find: "registers.set(self.0, control | EVENT_PENDING);",
        replace: "",
        killed_by: Test::unit("iommu", "fault::tests::a_masked_event_waits_until_it_is_unmasked"),
    },
    Mutant {
        name: "flood-overwrites",
        why: "Faults that find no free record take one that software has not read yet, for as long as they come.",
        file: "iommu/src/fault.rs",
        find: "if registers.get(record + 12) & PENDING != 0 {",
        replace: "if false {",
        killed_by: Test::unit("iommu", "fault::tests::a_fault_that_finds_no_room_is_lost_and_that_is_told"),
    },
];
