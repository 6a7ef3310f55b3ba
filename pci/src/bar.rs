//! Base address registers: what a function offers, and where the guest put it.

use crate::function::{BAR_COUNT, BarRange, BarSpace};
use crate::{Command, ConfigSpace, Register};

/// The index of the expansion ROM among the BARs.
pub const ROM_BAR: usize = BAR_COUNT - 1;

/// What kind of BAR it is: which addresses it can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BarKind {
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere; takes two registers.
    Memory64,
    /// Memory anywhere whose reads have no side effects; takes two registers.
    Prefetchable64,
    /// Ports.
    Port,
    /// The expansion ROM: memory below 4 GiB with an enable bit of its own.
    Rom,
}

/// One BAR as its function offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bar {
    /// Which addresses it can take.
    pub kind: BarKind,
    /// Bytes it decodes, a power of two.
    pub size: u64,
}

/// Why a BAR cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BarError {
    /// The size is not a power of two or not one this kind can have.
    #[error("A BAR of kind {kind:?} cannot decode {size:#x} bytes")]
    Size {
        /// The kind asked for.
        kind: BarKind,
        /// The size asked for.
        size: u64,
    },
    /// There is no such register for this kind, or another BAR has it.
    #[error("BAR {0} cannot hold this or is taken")]
    Index(usize),
}

const BAR_0: u16 = 0x10;
const ROM: u16 = 0x30;
const ROM_ENABLE: u32 = 1;

/// The BARs of a type 0 header. The addresses themselves are in [`ConfigSpace`].
#[derive(Clone, Debug, Default)]
pub struct Bars {
    bars: [Option<Bar>; BAR_COUNT],
}

impl Bars {
    /// No BARs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `bar` at `index` (0–5, or [`ROM_BAR`] for a ROM) and lays its registers out in `config`.
    pub fn add(&mut self, config: &mut ConfigSpace, index: usize, bar: Bar) -> Result<(), BarError> {
        bar.check()?;
        self.check_index(index, bar.kind)?;
        let at = register_of(index);
        // Only the address bits above the size are writable: that is all there is to sizing.
        let mask = !(bar.size - 1);
        let flags = match bar.kind {
            BarKind::Memory32 | BarKind::Rom => 0,
            BarKind::Memory64 => 0b0100,
            BarKind::Prefetchable64 => 0b1100,
            BarKind::Port => 0b01,
        };
        let enable = if bar.kind == BarKind::Rom { ROM_ENABLE } else { 0 };
        config.define(at, Register::u32(flags).writable(mask as u32 | enable));
        if bar.kind.is_wide() {
            config.define(at + 4, Register::u32(0).writable((mask >> 32) as u32));
        }
        if let Some(slot) = self.bars.get_mut(index) {
            *slot = Some(bar);
        }
        Ok(())
    }

    /// The BAR at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<Bar> {
        self.bars.get(index).copied().flatten()
    }

    /// What each BAR decodes, as the command register and the BARs in `config` stand.
    pub fn decoded(&self, config: &ConfigSpace) -> [Option<BarRange>; BAR_COUNT] {
        let command = config.command();
        std::array::from_fn(|index| {
            let bar = self.get(index)?;
            let at = register_of(index);
            let low = config.u32(at);
            let (space, enabled) = match bar.kind {
                BarKind::Port => (BarSpace::Port, command.contains(Command::IO_SPACE)),
                BarKind::Rom => {
                    (BarSpace::Memory, command.contains(Command::MEMORY_SPACE) && low & ROM_ENABLE != 0)
                }
                _ => (BarSpace::Memory, command.contains(Command::MEMORY_SPACE)),
            };
            let high = if bar.kind.is_wide() { config.u32(at + 4) } else { 0 };
            let address = u64::from(high) << 32 | u64::from(low);
            let base = address & !(bar.size - 1);
            enabled.then_some(BarRange { space, base, length: bar.size })
        })
    }

    fn check_index(&self, index: usize, kind: BarKind) -> Result<(), BarError> {
        let fits = match kind {
            BarKind::Rom => index == ROM_BAR,
            BarKind::Memory64 | BarKind::Prefetchable64 => index + 1 < ROM_BAR,
            _ => index < ROM_BAR,
        };
        let below_is_wide = index
            .checked_sub(1)
            .and_then(|below| self.get(below))
            .is_some_and(|below| below.kind.is_wide() && index < ROM_BAR);
        let above_taken = kind.is_wide() && self.get(index + 1).is_some();
        if !fits || self.get(index).is_some() || below_is_wide || above_taken {
            return Err(BarError::Index(index));
        }
        Ok(())
    }
}

impl Bar {
    fn check(self) -> Result<(), BarError> {
        let limits = match self.kind {
            BarKind::Memory32 => 16..=1 << 31,
            BarKind::Memory64 | BarKind::Prefetchable64 => 16..=1 << 62,
            // PCI Express functions may not ask for more ports in one BAR.
            BarKind::Port => 4..=256,
            BarKind::Rom => 2048..=16 << 20,
        };
        if self.size.is_power_of_two() && limits.contains(&self.size) {
            Ok(())
        } else {
            Err(BarError::Size { kind: self.kind, size: self.size })
        }
    }
}

impl BarKind {
    /// Whether the address takes two registers.
    pub const fn is_wide(self) -> bool {
        matches!(self, Self::Memory64 | Self::Prefetchable64)
    }

    /// Whether it is memory that may hold registers, such as an MSI-X table.
    pub(crate) const fn holds_registers(self) -> bool {
        matches!(self, Self::Memory32 | Self::Memory64 | Self::Prefetchable64)
    }
}

/// The configuration register of a BAR in a type 0 header.
const fn register_of(index: usize) -> u16 {
    if index == ROM_BAR { ROM } else { BAR_0 + 4 * index as u16 }
}

#[cfg(test)]
mod tests;
