//! Descriptors for devices (§6.5.2.5, §6.5.2.6, §7.6.1): what a device is told.

use iommu::{DeviceTlbInvalidation, DeviceTlbScope, Iova, PageResponse, PageResponseCode, Pasid};

use super::bits::{bit, field, mask};
use super::capability::Caps;

/// A message to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    Invalidate(DeviceTlbInvalidation),
    Respond(PageResponse),
}

/// Device-TLB, PASID-based device-TLB, page group response.
pub const INVALIDATE: u64 = 3;
pub const INVALIDATE_PASID: u64 = 8;
pub const RESPOND: u64 = 9;

/// Reserved bits of the two words of a descriptor.
pub fn reserved(kind: u64) -> [u64; 2] {
    match kind {
        INVALIDATE => [mask(8, 4) | mask(31, 21) | mask(51, 48), mask(11, 1)],
        INVALIDATE_PASID => [0, mask(10, 1)],
        _ => [mask(8, 5) | mask(63, 52), mask(1, 0) | mask(63, 12)],
    }
}

/// Whether a descriptor has fields set of which it is not specified whether they are reserved: those for
/// throttling without ECAP.DIT, and unknown response codes.
pub fn is_open(caps: &Caps, kind: u64, words: &[u64]) -> bool {
    let throttling = match kind {
        INVALIDATE => mask(20, 12) | mask(63, 52),
        INVALIDATE_PASID => mask(8, 4) | mask(15, 12) | mask(63, 52),
        _ => return !matches!(field(words[0], 15, 12), 0 | 1 | 15),
    };
    !caps.throttling() && words[0] & throttling != 0
}

/// Which device a descriptor is for, and what it says.
pub fn decode(kind: u64, words: &[u64]) -> (u16, Message) {
    let pasid = Pasid(field(words[0], 51, 32) as u32);
    match kind {
        INVALIDATE => {
            let (iova, size) = range(words[1], bit(words[1], 0));
            let scope = DeviceTlbScope::WithoutPasid;
            let invalidation = DeviceTlbInvalidation { scope, iova, size };
            (field(words[0], 47, 32) as u16, Message::Invalidate(invalidation))
        }
        INVALIDATE_PASID => {
            let (iova, size) = range(words[1], bit(words[1], 11));
            let every = bit(words[1], 0);
            let scope = if every { DeviceTlbScope::EveryPasid } else { DeviceTlbScope::Pasid(pasid) };
            let invalidation = DeviceTlbInvalidation { scope, iova, size };
            (field(words[0], 31, 16) as u16, Message::Invalidate(invalidation))
        }
        _ => {
            let code = match field(words[0], 15, 12) {
                0 => PageResponseCode::Success,
                1 => PageResponseCode::InvalidRequest,
                _ => PageResponseCode::Failure,
            };
            let response = PageResponse {
                pasid: bit(words[0], 4).then_some(pasid),
                group: field(words[1], 11, 3) as u16,
                code,
            };
            (field(words[0], 31, 16) as u16, Message::Respond(response))
        }
    }
}

/// The range that ADDR and S name; of everything, only that is told.
fn range(word: u64, large: bool) -> (Iova, Option<u64>) {
    let address = word & mask(63, 12);
    if !large {
        return (Iova(address), Some(4096));
    }
    // 2^(k+1) pages, where k is the number of ones from bit 12 on.
    let ones = (address >> 12).trailing_ones();
    if ones >= 51 {
        return (Iova(0), None);
    }
    let size = 4096 << (ones + 1);
    (Iova(address & !(size - 1)), Some(size))
}
