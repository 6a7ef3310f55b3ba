//! The map of physical memory that the guest is given at boot.

use acpi::{AddressRange, RangeKind};

use crate::layout;

/// A range asked to be reserved that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "The reserved region {start:#x}-{last:#x} {reason}: it must be guest RAM between 1 MiB and the end of \
     memory, and touch no other one; change --rmrr"
)]
pub struct ReservedError {
    start: u64,
    last: u64,
    reason: &'static str,
}

/// The map for `ram_size` bytes of RAM of which the guest leaves `reserved` (start, length) alone.
///
/// Each reserved range is one entry of its own: Linux refuses an RMRR that is not inside one.
pub(super) fn memory_map(ram_size: u64, reserved: &[(u64, u64)]) -> Result<Vec<AddressRange>, ReservedError> {
    let range = |base, end, kind| AddressRange { base, length: end - base, kind };
    let mut map = vec![
        range(0, layout::CONVENTIONAL_END, RangeKind::Memory),
        range(layout::CONVENTIONAL_END, 0xA_0000, RangeKind::Reserved),
        range(layout::ACPI_START, layout::EXTENDED_START, RangeKind::Reserved),
    ];
    let mut reserved = reserved.to_vec();
    reserved.sort_unstable();
    let mut left = reserved.as_slice();
    for (start, length) in layout::ram(ram_size) {
        let end = start + length;
        let mut free = start.max(layout::EXTENDED_START);
        while let Some((&(from, size), rest)) = left.split_first() {
            let error = |reason| ReservedError { start: from, last: from + (size - 1), reason };
            if from >= end {
                break;
            }
            if from < free {
                return Err(error(if from < layout::EXTENDED_START || from < start {
                    "is not in RAM that can be reserved"
                } else {
                    "overlaps another one"
                }));
            }
            if from + size > end {
                return Err(error("does not end in RAM"));
            }
            if from > free {
                map.push(range(free, from, RangeKind::Memory));
            }
            map.push(range(from, from + size, RangeKind::Reserved));
            free = from + size;
            left = rest;
        }
        if free < end {
            map.push(range(free, end, RangeKind::Memory));
        }
    }
    if let Some(&(start, size)) = left.first() {
        return Err(ReservedError { start, last: start + (size - 1), reason: "is not in RAM" });
    }
    map.push(AddressRange {
        base: layout::ECAM_START,
        length: layout::ECAM_LENGTH,
        kind: RangeKind::Reserved,
    });
    map.sort_unstable_by_key(|entry| entry.base);
    Ok(map)
}

#[cfg(test)]
mod tests;
