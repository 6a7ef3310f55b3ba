//! The machine itself: it runs, its PCI fabric, clocks, processors and disk work, and it ends.
//!
//! Each test is a case of a bare-metal guest in `tests/guests`.

mod fast;

fast::cases!(hello:
    hello code memory
);

fast::cases!(pci:
    chipset enumeration size_of_a_bar move_a_bar decoding_off configuration_ports behind_a_port
    renumbered_bus
);

fast::cases!(timers:
    tick_through_the_pic pic_masks tick_through_the_ioapic one_shot counting clock cmos_memory
);

fast::cases!(power:
    power_off reset_register keyboard_controller_reset triple_fault
);

fast::cases!(smp:
    bring_up interprocessor_interrupts remapped_destination registers_from_two_processors
);

fast::cases!(virtio:
    reads writes read_only platform_access_required interrupts_remapped blocked_data blocked_rings
    wild_driver
);
