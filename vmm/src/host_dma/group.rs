//! IOMMU groups of the host: what it can let reach different memory.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use devices::VtdUnit;
use iommu::{HostDma, HostMapper, HostUnit};

use super::group_file::GroupFile;
use super::iommufd::{Members, Mover};
use super::peers::{Finder, Mapper};
use super::ranges::Ranges;
use super::{HostError, Peers, Targets, Type1};
use crate::memory;

/// An IOMMU group with functions taken: functions that the host's IOMMU cannot tell apart.
pub struct Group {
    pub(super) backing: Backing,
    targets: Arc<Targets>,
    /// The space that it shares with all others, without a remapping unit.
    shared: Option<Arc<dyn HostMapper>>,
    /// What the unit knows it by.
    known: Mutex<Weak<iommu::Group>>,
}

/// What carries out a group's DMA.
pub(super) enum Backing {
    /// A container, for the group alone unless all share one.
    Container(Arc<GroupFile>),
    /// Whichever space of an iommufd it is put into.
    Movable(Arc<Members>),
}

impl Group {
    pub(super) fn new(backing: Backing, targets: Arc<Targets>, shared: Option<Arc<dyn HostMapper>>) -> Self {
        Self { backing, targets, shared, known: Mutex::default() }
    }

    /// The group as `unit` knows it, the same for each of its functions.
    pub fn behind(&self, unit: &VtdUnit) -> Arc<iommu::Group> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.upgrade().unwrap_or_else(|| {
            let ram = self.ranges().unwrap_or_default().parts(&memory::regions(self.targets.ram()));
            let group = unit.group(self.dma(), ram);
            *known = Arc::downgrade(&group);
            group
        })
    }

    /// How the BARs of the group's functions become targets for others: for those behind `unit`, or for all if there is
    /// none.
    pub fn peers(&self, unit: Option<&Arc<VtdUnit>>) -> Option<Peers> {
        let finder = match &self.backing {
            Backing::Container(_) => Finder::Program(self.targets.clone()),
            Backing::Movable(members) => Finder::Iommufd(members.iommufd().clone()),
        };
        let mapper = match unit {
            Some(unit) => Mapper::Unit(unit.clone()),
            None => Mapper::Space(self.shared.clone()?),
        };
        Some(Peers::new(finder, mapper))
    }

    /// How the group's DMA is carried out, for the one who decides on it.
    fn dma(&self) -> HostDma {
        match &self.backing {
            Backing::Container(group) => {
                HostDma::Fixed(Box::new(Type1::new(group.container().clone(), self.targets.clone())))
            }
            Backing::Movable(members) => {
                HostDma::Movable { iommu: members.iommufd().clone(), group: Box::new(Mover(members.clone())) }
            }
        }
    }

    /// Bits of address that the host translates: 48 means addresses up to 2^48 - 1.
    pub fn width(&self) -> Result<u8, HostError> {
        Ok(self.ranges()?.width())
    }

    /// What the host's unit can do, if it walks first-stage tables of guests.
    pub fn nesting(&self) -> Option<HostUnit> {
        match &self.backing {
            Backing::Container(_) => None,
            Backing::Movable(members) => members.iommufd().nesting(),
        }
    }

    /// Checks that the host can follow a guest's unit of `width` bits.
    pub fn check(&self, width: u8) -> Result<(), HostError> {
        self.ranges()?.check(width)
    }

    /// Checks that the host can map all guest RAM, for a guest that is running and uses all of it.
    pub fn check_running(&self) -> Result<(), HostError> {
        match self.holes()?.first() {
            None => Ok(()),
            Some(&(start, length)) => Err(HostError::RamInUse { start, end: start + (length - 1) }),
        }
    }

    /// The parts of guest RAM (start, length) that the host keeps for itself in devices' addresses.
    pub fn holes(&self) -> Result<Vec<(u64, u64)>, HostError> {
        Ok(self.ranges()?.holes(&memory::regions(self.targets.ram())))
    }

    pub(super) fn ranges(&self) -> Result<Ranges, HostError> {
        match &self.backing {
            Backing::Container(group) => group.container().ranges(),
            Backing::Movable(members) => Ok(members.iommufd().usable()),
        }
    }
}
