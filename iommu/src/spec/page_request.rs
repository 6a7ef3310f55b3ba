//! Page request descriptors, as the unit writes them for software (§7.4.1.1).

use super::{PAGE_ADDRESS, mask};
use crate::PageRequest;

/// The size of a descriptor in bytes.
pub(crate) const SIZE: u64 = 32;

/// The type of a page group request.
const GROUP_REQUEST: u64 = 1;

/// The descriptor for `request`.
pub(crate) fn encode(request: &PageRequest) -> [u64; 4] {
    let PageRequest { source, pasid, privileged, execute, read, write, last, group, iova } = *request;
    let flag = |set, bit: u32| u64::from(set) << bit;
    let space = pasid.map_or(0, |pasid| {
        let pasid = u64::from(pasid.0) << 32 & mask(51, 32);
        1 << 8 | pasid | flag(execute, 52) | flag(privileged, 53)
    });
    let group = u64::from(group) << 3 & mask(11, 3);
    [
        GROUP_REQUEST | space | u64::from(source.0) << 16,
        flag(read, 0) | flag(write, 1) | flag(last, 2) | group | iova.0 & PAGE_ADDRESS,
        0,
        0,
    ]
}
