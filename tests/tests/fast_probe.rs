//! Requests that only the probe sends.
//!
//! Each test is a case of a bare-metal guest in `tests/guests`.

mod fast;

fast::cases!(probe:
    any_address_and_size atomic_operations zero_length_reads interrupts_anywhere pasid_in_legacy_mode
    bursts_stop_at_a_fault scripts
);

fast::cases!(scalable:
    address_spaces accessed_and_dirty walks_that_do_not_snoop second_stage_dirty nested privileges context_limits pass_through
    invalidation_by_pasid first_stage_shapes modes
);

fast::cases!(ats:
    answers dirty_by_translation not_allowed held_until_invalidated everything no_answer wrong_answer
    invalidation_against_a_burst translated_requests execute_and_privilege nested_answers legacy_mode
);

fast::cases!(pages:
    a_page_comes many_pages refused no_answer groups overflow not_allowed drain stop_marker
);
