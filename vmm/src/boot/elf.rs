//! Reads ELF executables for x86, 32 and 64 bits: what to load where, and where PVH would enter.

use super::image::Image;
use super::program::{Program, Segment};
use super::{Problem, arena};

/// The 32- or the 64-bit form of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// ELF32.
    Bits32,
    /// ELF64.
    Bits64,
}

/// What matters of an ELF executable.
#[derive(Debug)]
pub(super) struct Elf {
    pub(super) class: Class,
    pub(super) program: Program,
    /// The entry that the PVH note names.
    pub(super) pvh_entry: Option<u32>,
}

const IDENT: u64 = 16;
const LITTLE_ENDIAN: u8 = 1;
const EXECUTABLE: u16 = 2;
/// Kernels that can be moved are linked as shared objects.
const SHARED: u16 = 3;
const MACHINE_386: u16 = 3;
const MACHINE_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

/// The note of Xen's that holds the PVH entry.
const PHYS32_ENTRY: u32 = 18;
/// Notes larger than this are not a kernel's.
const NOTES_LIMIT: u64 = 1 << 20;

/// One program header, of either class.
struct ProgramHeader {
    kind: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
}

impl Elf {
    /// Reads the headers of an ELF file.
    pub(super) fn read(image: &mut Image) -> Result<Self, Problem> {
        let ident = image.read(0, IDENT)?;
        let class = match ident.get(4) {
            Some(1) => Class::Bits32,
            Some(2) => Class::Bits64,
            _ => return Err(Problem::Damaged("its ELF class is unknown")),
        };
        if ident.get(5) != Some(&LITTLE_ENDIAN) {
            return Err(Problem::Foreign("a big-endian processor"));
        }
        let header = Fields(image.read(0, class.header_size())?);
        match header.u16(18)? {
            MACHINE_386 | MACHINE_X86_64 => {}
            machine => return Err(foreign(machine)),
        }
        if !matches!(header.u16(16)?, EXECUTABLE | SHARED) {
            return Err(Problem::NotExecutable);
        }

        let mut program = Program { entry: class.entry(&header)?, segments: Vec::new() };
        let mut pvh_entry = None;
        for header in class.program_headers(&header, image)? {
            match header.kind {
                PT_LOAD if header.memory_size > 0 => program.segments.push(Segment {
                    offset: header.offset,
                    file_size: header.file_size,
                    address: header.address,
                    memory_size: header.memory_size,
                }),
                PT_NOTE if header.file_size <= NOTES_LIMIT => {
                    let notes = image.read(header.offset, header.file_size)?;
                    pvh_entry = pvh_entry.or(find_pvh_entry(&Fields(notes))?);
                }
                _ => {}
            }
        }
        if program.segments.is_empty() {
            return Err(Problem::Damaged("it has nothing to load"));
        }
        Ok(Self { class, program, pvh_entry })
    }
}

impl Class {
    fn header_size(self) -> u64 {
        match self {
            Self::Bits32 => 52,
            Self::Bits64 => 64,
        }
    }

    fn entry(self, header: &Fields) -> Result<u64, Problem> {
        match self {
            Self::Bits32 => header.u32(24).map(u64::from),
            Self::Bits64 => header.u64(24),
        }
    }

    /// Reads all program headers: at most 65535 of at most 56 bytes.
    fn program_headers(self, header: &Fields, image: &mut Image) -> Result<Vec<ProgramHeader>, Problem> {
        let (offset, size, count) = match self {
            Self::Bits32 => (u64::from(header.u32(28)?), header.u16(42)?, header.u16(44)?),
            Self::Bits64 => (header.u64(32)?, header.u16(54)?, header.u16(56)?),
        };
        let expected = match self {
            Self::Bits32 => 32,
            Self::Bits64 => 56,
        };
        if size != expected {
            return Err(Problem::Damaged("its program headers have an odd size"));
        }
        let table = image.read(offset, u64::from(size) * u64::from(count))?;
        let headers = table.chunks_exact(usize::from(expected));
        headers.map(|bytes| self.program_header(&Fields(bytes.to_vec()))).collect()
    }

    fn program_header(self, fields: &Fields) -> Result<ProgramHeader, Problem> {
        let kind = fields.u32(0)?;
        Ok(match self {
            Self::Bits32 => ProgramHeader {
                kind,
                offset: fields.u32(4)?.into(),
                address: fields.u32(12)?.into(),
                file_size: fields.u32(16)?.into(),
                memory_size: fields.u32(20)?.into(),
            },
            Self::Bits64 => ProgramHeader {
                kind,
                offset: fields.u64(8)?,
                address: fields.u64(24)?,
                file_size: fields.u64(32)?,
                memory_size: fields.u64(40)?,
            },
        })
    }
}

/// Looks through the notes for the one that names a 32-bit entry.
fn find_pvh_entry(notes: &Fields) -> Result<Option<u32>, Problem> {
    let mut at = 0;
    // Each note takes at least 12 bytes, so this ends.
    while at + 12 <= notes.0.len() {
        let name_size = notes.u32(at)?;
        let description_size = notes.u32(at + 4)?;
        let name = at + 12;
        let description = padded(name, name_size)?;
        let is_xen = notes.0.get(name..).is_some_and(|rest| rest.starts_with(b"Xen\0")) && name_size == 4;
        if is_xen && notes.u32(at + 8)? == PHYS32_ENTRY {
            // Some say it in 4 bytes and some in 8; the value has 32 bits either way.
            if description_size < 4 {
                return Err(Problem::Damaged("its PVH note has no room for an address"));
            }
            return notes.u32(description).map(Some);
        }
        at = padded(description, description_size)?;
    }
    Ok(None)
}

/// The offset after `size` bytes from `at`, with the padding notes have.
fn padded(at: usize, size: u32) -> Result<usize, Problem> {
    let end = (at as u64).checked_add(u64::from(size)).and_then(|end| arena::align_up(end, 4));
    end.and_then(|end| usize::try_from(end).ok()).ok_or(Problem::Damaged("a note is too long"))
}

fn foreign(machine: u16) -> Problem {
    match machine {
        2 | 18 | 43 => Problem::Foreign("SPARC"),
        8 => Problem::Foreign("MIPS"),
        20 | 21 => Problem::Foreign("PowerPC"),
        22 => Problem::Foreign("S/390"),
        40 => Problem::Foreign("32-bit Arm"),
        50 => Problem::Foreign("Itanium"),
        183 => Problem::Foreign("64-bit Arm"),
        243 => Problem::Foreign("RISC-V"),
        258 => Problem::Foreign("LoongArch"),
        machine => Problem::ForeignElf(machine),
    }
}

/// Bytes with little-endian fields in them.
struct Fields(Vec<u8>);

impl Fields {
    fn array<const N: usize>(&self, offset: usize) -> Result<[u8; N], Problem> {
        let bytes = self.0.get(offset..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or(Problem::Damaged("a header ends too early"))
    }

    fn u16(&self, offset: usize) -> Result<u16, Problem> {
        self.array(offset).map(u16::from_le_bytes)
    }

    fn u32(&self, offset: usize) -> Result<u32, Problem> {
        self.array(offset).map(u32::from_le_bytes)
    }

    fn u64(&self, offset: usize) -> Result<u64, Problem> {
        self.array(offset).map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests;
