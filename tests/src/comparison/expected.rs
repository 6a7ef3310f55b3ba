//! Where QEMU 10 does not end a case as Portcullis does.

use super::Expected::{Differs, Skipped};
use super::Right::{Both, Portcullis};
use super::{Expectation, Expected};

/// What a guest says when it expects a fault record and there is none.
const NO_RECORD: &str = ": vtd_fault(&fault)";

const COMPATIBILITY: Expected = Differs {
    says: NO_RECORD,
    section: "5.1.2.1",
    right: Portcullis,
    why: "requests in compatibility format always pass",
};

const CACHED_PERMISSION: Expected = Differs {
    says: NO_RECORD,
    section: "7.1.3",
    right: Portcullis,
    why: "an access that a cached translation does not allow is blocked without a fault",
};

const COMPRESSED: &str =
    "a second fault of a requester whose first is pending is dropped, and no overflow told";

/// In scalable mode a second stage has reasons of its own.
const fn as_in_legacy_mode(says: &'static str) -> Expected {
    Differs {
        says,
        section: "7.1.3",
        right: Portcullis,
        why: "faults of scalable mode have the reasons of legacy mode",
    }
}

/// The request comes as far as a paging table without anything in it.
const fn reserved_bits_pass(section: &'static str) -> Expected {
    Differs {
        says: "fault.reason is 6, not 5",
        section,
        right: Portcullis,
        why: "reserved bits are not looked at",
    }
}

const DIRTY: Expected = Differs {
    says: "(FS_ACCESSED | FS_DIRTY) is 20, not 60",
    section: "3.6.2",
    right: Portcullis,
    why: "a write to a page that has been read before does not make it dirty",
};

