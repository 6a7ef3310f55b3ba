//! The map of physical memory that firmware hands to an operating system, known as E820 (section 15).

/// What a range of addresses is (table 15.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum RangeKind {
    /// RAM the guest may use.
    Memory = 1,
    /// Not to be used.
    Reserved = 2,
    /// RAM with tables in it that may be used once they have been read.
    AcpiReclaimable = 3,
    /// Memory the firmware needs kept, also over sleep.
    AcpiNvs = 4,
    /// RAM in which errors were found.
    Unusable = 5,
}

/// One entry of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    /// First address.
    pub base: u64,
    /// Length in bytes.
    pub length: u64,
    /// What is there.
    pub kind: RangeKind,
}

impl AddressRange {
    /// The first address after the range, or `None` where the range ends with, or after, the address space.
    pub const fn end(&self) -> Option<u64> {
        self.base.checked_add(self.length)
    }

    /// Whether all addresses from `first` to `last`, both included, lie inside.
    pub const fn covers(&self, first: u64, last: u64) -> bool {
        first >= self.base && last >= first && last - self.base < self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_covers_what_lies_wholly_inside_even_at_the_end_of_the_address_space() {
        let low = AddressRange { base: 0x1000, length: 0x1000, kind: RangeKind::Memory };
        assert!(low.covers(0x1000, 0x1fff));
        assert!(!low.covers(0xfff, 0x1000));
        assert!(!low.covers(0x1000, 0x2000));
        assert!(!low.covers(0x1800, 0x17ff));
        let top = AddressRange { base: u64::MAX - 0xfff, length: 0x1000, kind: RangeKind::Reserved };
        assert_eq!(top.end(), None);
        assert!(top.covers(u64::MAX - 0xfff, u64::MAX));
    }
}
