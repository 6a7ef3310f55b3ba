//! The header by which a kernel says that it speaks multiboot (section 3.1).

use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use crate::boot::Problem;
use crate::boot::image::Image;
use crate::boot::program::{Program, Segment};

const MAGIC: u32 = 0x1bad_b002;
/// The header lies in this much of the file, at a multiple of 4.
const SEARCHED: usize = 8192;
/// Length with the address fields.
const LONG: usize = 32;
/// Length without them.
const SHORT: usize = 12;

/// What the kernel asks for. Pages for modules and a memory map it gets anyway.
const WANTS_GRAPHICS: u32 = 1 << 2;
/// The flags a loader must understand, and of these the ones that we do.
const MUST_UNDERSTAND: u32 = 0xffff;
const UNDERSTOOD: u32 = 0b11;
/// The address fields are valid.
const HAS_ADDRESSES: u32 = 1 << 16;

/// A multiboot header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::boot) struct Header {
    /// Offset into the file.
    offset: u32,
    /// Where to load a file that is not ELF, or whose ELF headers shall not count.
    pub(in crate::boot) addresses: Option<Addresses>,
}

/// The address fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::boot) struct Addresses {
    /// Where the header itself goes.
    header: u32,
    /// Where the loaded part starts.
    load: u32,
    /// Where the loaded part ends; zero for the end of the file.
    load_end: u32,
    /// Where cleared memory ends; zero for none.
    bss_end: u32,
    entry: u32,
}

impl Header {
    /// Finds the header in the first bytes of a file; an error if it asks for what we do not have.
    pub(in crate::boot) fn find(start: &[u8]) -> Result<Option<Self>, Problem> {
        let searched = start.get(..SEARCHED).unwrap_or(start);
        let candidates = (0..searched.len()).step_by(4);
        for (offset, bytes) in candidates.filter_map(|offset| Some((offset, searched.get(offset..)?))) {
            let Ok(([magic, flags, checksum], _)) = <[U32; 3]>::read_from_prefix(bytes) else { break };
            let sum = magic.get().wrapping_add(flags.get()).wrapping_add(checksum.get());
            if magic.get() == MAGIC && sum == 0 {
                return Self::read(offset, flags.get(), bytes).map(Some);
            }
        }
        Ok(None)
    }

    fn read(offset: usize, flags: u32, bytes: &[u8]) -> Result<Self, Problem> {
        if flags & WANTS_GRAPHICS != 0 {
            return Err(Problem::Multiboot("a graphics mode"));
        }
        if flags & MUST_UNDERSTAND & !UNDERSTOOD != 0 {
            return Err(Problem::Multiboot("a feature multiboot does not define"));
        }
        let addresses = if flags & HAS_ADDRESSES == 0 {
            None
        } else {
            let fields = bytes.get(SHORT..LONG).unwrap_or_default();
            let Ok([header, load, load_end, bss_end, entry]) = <[U32; 5]>::read_from_bytes(fields) else {
                return Err(Problem::Damaged("its multiboot header is cut off"));
            };
            Some(Addresses {
                header: header.get(),
                load: load.get(),
                load_end: load_end.get(),
                bss_end: bss_end.get(),
                entry: entry.get(),
            })
        };
        Ok(Self { offset: offset as u32, addresses })
    }
}

/// The program that the address fields of `header` describe.
pub(in crate::boot) fn flat(image: &Image, header: &Header) -> Result<Program, Problem> {
    let Some(addresses) = header.addresses else {
        return Err(Problem::Damaged("it is not ELF, and its multiboot header has no addresses"));
    };
    let contradiction = || Problem::Damaged("the addresses in its multiboot header contradict each other");
    // The header's offset and address say where in the file the loaded part begins.
    let before = addresses.header.checked_sub(addresses.load).ok_or_else(contradiction)?;
    let offset = u64::from(header.offset.checked_sub(before).ok_or_else(contradiction)?);
    let file_size = match addresses.load_end {
        0 => image.length().saturating_sub(offset),
        end => u64::from(end.checked_sub(addresses.load).ok_or_else(contradiction)?),
    };
    let memory_size = match addresses.bss_end {
        0 => file_size,
        end => u64::from(end.checked_sub(addresses.load).ok_or_else(contradiction)?).max(file_size),
    };
    let segment = Segment { offset, file_size, address: u64::from(addresses.load), memory_size };
    Ok(Program { entry: u64::from(addresses.entry), segments: vec![segment] })
}

#[cfg(test)]
mod tests;
