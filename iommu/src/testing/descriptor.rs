//! Invalidation descriptors, the lower halves of them.

pub(crate) const fn context_global() -> [u64; 2] {
    [1 | 1 << 4, 0]
}

pub(crate) const fn context_domain(domain: u64) -> [u64; 2] {
    [1 | 2 << 4 | domain << 16, 0]
}

pub(crate) const fn context_device(domain: u64, source: u64, function_mask: u64) -> [u64; 2] {
    [1 | 3 << 4 | domain << 16 | source << 32 | function_mask << 48, 0]
}

pub(crate) const fn iotlb_global() -> [u64; 2] {
    [2 | 1 << 4, 0]
}

pub(crate) const fn iotlb_domain(domain: u64) -> [u64; 2] {
    [2 | 2 << 4 | domain << 16, 0]
}

pub(crate) const fn iotlb_pages(domain: u64, iova: u64, address_mask: u64) -> [u64; 2] {
    [2 | 3 << 4 | domain << 16, iova & !0xFFF | address_mask]
}

pub(crate) const fn interrupt_global() -> [u64; 2] {
    [4, 0]
}

pub(crate) const fn interrupt_index(index: u64, index_mask: u64) -> [u64; 2] {
    [4 | 1 << 4 | index_mask << 27 | index << 32, 0]
}

pub(crate) const fn wait_status(address: u64, data: u64) -> [u64; 2] {
    [5 | 1 << 5 | data << 32, address]
}

pub(crate) const fn wait_interrupt() -> [u64; 2] {
    [5 | 1 << 4, 0]
}

pub(crate) const fn pasid_cache(granularity: u64, domain: u64, pasid: u64) -> [u64; 2] {
    [7 | granularity << 4 | domain << 16 | pasid << 32, 0]
}

pub(crate) const fn pasid_iotlb(domain: u64, pasid: u64) -> [u64; 2] {
    [6 | 2 << 4 | domain << 16 | pasid << 32, 0]
}

pub(crate) const fn pasid_iotlb_pages(domain: u64, pasid: u64, iova: u64, address_mask: u64) -> [u64; 2] {
    [6 | 3 << 4 | domain << 16 | pasid << 32, iova & !0xFFF | address_mask]
}

pub(crate) const fn device_tlb(source: u64, address: u64, sized: bool) -> [u64; 2] {
    [3 | source << 32, address & !0xFFF | sized as u64]
}

pub(crate) const fn pasid_device_tlb(source: u64, pasid: u64, address: u64, sized: bool) -> [u64; 2] {
    [8 | source << 16 | pasid << 32, address & !0xFFF | (sized as u64) << 11]
}

pub(crate) const fn page_response(source: u64, pasid: Option<u64>, group: u64, code: u64) -> [u64; 2] {
    let pasid = match pasid {
        Some(pasid) => 1 << 4 | pasid << 32,
        None => 0,
    };
    [9 | pasid | code << 12 | source << 16, group << 3]
}
