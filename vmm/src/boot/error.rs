//! What can be wrong with a file to boot, as sentences that say what to do.

use std::fmt;
use std::path::PathBuf;

use crate::layout;

/// A file that cannot be booted, and why.
#[derive(Debug)]
pub struct Error {
    /// What the file was to be.
    pub role: Role,
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The {} {} {}", self.role, self.file.display(), self.problem)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}

/// What a file is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The kernel.
    Kernel,
    /// Its initial RAM disk.
    Initrd,
    /// Anything else it is given.
    Module,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::Module => "module",
        })
    }
}

/// What is wrong, as the predicate of a sentence about the file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The host does not let us have it.
    #[error("cannot be read: check its path and permissions")]
    Unreadable(#[source] std::io::Error),
    /// A folder, a pipe, and the like.
    #[error("is not an ordinary file: give the path of the file itself")]
    NotAFile,
    /// No bytes.
    #[error("is empty: copy or build it again")]
    Empty,
    /// Compressed as a whole.
    #[error("is compressed: unpack it first with {0}")]
    Compressed(&'static str),
    /// For another processor.
    #[error("is a kernel for {0}: take one built for x86-64")]
    Foreign(&'static str),
    /// An ELF file for a processor without a name here.
    #[error("is an ELF file for another processor (machine type {0}): take a kernel built for x86-64")]
    ForeignElf(u16),
    /// An ELF file to be linked or loaded further.
    #[error("is an ELF file but no executable: give the linked kernel")]
    NotExecutable,
    /// Something a firmware would start.
    #[error("is an EFI program, which needs a firmware: give a bzImage or an ELF kernel")]
    Efi,
    /// A 32-bit Linux.
    #[error("is a 32-bit Linux kernel: take one built for x86-64")]
    Linux32,
    /// A kernel of the time of low memory.
    #[error("is a zImage: build it as bzImage")]
    ZImage,
    /// A Linux without the fields that are needed.
    #[error("speaks version {}.{} of Linux's boot protocol, but 2.12 is needed: take Linux 3.8 or newer", .0 >> 8, .0 & 0xff)]
    OldLinux(u16),
    /// Nothing we know.
    #[error("is no kernel known here: give a bzImage, an ELF file with a PVH entry, or a multiboot 1 kernel")]
    Unknown,
    /// An ELF file that says no way in.
    #[error(
        "is an ELF file with neither a PVH entry nor a multiboot 1 header: give a bzImage, or build Linux with CONFIG_PVH=y"
    )]
    NoEntry,
    /// Shorter than it says.
    #[error("is cut off: it has {length} bytes of at least {needed}; copy it again")]
    Truncated {
        /// What there is.
        length: u64,
        /// What there should be.
        needed: u64,
    },
    /// Headers that contradict themselves.
    #[error("is damaged ({0}): copy or build it again")]
    Damaged(&'static str),
    /// Linked to addresses that are not RAM here.
    #[error("must be loaded to {start:#x}–{end:#x}, which is not RAM here: {}", more_memory(*.end))]
    NotRam {
        /// First address.
        start: u64,
        /// First address after.
        end: u64,
    },
    /// Would fit anywhere, but nothing is large enough.
    #[error("takes {} MiB of memory, more than is free: {}", mebibytes(*.length), more_memory(*.end))]
    NoRoom {
        /// What it takes, in bytes.
        length: u64,
        /// Where memory would have to end.
        end: u64,
    },
    /// May only be placed low, and does not fit there.
    #[error("takes {} MiB, which do not fit below {limit:#x}, where the kernel wants it: make it smaller", mebibytes(*.length))]
    AboveLimit {
        /// What it takes, in bytes.
        length: u64,
        /// The first address that is too high.
        limit: u64,
    },
    /// More text than the kernel has room for.
    #[error("takes a command line of at most {limit} bytes, not {length}: shorten it")]
    CommandLineLength {
        /// What was given.
        length: usize,
        /// What is taken.
        limit: usize,
    },
    /// Text that C cannot hold.
    #[error("cannot be told a text with a NUL in it: remove that from its command line")]
    CommandLineNul,
    /// Too much to tell it.
    #[error("cannot be told all this in low memory: shorten the command line or give fewer modules")]
    TooMuchToTell,
    /// The map has more entries than the zero page.
    #[error("cannot be told of {0} memory ranges, 128 at most: give fewer reserved ranges")]
    MemoryMap(usize),
    /// Linux has one initrd and nothing else.
    #[error("is a bzImage, which takes an initrd but no modules: leave the modules out")]
    Modules,
    /// A multiboot kernel that wants what we lack.
    #[error("asks for {0}, which this machine does not have: take a kernel that does without")]
    Multiboot(&'static str),
    /// Guest RAM is not where the map has it.
    #[error("could not be put into guest memory")]
    Memory(#[from] vm_memory::GuestMemoryError),
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// What to do where memory up to `end` is missing.
fn more_memory(end: u64) -> String {
    if end <= layout::LOW_RAM_END {
        format!("give the guest at least {} MiB (--memory)", mebibytes(end))
    } else {
        format!("nothing can be loaded above {} MiB", layout::LOW_RAM_END >> 20)
    }
}
