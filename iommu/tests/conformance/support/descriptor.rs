//! Invalidation descriptors (§6.5.2), in their form of 256 bits; the form of 128 is the first half.

pub(crate) type Descriptor = [u64; 4];

const fn narrow(low: u64, high: u64) -> Descriptor {
    [low, high, 0, 0]
}

pub(crate) const fn context_global() -> Descriptor {
    narrow(1 | 1 << 4, 0)
}

pub(crate) const fn context_domain(domain: u64) -> Descriptor {
    narrow(1 | 2 << 4 | domain << 16, 0)
}

pub(crate) const fn context_device(domain: u64, source: u16, function_mask: u64) -> Descriptor {
    narrow(1 | 3 << 4 | domain << 16 | (source as u64) << 32 | function_mask << 48, 0)
}

pub(crate) const fn iotlb_global() -> Descriptor {
    narrow(2 | 1 << 4, 0)
}

pub(crate) const fn iotlb_domain(domain: u64) -> Descriptor {
    narrow(2 | 2 << 4 | domain << 16, 0)
}

/// 2^`order` pages around `iova`.
pub(crate) const fn iotlb_pages(domain: u64, iova: u64, order: u64) -> Descriptor {
    narrow(2 | 3 << 4 | domain << 16, iova & !0xFFF | order)
}

pub(crate) const fn interrupts_global() -> Descriptor {
    narrow(4, 0)
}

/// 2^`order` entries around `index`.
pub(crate) const fn interrupts(index: u64, order: u64) -> Descriptor {
    narrow(4 | 1 << 4 | order << 27 | index << 32, 0)
}

pub(crate) const fn wait_status(address: u64, data: u64) -> Descriptor {
    narrow(5 | 1 << 5 | data << 32, address)
}

pub(crate) const fn wait_interrupt() -> Descriptor {
    narrow(5 | 1 << 4, 0)
}

pub(crate) const fn wait_fence() -> Descriptor {
    narrow(5 | 1 << 6, 0)
}

pub(crate) const fn pasid_global() -> Descriptor {
    narrow(7 | 3 << 4, 0)
}

pub(crate) const fn pasid_domain(domain: u64) -> Descriptor {
    narrow(7 | domain << 16, 0)
}

pub(crate) const fn pasid_one(domain: u64, pasid: u64) -> Descriptor {
    narrow(7 | 1 << 4 | domain << 16 | pasid << 32, 0)
}

pub(crate) const fn pasid_iotlb(domain: u64, pasid: u64) -> Descriptor {
    narrow(6 | 2 << 4 | domain << 16 | pasid << 32, 0)
}

/// 2^`order` pages around `iova`.
pub(crate) const fn pasid_iotlb_pages(domain: u64, pasid: u64, iova: u64, order: u64) -> Descriptor {
    narrow(6 | 3 << 4 | domain << 16 | pasid << 32, iova & !0xFFF | order)
}

/// A page, or if `sized` as many as the address itself says.
pub(crate) const fn device_tlb(source: u16, address: u64, sized: bool) -> Descriptor {
    narrow(3 | (source as u64) << 32, address & !0xFFF | sized as u64)
}

/// The same of a PASID; `every` for all of them.
pub(crate) const fn pasid_device_tlb(
    source: u16,
    pasid: u64,
    address: u64,
    sized: bool,
    every: bool,
) -> Descriptor {
    narrow(8 | (source as u64) << 16 | pasid << 32, address & !0xFFF | (sized as u64) << 11 | every as u64)
}

/// The answer to a group of page requests with PASID.
pub(crate) const fn page_response(source: u16, pasid: u64, group: u64, code: u64) -> Descriptor {
    narrow(9 | 1 << 4 | code << 12 | (source as u64) << 16 | pasid << 32, group << 3)
}

/// A wait for page requests that have arrived.
pub(crate) const fn wait_drain(address: u64, data: u64) -> Descriptor {
    narrow(5 | 1 << 5 | 1 << 7 | data << 32, address)
}
