//! Invalidation descriptors of 128 bits (§6.5.2).

use super::registers::QueueError;
use super::{bits, mask};
use crate::invalidation::Invalidation;
use crate::{Capabilities, DomainId, EntryRange, GuestAddress, Iova, SourceId};

/// The size of a descriptor in bytes.
pub(crate) const SIZE: u64 = 16;

/// What a descriptor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Descriptor {
    /// Forget translations: context-cache (§6.5.2.1) and IOTLB (§6.5.2.3) invalidation.
    Translations(Invalidation),
    /// Forget interrupt remapping entries (§6.5.2.7).
    InterruptEntries(EntryRange),
    /// Tell when all descriptors before are done (§6.5.2.8).
    Wait(Wait),
}

/// How a wait descriptor tells. Every combination is allowed; all of none only orders what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// SW: write this word there.
    pub(crate) status: Option<(GuestAddress, u32)>,
    /// IF: raise the invalidation completion event, after the word is written.
    pub(crate) interrupt: bool,
}

/// Bits 11:9 and 3:0, the upper of which are 0 in every type.
const TYPE: u64 = mask(11, 9) | mask(3, 0);

impl Descriptor {
    /// Reads the two halves of a descriptor as legacy mode understands them.
    pub(crate) fn decode(raw: [u64; 2], capabilities: &Capabilities) -> Result<Self, QueueError> {
        match raw[0] & TYPE {
            1 => context_cache(raw).map(Self::Translations),
            2 => iotlb(raw, capabilities).map(Self::Translations),
            4 => interrupt_entries(raw, capabilities).map(Self::InterruptEntries),
            5 => wait(raw).map(Self::Wait),
            _ => Err(QueueError::InvalidType),
        }
    }
}

fn context_cache(raw: [u64; 2]) -> Result<Invalidation, QueueError> {
    check_reserved(raw, [mask(8, 6) | mask(15, 12) | mask(63, 50), u64::MAX])?;
    let domain = bits(raw[0], 31, 16) as u16;
    let source = bits(raw[0], 47, 32) as u16;
    let function_mask = bits(raw[0], 49, 48);
    context_granularity(bits(raw[0], 5, 4), domain, source, function_mask).ok_or(QueueError::ReservedField)
}

/// A context-cache invalidation by its granularity, coded alike in the descriptor and in CCMD_REG.
pub(crate) fn context_granularity(
    granularity: u64,
    domain: u16,
    source: u16,
    function_mask: u64,
) -> Option<Invalidation> {
    // Software may leave out one, two or three low bits, the lowest last.
    let mask = match function_mask {
        0 => 0b000,
        1 => 0b100,
        2 => 0b110,
        _ => 0b111,
    };
    match granularity {
        1 => Some(Invalidation::ContextGlobal),
        2 => Some(Invalidation::ContextDomain(DomainId(domain))),
        3 => Some(Invalidation::ContextDevice { source: SourceId(source), mask }),
        _ => None,
    }
}

fn iotlb(raw: [u64; 2], capabilities: &Capabilities) -> Result<Invalidation, QueueError> {
    check_reserved(raw, [1 << 8 | mask(15, 12) | mask(63, 32), mask(11, 7)])?;
    let domain = bits(raw[0], 31, 16) as u16;
    iotlb_granularity(bits(raw[0], 5, 4), domain, raw[1], capabilities).ok_or(QueueError::ReservedField)
}

/// An IOTLB invalidation by its granularity, coded alike in the descriptor and in IOTLB_REG. `address` is
/// IVA_REG or, laid out the same, the descriptor's upper half.
pub(crate) fn iotlb_granularity(
    granularity: u64,
    domain: u16,
    address: u64,
    capabilities: &Capabilities,
) -> Option<Invalidation> {
    let domain = DomainId(domain);
    let address_mask = bits(address, 5, 0) as u8;
    match granularity {
        1 => Some(Invalidation::IotlbGlobal),
        2 => Some(Invalidation::IotlbDomain(domain)),
        3 if address_mask <= capabilities.max_address_mask() => Some(Invalidation::IotlbPages {
            domain,
            iova: Iova(address & super::PAGE_ADDRESS),
            address_mask,
            hint: address & 1 << 6 != 0,
        }),
        _ => None,
    }
}

fn interrupt_entries(raw: [u64; 2], capabilities: &Capabilities) -> Result<EntryRange, QueueError> {
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

fn wait(raw: [u64; 2]) -> Result<Wait, QueueError> {
    check_reserved(raw, [mask(8, 7) | mask(31, 12), mask(1, 0)])?;
    let status = (GuestAddress(raw[1]), bits(raw[0], 63, 32) as u32);
    Ok(Wait { status: (raw[0] & 1 << 5 != 0).then_some(status), interrupt: raw[0] & 1 << 4 != 0 })
}

fn check_reserved(raw: [u64; 2], reserved: [u64; 2]) -> Result<(), QueueError> {
    if raw[0] & reserved[0] == 0 && raw[1] & reserved[1] == 0 {
        Ok(())
    } else {
        Err(QueueError::ReservedField)
    }
}

#[cfg(test)]
mod tests;
