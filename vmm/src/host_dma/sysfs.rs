//! What sysfs says of a function: its driver, its group, the others in the group, the reserved regions.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{major, minor};

use super::HostError;

/// What a reserved region of the host's IOMMU is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservedKind {
    /// Firmware wants it mapped one to one at all times.
    Direct,
    /// As [`Self::Direct`], but only until a driver takes the device (USB, graphics).
    DirectRelaxable,
    /// Never translated: interrupts, or what the platform keeps.
    Other,
}

/// Addresses that the host's IOMMU does not give to every mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedRegion {
    /// First address.
    pub start: u64,
    /// Last address.
    pub end: u64,
    /// What it is for.
    pub kind: ReservedKind,
}

/// A device of the same group, with the driver it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) address: String,
    pub(super) driver: Option<String>,
}

impl Neighbour {
    /// Whether a driver of the host may do DMA with it, which makes the group unusable.
    pub(super) fn in_use(&self) -> bool {
        match self.driver.as_deref() {
            None | Some("pci-stub" | "pcieport") => false,
            Some(name) => !is_vfio(name),
        }
    }
}

/// A function that VFIO can hand over, as far as sysfs tells.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its address, or another name where that is not to be found out.
    pub(super) address: String,
    /// Its group; none where that is not to be found out.
    pub(super) group: Option<u32>,
    pub(super) neighbours: Vec<Neighbour>,
    pub(super) reserved: Vec<ReservedRegion>,
}

impl Found {
    /// What is known of a function that was passed in as a descriptor: all that sysfs says, if it is there.
    pub(super) fn of_descriptor(sysfs: &Path, file: &File, descriptor: i32) -> Result<Self, HostError> {
        let unknown = Self {
            address: format!("fd={descriptor}"),
            group: None,
            neighbours: Vec::new(),
            reserved: Vec::new(),
        };
        let metadata =
            file.metadata().map_err(HostError::step(format!("describe descriptor {descriptor}")))?;
        if !metadata.file_type().is_char_device() {
            return Err(HostError::NotCharacterDevice(unknown.address));
        }
        let device = metadata.rdev();
        let link = sysfs.join(format!("dev/char/{}:{}/device", major(device), minor(device)));
        match link_name(&link) {
            // Others than VFIO's have such a link too, so what it names may be no PCI function.
            Some(address) if sysfs.join("bus/pci/devices").join(&address).exists() => {
                inspect(sysfs, &address)
            }
            _ => Ok(unknown),
        }
    }

    /// Whether it is known to be alone in its group.
    pub(super) fn is_alone(&self) -> bool {
        self.group.is_some() && self.neighbours.is_empty()
    }

    /// The file of its group.
    pub(super) fn group_path(&self) -> String {
        format!("/dev/vfio/{}", self.group_name())
    }

    /// The number of its group, as people read it.
    pub(super) fn group_name(&self) -> String {
        self.group.map_or_else(|| "?".into(), |group| group.to_string())
    }
}

/// Looks `address` up, below `sysfs` (`/sys`).
pub(super) fn inspect(sysfs: &Path, address: &str) -> Result<Found, HostError> {
    let device = sysfs.join("bus/pci/devices").join(address);
    // An address is a file name here; one with a slash in it is none.
    if address.contains('/') || !device.exists() {
        return Err(HostError::NoDevice(address.into()));
    }
    let group = link_name(&device.join("iommu_group"))
        .and_then(|name| name.parse().ok())
        .ok_or_else(|| HostError::NoGroup(address.into()))?;
    let driver = link_name(&device.join("driver"));
    if !driver.as_deref().is_some_and(is_vfio) {
        return Err(HostError::NotBound { address: address.into(), driver });
    }
    let reserved = reserved_regions(sysfs, group)?;
    if let Some(region) = reserved.iter().find(|region| region.kind == ReservedKind::Direct) {
        return Err(HostError::DirectRegion {
            address: address.into(),
            start: region.start,
            end: region.end,
        });
    }
    let neighbours = neighbours(sysfs, group, address);
    Ok(Found { address: address.into(), group: Some(group), neighbours, reserved })
}

/// Reads the reserved regions of an IOMMU group, below `sysfs` (`/sys`).
pub fn reserved_regions(sysfs: &Path, group: u32) -> Result<Vec<ReservedRegion>, HostError> {
    let path = sysfs.join(format!("kernel/iommu_groups/{group}/reserved_regions"));
    let text = fs::read_to_string(&path).map_err(HostError::step(format!("show {}", path.display())))?;
    Ok(text.lines().filter_map(parse_region).collect())
}

/// Lines are `0x00000000fee00000 0x00000000feefffff msi`.
fn parse_region(line: &str) -> Option<ReservedRegion> {
    let mut fields = line.split_whitespace();
    let mut address = || u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok();
    let (start, end) = (address()?, address()?);
    let kind = match fields.next()? {
        "direct" => ReservedKind::Direct,
        "direct-relaxable" => ReservedKind::DirectRelaxable,
        _ => ReservedKind::Other,
    };
    Some(ReservedRegion { start, end, kind })
}

fn neighbours(sysfs: &Path, group: u32, address: &str) -> Vec<Neighbour> {
    let Ok(entries) = fs::read_dir(sysfs.join(format!("kernel/iommu_groups/{group}/devices"))) else {
        return Vec::new();
    };
    let mut neighbours: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != address)
        .map(|name| {
            let driver = link_name(&sysfs.join("bus/pci/devices").join(&name).join("driver"));
            Neighbour { address: name, driver }
        })
        .collect();
    neighbours.sort_by(|a, b| a.address.cmp(&b.address));
    neighbours
}

/// `vfio-pci` and its variants for one maker's devices (`mlx5_vfio_pci`, …).
fn is_vfio(driver: &str) -> bool {
    driver == "vfio-pci" || driver.ends_with("_vfio_pci") || driver.ends_with("-vfio-pci")
}

/// The last part of what a symbolic link points to.
fn link_name(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests;
