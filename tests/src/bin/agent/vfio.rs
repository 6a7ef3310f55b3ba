//! A PCI function driven from user space through VFIO: its registers and its DMA.

use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail, ensure};

use crate::memory::Registers;
pub(crate) use crate::memory::{Memory, PAGE};

/// Requests of `linux/vfio.h`, counted from `_IO(';', 100)`.
mod request {
    const fn number(offset: u64) -> u64 {
        (b';' as u64) << 8 | (100 + offset)
    }
    pub(super) const SET_IOMMU: u64 = number(2);
    pub(super) const GROUP_GET_STATUS: u64 = number(3);
    pub(super) const GROUP_SET_CONTAINER: u64 = number(4);
    pub(super) const GROUP_GET_DEVICE_FD: u64 = number(6);
    pub(super) const DEVICE_GET_REGION_INFO: u64 = number(8);
    pub(super) const DEVICE_SET_IRQS: u64 = number(10);
    pub(super) const DEVICE_RESET: u64 = number(11);
    pub(super) const IOMMU_MAP_DMA: u64 = number(13);
    pub(super) const IOMMU_UNMAP_DMA: u64 = number(14);
    /// Version 2 of the type1 interface.
    pub(super) const TYPE1_V2: u64 = 3;
    /// The index of MSI-X among the kinds of interrupts.
    pub(super) const MSIX: u32 = 2;
    /// Interrupts of `DEVICE_SET_IRQS` are signals of eventfds.
    pub(super) const BY_EVENTFD: u32 = 1 << 2 | 1 << 5;
    /// The index of the region that is configuration space.
    pub(super) const CONFIG: u32 = 7;
}

/// `struct vfio_group_status`.
#[repr(C)]
struct GroupStatus {
    size: u32,
    flags: u32,
}

/// `struct vfio_region_info`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct RegionInfo {
    size: u32,
    flags: u32,
    index: u32,
    capabilities: u32,
    pub(crate) length: u64,
    pub(crate) offset: u64,
}

/// `struct vfio_iommu_type1_dma_map`.
#[repr(C)]
struct DmaMap {
    size: u32,
    flags: u32,
    address: u64,
    iova: u64,
    length: u64,
}

/// `struct vfio_iommu_type1_dma_unmap`.
#[repr(C)]
struct DmaUnmap {
    size: u32,
    flags: u32,
    iova: u64,
    length: u64,
}

/// `struct vfio_irq_set` of one interrupt.
#[repr(C)]
struct IrqSet {
    size: u32,
    flags: u32,
    index: u32,
    start: u32,
    count: u32,
    eventfd: RawFd,
}

/// A space of addresses for DMA, which several functions may share.
#[derive(Clone)]
pub(crate) struct Container(Arc<Space>);

struct Space {
    file: File,
    /// Set with the first function.
    has_kind: AtomicBool,
}

/// An open function.
pub(crate) struct Function {
    container: Container,
    _group: File,
    device: File,
    registers: Registers,
}

impl Container {
    /// One that no function is in yet.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Space { file: open("/dev/vfio/vfio")?, has_kind: false.into() })))
    }

    /// Lets its functions reach `length` bytes of `memory` from `offset` on, at `iova`.
    pub(crate) fn map(&self, iova: u64, memory: &Memory, offset: usize, length: usize) -> anyhow::Result<()> {
        ensure!(
            offset.checked_add(length).is_some_and(|end| end <= memory.len()),
            "the range is beyond the memory"
        );
        let address = memory.address() + offset as u64;
        let map = DmaMap { size: size_of::<DmaMap>() as u32, flags: 3, address, iova, length: length as u64 };
        // SAFETY: the structure outlives the call, and the range lies in memory made to be shared with devices:
        // `Memory` lends no references to its bytes.
        unsafe { ioctl(&self.0.file, request::IOMMU_MAP_DMA, &raw const map as u64) }
            .with_context(|| format!("cannot map {length:#x} bytes at {iova:#x}"))?;
        Ok(())
    }

    /// Takes away every mapping from `iova` on; gives how many bytes that were.
    pub(crate) fn unmap(&self, iova: u64, length: usize) -> anyhow::Result<u64> {
        let mut unmap =
            DmaUnmap { size: size_of::<DmaUnmap>() as u32, flags: 0, iova, length: length as u64 };
        // SAFETY: the structure outlives the call.
        unsafe { ioctl(&self.0.file, request::IOMMU_UNMAP_DMA, &raw mut unmap as u64)? };
        Ok(unmap.length)
    }
}

impl Function {
    /// Opens the function at `address` (0000:00:04.0), alone in its container, which must be bound to vfio-pci, and
    /// enables its DMA.
    pub(crate) fn open(address: &str) -> anyhow::Result<Self> {
        Self::open_in(&Container::new()?, address)
    }

