//! The register window as software sees it: storage, and which bits software may change.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::spec::counters::{self, CONFIGURATION, ECMD, PERFCAP, PERFINTRCTL};
use crate::spec::registers::{
    CAP, CCMD, ECAP, EVENT_MASKED, FECTL, IECTL, IOTLB, IQA, IQH, IQT, IRTA, IVA, PECTL, PHMBASE, PHMLIMIT,
    PLMBASE, PQA, PQH, PQT, RTADDR, VER, VERSION, ccmd, iotlb,
};
use crate::spec::{PAGE_ADDRESS, bits, mask};
use crate::{Capabilities, Feature, protected};

/// Every register, as 32-bit words; any thread may read them at any time. They lie apart from what requests
/// read, because every invalidation changes some.
#[repr(align(128))]
pub(crate) struct Registers {
    words: Box<[AtomicU32]>,
    capabilities: Capabilities,
}

impl Registers {
    /// The registers after power-on.
    pub(crate) fn new(capabilities: &Capabilities) -> Self {
        let words = (0..capabilities.window_size() / 4).map(|_| AtomicU32::new(0)).collect();
        let registers = Self { words, capabilities: *capabilities };
        registers.reset();
        registers
    }

    pub(crate) fn reset(&self) {
        for offset in (0..self.window()).step_by(4) {
            self.set(offset, reset_value(offset, &self.capabilities));
        }
    }

    /// A software read: whole registers and halves of 64-bit ones, naturally aligned. Anything else, and
    /// what lies between the registers, reads 0.
    pub(crate) fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if !self.is_access(offset, data.len()) {
            return;
        }
        // The upper half first: in a fault record it says whether the lower is valid.
        for (index, word) in data.chunks_exact_mut(4).enumerate().rev() {
            let offset = offset + index as u64 * 4;
            word.copy_from_slice(&(self.get(offset) & readable(offset)).to_le_bytes());
        }
    }

    /// Takes a software write apart into 32-bit words, in the order in which they take effect; none if it is
    /// not an access that the architecture defines.
    pub(crate) fn words_of(&self, offset: u64, data: &[u8]) -> impl Iterator<Item = (u64, u32)> {
        let data = if self.is_access(offset, data.len()) { data } else { &[] };
        let words = data.len() / 4;
        (0..words).map(move |index| {
            // A command begins with its lower half.
            let index = if offset == ECMD { words - 1 - index } else { index };
            let word: [u8; 4] = std::array::from_fn(|byte| data[index * 4 + byte]);
            (offset + index as u64 * 4, u32::from_le_bytes(word))
        })
    }

    /// Stores what software may change of the word at `offset`; gives the word as it then is.
    pub(crate) fn write(&self, offset: u64, value: u32) -> u32 {
        let writable = writable(offset, &self.capabilities);
        let value = self.get(offset) & !writable | value & writable;
        if writable != 0 {
            self.set(offset, value);
        }
        value
    }

    /// Whether there is a register at `offset`, or could be: what serves a feature that the unit lacks is not
    /// there.
    pub(crate) fn has(&self, offset: u64) -> bool {
        is_there(offset, &self.capabilities)
    }

    /// The bits of the word at `offset` that software may change.
    pub(crate) fn writable(&self, offset: u64) -> u32 {
        writable(offset, &self.capabilities)
    }

    /// Every word as it is stored.
    pub(crate) fn words(&self) -> Vec<u32> {
        self.words.iter().map(|word| word.load(Ordering::Acquire)).collect()
    }

    /// Stores every word.
    pub(crate) fn load(&self, words: &[u32]) {
        for (word, value) in self.words.iter().zip(words) {
            word.store(*value, Ordering::Release);
        }
    }

    pub(crate) fn get(&self, offset: u64) -> u32 {
        self.word(offset).map_or(0, |word| word.load(Ordering::Acquire))
    }

    pub(crate) fn set(&self, offset: u64, value: u32) {
        if let Some(word) = self.word(offset) {
            word.store(value, Ordering::Release);
        }
    }

    pub(crate) fn get_u64(&self, offset: u64) -> u64 {
        u64::from(self.get(offset)) | u64::from(self.get(offset + 4)) << 32
    }

    /// Stores the lower half first.
    pub(crate) fn set_u64(&self, offset: u64, value: u64) {
        self.set(offset, value as u32);
        self.set(offset + 4, (value >> 32) as u32);
    }

    /// Whether the architecture defines an access of this size here (§11.3).
    pub(crate) fn is_access(&self, offset: u64, length: usize) -> bool {
        matches!(length, 4 | 8) && offset.is_multiple_of(length as u64) && offset < self.window()
    }

    fn window(&self) -> u64 {
        self.words.len() as u64 * 4
    }

    fn word(&self, offset: u64) -> Option<&AtomicU32> {
        self.words.get(usize::try_from(offset / 4).ok()?)
    }
}

