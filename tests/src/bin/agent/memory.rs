//! Memory that devices reach, and registers of devices: only ever touched through pointers, since others do so too.

use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _, RawFd};
use std::os::unix::fs::FileExt as _;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{anyhow, bail, ensure};

/// Bytes in a page.
pub(crate) const PAGE: usize = 4096;

/// Whole pages of this process that devices may reach as well.
pub(crate) struct Memory(Mapping);

impl Memory {
    /// Zeroed memory of `pages` pages, present and locked.
    pub(crate) fn new(pages: usize) -> anyhow::Result<Self> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE | libc::MAP_LOCKED;
        Ok(Self(Mapping::new(None, pages * PAGE, flags, None)?))
    }

    /// Memory that nobody has touched: there is no page yet.
    pub(crate) fn untouched(pages: usize) -> anyhow::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        Ok(Self(Mapping::new(None, pages * PAGE, flags, None)?))
    }

    /// The same at an address of the caller's choice.
    pub(crate) fn untouched_at(address: usize, pages: usize) -> anyhow::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        Ok(Self(Mapping::new(Some(address), pages * PAGE, flags, None)?))
    }

    /// The first `pages` pages of a file, not yet touched. What is written is the file's.
    pub(crate) fn of_file(file: &File, pages: usize) -> anyhow::Result<Self> {
        Ok(Self(Mapping::new(None, pages * PAGE, libc::MAP_SHARED, Some((file.as_raw_fd(), 0)))?))
    }

    /// The same; what is written stays this process's.
    pub(crate) fn of_file_private(file: &File, pages: usize) -> anyhow::Result<Self> {
        Ok(Self(Mapping::new(None, pages * PAGE, libc::MAP_PRIVATE, Some((file.as_raw_fd(), 0)))?))
    }

    /// `pages` pages of what a device's file shows from `offset` on.
    pub(crate) fn of_region(file: &File, offset: u64, pages: usize) -> anyhow::Result<Self> {
        let file = (file.as_raw_fd(), offset.cast_signed());
        Ok(Self(Mapping::new(None, pages * PAGE, libc::MAP_SHARED, Some(file))?))
    }

    /// Its size in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.length
    }

    /// Where it is in this process, to hand to the kernel or to a device.
    pub(crate) fn address(&self) -> u64 {
        self.0.start.as_ptr() as u64
    }

    /// Copies `bytes` to `offset`.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset.checked_add(bytes.len()).is_some_and(|end| end <= self.len()), "beyond the memory");
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: in range, checked above; the mapping is writable and lives as long as `self`.
            unsafe { self.0.start.add(offset + index).write_volatile(*byte) };
        }
    }

    /// Copies `length` bytes from `offset` on.
    pub(crate) fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset.checked_add(length).is_some_and(|end| end <= self.len()), "beyond the memory");
        // SAFETY: in range, checked above; the mapping is readable and lives as long as `self`.
        (0..length).map(|index| unsafe { self.0.start.add(offset + index).read_volatile() }).collect()
    }

    /// The word at `offset`.
    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset < self.len(), "no word at {offset:#x}");
        // SAFETY: aligned and in range, checked above; the mapping lives as long as `self`, and a device's accesses
        // to such words are atomic.
        unsafe { AtomicU64::from_ptr(self.0.start.as_ptr().wrapping_add(offset).cast()) }
    }

    /// Loads the word at `offset`.
    pub(crate) fn load(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::SeqCst)
    }

    /// Lets nobody write any more.
    pub(crate) fn protect(&self) -> anyhow::Result<()> {
        // SAFETY: the range is ours, and the caller does not write to it from here on.
        let result = unsafe { libc::mprotect(self.0.start.as_ptr().cast(), self.len(), libc::PROT_READ) };
        ensure!(result == 0, "cannot protect memory: {}", std::io::Error::last_os_error());
        Ok(())
    }

    /// Tells the kernel how the memory is used.
    pub(crate) fn advise(&self, advice: i32) -> anyhow::Result<()> {
        // SAFETY: the range is ours; no advice that we give changes what it contains.
        let result = unsafe { libc::madvise(self.0.start.as_ptr().cast(), self.len(), advice) };
        ensure!(result == 0, "madvise {advice}: {}", std::io::Error::last_os_error());
        Ok(())
    }

    /// The physical address of the page at `offset`, as the kernel tells root.
    pub(crate) fn physical(&self, offset: usize) -> anyhow::Result<u64> {
        let entry = self.entry(offset)?;
        ensure!(entry >> 63 == 1, "the page is not present");
        Ok((entry & ((1 << 55) - 1)) * PAGE as u64)
    }

    /// How many of its pages are present, and how many are swapped out.
    pub(crate) fn pages(&self) -> anyhow::Result<(usize, usize)> {
        let (mut present, mut swapped) = (0, 0);
        for offset in (0..self.len()).step_by(PAGE) {
            let entry = self.entry(offset)?;
            present += usize::from(entry >> 63 == 1);
            swapped += usize::from(entry >> 62 & 1 == 1);
        }
        Ok((present, swapped))
    }

    /// What the kernel says of the page at `offset`.
    fn entry(&self, offset: usize) -> anyhow::Result<u64> {
        let page = (self.0.start.as_ptr() as usize + offset) / PAGE;
        let mut entry = [0; 8];
        File::open("/proc/self/pagemap")?.read_exact_at(&mut entry, page as u64 * 8)?;
        Ok(u64::from_le_bytes(entry))
    }
}

