//! Linux's 64-bit boot protocol (Documentation/arch/x86/boot.rst of the kernel).

use linux_loader::loader::bootparam::{
    E820_MAX_ENTRIES_ZEROPAGE, XLF_KERNEL_64, boot_e820_entry, boot_params, setup_header,
};
use vm_memory::ByteValued;

use super::arena::Arena;
use super::image::Image;
use super::{Entry, Fault, Machine, OpenModule, Problem, Protocol, Role, c_string, module};

/// Where the setup header starts in the file and in the zero page.
const HEADER: usize = 0x1f1;
/// The byte that says how far past 0x202 the header goes.
const HEADER_LENGTH: usize = 0x201;
/// Enough of the file to hold any header.
const START: u64 = 4096;
/// The first version that says in `xloadflags` whether there is a 64-bit entry.
const NEEDED_VERSION: u16 = 0x020c;
/// `loadflags`: the kernel belongs above 1 MiB.
const LOADED_HIGH: u8 = 1;
/// The 64-bit entry, from where the kernel was loaded.
const ENTRY_64: u64 = 0x200;
/// A boot loader without a number of its own.
const UNDEFINED_LOADER: u8 = 0xff;
/// The command line a kernel takes that does not say how much.
const DEFAULT_COMMAND_LINE: usize = 255;
const ONE_MIB: u64 = 1 << 20;
const FOUR_GIB: u64 = 1 << 32;
const SECTOR: u64 = 512;
const PAGE: u64 = 4096;

/// Loads the bzImage `kernel`, and of `modules` at most an initrd.
pub(super) fn load(
    kernel: &mut Image,
    modules: &mut [OpenModule],
    command_line: &str,
    machine: Machine<'_>,
) -> Result<Entry, Fault> {
    if modules.iter().any(|module| module.image.role() != Role::Initrd) {
        return Err(Problem::Modules.into());
    }
    let mut arena = Arena::new(machine.ram, machine.map);
    let mut header = read_header(&kernel.start(START)?)?;
    let code = Code::find(&header, kernel.length())?;
    let start = place(&header, code.length, &mut arena)?;
    kernel.copy(code.offset, code.length, machine.ram, start)?;

    // The arena ends at 4 GiB, so that everything in it has a 32-bit address.
    header.type_of_loader = UNDEFINED_LOADER;
    header.code32_start = start as u32;
    header.cmd_line_ptr = write_command_line(&header, command_line, &mut arena)? as u32;
    if let Some(initrd) = modules.first_mut() {
        let limit = (u64::from(header.initrd_addr_max) + 1).min(FOUR_GIB);
        let (address, length) =
            load_initrd(&mut initrd.image, limit, machine, &mut arena).map_err(module(0))?;
        header.ramdisk_image = address as u32;
        header.ramdisk_size = length as u32;
    }
    let zero_page = write_zero_page(header, machine, &mut arena)?;
    Ok(Entry { rsi: zero_page, ..Entry::long(Protocol::Linux, start + ENTRY_64, &mut arena)? })
}

/// Reads the setup header out of the first bytes of the file, and makes sure that it can be entered in 64-bit
/// mode.
fn read_header(start: &[u8]) -> Result<setup_header, Problem> {
    let truncated = || Problem::Truncated { length: start.len() as u64, needed: HEADER as u64 + 0x100 };
    let end = 0x202 + usize::from(*start.get(HEADER_LENGTH).ok_or_else(truncated)?);
    let bytes = start.get(HEADER..end).ok_or_else(truncated)?;
    // What lies beyond the kernel's own end of the header is code; what it does not have yet is zero.
    let mut header = setup_header::default();
    for (field, byte) in header.as_mut_slice().iter_mut().zip(bytes) {
        *field = *byte;
    }
    if header.version < NEEDED_VERSION {
        return Err(Problem::OldLinux(header.version));
    }
    if header.loadflags & LOADED_HIGH == 0 {
        return Err(Problem::ZImage);
    }
    if header.xloadflags & XLF_KERNEL_64 == 0 {
        return Err(Problem::Linux32);
    }
    Ok(header)
}