/// Whether the unit has what the registers at `offset` serve (§11.4).
fn is_there(offset: u64, capabilities: &Capabilities) -> bool {
    let serves = match offset {
        IQH..IRTA => Feature::Queue,
        IRTA..PQH => Feature::InterruptRemapping,
        PQH..IVA => Feature::PageRequests,
        PERFCAP..ECMD | CONFIGURATION.. => Feature::PerformanceMonitoring,
        ECMD..0x1000 => Feature::EnhancedCommands,
        _ => return true,
    };
    capabilities.has(serves)
}

fn reset_value(offset: u64, capabilities: &Capabilities) -> u32 {
    match offset & !7 {
        CAP => half(offset, capabilities.cap()),
        ECAP => half(offset, capabilities.ecap()),
        _ => match offset {
            VER => VERSION,
            FECTL | IECTL | PECTL if is_there(offset, capabilities) => EVENT_MASKED,
            _ => counters::reset_value(offset, capabilities),
        },
    }
}

/// The bits that reads show; the others are write-only.
fn readable(offset: u64) -> u32 {
    match offset & !7 {
        IVA => 0,
        CCMD => half(offset, !ccmd::WRITE_ONLY),
        _ => u32::MAX,
    }
}

/// The bits that a write simply stores. Registers whose writes mean something else have none.
fn writable(offset: u64, capabilities: &Capabilities) -> u32 {
    if !is_there(offset, capabilities) {
        return 0;
    }
    let has = |feature| capabilities.has(feature);
    match offset & !7 {
        RTADDR => half(offset, PAGE_ADDRESS | mask(11, 10)),
        CCMD => half(offset, ccmd::WRITABLE),
        IQT => half(offset, mask(18, 4)),
        // Wide descriptors belong to modes that there may not be.
        IQA if has(Feature::Scalable) || has(Feature::AbortMode) => {
            half(offset, PAGE_ADDRESS | mask(11, 11) | mask(2, 0))
        }
        IQA | PQA => half(offset, PAGE_ADDRESS | mask(2, 0)),
        PQH | PQT => half(offset, mask(18, 5)),
        IRTA if has(Feature::ExtendedInterruptMode) => half(offset, PAGE_ADDRESS | mask(11, 11) | mask(3, 0)),
        IRTA => half(offset, PAGE_ADDRESS | mask(3, 0)),
        PLMBASE => protected::writable(offset, capabilities) as u32,
        PHMBASE | PHMLIMIT => half(offset, protected::writable(offset & !7, capabilities)),
        IVA => half(offset, PAGE_ADDRESS | mask(6, 0)),
        IOTLB => half(offset, iotlb::WRITABLE),
        _ => event_writable(offset, capabilities) | counters::writable(offset),
    }
}

/// The bits of an event's data, address and upper address. The last is for destinations of 32 bits.
fn event_writable(offset: u64, capabilities: &Capabilities) -> u32 {
    let control = match offset {
        PERFINTRCTL.. => PERFINTRCTL,
        PECTL.. => PECTL,
        IECTL.. => IECTL,
        _ => FECTL,
    };
    match offset.checked_sub(control) {
        Some(4) => mask(15, 0) as u32,
        Some(8) => mask(31, 2) as u32,
        Some(12) if capabilities.has(Feature::ExtendedInterruptMode) => mask(31, 8) as u32,
        _ => 0,
    }
}

/// The half of a 64-bit value that the word at `offset` holds.
const fn half(offset: u64, value: u64) -> u32 {
    if offset & 4 == 0 { value as u32 } else { bits(value, 63, 32) as u32 }
}

#[cfg(test)]
mod tests;
