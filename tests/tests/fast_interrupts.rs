//! Interrupts through the remapping unit, from MSI and from the IOAPIC, remapped and posted.
//!
//! Each test is a case of a bare-metal guest in `tests/guests`.

mod fast;

fast::cases!(interrupts:
    without_remapping remapped remapped_with_short_destinations subhandle wrong_source behind_a_bridge source_by_bus
    compatibility_blocked compatibility_allowed compatibility_never_with_long_destinations
    bad_entries entry_changes no_old_ways sent_by_dma nothing_else_arrives table_address_in_halves
);

fast::cases!(ioapic:
    identity edge edge_remapped level level_of_a_driver level_remapped entry_changes
    blocked_level_is_not_lost wire_disabled
);

fast::cases!(posting:
    posted_and_notified notified_once suppressed short_destinations sent_by_dma reserved_bits
    hostile_addresses wrong_source format_changes nothing_is_lost not_offered
);
