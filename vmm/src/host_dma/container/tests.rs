use super::*;

/// `struct vfio_iommu_type1_info` with the capabilities a current kernel puts behind it.
fn answer(ranges: &[(u64, u64)], free: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |value: u32| bytes.extend_from_slice(&value.to_ne_bytes());
    let next = 24 + 16 + ranges.len() as u32 * 16;
    for value in [next + 12, VFIO_IOMMU_INFO_CAPS | 1, 0x1000, 0, 24, 0] {
        put(value);
    }
    for value in [VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE | 1 << 16, next, ranges.len() as u32, 0] {
        put(value);
    }
    for (first, last) in ranges {
        for value in [*first as u32, (first >> 32) as u32, *last as u32, (last >> 32) as u32] {
            put(value);
        }
    }
    for value in [VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL | 1 << 16, 0, free] {
        put(value);
    }
    bytes
}

const USUAL: [(u64, u64); 2] = [(0, 0xFEDF_FFFF), (0xFEF0_0000, (1 << 39) - 1)];

#[test]
fn ranges_and_room_are_read_from_the_kernels_answer() {
    let info = parse_info(&answer(&USUAL, 65_535));
    assert_eq!(info.ranges.0, USUAL);
    assert_eq!(info.free_mappings, Some(65_535));
    assert_eq!(info.ranges.width(), 39);
}

#[test]
fn an_answer_cut_short_tells_less_and_does_no_harm() {
    let whole = answer(&USUAL, 1);
    for length in 0..whole.len() {
        let info = parse_info(&whole[..length]);
        assert!(info.ranges.0.len() <= 2);
    }
    assert_eq!(parse_info(&[]), ContainerInfo::default());
}

impl Container {
    /// One that no kernel has.
    pub(in crate::host_dma) fn of_nothing() -> Self {
        Self { file: File::open("/dev/null").unwrap(), lives: Mutex::new(false) }
    }
}

#[test]
fn vfio_not_loaded_is_said_with_the_command_that_loads_it() {
    for errno in [libc::ENOENT, libc::ENODEV, libc::ENXIO] {
        let error = VfioError::OpenContainer(io::Error::from_raw_os_error(errno));
        let text = open_error(error).to_string();
        assert!(
            text.contains("/dev/vfio/vfio does not exist") && text.contains("modprobe vfio-pci"),
            "{text}"
        );
    }
}

#[test]
fn other_refusals_of_a_container_say_what_is_wrong() {
    let text = |error| open_error(error).to_string();
    let refused = |errno| text(VfioError::OpenContainer(io::Error::from_raw_os_error(errno)));
    assert!(refused(libc::EACCES).contains("/dev/vfio/vfio may not be opened by this user"));
    assert!(refused(libc::EMFILE).contains("refused to open /dev/vfio/vfio"));
    assert!(text(VfioError::VfioApiVersion).contains("its version is unknown"));
    assert!(text(VfioError::VfioExtension).contains("it has no type1 v2"));
}

#[test]
fn a_group_that_the_kernel_does_not_take_leaves_the_container_as_it_was() {
    let container = Container::of_nothing();
    let error = container.join(&File::open("/dev/null").unwrap()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
    assert!(!*container.lives.lock().unwrap());
}
