//! Brings a kernel into guest memory and says how to enter it.
//!
//! Three protocols are spoken: Linux's 64-bit boot protocol for a bzImage, PVH for an ELF file with a PVH
//! entry, and multiboot 1 for an ELF or flat file with its header. [`load`] finds out which. Its result, an
//! [`Entry`], is plain data: the registers of the first vCPU. Kernel files are as little trusted as guests.

mod arena;
mod bios;
mod elf;
mod entry;
mod error;
mod identify;
mod image;
mod linux;
mod multiboot;
mod program;
mod pvh;
#[cfg(test)]
mod testing;

use std::path::PathBuf;

use acpi::AddressRange;
use devices::GuestRam;

pub use entry::{DescriptorTable, Entry, Protocol, Segment};
pub use error::{Error, Problem, Role};

use elf::Class;
use identify::Format;
use image::Image;

/// What to boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The kernel.
    pub kernel: PathBuf,
    /// What the kernel is told.
    pub command_line: String,
    /// An initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Further files, for protocols that know of such. A multiboot kernel gets them before the initrd, so
    /// that a hypervisor finds the kernel of its first domain first.
    pub modules: Vec<Module>,
}

/// A file handed to the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// The file.
    pub file: PathBuf,
    /// What it is told.
    pub arguments: String,
}

/// Loads what `request` names into `ram` and returns how to enter it.
///
/// `map` is the memory map the guest is told; all that is loaded lies inside its RAM, and boot data in the
/// lowest 512 KiB of it. `rsdp` is the address of the ACPI root pointer, for protocols that pass it on.
pub fn load(request: &Request, ram: &GuestRam, map: &[AddressRange], rsdp: u64) -> Result<Entry, Error> {
    let mut kernel = Image::open(&request.kernel, Role::Kernel)?;
    let mut modules = open_modules(request)?;
    let machine = Machine { ram, map, rsdp };
    load_open(&mut kernel, &mut modules, &request.command_line, machine).map_err(|fault| {
        let culprit =
            fault.module.and_then(|index| modules.get(index)).map_or(&kernel, |module| &module.image);
        culprit.error(fault.problem)
    })
}

/// Opens modules and then the initrd, before anything is loaded.
fn open_modules(request: &Request) -> Result<Vec<OpenModule>, Error> {
    let modules = request.modules.iter().map(|module| (&module.file, Role::Module, &*module.arguments));
    let initrd = request.initrd.iter().map(|file| (file, Role::Initrd, ""));
    modules
        .chain(initrd)
        .map(|(file, role, arguments)| {
            Ok(OpenModule { image: Image::open(file, role)?, arguments: arguments.to_owned() })
        })
        .collect()
}

/// Finds out what the kernel is and has it loaded.
fn load_open(
    kernel: &mut Image,
    modules: &mut [OpenModule],
    command_line: &str,
    machine: Machine<'_>,
) -> Result<Entry, Fault> {
    let start = kernel.start(identify::WINDOW)?;
    match identify::identify(&start)? {
        Format::BzImage => linux::load(kernel, modules, command_line, machine),
        Format::Multiboot(header) => {
            let program = multiboot::flat(kernel, &header)?;
            multiboot::load(kernel, &program, modules, command_line, machine)
        }
        Format::Elf => {
            let elf = elf::Elf::read(kernel)?;
            let header = multiboot::Header::find(&start)?;
            match (elf.pvh_entry, header) {
                // A 32-bit kernel with both is a hypervisor, which PVH would make believe it is in another.
                (Some(entry), header) if elf.class == Class::Bits64 || header.is_none() => {
                    pvh::load(kernel, &elf.program, entry, modules, command_line, machine)
                }
                (_, Some(header)) if header.addresses.is_some() => {
                    let program = multiboot::flat(kernel, &header)?;
                    multiboot::load(kernel, &program, modules, command_line, machine)
                }
                (_, Some(_)) => multiboot::load(kernel, &elf.program, modules, command_line, machine),
                (_, None) => Err(Problem::NoEntry.into()),
            }
        }
    }
}

/// What of the machine a loader needs to know.
#[derive(Clone, Copy)]
struct Machine<'a> {
    ram: &'a GuestRam,
    map: &'a [AddressRange],
    rsdp: u64,
}

/// An open file beside the kernel.
struct OpenModule {
    image: Image,
    arguments: String,
}

/// A problem with the kernel, or with the module of this number.
struct Fault {
    module: Option<usize>,
    problem: Problem,
}

impl<P: Into<Problem>> From<P> for Fault {
    fn from(problem: P) -> Self {
        Self { module: None, problem: problem.into() }
    }
}

/// Blames a module.
fn module(index: usize) -> impl Fn(Problem) -> Fault {
    move |problem| Fault { module: Some(index), problem }
}

/// `text` as C has it.
fn c_string(text: &str) -> Result<Vec<u8>, Problem> {
    let mut bytes = text.as_bytes().to_vec();
    if bytes.contains(&0) {
        return Err(Problem::CommandLineNul);
    }
    bytes.push(0);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
