use super::*;

/// `struct vfio_region_info` with a sparse-mmap capability behind it, if there are areas.
fn answer(flags: u32, size: u64, areas: Option<&[(u64, u64)]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let chain: u32 = if areas.is_some() { 32 } else { 0 };
    for word in [0, flags, 0, chain] {
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    for long in [size, 0x1_0000_0000_u64] {
        bytes.extend_from_slice(&long.to_ne_bytes());
    }
    if let Some(area) = areas {
        let head = [VFIO_REGION_INFO_CAP_SPARSE_MMAP | 1 << 16, 0, area.len() as u32, 0];
        bytes.extend(head.into_iter().flat_map(u32::to_ne_bytes));
        for (offset, size) in area {
            bytes.extend_from_slice(&offset.to_ne_bytes());
            bytes.extend_from_slice(&size.to_ne_bytes());
        }
    }
    bytes
}

const MMAP: u32 = VFIO_REGION_INFO_FLAG_MMAP;
const CAPS: u32 = VFIO_REGION_INFO_FLAG_CAPS;

#[test]
fn a_region_may_be_mapped_whole_in_parts_or_not_at_all() {
    let parse = |flags, areas| parse_region(&answer(flags, 0x4000, areas)).0.mappable;
    assert_eq!(parse(MMAP, None), std::iter::once(0..0x4000).collect::<Vec<_>>());
    assert_eq!(parse(MMAP | CAPS, Some(&[(0, 0x1000), (0x2000, 0x2000)])), [0..0x1000, 0x2000..0x4000]);
    assert_eq!(parse(MMAP | CAPS, Some(&[])), []);
    assert_eq!(parse(0, None), []);
    assert_eq!(parse_region(&answer(0, 0x4000, None)), (Region { size: 0x4000, mappable: vec![] }, 1 << 32));
}

#[test]
fn areas_beyond_the_region_are_cut() {
    let (region, _) = parse_region(&answer(MMAP | CAPS, 0x4000, Some(&[(0x3000, u64::MAX)])));
    assert_eq!(region.mappable, std::iter::once(0x3000..0x4000).collect::<Vec<_>>());
}

#[test]
fn an_answer_cut_short_does_no_harm() {
    let whole = answer(MMAP | CAPS, 0x4000, Some(&[(0, 0x1000)]));
    for length in 0..whole.len() {
        parse_region(&whole[..length]);
    }
}

#[test]
fn accesses_outside_of_a_region_are_refused_before_the_kernel_is_asked() {
    let region = Region { size: 0x1000, mappable: Vec::new() };
    let device = VfioDevice {
        file: File::open("/dev/null").unwrap().into(),
        can_reset: false,
        regions: vec![(region, 1 << 40)],
        interrupts: [InterruptInfo::default(); 5],
    };
    let bar = RegionIndex::Bar(0);
    assert_eq!(device.place(bar, 0xFFC, 4).unwrap(), (1 << 40) + 0xFFC);
    assert!(device.place(bar, 0xFFD, 4).is_err());
    assert!(device.place(bar, u64::MAX, 4).is_err());
    assert!(device.place(RegionIndex::Rom, 0, 1).is_err());
}

#[test]
fn what_is_no_vfio_function_is_refused() {
    let file = File::open("/dev/null").unwrap();
    assert!(matches!(VfioDevice::new(file, "0000:03:00.0"), Err(VfioError::Step { .. })));
}
