use std::mem::offset_of;

use rustix::fs::{MemfdFlags, memfd_create};
use vfio_bindings::bindings::vfio::{
    vfio_device_feature, vfio_device_feature_dma_buf as DmaBuf, vfio_region_dma_range as DmaRange,
};

use super::*;

#[test]
fn the_argument_is_laid_out_as_the_kernel_has_it() {
    let inner = size_of::<vfio_device_feature>();
    assert_eq!(offset_of!(Argument, feature), offset_of!(vfio_device_feature, flags));
    assert_eq!(offset_of!(Argument, region), inner + offset_of!(DmaBuf, region_index));
    assert_eq!(offset_of!(Argument, open_flags), inner + offset_of!(DmaBuf, open_flags));
    assert_eq!(offset_of!(Argument, flags), inner + offset_of!(DmaBuf, flags));
    assert_eq!(offset_of!(Argument, ranges), inner + offset_of!(DmaBuf, nr_ranges));
    let range = inner + offset_of!(DmaBuf, dma_ranges);
    assert_eq!(offset_of!(Argument, offset), range + offset_of!(DmaRange, offset));
    assert_eq!(offset_of!(Argument, length), range + offset_of!(DmaRange, length));
    assert_eq!(size_of::<Argument>(), range + size_of::<DmaRange>());
}

#[test]
fn one_range_is_asked_for_and_stays_in_this_program() {
    let argument = Argument::new(2, &(0x1000..0x4000));
    assert_eq!((argument.argsz, argument.feature), (40, 0x0001_000B));
    assert_eq!((argument.region, argument.ranges, argument.flags), (2, 1, 0));
    assert_eq!((argument.offset, argument.length), (0x1000, 0x3000));
    assert_eq!(argument.open_flags.cast_signed(), libc::O_RDWR | libc::O_CLOEXEC);
}

#[test]
fn a_file_of_another_kind_gives_none() {
    let file = File::from(memfd_create("bar", MemfdFlags::CLOEXEC).unwrap());
    assert_eq!(export(&file, 0, &(0..0x1000)).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
}
