//! Guest RAM: one memfd, mapped so that host and guest addresses agree in their low bits.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::ptr::null_mut;
use std::sync::Arc;

use devices::GuestRam;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous};
use vm_memory::mmap::{MmapRegionBuilder, MmapRegionError};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, GuestRegionMmap};

use crate::layout;

/// The pages that back guest RAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageSize {
    /// Ordinary pages; the kernel may use larger ones where it likes.
    #[default]
    Normal,
    /// 2 MiB pages from the host's pool.
    Huge2M,
    /// 1 GiB pages from the host's pool.
    Huge1G,
}

impl PageSize {
    /// Guest RAM is a multiple of this, and host addresses are congruent to guest addresses modulo this,
    /// so that the host's IOMMU can use large pages.
    fn alignment(self) -> u64 {
        match self {
            Self::Normal | Self::Huge2M => 2 << 20,
            Self::Huge1G => 1 << 30,
        }
    }

    fn memfd_flags(self) -> MemfdFlags {
        let base = MemfdFlags::CLOEXEC;
        match self {
            Self::Normal => base,
            Self::Huge2M => base | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
            Self::Huge1G => base | MemfdFlags::HUGETLB | MemfdFlags::HUGE_1GB,
        }
    }
}

/// Why there is no guest RAM.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The size does not fit the pages.
    #[error("Guest memory must be a multiple of {0} MiB with these pages: change --memory")]
    Alignment(u64),
    /// The host has no such memory.
    #[error(
        "The host cannot give {size} MiB of guest memory: use a smaller --memory{hint}",
        hint = if *.huge { ", or fill the pool in /sys/kernel/mm/hugepages" } else { "" }
    )]
    NoMemory {
        /// How much was asked for.
        size: u64,
        /// Whether it was to come from the huge page pool.
        huge: bool,
        /// What the kernel said.
        source: rustix::io::Errno,
    },
    /// The mapping could not be described.
    #[error("Cannot describe guest memory")]
    Region(#[from] MmapRegionError),
    /// The regions contradict each other.
    #[error("Cannot put guest memory together")]
    Collection(#[from] vm_memory::GuestRegionCollectionError),
}

/// Allocates `size` bytes of guest RAM, laid out as [`layout::ram`] says.
///
/// No page of it goes back to the host while the machine runs. Mappings of assigned functions pin pages: one that
/// was given back (`MADV_DONTNEED`, a hole in the file) and touched again would be a new one to the guest and
/// still the old one to its devices. So whoever gives pages back, a balloon or page reporting, has to be off while
/// a function is assigned or may be plugged in.
pub fn allocate(size: u64, pages: PageSize) -> Result<Arc<GuestRam>, MemoryError> {
    let alignment = pages.alignment();
    if size == 0 || !size.is_multiple_of(alignment) {
        return Err(MemoryError::Alignment(alignment >> 20));
    }
    let no_memory =
        |source| MemoryError::NoMemory { size: size >> 20, huge: pages != PageSize::Normal, source };
    let memfd: OwnedFd = memfd_create("guest-ram", pages.memfd_flags()).map_err(no_memory)?;
    ftruncate(&memfd, size).map_err(no_memory)?;
    let file = Arc::new(File::from(memfd));

    let mut regions = Vec::new();
    let mut offset = 0;
    for (start, length) in layout::ram(size) {
        let pointer = map_aligned(&file, offset, length, alignment).map_err(no_memory)?;
        // SAFETY: `map_aligned` returned a shared mapping of exactly `length` bytes of the file at `offset`,
        // and nothing ever unmaps it: guest RAM lives as long as the process.
        let builder = unsafe {
            MmapRegionBuilder::new(length as usize)
                .with_file_offset(FileOffset::from_arc(file.clone(), offset))
                .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
                .with_mmap_flags(libc::MAP_SHARED)
                .with_raw_mmap_pointer(pointer.cast())
        };
        let region = GuestRegionMmap::new(builder.build()?, GuestAddress(start))
            .ok_or(MemoryError::Collection(vm_memory::GuestRegionCollectionError::NoMemoryRegion))?;
        regions.push(region);
        offset += length;
    }
    Ok(Arc::new(GuestRam::from_regions(regions)?))
}

/// Guest RAM as (start, length) pairs, for whoever maps all of it.
pub fn regions(memory: &GuestRam) -> Vec<(GuestAddress, u64)> {
    memory.iter().map(|region| (region.start_addr(), region.len())).collect()
}

/// How much guest RAM there is, in bytes.
pub fn size(memory: &GuestRam) -> u64 {
    memory.iter().map(GuestMemoryRegion::len).sum()
}

/// Maps a part of `file` at an address that is a multiple of `alignment`.
///
/// Guest regions start at multiples of 1 GiB, so an aligned host address is a congruent one.
fn map_aligned(
    file: &File,
    offset: u64,
    length: u64,
    alignment: u64,
) -> Result<*mut std::ffi::c_void, rustix::io::Errno> {
    let reserve = (length + alignment) as usize;
    // SAFETY: an anonymous reservation at an address of the kernel's choice touches nothing that exists.
    let start = unsafe {
        mmap_anonymous(null_mut(), reserve, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE)
    }?;
    let padding = start.align_offset(alignment as usize);
    let target = start.wrapping_byte_add(padding);
    // SAFETY: `target` lies in the reservation just made, with at least `length` bytes behind it, so the
    // fixed mapping replaces only what is ours. What remains of the reservation costs address space alone.
    let pointer = unsafe {
        mmap(
            target,
            length as usize,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED | MapFlags::FIXED,
            file,
            offset,
        )
    }?;
    // A hint: where the host's shmem does not do huge pages nothing is lost.
    // SAFETY: the range was mapped right above.
    let _ = unsafe { madvise(pointer, length as usize, Advice::LinuxHugepage) };
    // A core dump of the program is about the program, not about the guest.
    // SAFETY: as above.
    let _ = unsafe { madvise(pointer, length as usize, Advice::LinuxDontDump) };
    Ok(pointer)
}

#[cfg(test)]
mod tests;
