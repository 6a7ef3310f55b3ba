//! Defects of hot-plug slots.

use super::{Mutant, Test};

pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "removal-waits-for-nobody",
        why: "A function is given back while a processor is still in the middle of an access to it.",
        file: "pci/src/root_complex/slots.rs",
        find: "while !node.held.is_last() {",
        replace: "while false {",
        killed_by: Test::unit("pci", "root_complex::tests::slots::no_access_outlives_a_removal"),
    },
    Mutant {
        name: "removed-bars-stay",
        why: "What was pulled out of a slot keeps its place in the guest's memory.",
        file: "pci/src/root_complex/slots.rs",
        find: "        node.function.reachable(&[None; BAR_COUNT]);",
        replace: "",
        killed_by: Test::unit(
            "pci",
            "root_complex::tests::slots::what_comes_is_reached_once_it_has_power_and_not_after_it_has_gone",
        ),
    },
    Mutant {
        name: "removed-function-sends",
        why: "What was pulled out of a slot may go on sending.",
        file: "pci/src/root_complex/slots.rs",
        find: "        node.function.upstream(false);",
        replace: "",
        killed_by: Test::unit(
            "pci",
            "root_complex::tests::slots::what_comes_is_reached_once_it_has_power_and_not_after_it_has_gone",
        ),
    },
    Mutant {
        name: "slot-power-ignored",
        why: "What is in a slot answers although the guest gives the slot no power.",
        file: "pci/src/root_port.rs",
        find: "!reset && !self.express.link_disabled(config) && self.is_powered(config)",
        replace: "!reset && !self.express.link_disabled(config)",
        killed_by: Test::unit(
            "pci",
            "root_port::hot_plug::tests::power_brings_the_link_up_and_takes_it_down",
        ),
    },
    Mutant {
        name: "slot-events-unasked",
        why: "A slot interrupts for events that the guest has not asked for.",
        file: "pci/src/capability/slot.rs",
        find: "let mut wanted = control & EVENTS & !LINK_CHANGED;",
        replace: "let mut wanted = EVENTS & !LINK_CHANGED;",
        killed_by: Test::unit("pci", "capability::slot::tests::the_guest_chooses_what_interrupts_it"),
    },
    Mutant {
        name: "slot-interrupts-once",
        why: "A slot whose events have been seen never interrupts again.",
        file: "pci/src/root_port/hot_plug.rs",
        find: "let begins = !std::mem::replace(&mut state.interrupting, wanted) && wanted;",
        replace: "let begins = wanted && !std::mem::replace(&mut state.interrupting, wanted);",
        killed_by: Test::unit("pci", "root_port::hot_plug::tests::what_comes_in_is_told_by_one_message"),
    },
    Mutant {
        name: "released-without-asking",
        why: "A guest that only lets the power indicator blink loses what is in the slot.",
        file: "pci/src/capability/slot.rs",
        find: "control & POWER_OFF != 0 && indicator(control) == Indicator::Off",
        replace: "control & POWER_OFF != 0",
        killed_by: Test::unit("pci", "capability::slot::tests::letting_go_takes_power_and_light"),
    },
    Mutant {
        name: "empty-slot-without-room",
        why: "An empty slot keeps no addresses for what comes into it.",
        file: "pci/src/assign/layout.rs",
        find: "let end = lay_out(&mut items, pool, 0..largest)?.max(least.min(largest));",
        replace: "let end = lay_out(&mut items, pool, 0..largest)?;",
        killed_by: Test::unit("pci", "root_complex::tests::slots::an_empty_slot_keeps_room_for_what_comes"),
    },
];
