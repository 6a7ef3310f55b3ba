//! The functions that the machine takes from the host.

use std::sync::Arc;

use devices::GuestRam;
use kvm_ioctls::VmFd;

use super::BuildError;
use super::profile::{Abilities, Circumstances};
use crate::config::{Config, IommuChoice, VfioSpec};
use crate::host_dma::{Host, HostError, KvmVfio, ReservedKind, Spaces, Taken, check_locked_memory};
use crate::memory;

/// Functions taken from the host, in the order they were named, each with what was said about it. They are
/// the machine's for as long as this lives.
pub(super) struct FromHost {
    pub(super) taken: Vec<(VfioSpec, Taken)>,
}

impl FromHost {
    /// Takes every function that `config` names, or none: with the first refusal those before are given
    /// back. KVM is told of their groups, if there are any.
    pub(super) fn take(config: &Config, vm: &VmFd, ram: &Arc<GuestRam>) -> Result<Self, BuildError> {
        let spaces = match config.iommu {
            IommuChoice::Vtd => Spaces::Each,
            IommuChoice::Off => Spaces::Shared,
        };
        let kvm = if config.vfio.is_empty() { None } else { Some(KvmVfio::new(vm)?) };
        let mut host = Host::new(spaces, config.allow_unsafe_interrupts, kvm);
        let mut taken = Vec::new();
        for spec in &config.vfio {
            taken.push((spec.clone(), host.open(&spec.host.to_string())?));
        }
        check_locked_memory(host.address_spaces(), config.memory)?;
        if config.iommu == IommuChoice::Off {
            host.map_all(ram, &memory::regions(ram))?;
        }
        Ok(Self { taken })
    }

    /// What the choice of a remapping unit goes by.
    pub(super) fn circumstances(&self) -> Result<Circumstances, HostError> {
        let containers = || self.taken.iter().map(|(_, taken)| &taken.container);
        let widths = containers().map(|container| container.width()).collect::<Result<Vec<_>, _>>()?;
        let assigned = widths.into_iter().min().map(|width| Abilities {
            width,
            coherent: containers().all(|container| container.is_coherent()),
            // Type1 has no such thing.
            nesting: false,
        });
        Ok(Circumstances { assigned, slots: false })
    }

    /// Checks that the host follows a unit of `width` bits over all of guest RAM.
    pub(super) fn check(&self, width: u8, ram: &GuestRam) -> Result<(), HostError> {
        let regions = memory::regions(ram);
        self.taken.iter().try_for_each(|(_, taken)| taken.container.check(width, &regions))
    }

    /// The regions (first address, length) that the `index`th function may drop but uses while it can.
    pub(super) fn relaxable(&self, index: usize) -> impl Iterator<Item = (u64, u64)> + '_ {
        let regions = self.taken.get(index).map_or(&[][..], |(_, taken)| &taken.reserved);
        regions
            .iter()
            .filter(|region| region.kind == ReservedKind::DirectRelaxable)
            .map(|region| (region.start, region.end - region.start + 1))
    }
}