/// A file of `pages` pages that is nowhere but in memory. Processes started from here have it open, too.
pub(crate) fn anonymous_file(pages: usize) -> anyhow::Result<File> {
    // SAFETY: the name is a string that ends with a zero.
    let file = unsafe { libc::memfd_create(c"shared".as_ptr(), 0) };
    ensure!(file >= 0, "cannot make a file: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel made this descriptor for us just now; nothing else owns it.
    let file = unsafe { File::from_raw_fd(file) };
    file.set_len((pages * PAGE) as u64)?;
    Ok(file)
}

/// Registers of a device, of 32 bits each.
pub(crate) struct Registers(Mapping);

impl Registers {
    /// Those that a file shows from `offset` on.
    pub(crate) fn of_file(file: &File, offset: u64, length: usize) -> anyhow::Result<Self> {
        let file = (file.as_raw_fd(), offset.cast_signed());
        Ok(Self(Mapping::new(None, length, libc::MAP_SHARED, Some(file))?))
    }

    /// Reads a register.
    pub(crate) fn read(&self, offset: usize) -> u32 {
        // SAFETY: `register` checked alignment and range; the mapping lives as long as `self`.
        unsafe { self.register(offset).read_volatile() }
    }

    /// Writes a register.
    pub(crate) fn write(&self, offset: usize, value: u32) {
        // SAFETY: as above.
        unsafe { self.register(offset).write_volatile(value) }
    }

    fn register(&self, offset: usize) -> *mut u32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.0.length, "no register at {offset:#x}");
        self.0.start.as_ptr().wrapping_add(offset).cast()
    }
}

/// A mapped range of this process.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping is the process's; no thread has a part in it that others have not.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(
        address: Option<usize>,
        length: usize,
        flags: i32,
        file: Option<(RawFd, i64)>,
    ) -> anyhow::Result<Self> {
        let place = std::ptr::without_provenance_mut(address.unwrap_or(0));
        let (file, offset) = file.unwrap_or((-1, 0));
        // SAFETY: a new mapping that replaces nothing: where the kernel chooses, or where there was none.
        let start =
            unsafe { libc::mmap(place, length, libc::PROT_READ | libc::PROT_WRITE, flags, file, offset) };
        if start == libc::MAP_FAILED {
            bail!("cannot map {length:#x} bytes: {}", std::io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| anyhow!("mapped at zero"))?;
        Ok(Self { start, length })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is ours and nothing of ours refers to it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
