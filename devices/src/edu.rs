//! The `edu` device, as QEMU documents it: a teaching device whose transfer engine and interrupts make it
//! the best witness of what a remapping unit does.
//!
//! BAR 0 is 1 MiB of memory. It takes aligned accesses of 4 bytes, and of 4 or 8 bytes from 0x80 on.
//!
//! | offset | | meaning |
//! |---|---|---|
//! | 0x00 | RO | identification, 0x010000ED |
//! | 0x04 | RW | liveness: reads the complement of what was written |
//! | 0x08 | RW | factorial of what was written, modulo 2^32 |
//! | 0x20 | RW | status: 0x80 to interrupt when a factorial is ready |
//! | 0x24 | RO | interrupt causes |
//! | 0x60 | WO | raises these causes, and an interrupt |
//! | 0x64 | WO | acknowledges these causes |
//! | 0x80 | RW | transfer: source |
//! | 0x88 | RW | transfer: destination |
//! | 0x90 | RW | transfer: count in bytes |
//! | 0x98 | RW | transfer: 1 starts it, 2 from the buffer to memory, 4 to interrupt (cause 0x100) at the end |
//!
//! A transfer is between memory and the 4 KiB buffer, whose addresses in the transfer registers begin at
//! 0x40000. Where this device differs from QEMU's:
//!
//! - Nothing takes any time: a factorial or a transfer is complete when the write that started it is.
//! - A transfer outside of the buffer, or to memory past the device's address lines, moves nothing and ends
//!   as any other does.
//! - A transfer that a remapping unit blocks ends as any other does, too. One to the buffer has then changed
//!   nothing; one to memory has written what comes before the page that was refused.
//! - Memory addresses are cut to the address lines, 28 of them unless configured otherwise, silently.
//! - The upper halves of the transfer registers can be written on their own.

mod registers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pci::{
    BAR_COUNT, Bar, BarKind, BarRange, EndpointBuilder, EndpointError, ExpressKind, Function, Identity,
    InterruptPin,
};

use self::registers::Registers;
use crate::emulated::EmulatedFunction;
use crate::{BusMaster, InterruptLine};

const IDENTITY: Identity = Identity {
    vendor: 0x1234,
    device: 0x11E8,
    revision: 0x10,
    // Unclassified.
    class: 0xFF_00_00,
    subsystem_vendor: 0x1AF4,
    subsystem: 0x1100,
};

/// The `edu` device.
pub struct Edu {
    function: EmulatedFunction,
    registers: Mutex<Registers>,
    dma_mask: u64,
}

impl Edu {
    /// The address lines of the transfer engine if nothing else is said: 28 of them.
    pub const DMA_MASK: u64 = 0x0FFF_FFFF;

    /// The interrupt pin the device uses.
    pub const PIN: InterruptPin = InterruptPin::A;

    /// A device that reaches memory through `master`, at the addresses within `dma_mask`. `kind` follows
    /// from where it is plugged in ([`pci::Slot::express`]); `line` is where its pin leads.
    pub fn new(
        master: BusMaster,
        line: Arc<dyn InterruptLine>,
        kind: Option<ExpressKind>,
        dma_mask: u64,
    ) -> Result<Self, EndpointError> {
        let mut builder = EndpointBuilder::new(&IDENTITY);
        builder
            .bar(0, Bar { kind: BarKind::Memory32, size: 1 << 20 })?
            .interrupt_pin(Self::PIN, move |asserted| line.set(asserted))
            .power_management()?
            .express(kind, true)?
            .msi(1, false)?;
        let function = EmulatedFunction::new(builder.build(), master);
        Ok(Self { function, registers: Mutex::new(Registers::new(dma_mask)), dma_mask })
    }

    fn registers(&self) -> MutexGuard<'_, Registers> {
        self.registers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Function for Edu {
    fn config_read(&self, offset: u16, data: &mut [u8]) {
        self.function.config_read(offset, data);
    }

    fn config_write(&self, offset: u16, data: &[u8]) {
        if self.function.config_write(offset, data) {
            self.reset();
        }
    }

    fn bars(&self) -> [Option<BarRange>; BAR_COUNT] {
        self.function.bars()
    }

    fn bar_read(&self, _bar: usize, offset: u64, data: &mut [u8]) {
        self.registers().read(offset, data);
    }

    fn bar_write(&self, _bar: usize, offset: u64, data: &[u8]) {
        // The lock is held until the interrupt is out, so that the wire's last level is the right one.
        let mut registers = self.registers();
        let raised = registers.write(offset, data, self.function.master());
        self.function.set_intx(registers.pending());
        if raised {
            // Without messages the wire has said it.
            self.function.raise(0);
        }
    }

    fn upstream(&self, open: bool) {
        self.function.upstream(open);
    }

    fn reset(&self) {
        let mut registers = self.registers();
        self.function.reset();
        *registers = Registers::new(self.dma_mask);
    }
}

#[cfg(test)]
mod tests;