/// The part of the file that is loaded: all but the real-mode code.
struct Code {
    offset: u64,
    length: u64,
}

impl Code {
    fn find(header: &setup_header, file_length: u64) -> Result<Self, Problem> {
        let sectors = match header.setup_sects {
            0 => 4,
            sectors => u64::from(sectors),
        };
        let offset = (sectors + 1) * SECTOR;
        // In units of 16 bytes; a signature may follow.
        let told = u64::from(header.syssize) * 16;
        // The last unit need not be whole.
        let needed = offset + told.saturating_sub(15).max(ENTRY_64 + 1);
        if file_length < needed {
            return Err(Problem::Truncated { length: file_length, needed });
        }
        Ok(Self { offset, length: file_length - offset })
    }
}

/// Takes the memory the kernel needs until it knows the memory map: where it would like to be, or anywhere
/// if it can be moved.
fn place(header: &setup_header, code: u64, arena: &mut Arena<'_>) -> Result<u64, Problem> {
    let length = u64::from(header.init_size).max(code);
    let preferred = header.pref_address;
    if preferred < ONE_MIB {
        return Err(Problem::Damaged("it wants to be loaded below 1 MiB"));
    }
    let Err(problem) = arena.claim(preferred, length) else { return Ok(preferred) };
    if header.relocatable_kernel == 0 {
        return Err(problem);
    }
    let alignment = u64::from(header.kernel_alignment);
    if !alignment.is_power_of_two() {
        return Err(Problem::Damaged("its alignment is no power of two"));
    }
    let end = alignment.max(ONE_MIB).saturating_add(length);
    arena.lowest(length, alignment, ONE_MIB, FOUR_GIB).ok_or(Problem::NoRoom { length, end })
}

fn write_command_line(header: &setup_header, text: &str, arena: &mut Arena<'_>) -> Result<u64, Problem> {
    let limit = match header.cmdline_size {
        0 => DEFAULT_COMMAND_LINE,
        size => size as usize,
    };
    if text.len() > limit {
        return Err(Problem::CommandLineLength { length: text.len(), limit });
    }
    arena.write_low(&c_string(text)?, 1)
}

/// Loads the initrd as high as the kernel and memory allow, and returns address and length.
fn load_initrd(
    initrd: &mut Image,
    limit: u64,
    machine: Machine<'_>,
    arena: &mut Arena<'_>,
) -> Result<(u64, u64), Problem> {
    let length = initrd.length();
    let address = arena.highest(length, PAGE, ONE_MIB, limit).ok_or_else(|| {
        if arena.end() > limit {
            Problem::AboveLimit { length, limit }
        } else {
            Problem::NoRoom { length, end: arena.taken_end().saturating_add(length) }
        }
    })?;
    initrd.copy(0, length, machine.ram, address)?;
    Ok((address, length))
}

/// Writes the zero page: the header, the memory map, and where ACPI's root pointer is.
fn write_zero_page(
    header: setup_header,
    machine: Machine<'_>,
    arena: &mut Arena<'_>,
) -> Result<u64, Problem> {
    let mut zero_page = boot_params { hdr: header, acpi_rsdp_addr: machine.rsdp, ..boot_params::default() };
    if machine.map.len() > E820_MAX_ENTRIES_ZEROPAGE {
        return Err(Problem::MemoryMap(machine.map.len()));
    }
    zero_page.e820_entries = machine.map.len() as u8;
    for (entry, range) in zero_page.e820_table.iter_mut().zip(machine.map) {
        *entry = boot_e820_entry { addr: range.base, size: range.length, r#type: range.kind as u32 };
    }
    arena.write_low(zero_page.as_slice(), PAGE)
}

#[cfg(test)]
mod tests;
