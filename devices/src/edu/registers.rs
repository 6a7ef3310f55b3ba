//! The registers behind BAR 0, the transfer engine and its buffer.

use iommu::Iova;

use crate::{BusMaster, DmaError};

/// Where the buffer lies in the engine's own address space.
const BUFFER_BASE: u64 = 0x40000;
/// The length of the buffer in bytes.
const BUFFER_LENGTH: usize = 4096;

/// Major version 1, minor version 0, and the device's name in the low byte.
const IDENTIFICATION: u32 = 0x0100_00ED;

/// Interrupt causes that the device itself sets; the guest may set any other.
mod cause {
    /// A factorial is ready.
    pub(super) const FACTORIAL: u32 = 0x0000_0001;
    /// A transfer has ended.
    pub(super) const DMA: u32 = 0x0000_0100;
}

/// Status register: interrupt when a factorial is ready.
const STATUS_INTERRUPT: u32 = 0x80;

/// Bits of the transfer command.
mod command {
    /// Write: start; read: running, which no read ever sees.
    pub(super) const RUN: u64 = 1;
    /// From the buffer to memory instead of from memory to the buffer.
    pub(super) const TO_MEMORY: u64 = 2;
    /// Interrupt when the transfer has ended.
    pub(super) const INTERRUPT: u64 = 4;
    /// Every bit there is.
    pub(super) const ALL: u64 = RUN | TO_MEMORY | INTERRUPT;
}

/// What the guest wrote and what came of it.
pub(super) struct Registers {
    /// The address lines that the transfer engine drives.
    dma_mask: u64,
    liveness: u32,
    factorial: u32,
    status: u32,
    causes: u32,
    source: u64,
    destination: u64,
    count: u64,
    command: u64,
    buffer: Box<[u8; BUFFER_LENGTH]>,
}

impl Registers {
    pub(super) fn new(dma_mask: u64) -> Self {
        Self {
            dma_mask,
            liveness: 0,
            factorial: 0,
            status: 0,
            causes: 0,
            source: 0,
            destination: 0,
            count: 0,
            command: 0,
            buffer: Box::new([0; BUFFER_LENGTH]),
        }
    }

    /// Whether a cause waits to be acknowledged.
    pub(super) fn pending(&self) -> bool {
        self.causes != 0
    }

    /// Reads a register. What is not a register, or not read in its size, is all ones.
    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0xFF);
        match data.len() {
            4 => {
                if let Some(value) = self.read_word(offset) {
                    data.copy_from_slice(&value.to_le_bytes());
                }
            }
            8 => {
                if let Some(value) = self.transfer_register(offset) {
                    data.copy_from_slice(&value.to_le_bytes());
                }
            }
            _ => {}
        }
    }

    /// Writes a register; on return everything it caused has happened. Tells whether a cause was raised,
    /// which is an interrupt even if others were waiting already.
    pub(super) fn write(&mut self, offset: u64, data: &[u8], master: &BusMaster) -> bool {
        match *data {
            [b0, b1, b2, b3] => self.write_word(offset, u32::from_le_bytes([b0, b1, b2, b3]), master),
            [b0, b1, b2, b3, b4, b5, b6, b7] => {
                let value = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
                self.write_transfer_register(offset, value, master)
            }
            _ => false,
        }
    }

    fn read_word(&self, offset: u64) -> Option<u32> {
        Some(match offset {
            0x00 => IDENTIFICATION,
            0x04 => self.liveness,
            0x08 => self.factorial,
            0x20 => self.status,
            0x24 => self.causes,
            0x84 | 0x8C | 0x94 | 0x9C => (self.transfer_register(offset - 4)? >> 32) as u32,
            _ => self.transfer_register(offset)? as u32,
        })
    }

    fn transfer_register(&self, offset: u64) -> Option<u64> {
        Some(match offset {
            0x80 => self.source,
            0x88 => self.destination,
            0x90 => self.count,
            0x98 => self.command,
            _ => return None,
        })
    }

    fn write_word(&mut self, offset: u64, value: u32, master: &BusMaster) -> bool {
        match offset {
            0x04 => self.liveness = !value,
            0x08 => {
                self.factorial = factorial(value);
                if self.status & STATUS_INTERRUPT != 0 {
                    return self.raise(cause::FACTORIAL);
                }
            }
            0x20 => self.status = value & STATUS_INTERRUPT,
            0x60 => return self.raise(value),
            0x64 => self.causes &= !value,
            // The upper halves. A lower half written alone clears its upper one, as a driver that knows of
            // 32 bits only expects.
            0x84 => self.source = high(self.source, value),
            0x8C => self.destination = high(self.destination, value),
            0x94 => self.count = high(self.count, value),
            _ => return self.write_transfer_register(offset, value as u64, master),
        }
        false
    }

    fn write_transfer_register(&mut self, offset: u64, value: u64, master: &BusMaster) -> bool {
        match offset {
            0x80 => self.source = value,
            0x88 => self.destination = value,
            0x90 => self.count = value,
            0x98 => {
                self.command = value & (command::ALL & !command::RUN);
                if value & command::RUN != 0 {
                    // The device has no error bit: a refused transfer ends like any other. Only the fault
                    // registers of the unit that refused it tell.
                    self.transfer(master).ok();
                    if value & command::INTERRUPT != 0 {
                        return self.raise(cause::DMA);
                    }
                }
            }
            _ => {}
        }
        false
    }

    fn raise(&mut self, causes: u32) -> bool {
        self.causes |= causes;
        causes != 0
    }

    /// Moves `count` bytes as the command says.
    fn transfer(&mut self, master: &BusMaster) -> Result<(), DmaError> {
        let (memory, buffer) = if self.command & command::TO_MEMORY != 0 {
            (self.destination, self.source)
        } else {
            (self.source, self.destination)
        };
        let range = buffer_range(buffer, self.count).ok_or(DmaError::Unreachable(buffer))?;
        let address = reachable(memory, self.count, self.dma_mask).ok_or(DmaError::Unreachable(memory))?;
        if self.command & command::TO_MEMORY != 0 {
            master.write(Iova(address), self.buffer.get(range).unwrap_or_default())
        } else {
            // Read apart, so that a refusal half-way leaves the buffer as it was.
            let mut data = [0; BUFFER_LENGTH];
            let data = &mut data[..range.len()];
            master.read(Iova(address), data)?;
            self.buffer[range].copy_from_slice(data);
            Ok(())
        }
    }
}

/// The part of the buffer that `count` bytes at `address` are; `None` if some lie outside.
fn buffer_range(address: u64, count: u64) -> Option<std::ops::Range<usize>> {
    let start = address.checked_sub(BUFFER_BASE)?;
    let end = start.checked_add(count)?;
    (end <= BUFFER_LENGTH as u64).then_some(start as usize..end as usize)
}

/// The address that the engine puts on the bus for `address`; `None` if the transfer would run past the
/// address lines it has.
fn reachable(address: u64, count: u64, mask: u64) -> Option<u64> {
    let first = address & mask;
    let last = first.checked_add(count.saturating_sub(1))?;
    (last & mask == last).then_some(first)
}

/// `value` with its upper half replaced.
fn high(value: u64, half: u32) -> u64 {
    value & 0xFFFF_FFFF | (half as u64) << 32
}

/// The factorial of `n` modulo 2^32. From 34 on it has 32 factors of two: it is 0.
fn factorial(n: u32) -> u32 {
    if n >= 34 { 0 } else { (1..=n).fold(1u32, u32::wrapping_mul) }
}

#[cfg(test)]
mod tests;
