//! Defects of saving and restoring, and of registers that serve what the unit cannot do.

use super::{Mutant, Test};

pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "restored-unit-remembers",
        why: "A unit that takes a state up goes by what it remembers of the tables from before.",
        file: "iommu/src/state.rs",
        find: "self.invalidate(&mut queue, &Invalidation::Everything, &mut outbox);",
        replace: "",
        killed_by: Test::unit(
            "iommu",
            "state::tests::a_unit_that_takes_a_state_up_forgets_what_it_remembered",
        ),
    },
    Mutant {
        name: "restored-routes-stay",
        why: "Routes that were made from the interrupt table stay when a unit takes up a state with another.",
        file: "iommu/src/state.rs",
        find: "self.invalidate_interrupts(EntryRange::All);",
        replace: "",
        killed_by: Test::unit(
            "iommu",
            "state::tests::a_unit_that_takes_a_state_up_forgets_what_it_remembered",
        ),
    },
    Mutant {
        name: "restored-ring-begins-anew",
        why: "After a state has been taken up, faults go to the first record, which software has not read yet.",
        file: "iommu/src/state.rs",
        find: "self.faults.replace(state.next_fault, ",
        replace: "self.faults.replace(0, ",
        killed_by: Test::unit("iommu", "state::tests::faults_and_the_message_held_back_move_along"),
    },
    Mutant {
        name: "restored-queue-stands-still",
        why: "A queue that was left for later when the state was taken is never gone on with.",
        file: "iommu/src/state.rs",
        find: "if queue.has_more(&self.registers) && !self.resumes_later() {",
        replace: "if false {",
        killed_by: Test::unit(
            "iommu",
            "state::tests::queue::a_queue_left_for_later_goes_on_by_itself_where_nobody_else_sees_to_it",
        ),
    },
    Mutant {
        name: "damaged-state-accepted",
        why: "A state is taken up although its checksum does not fit.",
        file: "iommu/src/state/format.rs",
        find: "if u64::from_le_bytes(*sum) != checksum(",
        replace: "if false && u64::from_le_bytes(*sum) != checksum(",
        killed_by: Test::unit(
            "iommu",
            "state::tests::what_is_no_state_of_this_unit_is_refused_in_a_sentence",
        ),
    },
    Mutant {
        name: "silent-device-forgotten",
        why: "A device that had not answered when the state was taken is never timed out.",
        file: "iommu/src/state/format.rs",
        find: "queue.unanswered = Some(SourceId(device));",
        replace: "let _ = SourceId(device);",
        killed_by: Test::unit(
            "iommu",
            "state::tests::queue::a_device_that_has_not_answered_is_timed_out_after_the_move",
        ),
    },
    Mutant {
        name: "registers-without-feature",
        why: "The registers of what the unit cannot do are there all the same.",
        file: "iommu/src/command.rs",
        find: "if !registers.has(offset) {",
        replace: "if false {",
        killed_by: Test::unit(
            "iommu",
            "registers::tests::map::a_write_changes_its_own_register_and_what_is_no_register_takes_none",
        ),
    },
    Mutant {
        name: "commands-without-feature",
        why: "Commands for what the unit cannot do are obeyed.",
        file: "iommu/src/command.rs",
        find: "Global::from_bits_truncate(value) & Global::supported(&self.capabilities)",
        replace: "Global::from_bits_truncate(value)",
        killed_by: Test::unit(
            "iommu",
            "registers::tests::map::commands_that_serve_a_feature_do_nothing_without_it",
        ),
    },
    Mutant {
        name: "page-requests-around-the-end",
        why: "A queue of page requests at the end of all addresses goes on at the beginning of memory.",
        file: "iommu/src/page_request.rs",
        find: "let Some(address) = queue.checked_add(tail) else { return false };",
        replace: "let address = queue.wrapping_add(tail);",
        killed_by: Test::unit("iommu", "page_request::tests::a_queue_that_cannot_be_written_has_no_room"),
    },
];
