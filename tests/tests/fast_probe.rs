//! Requests that only the probe sends.
//!
//! Each test is a case of a bare-metal guest in `tests/guests`.

mod fast;

fast::cases!(probe:
    any_address_and_size atomic_operations zero_length_reads interrupts_anywhere pasid_in_legacy_mode
    bursts_stop_at_a_fault scripts
);
