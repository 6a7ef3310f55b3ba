//! Multiboot, version 0.6.96, for hypervisors such as Xen and for small kernels.

mod header;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes, Unaligned};

pub(super) use header::{Header, flat};

use super::arena::Arena;
use super::image::Image;
use super::program::Program;
use super::{Entry, Fault, Machine, OpenModule, Problem, Protocol, bios, c_string, module};

/// What EAX says on entry.
const MAGIC: u64 = 0x2bad_b002;
/// Who booted the kernel. Not a name with GRUB in it: Xen takes that for a loader that leaves the file name
/// out of the command line.
const LOADER_NAME: &str = "portcullis";
const PAGE: u64 = 4096;
const ONE_MIB: u64 = 1 << 20;
const FOUR_GIB: u64 = 1 << 32;

/// Which fields of the information are valid (section 3.3).
mod valid {
    pub(super) const MEMORY: u32 = 1 << 0;
    pub(super) const COMMAND_LINE: u32 = 1 << 2;
    pub(super) const MODULES: u32 = 1 << 3;
    pub(super) const MEMORY_MAP: u32 = 1 << 6;
    pub(super) const LOADER_NAME: u32 = 1 << 9;
}

/// The multiboot information (section 3.3), up to the fields about graphics.
#[derive(Default, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Information {
    flags: U32,
    mem_lower: U32,
    mem_upper: U32,
    boot_device: U32,
    cmdline: U32,
    mods_count: U32,
    mods_addr: U32,
    syms: [U32; 4],
    mmap_length: U32,
    mmap_addr: U32,
    drives_length: U32,
    drives_addr: U32,
    config_table: U32,
    boot_loader_name: U32,
    apm_table: U32,
    vbe: [U32; 4],
}

/// One module.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct ModuleEntry {
    start: U32,
    end: U32,
    string: U32,
    reserved: U32,
}

/// One range of the memory map.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct MapEntry {
    /// Length of what follows.
    size: U32,
    base: U64,
    length: U64,
    kind: U32,
}

/// Loads `program` from `kernel`, then `modules` after it in their order.
pub(super) fn load(
    kernel: &mut Image,
    program: &Program,
    modules: &mut [OpenModule],
    command_line: &str,
    machine: Machine<'_>,
) -> Result<Entry, Fault> {
    let mut arena = Arena::new(machine.ram, machine.map);
    let mut top = program.load(kernel, machine, &mut arena)?;
    let entry = program.entry_32(program.entry)?;

    let mut list = Vec::new();
    for (index, open) in modules.iter_mut().enumerate() {
        let loaded = load_module(open, top, machine, &mut arena).map_err(module(index))?;
        top = loaded.end.into();
        list.extend_from_slice(loaded.as_bytes());
    }
    let map: Vec<u8> = memory_map(machine).iter().flat_map(|entry| entry.as_bytes().to_vec()).collect();
    let line = with_file_name(kernel, command_line);

    // The arena ends at 4 GiB, so that everything in it has a 32-bit address.
    let information = Information {
        flags: (valid::MEMORY
            | valid::COMMAND_LINE
            | valid::MODULES
            | valid::MEMORY_MAP
            | valid::LOADER_NAME)
            .into(),
        mem_lower: kibibytes_from(0, machine).min(640).into(),
        mem_upper: kibibytes_from(ONE_MIB, machine).into(),
        cmdline: (arena.write_low(&c_string(&line)?, 1)? as u32).into(),
        mods_count: (modules.len() as u32).into(),
        mods_addr: (arena.write_low(&list, 4)? as u32).into(),
        mmap_length: (map.len() as u32).into(),
        mmap_addr: (arena.write_low(&map, 4)? as u32).into(),
        boot_loader_name: (arena.write_low(&c_string(LOADER_NAME)?, 1)? as u32).into(),
        ..Information::default()
    };
    bios::write(kibibytes_from(0, machine).min(640) as u16, &mut arena)?;
    let address = arena.write_low(information.as_bytes(), 4)?;
    let entry = Entry::protected(Protocol::Multiboot, entry, &mut arena)?;
    Ok(Entry { rax: MAGIC, rbx: address, ..entry })
}

/// Loads a module to the first page that is free after `top`.
fn load_module(
    open: &mut OpenModule,
    top: u64,
    machine: Machine<'_>,
    arena: &mut Arena<'_>,
) -> Result<ModuleEntry, Problem> {
    let length = open.image.length();
    let end = top.next_multiple_of(PAGE).saturating_add(length);
    let from = top.max(ONE_MIB);
    let start = arena.lowest(length, PAGE, from, FOUR_GIB).ok_or(Problem::NoRoom { length, end })?;
    open.image.copy(0, length, machine.ram, start)?;
    let line = with_file_name(&open.image, &open.arguments);
    Ok(ModuleEntry {
        start: (start as u32).into(),
        end: ((start + length) as u32).into(),
        string: (arena.write_low(&c_string(&line)?, 1)? as u32).into(),
        reserved: 0.into(),
    })
}

/// A command line as multiboot kernels expect it: the file's name goes first.
fn with_file_name(image: &Image, arguments: &str) -> String {
    match arguments {
        "" => image.name(),
        arguments => format!("{} {arguments}", image.name()),
    }
}

fn memory_map(machine: Machine<'_>) -> Vec<MapEntry> {
    let entry = |range: &acpi::AddressRange| MapEntry {
        size: 20.into(),
        base: range.base.into(),
        length: range.length.into(),
        kind: (range.kind as u32).into(),
    };
    machine.map.iter().map(entry).collect()
}

/// How many KiB of RAM there are from `start` to the first hole.
fn kibibytes_from(start: u64, machine: Machine<'_>) -> u32 {
    let ram =
        |range: &&acpi::AddressRange| range.kind == acpi::RangeKind::Memory && range.covers(start, start);
    let end = machine.map.iter().find(ram).map_or(start, |range| range.base.saturating_add(range.length));
    u32::try_from((end - start) >> 10).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
