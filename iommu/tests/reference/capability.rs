//! The capability registers as the specification lays them out (§11.4.2, §11.4.3).

use iommu::Capabilities;

use super::bits::{bit, field, mask};

/// What a unit says of itself: the two registers, and the host address width of the DMAR table.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    cap: u64,
    ecap: u64,
    /// HAW.
    pub host_width: u32,
}

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident: $register:ident $bit:literal,)*) => {
        impl Caps {
            $($(#[$doc])* pub fn $name(&self) -> bool { bit(self.$register, $bit) })*
        }
    };
}

flags! {
    zero_length_reads: cap 22,
    second_stage_2m: cap 34,
    second_stage_1g: cap 35,
    page_selective: cap 39,
    sirtp_invalidates: cap 62,
    srtp_invalidates: cap 63,
    first_stage_1g: cap 56,
    posted_interrupts: cap 59,
    first_stage_5_levels: cap 60,
    device_tlb: ecap 2,
    interrupt_remapping: ecap 3,
    extended_interrupt_mode: ecap 4,
    pass_through: ecap 6,
    snoop_control: ecap 7,
    memory_types: ecap 25,
    nested: ecap 26,
    page_requests: ecap 29,
    execute: ecap 30,
    supervisor: ecap 31,
    no_write: ecap 33,
    extended_accessed: ecap 34,
    pasid: ecap 40,
    throttling: ecap 41,
    page_request_drain: ecap 42,
    scalable: ecap 43,
    second_stage_dirty: ecap 45,
    second_stage: ecap 46,
    first_stage: ecap 47,
    walk_snoop: ecap 48,
    rid_pasid: ecap 49,
    abort_mode: ecap 52,
    rid_privilege: ecap 53,
}

impl Caps {
    /// The registers of `capabilities`.
    pub fn of(capabilities: &Capabilities) -> Self {
        Self {
            cap: capabilities.cap(),
            ecap: capabilities.ecap(),
            host_width: u32::from(capabilities.host_address_width()),
        }
    }

    /// MGAW: the bits of an address that a device may use.
    pub fn guest_width(&self) -> u32 {
        field(self.cap, 21, 16) as u32 + 1
    }

    /// Whether SAGAW has the width that a field AW names.
    pub fn has_width(&self, address_width: u64) -> bool {
        matches!(address_width, 1..=3) && bit(self.cap, 8 + address_width as u32)
    }

    /// Domain identifier bits beyond ND.
    pub fn beyond_domains(&self) -> u64 {
        mask(15, 0) & !mask(3 + 2 * field(self.cap, 2, 0) as u32, 0)
    }

    /// Address bits 51:HAW of a paging entry.
    pub fn beyond_host_in_paging_entry(&self) -> u64 {
        mask(51, self.host_width)
    }

    /// Address bits 63:HAW of any other pointer.
    pub fn beyond_host(&self) -> u64 {
        mask(63, self.host_width)
    }

    /// IRO: where the registers for invalidating translations are.
    pub fn iotlb_registers(&self) -> u64 {
        field(self.ecap, 17, 8) * 16
    }

    /// FRO: where the fault records are.
    pub fn fault_records(&self) -> u64 {
        field(self.cap, 33, 24) * 16
    }

    /// NFR: how many there are.
    pub fn fault_record_count(&self) -> u64 {
        field(self.cap, 47, 40) + 1
    }

    /// MAMV.
    pub fn max_address_mask(&self) -> u64 {
        field(self.cap, 53, 48)
    }

    /// MHMV.
    pub fn max_index_mask(&self) -> u64 {
        field(self.ecap, 23, 20)
    }
}