    /// The same in a container that has others in it, or will have.
    pub(crate) fn open_in(container: &Container, address: &str) -> anyhow::Result<Self> {
        let link = std::fs::read_link(format!("/sys/bus/pci/devices/{address}/iommu_group"))
            .with_context(|| format!("{address} is in no group"))?;
        let number = link.file_name().context("a group has a number")?.to_string_lossy().into_owned();
        let group = open(&format!("/dev/vfio/{number}"))?;

        let mut status = GroupStatus { size: size_of::<GroupStatus>() as u32, flags: 0 };
        // SAFETY: the structure is of the size it names and outlives the call.
        unsafe { ioctl(&group, request::GROUP_GET_STATUS, &raw mut status as u64)? };
        ensure!(status.flags & 1 != 0, "group {number} is not viable");
        let container_fd: RawFd = container.0.file.as_raw_fd();
        // SAFETY: the kernel reads one integer, which outlives the call.
        unsafe { ioctl(&group, request::GROUP_SET_CONTAINER, &raw const container_fd as u64)? };
        if !container.0.has_kind.swap(true, Ordering::SeqCst) {
            // SAFETY: the argument is a number.
            unsafe { ioctl(&container.0.file, request::SET_IOMMU, request::TYPE1_V2)? };
        }
        let name = std::ffi::CString::new(address)?;
        // SAFETY: the kernel reads a string that ends with a zero and outlives the call.
        let device = unsafe { ioctl(&group, request::GROUP_GET_DEVICE_FD, name.as_ptr() as u64)? };
        // SAFETY: the kernel made this descriptor for us just now; nothing else owns it.
        let device = unsafe { File::from_raw_fd(device) };
        // SAFETY: no argument. A function that cannot be reset says so, which does not matter here.
        unsafe { ioctl(&device, request::DEVICE_RESET, 0).ok() };

        enable_dma(&device)?;
        let registers = region(&device, 0)?;
        let registers = Registers::of_file(&device, registers.offset, registers.length as usize)?;
        Ok(Self { container: container.clone(), _group: group, device, registers })
    }

    /// The function's 32-bit register at `offset` of BAR 0.
    pub(crate) fn read(&self, offset: usize) -> u32 {
        self.registers.read(offset)
    }

    /// Writes a 32-bit register.
    pub(crate) fn write(&self, offset: usize, value: u32) {
        self.registers.write(offset, value);
    }

    /// Writes a 64-bit register as two halves, the lower first.
    pub(crate) fn write_wide(&self, offset: usize, value: u64) {
        self.write(offset, value as u32);
        self.write(offset + 4, (value >> 32) as u32);
    }

    /// The memory behind BAR `index`, which must be as long as `pages` pages at least. It may be mapped for other
    /// functions to reach; this process must not touch it while the function does not decode it.
    pub(crate) fn bar(&self, index: u32, pages: usize) -> anyhow::Result<Memory> {
        let info = region(&self.device, index)?;
        ensure!(info.length >= (pages * PAGE) as u64, "BAR {index} has {:#x} bytes", info.length);
        Memory::of_region(&self.device, info.offset, pages)
    }

    /// Sets the command register's lower byte: 2 is Memory Space, 4 Bus Master.
    pub(crate) fn command(&self, value: u8) -> anyhow::Result<()> {
        use std::os::unix::fs::FileExt as _;
        let command = region(&self.device, request::CONFIG)?.offset + 4;
        self.device.write_all_at(&[value, 0], command).context("cannot write configuration space")
    }

    /// Resets the function; what the kernel keeps of its configuration space survives.
    pub(crate) fn reset(&self) -> anyhow::Result<()> {
        // SAFETY: no argument.
        unsafe { ioctl(&self.device, request::DEVICE_RESET, 0) }.context("cannot reset the function")?;
        Ok(())
    }

    /// Turns MSI-X on; what is returned can be read, 8 bytes at once, when the vector has been raised.
    pub(crate) fn vector(&self, vector: u32) -> anyhow::Result<File> {
        // SAFETY: two numbers.
        let eventfd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        ensure!(eventfd >= 0, "cannot make an eventfd: {}", std::io::Error::last_os_error());
        // SAFETY: the kernel made this descriptor for us just now; nothing else owns it.
        let file = unsafe { File::from_raw_fd(eventfd) };
        let set = IrqSet {
            size: size_of::<IrqSet>() as u32,
            flags: request::BY_EVENTFD,
            index: request::MSIX,
            start: vector,
            count: 1,
            eventfd,
        };
        // SAFETY: the structure is of the size it names and outlives the call.
        unsafe { ioctl(&self.device, request::DEVICE_SET_IRQS, &raw const set as u64) }
            .with_context(|| format!("cannot have vector {vector}"))?;
        Ok(file)
    }

    /// As [`Container::map`].
    pub(crate) fn map(&self, iova: u64, memory: &Memory, offset: usize, length: usize) -> anyhow::Result<()> {
        self.container.map(iova, memory, offset, length)
    }

    /// As [`Container::unmap`].
    pub(crate) fn unmap(&self, iova: u64, length: usize) -> anyhow::Result<()> {
        self.container.unmap(iova, length).map(drop)
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // Memory may be freed next: no DMA after this.
        // SAFETY: no argument.
        unsafe { ioctl(&self.device, request::DEVICE_RESET, 0).ok() };
    }
}

fn open(path: &str) -> anyhow::Result<File> {
    File::options().read(true).write(true).open(path).with_context(|| format!("cannot open {path}"))
}

pub(crate) fn region(device: &File, index: u32) -> anyhow::Result<RegionInfo> {
    let mut info = RegionInfo { size: size_of::<RegionInfo>() as u32, index, ..RegionInfo::default() };
    // SAFETY: the structure is of the size it names and outlives the call.
    unsafe { ioctl(device, request::DEVICE_GET_REGION_INFO, &raw mut info as u64)? };
    Ok(info)
}

/// Sets Memory Space and Bus Master in the command register.
pub(crate) fn enable_dma(device: &File) -> anyhow::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let command = region(device, request::CONFIG)?.offset + 4;
    device.write_all_at(&0x0006_u16.to_le_bytes(), command).context("cannot write configuration space")
}

/// # Safety
/// The argument must be what the kernel expects for this request.
unsafe fn ioctl(file: &File, request: u64, argument: u64) -> anyhow::Result<i32> {
    // SAFETY: the caller's promise.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request as libc::Ioctl, argument) };
    if result < 0 {
        bail!("VFIO request {:#x}: {}", request, std::io::Error::last_os_error());
    }
    Ok(result)
}
