//! iommufd: address spaces that requests of a function go by, with PASID and without; and what the price of a map and an
//! unmap takes, memory that is pinned in one address space and copied from there into the one that a function is in.

use std::fs::File;
use std::os::fd::{AsRawFd as _, RawFd};

use anyhow::{Context as _, bail, ensure};

use crate::memory::{Memory, PAGE};

/// Requests of `linux/vfio.h` and `linux/iommufd.h`; both count from the same letter.
mod request {
    const fn number(offset: u64) -> u64 {
        (b';' as u64) << 8 | offset
    }
    pub(super) const DEVICE_BIND: u64 = number(118);
    pub(super) const DEVICE_ATTACH: u64 = number(119);
    pub(super) const DEVICE_DETACH: u64 = number(120);
    pub(super) const IOAS_ALLOC: u64 = number(0x81);
    pub(super) const IOAS_COPY: u64 = number(0x83);
    pub(super) const IOAS_MAP: u64 = number(0x85);
    pub(super) const IOAS_UNMAP: u64 = number(0x86);
    pub(super) const HWPT_ALLOC: u64 = number(0x89);
    /// The caller names the IOVA; the device may read and write.
    pub(super) const FIXED_READ_WRITE: u32 = 7;
    /// `IOMMU_HWPT_ALLOC_PASID`.
    pub(super) const FOR_PASIDS: u32 = 1 << 3;
}

/// `struct vfio_device_bind_iommufd`, as it was first.
#[repr(C)]
struct Bind {
    size: u32,
    flags: u32,
    iommufd: RawFd,
    device: u32,
}

/// `struct vfio_device_attach_iommufd_pt`. Kernels that know no PASIDs go no further than the table.
#[repr(C)]
struct Attach {
    size: u32,
    flags: u32,
    table: u32,
    pasid: u32,
}

/// `struct vfio_device_detach_iommufd_pt`.
#[repr(C)]
struct Detach {
    size: u32,
    flags: u32,
    pasid: u32,
}

/// `struct iommu_ioas_alloc`.
#[repr(C)]
struct Alloc {
    size: u32,
    flags: u32,
    space: u32,
}

/// `struct iommu_ioas_map`.
#[repr(C)]
struct Map {
    size: u32,
    flags: u32,
    space: u32,
    reserved: u32,
    address: u64,
    length: u64,
    iova: u64,
}

/// `struct iommu_ioas_copy`.
#[repr(C)]
struct Copy {
    size: u32,
    flags: u32,
    to: u32,
    from: u32,
    length: u64,
    to_iova: u64,
    from_iova: u64,
}

/// `struct iommu_ioas_unmap`.
#[repr(C)]
struct Unmap {
    size: u32,
    space: u32,
    iova: u64,
    length: u64,
}

/// `struct iommu_hwpt_alloc`, as it was first.
#[repr(C)]
struct TableAlloc {
    size: u32,
    flags: u32,
    device: u32,
    space: u32,
    table: u32,
    reserved: u32,
}

/// A function that is bound to an iommufd of its own.
pub(crate) struct Bound {
    iommufd: File,
    function: File,
    device: u32,
}

impl Bound {
    /// Opens the function at `address` (0000:00:04.0), which must be bound to vfio-pci.
    pub(crate) fn open(address: &str) -> anyhow::Result<Self> {
        let open = |path: String| {
            File::options().read(true).write(true).open(&path).with_context(|| format!("cannot open {path}"))
        };
        let iommufd = open("/dev/iommu".into())?;
        let folder = format!("/sys/bus/pci/devices/{address}/vfio-dev");
        let name = std::fs::read_dir(&folder)
            .with_context(|| format!("{address} is not bound to vfio-pci"))?
            .next()
            .context("the function has no device")??
            .file_name();
        let function = open(format!("/dev/vfio/devices/{}", name.to_string_lossy()))?;
        let mut bind =
            Bind { size: size_of::<Bind>() as u32, flags: 0, iommufd: iommufd.as_raw_fd(), device: 0 };
        ask(&function, request::DEVICE_BIND, &mut bind)?;
        Ok(Self { iommufd, function, device: bind.device })
    }

    /// The function.
    pub(crate) const fn function(&self) -> &File {
        &self.function
    }

    /// Makes an address space that maps nothing.
    pub(crate) fn new_space(&self) -> anyhow::Result<u32> {
        let mut alloc = Alloc { size: size_of::<Alloc>() as u32, flags: 0, space: 0 };
        ask(&self.iommufd, request::IOAS_ALLOC, &mut alloc)?;
        Ok(alloc.space)
    }

