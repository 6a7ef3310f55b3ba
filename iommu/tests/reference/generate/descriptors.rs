//! Invalidation descriptors, most of them right.

use proptest::prelude::*;

use crate::bits::mask;

/// The words of a descriptor; the upper two are not used by queues of 128-bit descriptors.
pub type Words = [u64; 4];

/// A descriptor; the statuses of waits go to `status`, a page.
pub fn descriptor(status: u64) -> impl Strategy<Value = Words> {
    let kind = prop_oneof![
        10 => prop_oneof![Just(1_u64), Just(2), Just(4), Just(5), Just(5), Just(6), Just(7)],
        1 => 0..16_u64,
    ];
    let flip =
        prop_oneof![8 => Just(None), 1 => (0..128_usize).prop_map(Some), 1 => (0..256_usize).prop_map(Some)];
    (kind, any::<u64>(), any::<u64>(), flip).prop_map(move |(kind, low, high, flip)| {
        // What the fields of the type are; granularities that do not exist are rare.
        let granularity = if low >> 60 == 0 { low & mask(5, 4) } else { low & mask(5, 4) | 1 << 5 };
        let fields = match kind {
            1 => [granularity | low & (mask(31, 16) | mask(49, 32)), 0],
            2 => [granularity | low & (mask(7, 6) | mask(31, 16)), high & mask(63, 12) | high & 0x4F],
            4 => [low & (1 << 4 | mask(47, 27)) & !(1 << 31), 0],
            5 => [low & (mask(6, 4) | mask(63, 32)), status | high & mask(11, 2)],
            6 => [granularity | low & (mask(31, 16) | mask(51, 32)), high & (mask(63, 12) | mask(6, 0))],
            7 => [low & (mask(5, 4) | mask(31, 16) | mask(51, 32)), 0],
            _ => [low & !mask(3, 0), high],
        };
        let mut words = [fields[0] | kind, fields[1], 0, 0];
        if let Some(bit) = flip {
            words[bit / 64] ^= 1 << (bit % 64);
        }
        words
    })
}
