//! PVH, the way into a kernel that Xen defines (docs/misc/pvh.pandoc and
//! public/arch-x86/hvm/start_info.h of Xen).

use linux_loader::loader::elf::start_info::{
    XEN_HVM_START_MAGIC_VALUE, hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info,
};
use vm_memory::ByteValued;

use super::arena::Arena;
use super::image::Image;
use super::program::Program;
use super::{Entry, Fault, Machine, OpenModule, Problem, Protocol, Role, c_string, module};

/// The version of the start information that has a memory map.
const VERSION: u32 = 1;
const PAGE: u64 = 4096;
const ONE_MIB: u64 = 1 << 20;
const FOUR_GIB: u64 = 1 << 32;

/// Loads `program` from `kernel`, to be entered at `entry`.
pub(super) fn load(
    kernel: &mut Image,
    program: &Program,
    entry: u32,
    modules: &mut [OpenModule],
    command_line: &str,
    machine: Machine<'_>,
) -> Result<Entry, Fault> {
    let mut arena = Arena::new(machine.ram, machine.map);
    program.load(kernel, machine, &mut arena)?;
    let entry = program.entry_32(u64::from(entry))?;

    let mut list = Vec::new();
    for (index, open) in modules.iter_mut().enumerate() {
        let loaded = load_module(open, machine, &mut arena).map_err(module(index))?;
        // Linux takes the first module for its initrd.
        let place = if open.image.role() == Role::Initrd { 0 } else { list.len() };
        list.insert(place, loaded);
    }
    let info = hvm_start_info {
        magic: XEN_HVM_START_MAGIC_VALUE,
        version: VERSION,
        flags: 0,
        nr_modules: list.len() as u32,
        modlist_paddr: write_table(&list, &mut arena)?,
        cmdline_paddr: arena.write_low(&c_string(command_line)?, 1)?,
        rsdp_paddr: machine.rsdp,
        memmap_paddr: write_table(&memory_map(machine), &mut arena)?,
        memmap_entries: machine.map.len() as u32,
        reserved: 0,
    };
    let info = arena.write_low(info.as_slice(), 8)?;
    Ok(Entry { rbx: info, ..Entry::protected(Protocol::Pvh, entry, &mut arena)? })
}

/// Loads a module as high as there is room.
fn load_module(
    open: &mut OpenModule,
    machine: Machine<'_>,
    arena: &mut Arena<'_>,
) -> Result<hvm_modlist_entry, Problem> {
    let size = open.image.length();
    let end = arena.taken_end().saturating_add(size);
    let paddr = arena.highest(size, PAGE, ONE_MIB, FOUR_GIB).ok_or(Problem::NoRoom { length: size, end })?;
    open.image.copy(0, size, machine.ram, paddr)?;
    let cmdline_paddr = match open.arguments.as_str() {
        "" => 0,
        arguments => arena.write_low(&c_string(arguments)?, 1)?,
    };
    Ok(hvm_modlist_entry { paddr, size, cmdline_paddr, reserved: 0 })
}

/// The types of ranges are ACPI's.
fn memory_map(machine: Machine<'_>) -> Vec<hvm_memmap_table_entry> {
    let entry = |range: &acpi::AddressRange| hvm_memmap_table_entry {
        addr: range.base,
        size: range.length,
        type_: range.kind as u32,
        reserved: 0,
    };
    machine.map.iter().map(entry).collect()
}

/// Writes a table and tells its address, zero for an empty one.
fn write_table<T: ByteValued>(entries: &[T], arena: &mut Arena<'_>) -> Result<u64, Problem> {
    if entries.is_empty() {
        return Ok(0);
    }
    let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.as_slice().to_vec()).collect();
    arena.write_low(&bytes, 8)
}

#[cfg(test)]
mod tests;
