//! Descriptors that go to a device: for what its device-TLB remembers, and in answer to its page requests.

use super::{Descriptor, Raw, check_reserved, pasid};
use crate::spec::registers::QueueError;
use crate::spec::{PAGE_ADDRESS, bits, mask};
use crate::{
    Capabilities, DeviceTlbInvalidation, DeviceTlbScope, Feature, Iova, PageResponse, PageResponseCode,
    SourceId,
};

/// Device-TLB invalidation (§6.5.2.5). How many the device may be busy with at a time (MIP, bits 20:16) is a
/// hint that software gives whether or not the unit can throttle.
pub(super) fn device_tlb(raw: Raw, capabilities: &Capabilities) -> Result<Descriptor, QueueError> {
    let reserved = mask(8, 4) | mask(31, 21) | mask(51, 48) | physical_function(capabilities);
    check_reserved(raw, [reserved, mask(11, 1)])?;
    let source = SourceId(bits(raw[0], 47, 32) as u16);
    let what = range(raw[1], raw[1] & 1 != 0, DeviceTlbScope::WithoutPasid);
    Ok(Descriptor::DeviceTlb(source, what))
}

/// PASID-based device-TLB invalidation (§6.5.2.6).
pub(super) fn pasid_device_tlb(raw: Raw, capabilities: &Capabilities) -> Result<Descriptor, QueueError> {
    check_reserved(raw, [physical_function(capabilities), mask(10, 1)])?;
    let source = SourceId(bits(raw[0], 31, 16) as u16);
    let scope = if raw[1] & 1 != 0 { DeviceTlbScope::EveryPasid } else { DeviceTlbScope::Pasid(pasid(raw)) };
    Ok(Descriptor::DeviceTlb(source, range(raw[1], raw[1] & 1 << 11 != 0, scope)))
}

/// Page group response (§7.6.1). Bit LPIG of older revisions may be set: a response is always to a group.
pub(super) fn page_response(raw: Raw) -> Result<Descriptor, QueueError> {
    check_reserved(raw, [mask(8, 5) | mask(63, 52), mask(1, 0) | mask(63, 12)])?;
    let code = match bits(raw[0], 15, 12) {
        0 => PageResponseCode::Success,
        1 => PageResponseCode::InvalidRequest,
        0xF => PageResponseCode::Failure,
        _ => return Err(QueueError::ReservedField),
    };
    let source = SourceId(bits(raw[0], 31, 16) as u16);
    let pasid = (raw[0] & 1 << 4 != 0).then(|| pasid(raw));
    let group = bits(raw[1], 11, 3) as u16;
    Ok(Descriptor::PageResponse(source, PageResponse { pasid, group, code }))
}

/// PFSID, the physical function of a virtual one: reserved where the unit does not throttle.
fn physical_function(capabilities: &Capabilities) -> u64 {
    if capabilities.has(Feature::Throttling) { 0 } else { mask(63, 52) | mask(15, 12) }
}

/// One page, or if `sized` as many as the address itself says: two, doubled by each one-bit from bit 12 up to
/// the first zero.
fn range(address: u64, sized: bool, scope: DeviceTlbScope) -> DeviceTlbInvalidation {
    let ones = (address >> 12).trailing_ones();
    let size = if sized { 1_u64.checked_shl(13 + ones) } else { Some(1 << 12) };
    let start = size.map_or(0, |size| address & PAGE_ADDRESS & !(size - 1));
    DeviceTlbInvalidation { scope, iova: Iova(start), size }
}
