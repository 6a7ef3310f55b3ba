//! Descriptors that name translations the unit itself remembers: of contexts, PASIDs and pages.

use super::{Kinds, Raw, check_reserved, pasid};
use crate::invalidation::Invalidation;
use crate::spec::registers::QueueError;
use crate::spec::{PAGE_ADDRESS, bits, mask};
use crate::{Capabilities, DomainId, Feature, Iova, SourceId};

/// Bits that are reserved in the lowest word of all of these, where the others have their granularity.
const RESERVED: u64 = 1 << 8 | mask(15, 12);

/// Context-cache invalidation (§6.5.2.1).
pub(super) fn context_cache(
    raw: Raw,
    kinds: Kinds,
    capabilities: &Capabilities,
) -> Result<Invalidation, QueueError> {
    let reserved = RESERVED | mask(7, 6) | mask(63, 50) | beyond_domains(capabilities);
    check_reserved(raw, [reserved, u64::MAX])?;
    let source = bits(raw[0], 47, 32) as u16;
    let function_mask = bits(raw[0], 49, 48);
    match context_granularity(bits(raw[0], 5, 4), domain(raw), source, function_mask) {
        // Contexts of scalable mode belong to no domain.
        Some(Invalidation::ContextDomain(_)) if kinds == Kinds::All => Ok(Invalidation::ContextGlobal),
        what => what.ok_or(QueueError::ReservedField),
    }
}

/// A context-cache invalidation by its granularity, coded alike in the descriptor and in CCMD_REG.
pub(crate) fn context_granularity(
    granularity: u64,
    domain: DomainId,
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
        2 => Some(Invalidation::ContextDomain(domain)),
        3 => Some(Invalidation::ContextDevice { source: SourceId(source), mask }),
        _ => None,
    }
}

/// IOTLB invalidation (§6.5.2.3). Whether requests under way are to be drained (DW, DR) makes no difference:
/// they always are.
pub(super) fn iotlb(raw: Raw, capabilities: &Capabilities) -> Result<Invalidation, QueueError> {
    let reserved = RESERVED | mask(63, 32) | beyond_domains(capabilities);
    check_reserved(raw, [reserved, mask(11, 7)])?;
    iotlb_granularity(bits(raw[0], 5, 4), domain(raw), raw[1], capabilities).ok_or(QueueError::ReservedField)
}

/// An IOTLB invalidation by its granularity, coded alike in the descriptor and in IOTLB_REG. `address` is
/// IVA_REG or, laid out the same, the descriptor's second word.
pub(crate) fn iotlb_granularity(
    granularity: u64,
    domain: DomainId,
    address: u64,
    capabilities: &Capabilities,
) -> Option<Invalidation> {
    let Pages { iova, address_mask, hint } = Pages::of(address);
    let selective = capabilities.has(Feature::PageSelective);
    match granularity {
        1 => Some(Invalidation::IotlbGlobal),
        2 => Some(Invalidation::IotlbDomain(domain)),
        3 if selective && address_mask <= capabilities.max_address_mask() => {
            Some(Invalidation::IotlbPages { domain, iova, address_mask, hint })
        }
        _ => None,
    }
}

/// PASID-based IOTLB invalidation (§6.5.2.4). Its address mask has no bound but its six bits: CAP.PSI and
/// CAP.MAMV speak of the second stage.
pub(super) fn pasid_iotlb(raw: Raw, capabilities: &Capabilities) -> Result<Invalidation, QueueError> {
    let reserved = RESERVED | mask(7, 6) | mask(63, 52) | beyond_domains(capabilities);
    check_reserved(raw, [reserved, mask(11, 7)])?;
    let (domain, pasid) = (domain(raw), pasid(raw));
    match bits(raw[0], 5, 4) {
        2 => Ok(Invalidation::PasidIotlb(domain, pasid)),
        3 => {
            let Pages { iova, address_mask, hint } = Pages::of(raw[1]);
            Ok(Invalidation::PasidIotlbPages { domain, pasid, iova, address_mask, hint })
        }
        _ => Err(QueueError::ReservedField),
    }
}

/// PASID-cache invalidation (§6.5.2.2).
pub(super) fn pasid_cache(raw: Raw, capabilities: &Capabilities) -> Result<Invalidation, QueueError> {
    let reserved = RESERVED | mask(7, 6) | mask(63, 52) | beyond_domains(capabilities);
    check_reserved(raw, [reserved, u64::MAX])?;
    match bits(raw[0], 5, 4) {
        0 => Ok(Invalidation::PasidCacheDomain(domain(raw))),
        1 => Ok(Invalidation::PasidCachePasid(domain(raw), pasid(raw))),
        3 => Ok(Invalidation::PasidCacheGlobal),
        _ => Err(QueueError::ReservedField),
    }
}

/// The pages that an address with its mask and hint names, laid out as in IVA_REG (§11.4.6.3).
struct Pages {
    iova: Iova,
    address_mask: u8,
    hint: bool,
}

impl Pages {
    fn of(word: u64) -> Self {
        Self {
            iova: Iova(word & PAGE_ADDRESS),
            address_mask: bits(word, 5, 0) as u8,
            hint: word & 1 << 6 != 0,
        }
    }
}

/// The field DID, in the same place in all of these.
fn domain(raw: Raw) -> DomainId {
    DomainId(bits(raw[0], 31, 16) as u16)
}

/// The bits of the field DID that no domain identifier has.
fn beyond_domains(capabilities: &Capabilities) -> u64 {
    u64::from(!capabilities.domain_mask()) << 16
}
