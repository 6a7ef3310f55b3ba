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
        name: "alias-unknown",
        why: "Functions of a conventional bus send under their own numbers, which no bridge passes on.",
        file: "pci/src/location.rs",
        find: "if self.conventional { Bdf::new(self.bus.get(), 0, 0) } else { self.bdf() }",
        replace: "self.bdf()",
        killed_by: Test::unit(
            "pci",
            "root_complex::tests::conventional::\
             what_functions_send_bears_the_bridges_alias_and_not_their_own_numbers",
        ),
    },
    Mutant {
        name: "alias-with-device",
        why: "What comes from a conventional bus bears the device number of its sender with the bridge's bus.",
        file: "pci/src/location.rs",
        find: "Bdf::new(self.bus.get(), 0, 0)",
        replace: "Bdf::new(self.bus.get(), self.device, 0)",
        killed_by: Test::unit(
            "pci",
            "root_complex::tests::conventional::\
             what_functions_send_bears_the_bridges_alias_and_not_their_own_numbers",
        ),
    },
    Mutant {
        name: "extended-space-behind-bridge",
        why: "Extended configuration space goes through a bridge that has no way to pass it on.",
        file: "pci/src/root_complex/access.rs",
        find: "target.extended || self.offset < CONVENTIONAL_CONFIG_SPACE",
        replace: "target.extended || self.offset < 0x1000",
        killed_by: Test::unit(
            "pci",
            "root_complex::tests::conventional::extended_configuration_space_ends_at_the_bridge",
        ),
    },
    Mutant {
        name: "alias-not-in-dma",
        why: "DMA from a conventional bus is judged by its sender's own numbers.",
        file: "devices/src/bus_master.rs",
        find: "SourceId(self.location.requester_id().0)",
        replace: "SourceId(self.location.bdf().0)",
        killed_by: Test::unit(
            "devices",
            "bus_master::tests::remapping::\
             dma_from_a_conventional_bus_is_translated_by_the_bridges_alias",
        ),
    },
    Mutant {
        name: "alias-not-in-shadow",
        why: "An assigned function behind a bridge is shadowed by its own numbers' tables.",
        file: "devices/src/vfio/requester.rs",
        find: "SourceId(self.location.requester_id().0)",
        replace: "SourceId(self.location.bdf().0)",
        killed_by: Test::unit(
            "devices",
            "vfio::function::tests::on_a_conventional_bus_the_requester_is_the_bridges_alias",
        ),
    },
    Mutant {
        name: "alias-not-in-routes",
        why: "Interrupts of an assigned function behind a bridge are validated by its own numbers.",
        file: "vmm/src/interrupts/routes/vector.rs",
        find: "SourceId(self.location.requester_id().0)",
        replace: "SourceId(self.location.bdf().0)",
        killed_by: Test::unit(
            "portcullis",
            "interrupts::routes::tests::behind_a_conventional_bridge_entries_are_those_of_its_alias",
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
    Mutant {
        name: "late-translation-kept",
        why: "A device keeps a translation that was asked for before an invalidation and answered after it.",
        file: "devices/src/probe/translations.rs",
        find: "if generation != self.generation
            || translation.permissions.is_empty()",
        replace: "let _ = generation;
        if translation.permissions.is_empty()",
        killed_by: Test::unit(
            "devices",
            "probe::translations::tests::an_answer_older_than_an_invalidation_is_not_kept",
        ),
    },
    Mutant {
        name: "translation-of-another-pasid",
        why: "A device uses a translation of one address space for requests of another.",
        file: "devices/src/probe/translations.rs",
        find: "entry.pasid == attributes.pasid
                && entry.privileged",
        replace: "entry.privileged",
        killed_by: Test::unit(
            "devices",
            "probe::translations::tests::answers_hold_for_their_page_address_space_and_permissions",
        ),
    },
    Mutant {
        name: "translation-to-read-writes",
        why: "A device writes by a translation that only permits to read.",
        file: "devices/src/probe/cached.rs",
        find: "Access::Write => Permissions::WRITE,",
        replace: "Access::Write => Permissions::READ,",
        killed_by: Test::unit(
            "devices",
            "probe::tests::services::a_translation_to_read_does_not_let_it_write",
        ),
    },
    Mutant {
        name: "invalidation-answered-early",
        why: "A device says that it has forgotten a translation by which a request is still under way.",
        file: "devices/src/probe/cached.rs",
        find: "let translated = self.inner.function.master().requests(TRANSLATED);",
        replace: "drop(translations);
                    let translated = self.inner.function.master().requests(TRANSLATED);",
        killed_by: Test::unit(
            "devices",
            "probe::tests::services::an_invalidation_waits_for_what_is_under_way",
        ),
    },
    Mutant {
        name: "translations-outlive-service",
        why: "A device goes on by its translations after software has disabled the service.",
        file: "devices/src/probe/services.rs",
        find: "if !services.translations {
            self.translations().clear();
        }",
        replace: "",
        killed_by: Test::unit("devices", "probe::tests::services::translations_end_with_the_service"),
    },
    Mutant {
        name: "answer-to-another-pasid",
        why: "The answer to one address space's page request is taken for another's with the same group index.",
        file: "devices/src/probe/pages.rs",
        find: "let same = |group: &Group| (group.index, group.pasid) == (response.group, response.pasid);",
        replace: "let same = |group: &Group| group.index == response.group;",
        killed_by: Test::unit("devices", "probe::pages::tests::an_answer_to_nothing_is_unexpected"),
    },
];
