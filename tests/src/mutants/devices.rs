//! Defects of PCI and of emulated devices.

use super::{Mutant, Test};

pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "window-ignored",
        why: "A BAR answers although the bridge above it does not forward its addresses.",
        file: "pci/src/map.rs",
        find: "let memory = through(&passage.memory, &forwarding.memory);",
        replace: "let memory = passage.memory.clone();",
        killed_by: Test::unit(
            "pci",
            "root_complex::tests::decoding::what_a_bridge_does_not_forward_is_not_reached",
        ),
    },
    Mutant {
        name: "disabled-bar-answers",
        why: "A BAR answers although memory decoding is off in the command register.",
        file: "pci/src/bar.rs",
        find: "enabled.then_some(BarRange { space, base, length: bar.size })",
        replace: "Some(BarRange { space, base, length: bar.size })",
        killed_by: Test::unit("pci", "root_complex::tests::decoding::disabled_memory_answers_nothing"),
    },
    Mutant {
        name: "config-write-clears-all",
        why: "Writing one to a bit of configuration space clears every bit of its byte that can be cleared.",
        file: "pci/src/config_space.rs",
        find: "!(byte.clearable & new)",
        replace: "!(if new == 0 { 0 } else { byte.clearable })",
        killed_by: Test::unit(
            "pci",
            "config_space::tests::writing_one_clears_that_bit_and_not_its_neighbours",
        ),
    },
    Mutant {
        name: "edu-mask-ignored",
        why: "The edu device drives address lines that it does not have.",
        file: "devices/src/edu/registers.rs",
        find: "    let first = address & mask;
    let last = first.checked_add(count.saturating_sub(1))?;
    (last & mask == last).then_some(first)",
        replace: "    Some(address)",
        killed_by: Test::unit("devices", "edu::registers::tests::addresses_are_cut_to_the_lines_there_are"),
    },
    Mutant {
        name: "bus-master-ignored",
        why: "A device reads, writes and interrupts although its Bus Master bit is clear.",
        file: "devices/src/bus_master.rs",
        find: "if *enabled { Ok(enabled) } else { Err(DmaError::NotMaster) }",
        replace: "Ok(enabled)",
        killed_by: Test::unit("devices", "bus_master::tests::nothing_happens_without_bus_mastering"),
    },
];
