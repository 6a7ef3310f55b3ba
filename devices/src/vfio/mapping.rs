//! Memory of the host's function in this program's address space, and how the guest gets to see it.

use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A mapped part of a BAR. Nobody in this program reads or writes through it; it is there for the guest.
pub struct Mapping {
    address: NonNull<u8>,
    length: usize,
    export: Option<Export>,
}

/// Gives a dma-buf of what is mapped.
type Export = Box<dyn Fn() -> io::Result<OwnedFd> + Send + Sync>;

impl Mapping {
    /// Maps `length` bytes of `file` from `offset` on; both are multiples of the page size.
    pub fn new(file: impl AsFd, offset: u64, length: u64) -> io::Result<Self> {
        let length = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses an address where nothing is, and a shared mapping of a device's
        // registers is nobody's Rust memory.
        let pointer = unsafe { mmap(null_mut(), length, access, MapFlags::SHARED, file, offset) }?;
        let address = NonNull::new(pointer.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { address, length, export: None })
    }

    /// The same, of which `export` gives a dma-buf.
    #[must_use]
    pub fn exported_by(mut self, export: impl Fn() -> io::Result<OwnedFd> + Send + Sync + 'static) -> Self {
        self.export = Some(Box::new(export));
        self
    }

    /// A dma-buf of what is mapped, by which the kernel's other parts find it.
    pub fn dma_buf(&self) -> io::Result<OwnedFd> {
        let export = self.export.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        export()
    }

    /// Where it is in this program.
    pub fn address(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// How long it is, in bytes: a multiple of the page size.
    pub fn length(&self) -> u64 {
        self.length as u64
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`, and whoever showed it to the guest held on to it for as
        // long as the guest saw it.
        if let Err(error) = unsafe { munmap(self.address.as_ptr().cast(), self.length) } {
            tracing::error!("A BAR cannot be unmapped: {error}");
        }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("address", &self.address)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

// SAFETY: it is an address range that stays mapped; nothing is accessed through it here.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Keeps memory shown to the guest. When it has been dropped, the guest does not reach the memory any more.
pub type Shown = Box<dyn Any + Send + Sync>;

/// The guest's physical address space, where the memory of BARs comes and goes.
pub trait MemorySlots: Send + Sync {
    /// Shows `memory` to the guest from address `guest` on, a multiple of the page size, until what is
    /// returned is dropped. That must hold on to `memory`. Fails where something else is already.
    fn show(&self, guest: u64, memory: Arc<Mapping>) -> io::Result<Shown>;
}
