//! A program as a list of segments, from an ELF file or from the addresses in a multiboot header.

use super::arena::Arena;
use super::image::Image;
use super::{Machine, Problem};

/// What to load where, and where to enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) entry: u64,
    pub(super) segments: Vec<Segment>,
}

/// Bytes of the file and where in memory they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Offset into the file.
    pub(super) offset: u64,
    /// How many bytes the file has.
    pub(super) file_size: u64,
    /// Guest physical address.
    pub(super) address: u64,
    /// How many bytes there are in memory; what the file lacks is zero.
    pub(super) memory_size: u64,
}

/// Memory is cleared in pieces of this size.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

impl Program {
    /// Copies all segments to their places, which must be free RAM, and returns where the highest ends.
    pub(super) fn load(
        &self,
        image: &mut Image,
        machine: Machine<'_>,
        arena: &mut Arena<'_>,
    ) -> Result<u64, Problem> {
        let mut top = 0;
        for segment in &self.segments {
            if segment.file_size > segment.memory_size {
                return Err(Problem::Damaged("a segment is longer in the file than in memory"));
            }
            arena.claim(segment.address, segment.memory_size)?;
            image.copy(segment.offset, segment.file_size, machine.ram, segment.address)?;
            // The claim has shown that these sums fit. Memory of a guest that starts anew is not zero.
            let end = segment.address + segment.memory_size;
            let mut clear = segment.address + segment.file_size;
            while clear < end {
                let length = (end - clear).min(ZEROS.len() as u64);
                arena.write(&ZEROS[..length as usize], clear)?;
                clear += length;
            }
            top = top.max(end);
        }
        Ok(top)
    }

    /// The entry as 32-bit modes have it, if it lies in what is loaded.
    pub(super) fn entry_32(&self, entry: u64) -> Result<u32, Problem> {
        let inside = self
            .segments
            .iter()
            .any(|segment| entry >= segment.address && entry - segment.address < segment.memory_size);
        match u32::try_from(entry) {
            Ok(entry) if inside => Ok(entry),
            _ => Err(Problem::Damaged("its entry is not in what is loaded")),
        }
    }
}
