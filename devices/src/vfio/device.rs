//! A function of the host through the descriptor that VFIO gave for it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use vfio_bindings::bindings::vfio::{
    VFIO_BASE, VFIO_DEVICE_FLAGS_PCI, VFIO_DEVICE_FLAGS_RESET, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_INFO_NORESIZE,
    VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_ACTION_UNMASK, VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_IRQ_SET_DATA_NONE, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX, VFIO_PCI_ROM_REGION_INDEX,
    VFIO_REGION_INFO_CAP_SPARSE_MMAP, VFIO_REGION_INFO_FLAG_CAPS, VFIO_REGION_INFO_FLAG_MMAP, VFIO_TYPE,
    vfio_device_info, vfio_irq_info, vfio_irq_set,
};
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::ioctl::{ioctl, ioctl_with_mut_ref, ioctl_with_ptr};
use vmm_sys_util::ioctl_io_nr;

use super::host::{HostFunction, InterruptInfo, InterruptKind, Region, RegionIndex, VfioError};
use super::{Mapping, dma_buf, info};

ioctl_io_nr!(VFIO_DEVICE_GET_INFO, VFIO_TYPE.into(), VFIO_BASE + 7);
ioctl_io_nr!(VFIO_DEVICE_GET_REGION_INFO, VFIO_TYPE.into(), VFIO_BASE + 8);
ioctl_io_nr!(VFIO_DEVICE_GET_IRQ_INFO, VFIO_TYPE.into(), VFIO_BASE + 9);
ioctl_io_nr!(VFIO_DEVICE_SET_IRQS, VFIO_TYPE.into(), VFIO_BASE + 10);
ioctl_io_nr!(VFIO_DEVICE_RESET, VFIO_TYPE.into(), VFIO_BASE + 11);

/// Regions that a PCI function has: six BARs, the ROM, configuration space.
const REGIONS: u32 = VFIO_PCI_CONFIG_REGION_INDEX + 1;
/// Bytes of `struct vfio_region_info`.
const REGION_INFO: usize = 32;
/// A descriptor number that means none.
const NO_DESCRIPTOR: i32 = -1;

/// A function as `VFIO_GROUP_GET_DEVICE_FD` gives it. Dropping it gives it back.
#[derive(Debug)]
pub struct VfioDevice {
    file: Arc<File>,
    can_reset: bool,
    regions: Vec<(Region, u64)>,
    interrupts: [InterruptInfo; 5],
}

impl VfioDevice {
    /// Asks the kernel all there is to know of the function; `name` is for messages.
    pub fn new(file: File, name: &str) -> Result<Self, VfioError> {
        let step = |action| move |source| VfioError::Step { name: name.into(), action, source };
        let mut device =
            vfio_device_info { argsz: size_of::<vfio_device_info>() as u32, ..Default::default() };
        // SAFETY: the structure is of the size it says.
        if unsafe { ioctl_with_mut_ref(&file, VFIO_DEVICE_GET_INFO(), &mut device) } < 0 {
            return Err(step("give a description")(io::Error::last_os_error()));
        }
        if device.flags & VFIO_DEVICE_FLAGS_PCI == 0 || device.num_regions < REGIONS {
            return Err(VfioError::NotPci(name.into()));
        }
        let regions = (0..REGIONS).map(|index| region_info(&file, index)).collect::<io::Result<_>>();
        let regions = regions.map_err(step("describe the BARs"))?;
        let mut interrupts = [InterruptInfo::default(); 5];
        for (index, info) in interrupts.iter_mut().enumerate().take(device.num_irqs as usize) {
            *info = interrupt_info(&file, index as u32).map_err(step("describe the interrupts"))?;
        }
        let can_reset = device.flags & VFIO_DEVICE_FLAGS_RESET != 0;
        Ok(Self { file: Arc::new(file), can_reset, regions, interrupts })
    }

    /// A region's description and where it is in the descriptor.
    fn find(&self, index: RegionIndex) -> Option<&(Region, u64)> {
        self.regions.get(number_of(index) as usize)
    }

    /// Where `length` bytes at `offset` of a region are in the descriptor.
    fn place(&self, index: RegionIndex, offset: u64, length: usize) -> io::Result<u64> {
        let outside = || io::Error::from(io::ErrorKind::InvalidInput);
        let (region, start) = self.find(index).ok_or_else(outside)?;
        let end = offset.checked_add(length as u64).ok_or_else(outside)?;
        if end > region.size {
            return Err(outside());
        }
        start.checked_add(offset).ok_or_else(outside)
    }

