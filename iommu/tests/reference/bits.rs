//! Fields of words, as the tables of the specification number them.

/// Bits `high` to `low` of `word`, both included.
pub fn field(word: u64, high: u32, low: u32) -> u64 {
    (word & mask(high, low)) >> low
}

/// A word with bits `high` to `low` set, both included; none if `high` is below `low`.
pub fn mask(high: u32, low: u32) -> u64 {
    if high < low { 0 } else { u64::MAX >> (63 - high) & u64::MAX << low }
}

/// Bit `number` of `word`.
pub fn bit(word: u64, number: u32) -> bool {
    word >> number & 1 == 1
}

/// The interrupt address range, FEEx_xxxxh (§3.15).
pub fn in_interrupt_range(address: u64) -> bool {
    address >> 20 == 0xFEE
}

/// How many bytes lie between `address` and the interrupt range above it.
pub fn below_interrupt_range(address: u64) -> u64 {
    if address < 0xFEE0_0000 { 0xFEE0_0000 - address } else { u64::MAX - address }
}
