//! The calls of iommufd.

use std::error::Error as _;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use iommu::{FirstStage, Forget, HostUnit, Permissions};
use iommufd_bindings::iommufd::iommu_hw_info_type_IOMMU_HW_INFO_TYPE_INTEL_VTD as INTEL_VTD;
use iommufd_bindings::iommufd::iommu_hw_info_vtd_flags_IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17 as ERRATUM_772415;
use iommufd_bindings::iommufd::{
    IOMMUFD_CMD_IOAS_COPY, IOMMUFD_CMD_IOAS_IOVA_RANGES, IOMMUFD_CMD_IOAS_MAP_FILE, IOMMUFD_TYPE,
    iommu_hw_info, iommu_hw_info_vtd, iommu_hwpt_alloc,
    iommu_hwpt_data_type_IOMMU_HWPT_DATA_VTD_S1 as VTD_S1, iommu_hwpt_invalidate,
    iommu_hwpt_invalidate_data_type_IOMMU_HWPT_INVALIDATE_DATA_VTD_S1 as INVALIDATE_VTD_S1,
    iommu_hwpt_vtd_s1, iommu_hwpt_vtd_s1_flags_IOMMU_VTD_S1_EAFE as EAFE,
    iommu_hwpt_vtd_s1_flags_IOMMU_VTD_S1_SRE as SRE, iommu_hwpt_vtd_s1_flags_IOMMU_VTD_S1_WPE as WPE,
    iommu_hwpt_vtd_s1_invalidate, iommu_hwpt_vtd_s1_invalidate_flags_IOMMU_VTD_INV_FLAGS_LEAF as LEAF,
    iommu_ioas_alloc, iommu_ioas_copy, iommu_ioas_iova_ranges, iommu_ioas_map, iommu_ioas_map_file,
    iommu_ioas_unmap, iommu_iova_range, iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_DIRTY_TRACKING as TRACKING,
    iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_NEST_PARENT as NEST_PARENT,
    iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_PASID as PASID,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA as FIXED,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE as READABLE,
    iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE as WRITABLE,
};
use iommufd_ioctls::{IommuFd, IommufdError};
use vmm_sys_util::errno;
use vmm_sys_util::ioctl::ioctl_with_mut_ref;
use vmm_sys_util::ioctl_io_nr;

ioctl_io_nr!(IOMMU_IOAS_COPY, IOMMUFD_TYPE.into(), IOMMUFD_CMD_IOAS_COPY);
ioctl_io_nr!(IOMMU_IOAS_IOVA_RANGES, IOMMUFD_TYPE.into(), IOMMUFD_CMD_IOAS_IOVA_RANGES);
ioctl_io_nr!(IOMMU_IOAS_MAP_FILE, IOMMUFD_TYPE.into(), IOMMUFD_CMD_IOAS_MAP_FILE);

/// Ranges of usable addresses that there may be; no IOMMU comes near this.
const MAX_RANGES: u32 = 1024;

/// A part of one IOAS that is to appear in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) from: u32,
    pub(super) from_iova: u64,
    pub(super) to: u32,
    pub(super) to_iova: u64,
    pub(super) length: u64,
    pub(super) permissions: Permissions,
}

/// An Intel unit of the host's, as the kernel describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Intel {
    pub(super) registers: HostUnit,
    /// Erratum 772415: a page that is read-only behind a first-stage table may be written nevertheless, so there must
    /// be none.
    pub(super) no_read_only_parents: bool,
    /// How many bits the PASIDs of the device's requests have; 0 where it sends none with PASID.
    pub(super) pasid_bits: u8,
}

/// What is asked of an iommufd. Objects are named by numbers of its own.
pub(super) trait Calls: Send + Sync {
    /// The unit that a bound device is behind, if it is Intel's.
    fn unit(&self, device: u32) -> io::Result<Option<Intel>>;

    /// Makes an address space that maps nothing.
    fn new_ioas(&self) -> io::Result<u32>;