    fn set_irqs(
        &self,
        kind: InterruptKind,
        action: u32,
        first: u16,
        count: u32,
        data: &[i32],
    ) -> io::Result<()> {
        let flags = action | if data.is_empty() { VFIO_IRQ_SET_DATA_NONE } else { VFIO_IRQ_SET_DATA_EVENTFD };
        let length = size_of::<vfio_irq_set>() + size_of_val(data);
        let mut argument = Vec::with_capacity(length);
        for word in [length as u32, flags, index_of(kind), u32::from(first), count] {
            argument.extend_from_slice(&word.to_ne_bytes());
        }
        for descriptor in data {
            argument.extend_from_slice(&descriptor.to_ne_bytes());
        }
        // SAFETY: the structure is as long as it says, and the kernel only reads it.
        match unsafe { ioctl_with_ptr(&self.file, VFIO_DEVICE_SET_IRQS(), argument.as_ptr()) } {
            0 => Ok(()),
            // For message-signalled interrupts: the host has so many vectors and no more.
            left @ 1.. => Err(io::Error::other(format!("the host has only {left} vectors left"))),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl HostFunction for VfioDevice {
    fn region(&self, index: RegionIndex) -> Region {
        self.find(index).map(|(region, _)| region.clone()).unwrap_or_default()
    }

    fn read(&self, index: RegionIndex, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let place = self.place(index, offset, data.len())?;
        self.file.read_exact_at(data, place)
    }

    fn write(&self, index: RegionIndex, offset: u64, data: &[u8]) -> io::Result<()> {
        let place = self.place(index, offset, data.len())?;
        self.file.write_all_at(data, place)
    }

    fn map(&self, index: RegionIndex, part: Range<u64>) -> io::Result<Arc<Mapping>> {
        let length = part.end.saturating_sub(part.start);
        let place = self.place(index, part.start, usize::try_from(length).unwrap_or(usize::MAX))?;
        let (device, region) = (self.file.clone(), number_of(index));
        let mapping = Mapping::new(&self.file, place, length)?;
        Ok(Arc::new(mapping.exported_by(move || dma_buf::export(&device, region, &part))))
    }

    fn interrupts(&self, kind: InterruptKind) -> InterruptInfo {
        self.interrupts.get(index_of(kind) as usize).copied().unwrap_or_default()
    }

    fn set_triggers(&self, kind: InterruptKind, first: u16, triggers: &[Option<&EventFd>]) -> io::Result<()> {
        let descriptors: Vec<_> =
            triggers.iter().map(|trigger| trigger.map_or(NO_DESCRIPTOR, AsRawFd::as_raw_fd)).collect();
        self.set_irqs(kind, VFIO_IRQ_SET_ACTION_TRIGGER, first, descriptors.len() as u32, &descriptors)
    }

    fn disable(&self, kind: InterruptKind) -> io::Result<()> {
        self.set_irqs(kind, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, &[])
    }

    fn unmask_wire(&self) -> io::Result<()> {
        self.set_irqs(InterruptKind::Intx, VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, &[])
    }

    fn can_reset(&self) -> bool {
        self.can_reset
    }

    fn reset(&self) -> io::Result<()> {
        // SAFETY: the call takes no argument.
        if unsafe { ioctl(&self.file, VFIO_DEVICE_RESET()) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

fn number_of(index: RegionIndex) -> u32 {
    match index {
        RegionIndex::Bar(bar) => u32::from(bar.min(5)),
        RegionIndex::Rom => VFIO_PCI_ROM_REGION_INDEX,
        RegionIndex::Config => VFIO_PCI_CONFIG_REGION_INDEX,
    }
}

const fn index_of(kind: InterruptKind) -> u32 {
    match kind {
        InterruptKind::Intx => VFIO_PCI_INTX_IRQ_INDEX,
        InterruptKind::Msi => VFIO_PCI_MSI_IRQ_INDEX,
        InterruptKind::Msix => VFIO_PCI_MSIX_IRQ_INDEX,
        InterruptKind::Error => VFIO_PCI_ERR_IRQ_INDEX,
        InterruptKind::Request => VFIO_PCI_REQ_IRQ_INDEX,
    }
}

fn region_info(file: &File, index: u32) -> io::Result<(Region, u64)> {
    let mut question = [0; REGION_INFO];
    question[8..12].copy_from_slice(&index.to_ne_bytes());
    // SAFETY: the call is of the kind `ask` wants.
    let answer = match unsafe { info::ask(file, VFIO_DEVICE_GET_REGION_INFO(), &question) } {
        // A function without a ROM has no such region.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && index == VFIO_PCI_ROM_REGION_INDEX => {
            return Ok((Region::default(), 0));
        }
        other => other?,
    };
    Ok(parse_region(&answer))
}

/// Reads `struct vfio_region_info` and the capabilities behind it: the region, and where it is.
fn parse_region(answer: &[u8]) -> (Region, u64) {
    let (flags, size, offset) = (info::word(answer, 4), info::long(answer, 16), info::long(answer, 24));
    let chain = if flags & VFIO_REGION_INFO_FLAG_CAPS != 0 { info::word(answer, 12) } else { 0 };
    let sparse = info::capability(answer, chain, VFIO_REGION_INFO_CAP_SPARSE_MMAP as u16);
    let mappable = match sparse {
        _ if flags & VFIO_REGION_INFO_FLAG_MMAP == 0 => Vec::new(),
        None => std::iter::once(0..size).collect(),
        Some(content) => {
            let areas = content.get(8..).unwrap_or_default().chunks_exact(16);
            let area = |area: &[u8]| {
                let start = info::long(area, 0);
                start..start.saturating_add(info::long(area, 8)).min(size)
            };
            areas.take(info::word(content, 0) as usize).map(area).collect()
        }
    };
    (Region { size, mappable }, offset)
}

fn interrupt_info(file: &File, index: u32) -> io::Result<InterruptInfo> {
    let mut answer = vfio_irq_info { argsz: size_of::<vfio_irq_info>() as u32, index, ..Default::default() };
    // SAFETY: the structure is of the size it says.
    if unsafe { ioctl_with_mut_ref(file, VFIO_DEVICE_GET_IRQ_INFO(), &mut answer) } < 0 {
        let error = io::Error::last_os_error();
        // A function that the host cannot ask back, or that reports no errors.
        let absent = error.raw_os_error() == Some(libc::EINVAL);
        return if absent { Ok(InterruptInfo::default()) } else { Err(error) };
    }
    let count = if answer.flags & VFIO_IRQ_INFO_EVENTFD != 0 { answer.count } else { 0 };
    Ok(InterruptInfo { count, grows: answer.flags & VFIO_IRQ_INFO_NORESIZE == 0 })
}

#[cfg(test)]
mod tests;
