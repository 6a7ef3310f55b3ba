//! DMA through the remapping unit: translation, invalidation, faults.
//!
//! Each test is a case of a bare-metal guest in `tests/guests`.

mod fast;

fast::cases!(dma:
    no_unit translation_off scattered_pages blocked_read blocked_write blocked_half_way permissions
    nowhere_to_look reserved_bits pass_through superpages high_memory beyond_the_width two_devices
    bus_master_off requester_behind_a_port behind_a_bridge functions_of_a_device
);

fast::cases!(invalidation:
    page_selective stale_until_invalidated by_domain by_address_mask large_for_small another_table
    not_present_to_present completion_interrupt queue_goes_round bad_descriptors tail_outside
    by_registers registers_yield_to_the_queue
);

fast::cases!(faults:
    overflow event event_of_the_queue processing_disabled write_one_to_clear flood
);

fast::cases!(stages:
    first_sizes second_sizes second_no_root second_root_reserved second_no_context
    second_context_reserved second_no_directory_entry second_directory_entry_reserved
    second_no_pasid_entry second_pasid_entry_reserved second_pasid_entry_invalid
    second_asked_for_the_first first_pass_through second_pass_through first_wide_queue
    second_narrow_queue first_permissions first_reserved first_canonical first_marks
    first_dirty_from_the_cache first_into_interrupts first_invalidation second_permissions
    second_not_present second_reserved second_beyond_width second_into_interrupts second_invalidation
    second_request_pasid
);