    /// Makes a page table for `device` that holds what an IOAS maps, now and from now on; `pasids` says whether it may
    /// be there for requests with PASID, and beside other page tables that are.
    fn new_table(&self, ioas: u32, device: u32, pasids: bool) -> io::Result<u32>;

    /// Makes a page table like that, which first-stage tables of a guest can stand in front of.
    fn new_parent(&self, ioas: u32, device: u32) -> io::Result<u32>;

    /// Makes a page table for `device` of a first-stage table of a guest's, in front of `parent`; `pasids` as for
    /// [`Self::new_table`].
    fn new_nested(&self, parent: u32, device: u32, table: FirstStage, pasids: bool) -> io::Result<u32>;

    /// Has the IOMMU forget what it has walked in front of its parent; all of `what` in one call.
    fn forget(&self, nested: u32, what: &[Forget]) -> io::Result<()>;

    /// Destroys an IOAS or a page table that nothing uses.
    fn destroy(&self, object: u32) -> io::Result<()>;

    /// Maps `length` bytes of this process from address `host` on.
    fn map(&self, ioas: u32, iova: u64, host: u64, length: u64, permissions: Permissions) -> io::Result<()>;

    /// Maps the first `length` bytes of a dma-buf, to be read and written.
    fn map_file(&self, ioas: u32, iova: u64, file: BorrowedFd<'_>, length: u64) -> io::Result<()>;

    /// Maps what another IOAS maps.
    fn copy(&self, copy: &Copy) -> io::Result<()>;

    /// Takes all mappings inside a range away; gives how many bytes that was.
    fn unmap(&self, ioas: u32, iova: u64, length: u64) -> io::Result<u64>;

    /// The addresses that can be mapped: first and last of each range, ascending.
    fn ranges(&self, ioas: u32) -> io::Result<Vec<(u64, u64)>>;
}

/// An open `/dev/iommu`.
pub(in crate::host_dma) struct Descriptor {
    iommufd: IommuFd,
    number: RawFd,
}

impl Descriptor {
    pub(super) fn new(file: File) -> Self {
        let number = file.as_raw_fd();
        Self { iommufd: IommuFd::new_from_fd(file), number }
    }

    /// What the Intel IOMMU behind a bound device can do, and how many bits PASIDs have there; none if it is another
    /// maker's.
    fn intel(&self, device: u32) -> io::Result<Option<(iommu_hw_info_vtd, u8)>> {
        let mut answer = iommu_hw_info_vtd::default();
        let mut question = iommu_hw_info {
            size: size_of::<iommu_hw_info>() as u32,
            dev_id: device,
            data_len: size_of::<iommu_hw_info_vtd>() as u32,
            data_uptr: std::ptr::from_mut(&mut answer) as u64,
            ..Default::default()
        };
        self.iommufd.get_hw_info(&mut question).map_err(reason)?;
        // SAFETY: both names of the union are one number.
        let kind = unsafe { question.__bindgen_anon_1.out_data_type };
        Ok((kind == INTEL_VTD).then_some((answer, question.out_max_pasid_log2)))
    }
}

impl Descriptor {
    /// Makes a page table. What `argument` points to is as long as it says.
    fn allocate(&self, mut argument: iommu_hwpt_alloc) -> io::Result<u32> {
        argument.size = size_of::<iommu_hwpt_alloc>() as u32;
        self.iommufd.alloc_iommu_hwpt(&mut argument).map_err(reason)?;
        Ok(argument.out_hwpt_id)
    }
}

/// A unit in our words.
pub(super) const fn unit((intel, pasid_bits): (iommu_hw_info_vtd, u8)) -> Intel {
    Intel {
        registers: HostUnit { cap: intel.cap_reg, ecap: intel.ecap_reg },
        no_read_only_parents: intel.flags & ERRATUM_772415 != 0,
        pasid_bits,
    }
}

/// The flag of a page table that may be there for PASIDs.
const fn for_pasids(pasids: bool) -> u32 {
    if pasids { PASID } else { 0 }
}

/// Permissions in the words of the kernel.
fn flags(permissions: Permissions) -> u32 {
    let flags = [(Permissions::READ, READABLE), (Permissions::WRITE, WRITABLE)];
    flags.iter().filter(|(one, _)| permissions.contains(*one)).map(|(_, flag)| flag).sum()
}

/// Makes a page table that tracks what is written, or a plain one where the kernel or its driver knows no such: most
/// say EOPNOTSUPP then, and those that do not know the flag may call it invalid.
pub(super) fn tracking_if_possible<T>(make: impl Fn(u32) -> io::Result<T>) -> io::Result<T> {
    match make(TRACKING) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => make(0),
        done => done,
    }
}

