//! Defects of performance counters and of the state of a unit.

use super::{Mutant, Test};

pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "frozen-counters-count",
        why: "Counters that software has frozen go on.",
        file: "iommu/src/counters.rs",
        find: "self.active.store(enabled & !registers.get(FREEZE_STATUS), Ordering::Relaxed);",
        replace: "self.active.store(enabled | registers.get(FREEZE_STATUS) & 0, Ordering::Relaxed);",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s11_counters::s11_4_13_all_counters_stand_still_while_frozen",
        ),
    },
    Mutant {
        name: "filters-ignored",
        why: "A counter with a filter counts what others do as well.",
        file: "iommu/src/counters/tally.rs",
        find: "if count > 0 && Filter::ALL.into_iter().all(passes) { count } else { 0 }",
        replace: "if count > 0 || Filter::ALL.into_iter().all(passes) { count } else { 0 }",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s11_counters::s11_4_13_filters_leave_out_what_others_do",
        ),
    },
    Mutant {
        name: "overflow-told-each-time",
        why: "Every overflow is an interrupt, looked at or not.",
        file: "iommu/src/counters.rs",
        find: "if !interrupts || registers.get(PERFINTRSTS) & INTERRUPT_STATUS != 0 {",
        replace: "if !interrupts {",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s11_counters::s11_4_13_an_overflow_is_told_once_until_it_is_looked_at",
        ),
    },
    Mutant {
        name: "overflow-status-overwritten",
        why: "Writing one to clear an overflow clears the others and sets it.",
        file: "iommu/src/counters.rs",
        find: "registers.set(OVERFLOW_STATUS, registers.get(OVERFLOW_STATUS) & !value)",
        replace: "registers.set(OVERFLOW_STATUS, value)",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s11_counters::s11_4_13_an_overflow_is_told_once_until_it_is_looked_at",
        ),
    },
    Mutant {
        name: "counter-number-unchecked",
        why: "A counter is started that there is not.",
        file: "iommu/src/counters.rs",
        find: "if operand >= COUNTERS as u64 =>",
        replace: "if operand > COUNTERS as u64 =>",
        killed_by: Test::integration(
            "iommu",
            "conformance",
            "s11_counters::s11_4_14_an_operand_without_meaning_is_refused",
        ),
    },
    Mutant {
        name: "overflow-too-early",
        why: "A counter that has reached its last value counts as one that has gone past it.",
        file: "iommu/src/counters.rs",
        find: "if before + count > LAST {",
        replace: "if before + count >= LAST {",
        killed_by: Test::unit(
            "iommu",
            "counters::tests::s11_4_13_an_overflow_is_told_once_until_software_has_looked",
        ),
    },
    Mutant {
        name: "counter-operand-cut",
        why: "Of a command's operand only the low bits are looked at, and another counter starts than was named.",
        file: "iommu/src/counters.rs",
        find: "u64::from(value >> 16) | u64::from(registers.get(COMMAND_HIGH)) << 16",
        replace: "u64::from(value >> 16)",
        killed_by: Test::unit(
            "iommu",
            "counters::tests::s11_4_14_commands_that_are_not_there_or_mean_nothing_fail",
        ),
    },
    Mutant {
        name: "lookup-counted-as-hit",
        why: "Every lookup counts as a hit.",
        file: "iommu/src/translate/lookup.rs",
        find: "look.note(Event::IotlbLookup);",
        replace: "look.note(Event::IotlbLookup);\n        look.note(Event::IotlbHit);",
        killed_by: Test::unit(
            "iommu",
            "counters::tests::s11_4_13_lookups_hits_and_reads_are_counted_exactly",
        ),
    },
    Mutant {
        name: "dropped-request-counted",
        why: "A page request that is dropped for want of room counts as one in the queue.",
        file: "iommu/src/page_request.rs",
        find: "if dropped.is_none() {",
        replace: "if true {",
        killed_by: Test::unit(
            "iommu",
            "counters::tests::s11_4_13_page_requests_count_when_they_are_in_the_queue",
        ),
    },
    Mutant {
        name: "state-registers-believed",
        why: "A state sets bits of registers that nobody can set.",
        file: "iommu/src/state/check.rs",
        find: "(registers(state, fresh, faults), \"its registers\"),",
        replace: "(registers(state, fresh, faults) || true, \"its registers\"),",
        killed_by: Test::unit("iommu", "state::tests::states_that_contradict_themselves_are_refused"),
    },
    Mutant {
        name: "state-modes-believed",
        why: "A state says that translation is on where its status register says that it is off.",
        file: "iommu/src/state/check.rs",
        find: "(modes(state, fresh), \"its modes\"),",
        replace: "(modes(state, fresh) || true, \"its modes\"),",
        killed_by: Test::unit("iommu", "state::tests::states_that_contradict_themselves_are_refused"),
    },
    Mutant {
        name: "state-head-believed",
        why: "A state shows another head than the queue goes on from.",
        file: "iommu/src/state/check.rs",
        find: "\n        && shown == head",
        replace: "",
        killed_by: Test::unit("iommu", "state::tests::states_that_contradict_themselves_are_refused"),
    },
    Mutant {
        name: "state-regions-believed",
        why: "A state protects memory although its register says that nothing is protected, or half of it.",
        file: "iommu/src/state/check.rs",
        find: "(protection(state), \"its protected regions\"),",
        replace: "(protection(state) || true, \"its protected regions\"),",
        killed_by: Test::unit("iommu", "state::tests::states_that_contradict_themselves_are_refused"),
    },
];