/// Every expectation that is not that the case passes.
pub const EXPECTATIONS: &[Expectation] = &[
    of("dma", "permissions", CACHED_PERMISSION),
    of(
        "dma",
        "requester_behind_a_port",
        Differs {
            says: NO_RECORD,
            section: "6.2.2",
            right: Portcullis,
            why: "a cached context entry goes with a function to its new bus, though the tag is the source-id",
        },
    ),
    of(
        "invalidation",
        "completion_interrupt",
        Differs {
            says: "Assertion `!(inv_desc->lo & VTD_INV_DESC_WAIT_IF)' failed",
            section: "6.5.2.8",
            right: Portcullis,
            why: "a wait descriptor with both a status and an interrupt ends the machine",
        },
    ),
    of(
        "invalidation",
        "bad_descriptors",
        Differs {
            says: "VTD_IQERCD) & 0xF is 0, not 3",
            section: "11.4.9.9",
            right: Portcullis,
            why: "the error record of the queue says nothing",
        },
    ),
    of(
        "invalidation",
        "tail_outside",
        Differs {
            says: "VTD_IQERCD) & 0xF is 0, not 1",
            section: "11.4.9.9",
            right: Portcullis,
            why: "the error record of the queue says nothing",
        },
    ),
    of(
        "invalidation",
        "registers_yield_to_the_queue",
        Differs {
            says: "VTD_CCMD) >> 63)",
            section: "11.4.6.1",
            right: Both,
            why: "a register command while the queue is on never ends; software is not to give one",
        },
    ),
    of("faults", "overflow", Differs { says: "is 2, not 3", section: "7.2.1", right: Both, why: COMPRESSED }),
    of(
        "faults",
        "write_one_to_clear",
        Differs { says: "is 2, not 3", section: "7.2.1", right: Both, why: COMPRESSED },
    ),
    of(
        "faults",
        "event",
        Differs {
            says: "vtd_fault(&fault) && vtd_fault(&fault)",
            section: "7.2.1",
            right: Both,
            why: COMPRESSED,
        },
    ),
    of("faults", "flood", Skipped("3000 transfers of 100 ms each: QEMU's edu is slow on purpose")),
    of(
        "interrupts",
        "source_by_bus",
        Differs {
            says: "interrupts[REMAPPED] == 1",
            section: "9.9",
            right: Portcullis,
            why: "a range of buses has its ends the other way round than Linux writes them",
        },
    ),
    of("interrupts", "compatibility_blocked", COMPATIBILITY),
    of("interrupts", "compatibility_allowed", COMPATIBILITY),
    of("interrupts", "no_old_ways", COMPATIBILITY),
    of("interrupts", "sent_by_dma", COMPATIBILITY),
    of(
        "interrupts",
        "compatibility_never_with_long_destinations",
        Differs {
            says: "VTD_GSTS) & bit) != 0) == expected",
            section: "11.4.4.2",
            right: Portcullis,
            why: "CFIS never follows CFI",
        },
    ),
    of(
        "ioapic",
        "edge_remapped",
        Differs {
            says: "interrupts[VECTOR] is 2, not 1",
            section: "5.1.1",
            right: Portcullis,
            why: "requests of the IOAPIC are not validated by their source",
        },
    ),
    of("hostile", "wild_registers", CACHED_PERMISSION),
    of("hostile", "tables_in_circles", CACHED_PERMISSION),
    of(
        "hostile",
        "odd_sizes",
        Differs {
            says: "VTD_RTADDR) is fffffffffffffc00",
            section: "11.2",
            right: Both,
            why: "accesses of sizes that the architecture leaves undefined write registers",
        },
    ),
    of(
        "hostile",
        "tables_nowhere",
        Differs {
            says: "fault.reason is b, not 9",
            section: "7.1.3",
            right: Portcullis,
            why: "tables where there is no memory are read as ones, and their reserved bits blamed",
        },
    ),
    of(
        "hostile",
        "long_queue",
        Differs {
            says: "in time: read64(vtd.base + VTD_IQH)",
            section: "6.5.2.8",
            right: Portcullis,
            why: "a wait descriptor that only fences is refused",
        },
    ),
    of(
        "hostile",
        "dma_to_devices",
        Differs {
            says: "vtd_mem_write: Assertion `size == 4' failed",
            section: "11.2",
            right: Portcullis,
            why: "a device's DMA to the unit's registers ends the machine",
        },
    ),
    of(
        "hostile",
        "registers_mapped_for_dma",
        Differs {
            says: "vtd_mem_write: Assertion `size == 4' failed",
            section: "11.2",
            right: Portcullis,
            why: "a device's DMA to the unit's registers ends the machine",
        },
    ),
    of(
        "stages",
        "first_sizes",
        Differs {
            says: "detected non canonical IOVA (iova=0x40",
            section: "9.6",
            right: Portcullis,
            why: "the width of second-stage tables, which a first stage ignores, bounds its addresses",
        },
    ),
    of("stages", "second_no_root", as_in_legacy_mode("fault.reason is 1, not 39")),
    of("stages", "second_root_reserved", as_in_legacy_mode("fault.reason is a, not 3a")),
    of("stages", "second_no_context", as_in_legacy_mode("fault.reason is 2, not 41")),
    of("stages", "second_context_reserved", as_in_legacy_mode("fault.reason is b, not 42")),
    of("stages", "second_directory_entry_reserved", reserved_bits_pass("9.5")),
    of(
        "stages",
        "second_no_pasid_entry",
        Differs {
            says: "fault.reason is 5b, not 59",
            section: "7.1.3",
            right: Portcullis,
            why: "a PASID table entry of zeros is one with a type that there is not",
        },
    ),
    of("stages", "second_pasid_entry_reserved", reserved_bits_pass("9.6")),
    of("stages", "second_permissions", as_in_legacy_mode("fault.reason is 5, not 85")),
    of("stages", "second_not_present", as_in_legacy_mode("fault.reason is 6, not 79")),
    of("stages", "second_reserved", as_in_legacy_mode("fault.reason is c, not 7a")),
    of("stages", "second_beyond_width", as_in_legacy_mode("fault.reason is 4, not 84")),
    of("stages", "first_marks", DIRTY),
    of("stages", "first_dirty_from_the_cache", DIRTY),
    of("hostile", "bars_everywhere", Skipped("about PCI, in the places that Portcullis' machine has")),
    of("hostile", "wild_configuration", Skipped("about PCI, not the remapping unit")),
    of("hostile", "all_ports", Skipped("about the platform's ports, not the remapping unit")),
    of("hostile", "empty_space", Skipped("about the platform's memory map, not the remapping unit")),
    of("hostile", "wild_ioapic", Skipped("about the IOAPIC, not the remapping unit")),
];

const fn of(guest: &'static str, case: &'static str, expected: Expected) -> Expectation {
    Expectation { guest, case, expected }
}