/// A first-stage table in the words of the kernel.
pub(super) fn first_stage(table: FirstStage) -> iommu_hwpt_vtd_s1 {
    let FirstStage { table, levels, supervisor, write_protect, extended_accessed } = table;
    let flags = [(supervisor, SRE), (extended_accessed, EAFE), (write_protect, WPE)];
    iommu_hwpt_vtd_s1 {
        flags: flags.iter().filter(|(set, _)| *set).map(|(_, flag)| u64::from(*flag)).sum(),
        pgtbl_addr: table.0,
        addr_width: if levels == 5 { 57 } else { 48 },
        ..Default::default()
    }
}

/// What is to be forgotten in the words of the kernel.
pub(super) fn invalidation(what: &Forget) -> iommu_hwpt_vtd_s1_invalidate {
    let (addr, npages, leaves) = match *what {
        Forget::Everything => (0, u64::MAX, false),
        Forget::Pages { iova, count, leaves } => (iova.0, count, leaves),
    };
    let flags = if leaves { LEAF } else { 0 };
    iommu_hwpt_vtd_s1_invalidate { addr, npages, flags, ..Default::default() }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.number
    }
}

impl Calls for Descriptor {
    fn unit(&self, device: u32) -> io::Result<Option<Intel>> {
        Ok(self.intel(device)?.map(unit))
    }

    fn new_ioas(&self) -> io::Result<u32> {
        let mut argument =
            iommu_ioas_alloc { size: size_of::<iommu_ioas_alloc>() as u32, flags: 0, out_ioas_id: 0 };
        self.iommufd.alloc_iommu_ioas(&mut argument).map_err(reason)?;
        Ok(argument.out_ioas_id)
    }

    fn new_table(&self, ioas: u32, device: u32, pasids: bool) -> io::Result<u32> {
        let table = |flags| iommu_hwpt_alloc {
            flags: flags | for_pasids(pasids),
            dev_id: device,
            pt_id: ioas,
            ..Default::default()
        };
        // Left to choose, the kernel takes a first stage where there is one, and that has no more than half of the
        // addresses: the other half is for signs. Only a second stage can track what is written.
        tracking_if_possible(|flags| self.allocate(table(flags)))
    }

    fn new_parent(&self, ioas: u32, device: u32) -> io::Result<u32> {
        let flags = NEST_PARENT;
        self.allocate(iommu_hwpt_alloc { flags, dev_id: device, pt_id: ioas, ..Default::default() })
    }

    fn new_nested(&self, parent: u32, device: u32, table: FirstStage, pasids: bool) -> io::Result<u32> {
        let data = first_stage(table);
        self.allocate(iommu_hwpt_alloc {
            flags: for_pasids(pasids),
            dev_id: device,
            pt_id: parent,
            data_type: VTD_S1,
            data_len: size_of_val(&data) as u32,
            data_uptr: std::ptr::from_ref(&data) as u64,
            ..Default::default()
        })
    }

    fn forget(&self, nested: u32, what: &[Forget]) -> io::Result<()> {
        let entries: Vec<_> = what.iter().map(invalidation).collect();
        let mut argument = iommu_hwpt_invalidate {
            size: size_of::<iommu_hwpt_invalidate>() as u32,
            hwpt_id: nested,
            data_uptr: entries.as_ptr() as u64,
            data_type: INVALIDATE_VTD_S1,
            entry_len: size_of::<iommu_hwpt_vtd_s1_invalidate>() as u32,
            entry_num: entries.len() as u32,
            ..Default::default()
        };
        self.iommufd.invalidate_hwpt(&mut argument).map_err(reason)
    }

