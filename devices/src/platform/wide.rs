//! Registers seen through accesses of 1 to 8 bytes.

/// The little-endian number that `data` is; bytes past the eighth have no say.
pub(super) fn value(data: &[u8]) -> u64 {
    data.iter().take(8).rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// Fills `data` with the low bytes of `value`, and zeros after them.
pub(super) fn fill(data: &mut [u8], value: u64) {
    let bytes = value.to_le_bytes().into_iter().chain(std::iter::repeat(0));
    for (target, byte) in data.iter_mut().zip(bytes) {
        *target = byte;
    }
}
