//! Where everything stands in the guest's physical address space, after q35.

/// Guest RAM below 4 GiB ends here at the latest; the rest goes above 4 GiB.
pub const LOW_RAM_END: u64 = 0xC000_0000;
/// RAM that does not fit below [`LOW_RAM_END`] starts here.
pub const HIGH_RAM_START: u64 = 1 << 32;
/// The conventional memory a BIOS would leave free ends here.
pub const CONVENTIONAL_END: u64 = 0x9_FC00;
/// ACPI tables stand in the BIOS area, where every guest looks for the RSDP.
pub const ACPI_START: u64 = 0xE_0000;
/// End of the BIOS area and start of extended memory.
pub const EXTENDED_START: u64 = 0x10_0000;

/// 32-bit memory window for BARs.
pub const PCI_WINDOW: std::ops::Range<u64> = 0xC000_0000..0xE000_0000;
/// First port of the window for BARs.
pub const PORT_WINDOW_FIRST: u16 = 0x1000;
/// Last port of the window for BARs.
pub const PORT_WINDOW_LAST: u16 = 0xFFFF;
/// Configuration space of all 256 buses, memory mapped.
pub const ECAM_START: u64 = 0xE000_0000;
/// Length of the memory-mapped configuration space.
pub const ECAM_LENGTH: u64 = 256 << 20;
/// The IOAPIC's registers.
pub const IOAPIC_START: u64 = 0xFEC0_0000;
/// Length of the IOAPIC's registers.
pub const IOAPIC_LENGTH: u64 = 0x1000;
/// The remapping unit's registers: as many pages as its capabilities take.
pub const VTD_START: u64 = 0xFED9_0000;
/// Where a local APIC answers; not configurable, MSIs are writes to it.
pub const LOCAL_APIC_START: u64 = 0xFEE0_0000;
/// Four pages below the top of the 32-bit space that KVM uses on Intel processors.
pub const KVM_RESERVED_START: u64 = 0xFFFB_C000;

/// The 64-bit window is a multiple of this, so that prefetchable BARs of a gigabyte find a place.
const HIGH_WINDOW_ALIGNMENT: u64 = 8 << 30;
/// Length of the 64-bit window at most.
const HIGH_WINDOW_LENGTH: u64 = 64 << 30;

/// Guest RAM as (start, length) pairs in ascending order.
pub fn ram(size: u64) -> Vec<(u64, u64)> {
    let low = size.min(LOW_RAM_END);
    let high = size - low;
    let mut regions = vec![(0, low)];
    if high > 0 {
        regions.push((HIGH_RAM_START, high));
    }
    regions
}

/// The 64-bit window for BARs above all RAM, within `address_bits`; `None` where there is no room.
pub fn high_window(ram_size: u64, address_bits: u8) -> Option<std::ops::Range<u64>> {
    let top = ram(ram_size).last().map_or(0, |(start, length)| start + length).max(HIGH_RAM_START);
    let start = top.next_multiple_of(HIGH_WINDOW_ALIGNMENT);
    let limit = 1_u64 << address_bits.min(52);
    let end = (start + HIGH_WINDOW_LENGTH).min(limit);
    (start < end).then_some(start..end)
}

#[cfg(test)]
mod tests;
