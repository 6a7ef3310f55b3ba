//! Guests that mean harm: the machine goes on.
//!
//! Each test is a case of a bare-metal guest in `tests/guests`.

mod fast;

fast::cases!(hostile:
    wild_registers odd_sizes tables_in_circles tables_nowhere long_queue bars_everywhere
    dma_to_devices registers_mapped_for_dma wild_configuration all_ports empty_space wild_ioapic
);