    /// Makes a page table that holds what a space maps.
    fn new_table(&self, space: u32, flags: u32) -> anyhow::Result<u32> {
        let size = size_of::<TableAlloc>() as u32;
        let mut table = TableAlloc { size, flags, device: self.device, space, table: 0, reserved: 0 };
        ask(&self.iommufd, request::HWPT_ALLOC, &mut table)?;
        Ok(table.table)
    }

    /// The same, one that may be there for requests with PASID and beside such as are.
    pub(crate) fn new_table_for_pasids(&self, space: u32) -> anyhow::Result<u32> {
        self.new_table(space, request::FOR_PASIDS)
    }

    /// Attaches the function's requests with a PASID, or those without, to a page table.
    pub(crate) fn attach(&self, table: u32, pasid: Option<u32>) -> anyhow::Result<()> {
        let mut attach = Attach {
            size: size_of::<Attach>() as u32,
            flags: u32::from(pasid.is_some()),
            table,
            pasid: pasid.unwrap_or(0),
        };
        ask(&self.function, request::DEVICE_ATTACH, &mut attach)
    }

    /// Attaches its requests with a PASID to nothing.
    pub(crate) fn detach(&self, pasid: u32) -> anyhow::Result<()> {
        let mut detach = Detach { size: size_of::<Detach>() as u32, flags: 1, pasid };
        ask(&self.function, request::DEVICE_DETACH, &mut detach)
    }

    /// Maps `length` bytes of `memory` from `offset` on.
    pub(crate) fn map(
        &self,
        space: u32,
        iova: u64,
        memory: &Memory,
        offset: usize,
        length: usize,
    ) -> anyhow::Result<()> {
        ensure!(
            offset.checked_add(length).is_some_and(|end| end <= memory.len()),
            "the range is beyond the memory"
        );
        let mut map = Map {
            size: size_of::<Map>() as u32,
            flags: request::FIXED_READ_WRITE,
            space,
            reserved: 0,
            address: memory.address() + offset as u64,
            length: length as u64,
            iova,
        };
        ask(&self.iommufd, request::IOAS_MAP, &mut map)
    }

    /// Takes away every mapping from `iova` on.
    pub(crate) fn unmap(&self, space: u32, iova: u64, length: usize) -> anyhow::Result<()> {
        let mut unmap = Unmap { size: size_of::<Unmap>() as u32, space, iova, length: length as u64 };
        ask(&self.iommufd, request::IOAS_UNMAP, &mut unmap)
    }
}

/// A function in an address space of its own, and a page of memory in another.
pub(crate) struct Space {
    bound: Bound,
    memory: Memory,
    pinned: u32,
    own: u32,
}

impl Space {
    /// Opens the function at `address` (0000:00:04.0), which must be bound to vfio-pci.
    pub(crate) fn open(address: &str) -> anyhow::Result<Self> {
        let bound = Bound::open(address)?;
        let [pinned, own] = [bound.new_space()?, bound.new_space()?];
        bound.attach(own, None)?;
        let memory = Memory::new(1)?;
        bound.map(pinned, 0, &memory, 0, PAGE)?;
        // A table of that space has its memory pinned although nobody uses it.
        bound.new_table(pinned, 0)?;
        Ok(Self { bound, memory, pinned, own })
    }

    /// Lets the function reach the page at `iova`.
    pub(crate) fn map(&self, iova: u64) -> anyhow::Result<()> {
        let mut copy = Copy {
            size: size_of::<Copy>() as u32,
            flags: request::FIXED_READ_WRITE,
            to: self.own,
            from: self.pinned,
            length: self.memory.len() as u64,
            to_iova: iova,
            from_iova: 0,
        };
        ask(&self.bound.iommufd, request::IOAS_COPY, &mut copy)
    }

    /// Takes the page away again.
    pub(crate) fn unmap(&self, iova: u64) -> anyhow::Result<()> {
        self.bound.unmap(self.own, iova, self.memory.len())
    }
}

/// Makes a request with the structure that it wants.
fn ask<T>(file: &File, request: u64, argument: &mut T) -> anyhow::Result<()> {
    // SAFETY: every structure above begins with its size, so that the kernel goes no further, and outlives the call. The
    // memory that one of them names is made to be shared with devices.
    let result =
        unsafe { libc::ioctl(file.as_raw_fd(), request as libc::Ioctl, std::ptr::from_mut(argument)) };
    if result < 0 {
        bail!("request {request:#x}: {}", std::io::Error::last_os_error());
    }
    Ok(())
}
