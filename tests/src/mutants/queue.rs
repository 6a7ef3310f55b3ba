//! Defects of the registers and of the invalidation queue.

use super::{Mutant, Test};

pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "tail-unchecked",
        why: "The tail may lie beyond the queue, which then goes round for ever as long as its descriptors are valid.",
        file: "iommu/src/queue.rs",
        find: "if tail >= ring.size {",
        replace: "if false {",
        killed_by: Test::unit(
            "iommu",
            "queue::tests::a_tail_beyond_the_queue_is_an_error_and_not_an_endless_loop",
        )
        .or_hang(),
    },
    Mutant {
        name: "queue-in-one-go",
        why: "A register write works on the queue to its end, and holds a processor for as long as a guest makes that.",
        file: "iommu/src/queue.rs",
        find: "if next != tail && slice.is_over() && self.resumes_later() {",
        replace: "if false {",
        killed_by: Test::unit(
            "iommu",
            "queue::tests::a_queue_that_takes_too_long_is_left_for_later_and_tells_no_lie",
        ),
    },
    Mutant {
        name: "early-head",
        why: "The head shows all descriptors as done while some are left for later.",
        file: "iommu/src/queue.rs",
        find: "self.registers.set(IQH, ring.head as u32);",
        replace: "self.registers.set(IQH, self.registers.get(IQT));",
        killed_by: Test::unit(
            "iommu",
            "queue::tests::a_queue_that_takes_too_long_is_left_for_later_and_tells_no_lie",
        ),
    },
    Mutant {
        name: "early-wait",
        why: "The status of a wait descriptor is written before the host follows what the descriptors ahead of it say.",
        file: "iommu/src/queue.rs",
        find: "if batch.is_full() || matches!(descriptor, Descriptor::Wait(_)) && !batch.is_empty() {",
        replace: "if batch.is_full() {",
        killed_by: Test::integration(
            "iommu",
            "shadow_end_to_end",
            "a_wait_completes_after_every_call_to_the_host",
        ),
    },
    Mutant {
        name: "undrained-wait",
        why: "A wait descriptor completes while requests that began before still write to the page taken back.",
        file: "iommu/src/queue.rs",
        find: "        self.drain_if_due(queue);
        if wait.page_request_drain {",
        replace: "        if wait.page_request_drain {",
        killed_by: Test::unit(
            "iommu",
            "queue::tests::a_wait_completes_only_after_requests_under_way_have_ended",
        ),
    },
    Mutant {
        name: "early-translation-status",
        why: "GSTS says that translation is on while the host still maps all of memory.",
        file: "iommu/src/command.rs",
        find: "            self.change_dma_mode(queue, |mode| mode.with_translating(on), outbox);
            self.set_global_status(Global::TRANSLATION, on);",
        replace: "            self.set_global_status(Global::TRANSLATION, on);
            self.change_dma_mode(queue, |mode| mode.with_translating(on), outbox);",
        killed_by: Test::integration(
            "iommu",
            "shadow_end_to_end",
            "translation_is_reported_when_the_host_follows_it",
        ),
    },
    Mutant {
        name: "early-root-status",
        why: "GSTS says that the new root table is in use while the host still follows the old one.",
        file: "iommu/src/command.rs",
        find: "self.set_global_status(Global::ROOT_POINTER, false);",
        replace: "self.set_global_status(Global::ROOT_POINTER, true);",
        killed_by: Test::integration(
            "iommu",
            "shadow_end_to_end",
            "a_new_root_table_is_reported_when_the_host_follows_it",
        ),
    },
    Mutant {
        name: "early-register-completion",
        why: "IVT clears before what was to be invalidated has been.",
        file: "iommu/src/command.rs",
        find: "        let requested = iotlb::requested(command);",
        replace: "        let requested = iotlb::requested(command);
        self.registers.set_u64(IOTLB, iotlb::done(command, requested));",
        killed_by: Test::integration("iommu", "shadow_end_to_end", "register_commands_finish_after_the_host"),
    },
    Mutant {
        name: "wait-tells-half",
        why: "A wait descriptor that asks for status and interrupt gets the status alone.",
        file: "iommu/src/spec/descriptor.rs",
        find: "interrupt: raw[0] & 1 << 4 != 0",
        replace: "interrupt: raw[0] & 3 << 4 == 1 << 4",
        killed_by: Test::unit(
            "iommu",
            "queue::tests::a_wait_with_status_and_interrupt_does_both_and_the_status_first",
        ),
    },
    Mutant {
        name: "wait-reserved-accepted",
        why: "A wait descriptor with reserved bits set is carried out.",
        file: "iommu/src/spec/descriptor.rs",
        find: "check_reserved(raw, [drain | 1 << 8 | mask(31, 12), mask(1, 0)])?;",
        replace: "check_reserved(raw, [drain, 0])?;",
        killed_by: Test::unit("iommu", "spec::descriptor::tests::every_bit_is_either_free_or_refused"),
    },
    Mutant {
        name: "address-mask-unchecked",
        why: "An address mask of up to 63 is taken as it comes, and shifts everything out.",
        file: "iommu/src/spec/descriptor/translation.rs",
        find: "3 if selective && address_mask <= capabilities.max_address_mask() =>",
        replace: "3 if selective =>",
        killed_by: Test::unit(
            "iommu",
            "spec::descriptor::tests::granularities_and_masks_without_a_meaning_are_refused",
        ),
    },
    Mutant {
        name: "odd-size-acts",
        why: "A write of 6 bytes changes the register that its first 4 fall on.",
        file: "iommu/src/registers.rs",
        find: "matches!(length, 4 | 8) && offset.is_multiple_of(length as u64)",
        replace: "matches!(length, 4..=8) && offset.is_multiple_of(4)",
        killed_by: Test::unit("iommu", "unit::tests::an_odd_sized_write_does_nothing"),
    },
    Mutant {
        name: "misaligned-acts",
        why: "An access across the border of two registers reads or writes one of them.",
        file: "iommu/src/registers.rs",
        find: "matches!(length, 4 | 8) && offset.is_multiple_of(length as u64)",
        replace: "matches!(length, 4 | 8)",
        killed_by: Test::unit(
            "iommu",
            "registers::tests::accesses_of_odd_size_or_place_read_0_and_write_nothing",
        ),
    },
    Mutant {
        name: "status-write-clears-all",
        why: "Writing one to a bit of FSTS clears the bits beside it as well.",
        file: "iommu/src/fault.rs",
        find: "FaultStatus::from_bits_truncate(value) & FaultStatus::CLEARABLE & status(registers);",
        replace: "FaultStatus::CLEARABLE & status(registers);
        let cleared = if value & 0x71 == 0 { FaultStatus::empty() } else { cleared };",
        killed_by: Test::unit("iommu", "fault::tests::clearing_one_status_bit_leaves_its_neighbours"),
    },
    Mutant {
        name: "record-write-clears-all",
        why: "Clearing a fault record's bit F wipes its reason before software has read it.",
        file: "iommu/src/fault.rs",
        find: "registers.set(offset, registers.get(offset) & !PENDING);",
        replace: "registers.set(offset, 0);",
        killed_by: Test::unit("iommu", "fault::tests::clearing_a_record_leaves_the_rest_of_it"),
    },
    Mutant {
        name: "timed-out-wait-completes",
        why: "A wait descriptor says that all is done although a device has not answered.",
        file: "iommu/src/queue.rs",
        find: "            Descriptor::Wait(_) if queue.unanswered.is_some() => return Ok(false),
",
        replace: "",
        killed_by: Test::unit(
            "iommu",
            "queue::tests::devices::a_device_that_does_not_answer_is_a_time_out_that_aborts_the_wait",
        ),
    },
    Mutant {
        name: "stop-drops-the-rest",
        why: "Switching the queue off drops what was left for later, and its invalidations never happen.",
        file: "iommu/src/queue.rs",
        find: "if queue.stopping && progress == Progress::Ended {",
        replace: "if queue.stopping && [Progress::Ended, Progress::Suspended].contains(&progress) {",
        killed_by: Test::unit(
            "iommu",
            "queue::tests::stopping::what_is_left_for_later_is_done_before_the_queue_is_off",
        ),
    },
    Mutant {
        name: "queue-width-unchecked",
        why: "Descriptors of 128 bits are taken in scalable mode, which has none.",
        file: "iommu/src/queue.rs",
        find: "if kinds == Kinds::All && ring.width != 32 {",
        replace: "if false {",
        killed_by: Test::unit("iommu", "queue::tests::width::the_width_of_descriptors_fits_the_table_mode"),
    },
    Mutant {
        name: "device-range-halved",
        why: "A device is told to forget half of the range that software names.",
        file: "iommu/src/spec/descriptor/device.rs",
        find: "checked_shl(13 + ones)",
        replace: "checked_shl(12 + ones)",
        killed_by: Test::unit(
            "iommu",
            "spec::descriptor::tests::a_device_tlb_descriptor_says_how_much_by_the_address_itself",
        ),
    },
    Mutant {
        name: "time-out-ignored",
        why: "The queue goes on after a time-out that software has not looked at.",
        file: "iommu/src/fault.rs",
        find: "FaultStatus::QUEUE_ERROR.union(FaultStatus::TIMEOUT_ERROR);",
        replace: "FaultStatus::QUEUE_ERROR;",
        killed_by: Test::unit(
            "iommu",
            "queue::tests::devices::a_device_that_does_not_answer_is_a_time_out_that_aborts_the_wait",
        ),
    },
    Mutant {
        name: "domain-beyond-width-accepted",
        why: "A descriptor may name a domain that has more bits than the unit says.",
        file: "iommu/src/spec/descriptor/translation.rs",
        find: "u64::from(!capabilities.domain_mask()) << 16",
        replace: "u64::from(!capabilities.domain_mask()) & 0",
        killed_by: Test::unit(
            "iommu",
            "spec::descriptor::tests::a_domain_has_no_more_bits_than_the_unit_knows",
        ),
    },
    Mutant {
        name: "page-requests-overwritten",
        why: "A page request that finds its queue full overwrites what software has not yet read.",
        file: "iommu/src/page_request.rs",
        find: "let written = next != head && ",
        replace: "let written = head < size && ",
        killed_by: Test::unit(
            "iommu",
            "page_request::tests::a_full_queue_drops_requests_and_answers_so_that_the_device_tries_again",
        ),
    },
    Mutant {
        name: "page-request-drain-skipped",
        why: "A wait descriptor says that all page requests are in their queue while one is on its way.",
        file: "iommu/src/queue.rs",
        find: "if wait.page_request_drain {",
        replace: "if false {",
        killed_by: Test::unit(
            "iommu",
            "page_request::tests::a_wait_that_drains_waits_for_requests_on_their_way",
        ),
    },
    Mutant {
        name: "event-before-status",
        why: "The completion event is noted before the status of the same wait is written.",
        file: "iommu/src/queue.rs",
        find: "        if let Some((address, data)) = wait.status {",
        replace: "        if wait.interrupt {
            outbox.invalidation(self.completion.wait_completed(&self.registers));
        }
        if let Some((address, data)) = wait.status {",
        killed_by: Test::unit("iommu", "queue::tests::order::whoever_is_told_finds_everything_done"),
    },
];
