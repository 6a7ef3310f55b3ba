//! Defects of interrupt remapping, and of what is derived from its table.

use super::{Mutant, Test};

pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "bus-range-reversed",
        why: "An entry for a range of buses takes the last for the first: it lets nobody in, or the wrong ones.",
        file: "iommu/src/spec/interrupt.rs",
        find: "(named.bus()..=named.devfn())",
        replace: "(named.devfn()..=named.bus())",
        killed_by: Test::unit("iommu", "spec::interrupt::tests::a_bus_range_has_its_start_in_the_upper_byte"),
    },
    Mutant {
        name: "reserved-validation-accepted",
        why: "An entry whose kind of validation has no meaning lets everybody in.",
        file: "iommu/src/spec/interrupt.rs",
        find: "        bits(self.0[1], 19, 18)",
        replace: "        bits(self.0[1], 19, 18) % 3",
        killed_by: Test::unit("iommu", "interrupt::tests::refused_requests_are_recorded_with_their_index"),
    },
    Mutant {
        name: "source-unchecked",
        why: "A function raises an interrupt that the table gives to another.",
        file: "iommu/src/interrupt.rs",
        find: "if !entry.accepts(source) {",
        replace: "if false {",
        killed_by: Test::unit("iommu", "interrupt::tests::a_requester_cannot_use_the_entry_of_another"),
    },
    Mutant {
        name: "compatibility-passes",
        why: "An interrupt that names its own vector passes although remapping is on and CFI is off.",
        file: "iommu/src/mode.rs",
        find: "self.compatibility() && !self.table().extended()",
        replace: "!self.table().extended()",
        killed_by: Test::unit(
            "iommu",
            "interrupt::tests::compatibility_format_passes_only_if_allowed_and_not_in_extended_mode",
        ),
    },
    Mutant {
        name: "switch-keeps-routes",
        why: "Switching remapping on or off leaves the routes as they were.",
        file: "iommu/src/command.rs",
        find: "self.change_interrupt_mode(|mode| mode.with_remapping(on));",
        replace: "self.interrupts.set_mode(self.interrupts.mode().with_remapping(on));",
        killed_by: Test::unit(
            "iommu",
            "command::tests::every_change_of_interrupt_remapping_re_derives_routes_before_it_is_told",
        ),
    },
    Mutant {
        name: "table-keeps-routes",
        why: "A new interrupt remapping table leaves the routes that came from the old one.",
        file: "iommu/src/command.rs",
        find: "self.change_interrupt_mode(|mode| mode.with_table(table));",
        replace: "self.interrupts.set_mode(self.interrupts.mode().with_table(table));",
        killed_by: Test::unit(
            "iommu",
            "command::tests::every_change_of_interrupt_remapping_re_derives_routes_before_it_is_told",
        ),
    },
    Mutant {
        name: "reset-keeps-routes",
        why: "A reset of the unit leaves the routes that came from its table.",
        file: "iommu/src/unit.rs",
        find: "self.change_interrupt_mode(|_| InterruptMode::default());",
        replace: "self.interrupts.set_mode(InterruptMode::default());",
        killed_by: Test::unit("iommu", "unit::tests::reset_brings_back_the_power_on_state"),
    },
    Mutant {
        name: "invalidation-keeps-routes",
        why: "An invalidated entry is forgotten by the cache and not by the routes derived from it.",
        file: "iommu/src/unit.rs",
        find: "platform.interrupt_entries_changed(entries);",
        replace: "",
        killed_by: Test::unit("iommu", "queue::tests::routes_are_re_derived_before_a_wait_completes"),
    },
    Mutant {
        name: "machine-keeps-routes",
        why: "The unit says which entries have changed, and the machine does not pass it on.",
        file: "vmm/src/machine/remapping.rs",
        find: "self.routes.entries_changed(entries);",
        replace: "",
        killed_by: Test::unit(
            "portcullis",
            "machine::remapping::tests::an_invalidated_entry_has_no_route_when_the_wait_completes",
        ),
    },
    Mutant {
        name: "blocked-entry-keeps-route",
        why: "A vector whose entry blocks it keeps the message that it had before.",
        file: "vmm/src/interrupts/routes/vector.rs",
        find: "resolution.message().filter(is_routable)",
        replace: "resolution.message().or(self.target).filter(is_routable)",
        killed_by: Test::unit(
            "portcullis",
            "interrupts::routes::tests::\
             an_entry_made_invalid_takes_the_route_away_before_the_invalidation_completes",
        ),
    },
    Mutant {
        name: "blocked-entry-keeps-irqfd",
        why: "A vector whose entry blocks it stays on its irqfd, and the blocked interrupt is no fault.",
        file: "vmm/src/interrupts/routes.rs",
        find: "            if !routed {
                self.let_go(state, id);
            }",
        replace: "",
        killed_by: Test::unit(
            "portcullis",
            "interrupts::routes::tests::\
             an_entry_made_invalid_takes_the_route_away_before_the_invalidation_completes",
        ),
    },
    Mutant {
        name: "every-route-anew",
        why: "An invalidation of one entry derives every route of the machine again.",
        file: "vmm/src/interrupts/routes.rs",
        find: "state.by_entry.range(range).map(|&(_, id)| id).collect()",
        replace: "state.vectors.keys().copied().collect()",
        killed_by: Test::unit(
            "portcullis",
            "interrupts::routes::tests::an_invalidation_makes_only_the_routes_of_the_entries_named_again",
        ),
    },
    Mutant {
        name: "bad-message-in-table",
        why: "One message that KVM does not take keeps the routes of all other vectors out as well.",
        file: "vmm/src/interrupts/routes/vector.rs",
        find: ".filter(is_routable)",
        replace: "",
        killed_by: Test::unit(
            "portcullis",
            "interrupts::routes::tests::a_message_that_kvm_refuses_does_not_cost_others_their_routes",
        ),
    },
    Mutant {
        name: "held-signal-lost",
        why: "An assigned function's interrupt that comes while its vector is masked is gone.",
        file: "vmm/src/interrupts/routes.rs",
        find: "Signal::Hold => vector.pending = true,",
        replace: "Signal::Hold => {}",
        killed_by: Test::unit(
            "portcullis",
            "interrupts::routes::tests::a_masked_vector_has_no_route_and_keeps_its_signal",
        ),
    },
    Mutant {
        name: "msix-pending-lost",
        why: "Unmasking a vector clears its pending bit and sends nothing.",
        file: "pci/src/capability/msix.rs",
        find: "ready.then(|| entry.message())",
        replace: "None",
        killed_by: Test::unit(
            "pci",
            "capability::msix::tests::unmasking_a_vector_gives_its_pending_message_once",
        ),
    },
    Mutant {
        name: "dma-interrupt-unremapped",
        why: "An interrupt that a device writes itself is delivered as it stands, past the remapping unit.",
        file: "devices/src/interrupt.rs",
        find: "unit.remap(source, request, |message| self.sink.deliver(message))?;",
        replace: "let _ = unit;\n                self.sink.deliver(request);",
        killed_by: Test::unit(
            "devices",
            "bus_master::tests::remapping::an_interrupt_written_by_dma_is_remapped_and_checked",
        ),
    },
    Mutant {
        name: "requester-without-bus",
        why: "A function behind a bridge speaks under the number of one on the root bus.",
        file: "devices/src/bus_master.rs",
        find: "SourceId(self.location.requester_id().0)",
        replace: "SourceId(self.location.requester_id().0 & 0xFF)",
        killed_by: Test::unit(
            "devices",
            "bus_master::tests::remapping::a_renumbered_function_raises_what_its_new_number_may",
        ),
    },
    Mutant {
        name: "level-not-sent-again",
        why: "A level-triggered interrupt whose wire is still asserted is not sent again after its end.",
        file: "devices/src/platform/ioapic.rs",
        find: "        for pin in ended {
            self.serve_level(&mut state, pin);
        }",
        replace: "",
        killed_by: Test::unit(
            "devices",
            "platform::ioapic::tests::\
             a_level_is_sent_once_until_it_is_ended_and_again_while_it_is_asserted",
        ),
    },
];
