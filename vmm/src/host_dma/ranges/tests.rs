use super::*;

const USUAL: [(u64, u64); 2] = [(0, 0xFEDF_FFFF), (0xFEF0_0000, (1 << 39) - 1)];

fn usual() -> Ranges {
    Ranges(USUAL.to_vec())
}

#[test]
fn a_host_narrower_than_the_guest_is_said_with_the_width_that_works() {
    assert!(usual().check(39).is_ok());
    let text = usual().check(48).unwrap_err().to_string();
    assert!(text.contains("39 bits") && text.contains("--iommu-width 39"), "{text}");
    let narrow = Ranges(vec![(0, 0xFFFF_FFFF)]);
    assert!(matches!(narrow.check(39), Err(HostError::TooNarrow(32))));
}

#[test]
fn guest_memory_is_told_apart_by_whether_the_host_maps_it() {
    let ram = [(GuestAddress(0), 0xC000_0000), (GuestAddress(1 << 32), 1 << 30)];
    assert_eq!((usual().parts(&ram), usual().holes(&ram)), (ram.to_vec(), Vec::new()));
    assert_eq!(Ranges::default().holes(&ram), []);
    assert!(usual().covers(0xFEDF_FFFF, 0xFEDF_FFFF));
    assert!(!usual().covers(0xFEE0_0000, 0xFEE0_0FFF));

    // Ends that are not on pages count for the hole.
    let host = Ranges(vec![(0, 0x7FFF_F800), (0x8000_0800, 0x1_1FFF_FFFF)]);
    let parts = [
        (GuestAddress(0), 0x7FFF_F000),
        (GuestAddress(0x8000_1000), 0x3FFF_F000),
        (GuestAddress(1 << 32), 0x2000_0000),
    ];
    assert_eq!(host.parts(&ram), parts);
    assert_eq!(host.holes(&ram), [(0x7FFF_F000, 0x2000), (0x1_2000_0000, 0x2000_0000)]);
    let nothing_low = Ranges(vec![(1 << 33, 1 << 39)]);
    assert_eq!((nothing_low.parts(&ram), nothing_low.holes(&ram).len()), (Vec::new(), 2));
}

#[test]
fn what_two_hosts_can_use_is_what_both_can() {
    let other = Ranges(vec![(0x1000, 0xFE00_0000), (0xFEE0_0000, 0xFFFF_FFFF)]);
    let both = Ranges(vec![(0x1000, 0xFE00_0000), (0xFEF0_0000, 0xFFFF_FFFF)]);
    assert_eq!(usual().common(&other), both);
    assert_eq!(other.common(&usual()), both);
    assert_eq!(Ranges::default().common(&other), other);
    assert_eq!(other.common(&Ranges::default()), other);
}
