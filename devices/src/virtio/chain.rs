//! Descriptor chains (section 2.7.5): a request as the driver laid it out in memory.

use iommu::Iova;

use super::queue::QueueError;
use crate::{BusMaster, DmaError};

/// A descriptor's flags.
mod flag {
    /// Another descriptor follows.
    pub(super) const NEXT: u16 = 1;
    /// The device writes the buffer.
    pub(super) const WRITE: u16 = 2;
    /// The buffer is a table of descriptors, which we do not offer.
    pub(super) const INDIRECT: u16 = 4;
}

/// The size of a descriptor in bytes.
const DESCRIPTOR: u64 = 16;

/// One descriptor, read once.
struct Descriptor {
    address: Iova,
    length: u32,
    flags: u16,
    next: u16,
}

impl Descriptor {
    fn read(master: &BusMaster, table: Iova, index: u16) -> Result<Self, QueueError> {
        let mut data = [0; DESCRIPTOR as usize];
        let address = table.0.checked_add(index as u64 * DESCRIPTOR).ok_or(QueueError::Layout)?;
        master.read(Iova(address), &mut data)?;
        let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1] = data;
        Ok(Self {
            address: Iova(u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7])),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            flags: u16::from_le_bytes([f0, f1]),
            next: u16::from_le_bytes([n0, n1]),
        })
    }
}

/// Buffers in a row, as if they were one.
#[derive(Default)]
pub(super) struct Buffers {
    parts: Vec<(Iova, u32)>,
    length: u64,
}

impl Buffers {
    fn push(&mut self, address: Iova, length: u32) {
        self.parts.push((address, length));
        self.length += length as u64;
    }

    /// Bytes in all.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Reads what lies `offset` bytes in.
    pub(super) fn read(&self, master: &BusMaster, offset: u64, mut data: &mut [u8]) -> Result<(), DmaError> {
        self.pieces(offset, data.len(), |address, length| {
            let (piece, rest) = std::mem::take(&mut data).split_at_mut(length);
            data = rest;
            master.read(address, piece)
        })
    }

    /// Writes `offset` bytes in.
    pub(super) fn write(&self, master: &BusMaster, offset: u64, mut data: &[u8]) -> Result<(), DmaError> {
        self.pieces(offset, data.len(), |address, length| {
            let (piece, rest) = data.split_at(length);
            data = rest;
            master.write(address, piece)
        })
    }

    /// Does `work` on each piece of a buffer that the `left` bytes from `offset` on fall into, in order.
    /// Bytes past the end are nowhere: an error.
    fn pieces(
        &self,
        mut offset: u64,
        mut left: usize,
        mut work: impl FnMut(Iova, usize) -> Result<(), DmaError>,
    ) -> Result<(), DmaError> {
        for &(address, length) in &self.parts {
            let Some(available) = (length as u64).checked_sub(offset) else {
                offset -= length as u64;
                continue;
            };
            // At most `left`, so it fits.
            let piece = available.min(left as u64) as usize;
            if piece > 0 {
                let start = address.0.checked_add(offset).ok_or(DmaError::Unreachable(address.0))?;
                work(Iova(start), piece)?;
                left -= piece;
            }
            offset = 0;
        }
        if left == 0 { Ok(()) } else { Err(DmaError::Unreachable(u64::MAX)) }
    }
}

/// A request: what the device reads, then what it writes.
pub(super) struct Chain {
    head: u16,
    /// Written by the driver for the device.
    pub(super) readable: Buffers,
    /// To be written by the device.
    pub(super) writable: Buffers,
}

impl Chain {
    /// Reads the chain that begins at descriptor `head` of the `size` descriptors in `table`.
    pub(super) fn read(master: &BusMaster, table: Iova, size: u16, head: u16) -> Result<Self, QueueError> {
        let mut chain = Self { head, readable: Buffers::default(), writable: Buffers::default() };
        let mut index = head;
        // A chain without a loop has at most as many descriptors as the table.
        for _ in 0..size {
            if index >= size {
                return Err(QueueError::Index(index));
            }
            let descriptor = Descriptor::read(master, table, index)?;
            if descriptor.flags & flag::INDIRECT != 0 {
                return Err(QueueError::Chain("an indirect descriptor, which was not offered"));
            }
            if descriptor.flags & flag::WRITE != 0 {
                chain.writable.push(descriptor.address, descriptor.length);
            } else if chain.writable.parts.is_empty() {
                chain.readable.push(descriptor.address, descriptor.length);
            } else {
                return Err(QueueError::Chain("a readable buffer after a writable one"));
            }
            if descriptor.flags & flag::NEXT == 0 {
                return Ok(chain);
            }
            index = descriptor.next;
        }
        Err(QueueError::Chain("a loop"))
    }

    /// The index the driver knows the request by.
    pub(super) fn head(&self) -> u16 {
        self.head
    }
}

#[cfg(test)]
mod tests;
