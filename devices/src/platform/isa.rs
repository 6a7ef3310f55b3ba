//! The ISA interrupts: each a wire to the 8259 pair and to the IOAPIC.

use std::sync::Arc;

use super::{IoApic, Pic, Wire};
use crate::InterruptLine;

/// An ISA interrupt by its number at the 8259 pair. Number 2 is the pair's own cascade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IsaInterrupt(u8);

impl IsaInterrupt {
    /// Channel 0 of the 8254.
    pub const TIMER: Self = Self(0);
    /// The i8042.
    pub const KEYBOARD: Self = Self(1);
    /// The serial port at 0x2F8.
    pub const COM2: Self = Self(3);
    /// The serial port at 0x3F8.
    pub const COM1: Self = Self(4);
    /// The real-time clock.
    pub const CLOCK: Self = Self(8);
    /// ACPI's system control interrupt, level-triggered.
    pub const SYSTEM_CONTROL: Self = Self(9);

    /// The interrupt of a number below 16 that is not the cascade's.
    pub const fn new(number: u8) -> Option<Self> {
        if number < COUNT && number != CASCADE { Some(Self(number)) } else { None }
    }

    /// Its number at the 8259 pair.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its pin at the IOAPIC: the same number, except that the timer takes the place of the cascade. The
    /// MADT says so with an interrupt source override.
    pub const fn pin(self) -> u8 {
        if self.0 == Self::TIMER.0 { CASCADE } else { self.0 }
    }
}

const COUNT: u8 = 16;
const CASCADE: u8 = 2;

/// The wires of the ISA interrupts.
pub struct IsaWires {
    /// By number; the cascade's leads nowhere.
    wires: [Arc<Wire>; COUNT as usize],
}

impl IsaWires {
    /// Wires to both kinds of controller.
    pub fn new(pic: &Arc<Pic>, ioapic: &IoApic) -> Self {
        let wires = std::array::from_fn(|number| {
            let inputs = IsaInterrupt::new(number as u8).map(|interrupt| {
                let pin = ioapic.line(interrupt.pin().into());
                pin.into_iter().chain([pic.input(interrupt.number())]).collect()
            });
            Wire::new(inputs.unwrap_or_default())
        });
        Self { wires }
    }

    /// A new device's share of an interrupt.
    pub fn line(&self, interrupt: IsaInterrupt) -> Arc<dyn InterruptLine> {
        self.wires[usize::from(interrupt.0)].share()
    }
}

#[cfg(test)]
mod tests;
