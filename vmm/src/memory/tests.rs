use super::*;
use vm_memory::{Bytes, GuestMemoryRegion};

#[test]
fn host_addresses_are_congruent_to_guest_addresses() {
    let memory = allocate(3074 << 20, PageSize::Normal).unwrap();
    assert_eq!(
        regions(&memory),
        [(GuestAddress(0), 3 << 30), (GuestAddress(layout::HIGH_RAM_START), 2 << 20)]
    );
    for region in memory.iter() {
        let host = region.as_ptr() as u64;
        assert_eq!(host % (2 << 20), region.start_addr().0 % (2 << 20));
    }
    memory.write_obj(0x1234_u32, GuestAddress(layout::HIGH_RAM_START + 8)).unwrap();
    assert_eq!(memory.read_obj::<u32>(GuestAddress(layout::HIGH_RAM_START + 8)).unwrap(), 0x1234);
}

#[test]
fn a_size_that_is_no_multiple_of_the_page_is_refused_with_the_multiple() {
    let error = allocate((1 << 20) + 1, PageSize::Normal).unwrap_err();
    assert!(error.to_string().contains("multiple of 2 MiB"), "{error}");
}