    fn destroy(&self, object: u32) -> io::Result<()> {
        self.iommufd.destroy_iommu_object(object).map_err(reason)
    }

    fn map(&self, ioas: u32, iova: u64, host: u64, length: u64, permissions: Permissions) -> io::Result<()> {
        let argument = iommu_ioas_map {
            size: size_of::<iommu_ioas_map>() as u32,
            flags: FIXED | flags(permissions),
            ioas_id: ioas,
            user_va: host,
            length,
            iova,
            ..Default::default()
        };
        self.iommufd.map_iommu_ioas(&argument).map_err(reason)
    }

    fn map_file(&self, ioas: u32, iova: u64, file: BorrowedFd<'_>, length: u64) -> io::Result<()> {
        let mut argument = iommu_ioas_map_file {
            size: size_of::<iommu_ioas_map_file>() as u32,
            flags: FIXED | READABLE | WRITABLE,
            ioas_id: ioas,
            fd: file.as_raw_fd(),
            start: 0,
            length,
            iova,
        };
        // SAFETY: the structure is of the size it says.
        match unsafe { ioctl_with_mut_ref(self, IOMMU_IOAS_MAP_FILE(), &mut argument) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn copy(&self, copy: &Copy) -> io::Result<()> {
        let mut argument = iommu_ioas_copy {
            size: size_of::<iommu_ioas_copy>() as u32,
            flags: FIXED | flags(copy.permissions),
            dst_ioas_id: copy.to,
            src_ioas_id: copy.from,
            length: copy.length,
            dst_iova: copy.to_iova,
            src_iova: copy.from_iova,
        };
        // SAFETY: the structure is of the size it says.
        match unsafe { ioctl_with_mut_ref(self, IOMMU_IOAS_COPY(), &mut argument) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn unmap(&self, ioas: u32, iova: u64, length: u64) -> io::Result<u64> {
        let mut argument =
            iommu_ioas_unmap { size: size_of::<iommu_ioas_unmap>() as u32, ioas_id: ioas, iova, length };
        self.iommufd.unmap_iommu_ioas(&mut argument).map_err(reason)?;
        Ok(argument.length)
    }

    fn ranges(&self, ioas: u32) -> io::Result<Vec<(u64, u64)>> {
        let mut ranges = vec![iommu_iova_range::default(); 16];
        loop {
            let mut argument = iommu_ioas_iova_ranges {
                size: size_of::<iommu_ioas_iova_ranges>() as u32,
                ioas_id: ioas,
                num_iovas: ranges.len() as u32,
                allowed_iovas: ranges.as_mut_ptr() as u64,
                ..Default::default()
            };
            // SAFETY: the structure is of the size it says, and `ranges` as long as it says.
            let answered = unsafe { ioctl_with_mut_ref(self, IOMMU_IOAS_IOVA_RANGES(), &mut argument) };
            if answered == 0 {
                ranges.truncate(argument.num_iovas as usize);
                return Ok(ranges.iter().map(|range| (range.start, range.last)).collect());
            }
            let error = io::Error::last_os_error();
            let more = argument.num_iovas;
            if error.raw_os_error() != Some(libc::EMSGSIZE)
                || !(ranges.len() as u32..MAX_RANGES).contains(&more)
            {
                return Err(error);
            }
            ranges.resize(more as usize + 1, iommu_iova_range::default());
        }
    }
}

/// The kernel's reason, which `iommufd_ioctls` wraps by what was tried.
fn reason(error: IommufdError) -> io::Error {
    match error.source().and_then(|source| source.downcast_ref::<errno::Error>()) {
        Some(number) => io::Error::from_raw_os_error(number.errno()),
        None => io::Error::other(error),
    }
}
