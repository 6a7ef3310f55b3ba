//! Layouts as the specification draws them, and nothing else: no behaviour, no state.

pub(crate) mod context;
pub(crate) mod counters;
pub(crate) mod descriptor;
pub(crate) mod fault;
pub(crate) mod first_stage;
pub(crate) mod interrupt;
pub(crate) mod page_request;
pub(crate) mod pasid;
pub(crate) mod posted;
pub(crate) mod registers;
pub(crate) mod second_stage;

use std::ops::Range;

/// Writes to these addresses are interrupt requests; nothing there is ever translated, and no translation
/// may end there (§3.14).
pub(crate) const INTERRUPT_RANGE: Range<u64> = 0xFEE0_0000..0xFEF0_0000;

/// Bits 63:12 of an entry or register: the address of a 4 KiB page.
pub(crate) const PAGE_ADDRESS: u64 = !0xFFF;

/// The field `high:low` of `value`, both ends inclusive.
pub(crate) const fn bits(value: u64, high: u32, low: u32) -> u64 {
    (value << (63 - high)) >> (63 - high + low)
}

/// A mask of the bits `high:low`, both ends inclusive.
pub(crate) const fn mask(high: u32, low: u32) -> u64 {
    bits(u64::MAX, high, low) << low
}
