//! The device's side of a split virtqueue (section 2.7).

use std::num::Wrapping;
use std::sync::atomic::{Ordering, fence};

use iommu::Iova;

use super::chain::Chain;
use crate::{BusMaster, DmaError};

/// The driver wants no interrupt for used buffers.
const NO_INTERRUPT: u16 = 1;

/// The driver broke the rules, or its memory cannot be reached: the queue is of no use until it is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueueError {
    /// A ring or descriptor cannot be read or written.
    #[error(transparent)]
    Dma(#[from] DmaError),
    /// A ring that is not aligned or reaches past the end of the address space, or a bad size.
    #[error("Rings that cannot be")]
    Layout,
    /// A descriptor index at or past the queue's size.
    #[error("Descriptor {0}, which is past the end of the table")]
    Index(u16),
    /// The available ring says that more requests wait than fit.
    #[error("More requests than the queue holds")]
    Overrun,
    /// A chain that no driver may build, or that the device cannot answer.
    #[error("A descriptor chain with {0}")]
    Chain(&'static str),
}

/// Where the driver put a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// Entries: a power of two, up to 32768.
    pub(super) size: u16,
    /// The descriptor table, 16 bytes an entry, 16-byte aligned.
    pub(super) descriptors: u64,
    /// The driver's area, 2-byte aligned.
    pub(super) available: u64,
    /// The device's area, 4-byte aligned.
    pub(super) used: u64,
}

impl Layout {
    /// Whether everything is aligned and no address computed from it can overflow.
    fn check(&self) -> Result<(), QueueError> {
        let fits = |base: u64, alignment: u64, length: u64| {
            base.is_multiple_of(alignment) && base.checked_add(length).is_some()
        };
        let size = self.size as u64;
        let valid = self.size.is_power_of_two()
            && fits(self.descriptors, 16, size * 16)
            && fits(self.available, 2, size * 2 + 6)
            && fits(self.used, 4, size * 8 + 6);
        if valid { Ok(()) } else { Err(QueueError::Layout) }
    }
}

/// A queue at work.
pub(super) struct Queue {
    layout: Layout,
    next_available: Wrapping<u16>,
    next_used: Wrapping<u16>,
}

impl Queue {
    /// A queue at the beginning of its rings.
    pub(super) fn new(layout: Layout) -> Result<Self, QueueError> {
        layout.check()?;
        Ok(Self { layout, next_available: Wrapping(0), next_used: Wrapping(0) })
    }

    /// The next request, if there is one.
    pub(super) fn pop(&mut self, master: &BusMaster) -> Result<Option<Chain>, QueueError> {
        let Layout { size, descriptors, available, .. } = self.layout;
        // Ordered before whatever is read of the entries it announces.
        let index = Wrapping(u16::from_le(master.load(Iova(available + 2))?));
        match (index - self.next_available).0 {
            0 => return Ok(None),
            waiting if waiting > size => return Err(QueueError::Overrun),
            _ => {}
        }
        let slot = self.next_available.0 & (size - 1);
        let head = u16::from_le(master.load(Iova(available + 4 + slot as u64 * 2))?);
        let chain = Chain::read(master, Iova(descriptors), size, head)?;
        self.next_available += 1;
        Ok(Some(chain))
    }

    /// Gives `chain` back to the driver, `written` bytes of its writable part filled.
    pub(super) fn push(&mut self, master: &BusMaster, chain: &Chain, written: u32) -> Result<(), QueueError> {
        let Layout { size, used, .. } = self.layout;
        let slot = self.next_used.0 & (size - 1);
        let mut element = [0; 8];
        element[..4].copy_from_slice(&u32::from(chain.head()).to_le_bytes());
        element[4..].copy_from_slice(&written.to_le_bytes());
        master.write(Iova(used + 4 + slot as u64 * 8), &element)?;
        self.next_used += 1;
        // Ordered after the element and the buffers.
        Ok(master.store(Iova(used + 2), self.next_used.0.to_le())?)
    }

    /// Whether the driver wants to hear of the requests given back.
    pub(super) fn wants_interrupt(&self, master: &BusMaster) -> Result<bool, QueueError> {
        // The driver allows interrupts and then looks at the index; we write the index and then look.
        fence(Ordering::SeqCst);
        let flags = u16::from_le(master.load(Iova(self.layout.available))?);
        Ok(flags & NO_INTERRUPT == 0)
    }
}

#[cfg(test)]
mod tests;
