//! What the guest, or the unit itself, wants forgotten or looked at again.

use crate::{DomainId, Iova, Pasid, SourceId};

/// A change the guest has announced, or that the unit itself made.
///
/// A request may always be answered by doing more than it names (§6.5); never by doing less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalidation {
    /// Translation was switched on or off, another root table took effect, or the unit was reset.
    Everything,
    /// Context-cache invalidation, global (§6.5.2.1).
    ContextGlobal,
    /// Context-cache invalidation, domain-selective. Entries that are not present count as domain 0 (§6.1).
    ContextDomain(DomainId),
    /// Context-cache invalidation, device-selective.
    ContextDevice {
        /// The requester named.
        source: SourceId,
        /// The low bits of the requester ID to ignore, a set bit for each: the descriptor's function mask
        /// 0, 1, 2, 3 means 0b000, 0b100, 0b110, 0b111.
        mask: u16,
    },
    /// IOTLB invalidation, global (§6.5.2.3).
    IotlbGlobal,
    /// IOTLB invalidation, domain-selective.
    IotlbDomain(DomainId),
    /// IOTLB invalidation, page-selective within a domain.
    IotlbPages {
        /// The domain.
        domain: DomainId,
        /// An address in the range; bits below the range's size are ignored.
        iova: Iova,
        /// The address mask (AM): the range is 2^AM pages of 4 KiB, aligned to its size.
        address_mask: u8,
        /// The invalidation hint (IH): no non-leaf entry has changed.
        hint: bool,
    },
    /// PASID-cache invalidation, global (§6.5.2.2).
    PasidCacheGlobal,
    /// PASID-cache invalidation of every PASID of a domain.
    PasidCacheDomain(DomainId),
    /// PASID-cache invalidation of one PASID of a domain.
    PasidCachePasid(DomainId, Pasid),
    /// PASID-based IOTLB invalidation of one PASID of a domain (§6.5.2.4).
    PasidIotlb(DomainId, Pasid),
    /// PASID-based IOTLB invalidation, page-selective: addresses are those that the first stage translates.
    PasidIotlbPages {
        /// The domain.
        domain: DomainId,
        /// The address space.
        pasid: Pasid,
        /// An address in the range; bits below the range's size are ignored.
        iova: Iova,
        /// The address mask (AM): the range is 2^AM pages of 4 KiB, aligned to its size.
        address_mask: u8,
        /// The invalidation hint (IH): no non-leaf entry has changed.
        hint: bool,
    },
}
