//! What a unit can do: the capability registers, built by name.

use crate::spec::registers::{FRCD, FRCD_COUNT, IVA};
use crate::spec::second_stage::Level;
use crate::spec::{bits, mask};

/// The values of CAP_REG and ECAP_REG (§11.4.2, §11.4.3) and what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    cap: u64,
    ecap: u64,
    host_address_width: u8,
}

/// CAP_REG (§11.4.2).
mod cap {
    /// ND: domain identifiers have `4 + 2 * 6` = 16 bits.
    pub(super) const DOMAINS_64K: u64 = 6;
    /// CM: not-present entries may be cached, so software announces every change.
    pub(super) const CACHING_MODE: u64 = 1 << 7;
    /// SAGAW: 39 bits in 3 levels.
    pub(super) const WIDTH_39: u64 = 1 << 9;
    /// SAGAW: 48 bits in 4 levels.
    pub(super) const WIDTH_48: u64 = 1 << 10;
    pub(super) const MGAW_SHIFT: u32 = 16;
    /// ZLR: a read of zero bytes succeeds where only writing is allowed.
    pub(super) const ZERO_LENGTH_READ: u64 = 1 << 22;
    pub(super) const FRO_SHIFT: u32 = 24;
    /// SSLPS: second-stage pages of 2 MiB.
    pub(super) const LARGE_2M: u64 = 1 << 34;
    /// SSLPS: second-stage pages of 1 GiB.
    pub(super) const LARGE_1G: u64 = 1 << 35;
    /// PSI: page-selective invalidation.
    pub(super) const PAGE_SELECTIVE: u64 = 1 << 39;
    pub(super) const NFR_SHIFT: u32 = 40;
    pub(super) const MAMV_SHIFT: u32 = 48;
    /// DWD and DRD: invalidations wait for writes and reads under way.
    pub(super) const DRAINING: u64 = 3 << 54;
}

/// ECAP_REG (§11.4.3).
mod ecap {
    /// C: the unit's table walks see the processors' caches.
    pub(super) const COHERENT: u64 = 1 << 0;
    /// QI: queued invalidation.
    pub(super) const QUEUE: u64 = 1 << 1;
    /// IR: interrupt remapping.
    pub(super) const INTERRUPT_REMAPPING: u64 = 1 << 3;
    /// EIM: 32-bit interrupt destinations.
    pub(super) const EXTENDED_INTERRUPT: u64 = 1 << 4;
    /// PT: pass-through context entries.
    pub(super) const PASS_THROUGH: u64 = 1 << 6;
    /// SC: bit SNP of second-stage leaves.
    pub(super) const SNOOP_CONTROL: u64 = 1 << 7;
    pub(super) const IRO_SHIFT: u32 = 8;
    pub(super) const MHMV_SHIFT: u32 = 20;
}

/// The largest address mask: 2^18 pages, one page of 1 GiB.
const MAX_ADDRESS_MASK: u64 = 18;
/// The largest interrupt index mask: 2^15 entries.
const MAX_INDEX_MASK: u64 = 15;

impl Capabilities {
    /// Legacy mode, complete: second-stage tables of up to `width` bits (39 or 48), 2 MiB and 1 GiB pages,
    /// pass-through, queued invalidation, caching mode, interrupt remapping with extended interrupt mode.
    ///
    /// Guest addresses, like those that devices use, have `width` bits.
    ///
    /// # Panics
    ///
    /// If `width` is neither 39 nor 48.
    pub const fn legacy(width: u8) -> Self {
        let widths = match width {
            39 => cap::WIDTH_39,
            48 => cap::WIDTH_39 | cap::WIDTH_48,
            _ => panic!("Second-stage tables have 39 or 48 bits in legacy mode"),
        };
        Self {
            cap: cap::DOMAINS_64K
                | cap::CACHING_MODE
                | widths
                | (width as u64 - 1) << cap::MGAW_SHIFT
                | cap::ZERO_LENGTH_READ
                | (FRCD / 16) << cap::FRO_SHIFT
                | cap::LARGE_2M
                | cap::LARGE_1G
                | cap::PAGE_SELECTIVE
                | (FRCD_COUNT as u64 - 1) << cap::NFR_SHIFT
                | MAX_ADDRESS_MASK << cap::MAMV_SHIFT
                | cap::DRAINING,
            ecap: ecap::COHERENT
                | ecap::QUEUE
                | ecap::INTERRUPT_REMAPPING
                | ecap::EXTENDED_INTERRUPT
                | ecap::PASS_THROUGH
                | ecap::SNOOP_CONTROL
                | (IVA / 16) << ecap::IRO_SHIFT
                | MAX_INDEX_MASK << ecap::MHMV_SHIFT,
            host_address_width: width,
        }
    }

    /// The same without snoop control: where devices may bypass the processors' caches although a page says
    /// otherwise (SNP), the guest must not be promised that they do not.
    #[must_use]
    pub const fn without_snoop_control(self) -> Self {
        Self { ecap: self.ecap & !ecap::SNOOP_CONTROL, ..self }
    }

    /// CAP_REG (§11.4.2).
    pub const fn cap(&self) -> u64 {
        self.cap
    }

    /// ECAP_REG (§11.4.3).
    pub const fn ecap(&self) -> u64 {
        self.ecap
    }

    /// The bits of a guest physical address, as the DMAR table says them too (§8.1).
    pub const fn host_address_width(&self) -> u8 {
        self.host_address_width
    }

    /// The bits of an address that a device may use: CAP.MGAW + 1.
    pub const fn guest_address_width(&self) -> u8 {
        bits(self.cap, 21, 16) as u8 + 1
    }

    /// Whether interrupt remapping entries hold 32-bit destinations (ECAP.EIM).
    pub const fn extended_interrupt_mode(&self) -> bool {
        self.ecap & ecap::EXTENDED_INTERRUPT != 0
    }

    pub(crate) const fn pass_through(&self) -> bool {
        self.ecap & ecap::PASS_THROUGH != 0
    }

    pub(crate) const fn snoop_control(&self) -> bool {
        self.ecap & ecap::SNOOP_CONTROL != 0
    }

    pub(crate) const fn zero_length_read(&self) -> bool {
        self.cap & cap::ZERO_LENGTH_READ != 0
    }

    pub(crate) const fn max_address_mask(&self) -> u8 {
        bits(self.cap, 53, 48) as u8
    }

    pub(crate) const fn max_index_mask(&self) -> u8 {
        bits(self.ecap, 23, 20) as u8
    }

    /// The bits that a domain identifier may have set.
    pub(crate) const fn domain_mask(&self) -> u16 {
        mask(bits(self.cap, 2, 0) as u32 * 2 + 3, 0) as u16
    }

    /// Address bits that no guest memory has.
    pub(crate) const fn beyond_host_width(&self) -> u64 {
        mask(63, self.host_address_width as u32)
    }

    /// The top level of a second-stage table for a context entry's field AW, if SAGAW has it.
    pub(crate) fn second_stage_top(&self, address_width: u8) -> Option<Level> {
        let supported = address_width < 5 && self.cap & 1 << (8 + address_width) != 0;
        Level::top(address_width).filter(|_| supported)
    }

    pub(crate) fn has_large_pages(&self, level: Level) -> bool {
        match level {
            Level::PAGE_2M => self.cap & cap::LARGE_2M != 0,
            Level::PAGE_1G => self.cap & cap::LARGE_1G != 0,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
