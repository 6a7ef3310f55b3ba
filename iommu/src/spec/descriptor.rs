//! Invalidation descriptors of 128 and 256 bits (§6.5.2).

mod device;
mod translation;

use super::registers::QueueError;
use super::{bits, mask};
use crate::invalidation::Invalidation;
use crate::{
    Capabilities, DeviceTlbInvalidation, EntryRange, Feature, GuestAddress, PageResponse, Pasid, SourceId,
};

pub(crate) use translation::{context_granularity, iotlb_granularity};

/// A descriptor as it lies in the queue. The upper half of one of 128 bits is 0, as it must be in those of
/// 256 bits.
pub(crate) type Raw = [u64; 4];

/// Which descriptors there are, by the table mode in use (§6.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinds {
    /// Those of legacy mode.
    Legacy,
    /// All of them: in scalable and in abort mode.
    All,
}

/// What a descriptor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Descriptor {
    /// Forget translations: context-cache (§6.5.2.1), PASID-cache (§6.5.2.2), IOTLB (§6.5.2.3) and
    /// PASID-based IOTLB (§6.5.2.4) invalidation.
    Translations(Invalidation),
    /// Have a device forget translations (§6.5.2.5, §6.5.2.6).
    DeviceTlb(SourceId, DeviceTlbInvalidation),
    /// Forget interrupt remapping entries (§6.5.2.7).
    InterruptEntries(EntryRange),
    /// Tell when all descriptors before are done (§6.5.2.8).
    Wait(Wait),
    /// Answer a device's group of page requests (§7.6.1).
    PageResponse(SourceId, PageResponse),
}

/// How a wait descriptor tells. Every combination is allowed; all of none only orders what follows. So does
/// FN, the fence: descriptors are done one after the other anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// SW: write this word there.
    pub(crate) status: Option<(GuestAddress, u32)>,
    /// IF: raise the invalidation completion event, after the word is written.
    pub(crate) interrupt: bool,
    /// PD: page requests that have arrived are to be in their queue first.
    pub(crate) page_request_drain: bool,
}

/// Bits 11:9 and 3:0, the upper of which are 0 in every type.
const TYPE: u64 = mask(11, 9) | mask(3, 0);

impl Descriptor {
    /// Reads a descriptor. A type that is not among `kinds`, or that needs what the unit cannot do, is none.
    pub(crate) fn decode(raw: Raw, kinds: Kinds, capabilities: &Capabilities) -> Result<Self, QueueError> {
        let has = |feature| capabilities.has(feature);
        match (raw[0] & TYPE, kinds) {
            (1, _) => translation::context_cache(raw, kinds, capabilities).map(Self::Translations),
            (2, _) => translation::iotlb(raw, capabilities).map(Self::Translations),
            (3, _) if has(Feature::DeviceTlb) => device::device_tlb(raw, capabilities),
            (4, _) if has(Feature::InterruptRemapping) => {
                interrupt_entries(raw, capabilities).map(Self::InterruptEntries)
            }
            (5, _) => wait(raw, capabilities).map(Self::Wait),
            (6, Kinds::All) => translation::pasid_iotlb(raw, capabilities).map(Self::Translations),
            (7, Kinds::All) => translation::pasid_cache(raw, capabilities).map(Self::Translations),
            (8, Kinds::All) if has(Feature::DeviceTlb) => device::pasid_device_tlb(raw, capabilities),
            (9, Kinds::All) if has(Feature::PageRequests) => device::page_response(raw),
            _ => Err(QueueError::InvalidType),
        }
    }
}

fn interrupt_entries(raw: Raw, capabilities: &Capabilities) -> Result<EntryRange, QueueError> {
    check_reserved(raw, [mask(8, 5) | mask(26, 12) | mask(63, 48), u64::MAX])?;
    if raw[0] & 1 << 4 == 0 {
        return Ok(EntryRange::All);
    }
    let index_mask = bits(raw[0], 31, 27) as u8;
    if index_mask > capabilities.max_index_mask() {
        return Err(QueueError::ReservedField);
    }
    let count = 1 << index_mask;
    let first = bits(raw[0], 47, 32) as u16 & !(count - 1) as u16;
    Ok(EntryRange::Some { first, count })
}

fn wait(raw: Raw, capabilities: &Capabilities) -> Result<Wait, QueueError> {
    let drain = if capabilities.has(Feature::PageRequestDrain) { 0 } else { 1 << 7 };
    check_reserved(raw, [drain | 1 << 8 | mask(31, 12), mask(1, 0)])?;
    let status = (GuestAddress(raw[1]), bits(raw[0], 63, 32) as u32);
    Ok(Wait {
        status: (raw[0] & 1 << 5 != 0).then_some(status),
        interrupt: raw[0] & 1 << 4 != 0,
        page_request_drain: raw[0] & 1 << 7 != 0,
    })
}

/// The field PASID, in the same place in all descriptors that have one.
fn pasid(raw: Raw) -> Pasid {
    Pasid(bits(raw[0], 51, 32) as u32)
}

/// `reserved` names bits of the lower half; the upper half is reserved whole.
fn check_reserved(raw: Raw, reserved: [u64; 2]) -> Result<(), QueueError> {
    if raw[0] & reserved[0] == 0 && raw[1] & reserved[1] == 0 && raw[2] | raw[3] == 0 {
        Ok(())
    } else {
        Err(QueueError::ReservedField)
    }
}

#[cfg(test)]
mod tests;
