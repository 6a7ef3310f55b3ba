use proptest::prelude::*;

use super::*;

const OFFERED: Features = Features(Features::VERSION_1 | Features::ACCESS_PLATFORM | 1 << 9);
const REQUIRED: Features = Features(Features::VERSION_1 | Features::ACCESS_PLATFORM);

fn common() -> Common {
    Common::new(OFFERED, REQUIRED, &[16, 8])
}

fn read<const N: usize>(common: &Common, offset: u64) -> [u8; N] {
    let mut data = [0; N];
    common.read(offset, &mut data);
    data
}

fn u16_at(common: &Common, offset: u64) -> u16 {
    u16::from_le_bytes(read(common, offset))
}

fn accept(common: &mut Common, features: u64) {
    for (select, half) in [(0u32, features as u32), (1, (features >> 32) as u32)] {
        common.write(0x08, &select.to_le_bytes());
        common.write(0x0C, &half.to_le_bytes());
    }
}

/// Features agreed on, nothing enabled.
fn agreed() -> Common {
    let mut common = common();
    accept(&mut common, REQUIRED.0);
    common.write(0x14, &[1 | 2 | 8]);
    common
}

#[test]
fn features_are_offered_in_halves() {
    let mut common = common();
    assert_eq!(read(&common, 4), (1u32 << 9).to_le_bytes());
    common.write(0, &1u32.to_le_bytes());
    assert_eq!(read(&common, 4), 3u32.to_le_bytes());
    common.write(0, &2u32.to_le_bytes());
    assert_eq!(read(&common, 4), [0; 4]);
}

#[test]
fn a_driver_without_the_required_features_is_refused() {
    for features in [0, Features::VERSION_1, Features::ACCESS_PLATFORM, OFFERED.0 | 1] {
        let mut common = common();
        accept(&mut common, features);
        common.write(0x14, &[11]);
        assert_eq!(read(&common, 0x14), [3], "{features:#x}");
        assert_eq!(common.write(0x14, &[15]), Effect::Broken);
        assert!(!common.working());
    }
}

#[test]
fn features_are_fixed_once_agreed_on() {
    let mut common = agreed();
    accept(&mut common, OFFERED.0);
    assert_eq!(common.features(), REQUIRED);
}

#[test]
fn the_driver_starts_the_device() {
    let mut common = agreed();
    assert!(!common.working());
    assert_eq!(common.write(0x14, &[15]), Effect::Start);
    assert!(common.working());
    assert!(common.fail());
    assert!(!common.working());
    assert_eq!(read(&common, 0x14), [15 | 64]);
}

#[test]
fn status_bits_are_cleared_by_a_reset_alone() {
    let mut common = agreed();
    common.write(0x14, &[1]);
    assert_eq!(read(&common, 0x14), [11]);
    common.fail();
    common.write(0x1C, &1u16.to_le_bytes());
    assert_eq!(common.write(0x14, &[0]), Effect::Reset);
    assert_eq!(read::<LENGTH>(&common, 0), read::<LENGTH>(&self::common(), 0));
    assert!(common.queues.iter().all(|queue| queue.running.is_none()));
}

#[test]
fn the_driver_cannot_set_needs_reset() {
    let mut common = common();
    common.write(0x14, &[0xFF]);
    assert_eq!(read::<1>(&common, 0x14)[0] & 64, 0);
}

#[test]
fn queues_are_set_up_one_at_a_time() {
    let mut common = agreed();
    assert_eq!(u16_at(&common, 0x12), 2);
    common.write(0x16, &1u16.to_le_bytes());
    assert_eq!((u16_at(&common, 0x18), u16_at(&common, 0x1E)), (8, 1));
    common.write(0x18, &4u16.to_le_bytes());
    common.write(0x20, &0x1_0000_1000u64.to_le_bytes());
    common.write(0x28, &0x2000u32.to_le_bytes());
    common.write(0x2C, &1u32.to_le_bytes());
    common.write(0x30, &0x3000u64.to_le_bytes());
    assert_eq!(common.write(0x1C, &1u16.to_le_bytes()), Effect::None);
    let expected = Layout { size: 4, descriptors: 0x1_0000_1000, available: 0x1_0000_2000, used: 0x3000 };
    assert_eq!(common.queues[1].layout, expected);
    assert!(common.queues[1].running.is_some() && common.queues[0].running.is_none());
    assert_eq!(u16_at(&common, 0x1C), 1);
}

#[test]
fn an_enabled_queue_keeps_its_place() {
    let mut common = agreed();
    common.write(0x1C, &1u16.to_le_bytes());
    common.write(0x18, &2u16.to_le_bytes());
    common.write(0x20, &0x1000u64.to_le_bytes());
    common.write(0x1C, &0u16.to_le_bytes());
    assert_eq!(common.queues[0].layout, Layout { size: 16, ..Layout::default() });
    assert_eq!(u16_at(&common, 0x1C), 1);
}

#[test]
fn a_queue_that_cannot_be_breaks_the_device() {
    let mut common = agreed();
    common.write(0x20, &8u64.to_le_bytes());
    assert_eq!(common.write(0x1C, &1u16.to_le_bytes()), Effect::Broken);
    assert_eq!(u16_at(&common, 0x1C), 0);
}

#[test]
fn a_queue_that_does_not_exist_is_zeros() {
    let mut common = agreed();
    common.write(0x16, &2u16.to_le_bytes());
    assert_eq!(common.write(0x1C, &1u16.to_le_bytes()), Effect::None);
    assert_eq!(read::<0x20>(&common, 0x18), [0; 0x20]);
}

#[test]
fn vectors_that_do_not_exist_are_none() {
    let mut common = agreed();
    for (written, read) in [(0u16, 0u16), (2, 2), (3, NO_VECTOR), (NO_VECTOR, NO_VECTOR)] {
        common.write(0x10, &written.to_le_bytes());
        common.write(0x1A, &written.to_le_bytes());
        assert_eq!((u16_at(&common, 0x10), u16_at(&common, 0x1A)), (read, read));
    }
}

proptest! {
    #[test]
    fn no_access_is_too_wild(
        accesses in prop::collection::vec((0u64..0x48, any::<u64>(), 0usize..=8), 0..100),
    ) {
        let mut common = common();
        for (offset, value, length) in accesses {
            common.write(offset, &value.to_le_bytes()[..length]);
            common.read(offset, &mut [0; 8][..length]);
            prop_assert!(!common.working() || common.features().contains(REQUIRED.0));
        }
    }
}
