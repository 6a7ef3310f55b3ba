//! The functions that the machine takes from the host.

use std::sync::Arc;

use devices::GuestRam;
use iommu::HostUnit;
use kvm_ioctls::VmFd;

use super::BuildError;
use super::profile::{Abilities, Circumstances};
use crate::config::{Config, IommuChoice, VfioSpec};
use crate::host_dma::{Host, HostError, KvmVfio, Passed, ReservedKind, Spaces, Taken, Wishes};
use crate::layout;

/// Functions taken from the host, in the order they were named, each with what was said about it. They are
/// the machine's for as long as this lives.
pub(super) struct FromHost {
    pub(super) taken: Vec<(VfioSpec, Taken)>,
    /// Where more can be had.
    host: Host,
}

impl FromHost {
    /// Takes every function that `config` names, or none: with the first refusal those before are given
    /// back. KVM is told of them, if there are any, or may be.
    pub(super) fn take(
        config: &Config,
        passed: Passed,
        vm: &VmFd,
        ram: &Arc<GuestRam>,
    ) -> Result<Self, BuildError> {
        let spaces = match config.iommu {
            IommuChoice::Vtd => Spaces::Each,
            IommuChoice::Off => Spaces::Shared,
        };
        let may_have = !config.vfio.is_empty() || config.hotplug.is_some();
        let kvm = if may_have { Some(KvmVfio::new(vm)?) } else { None };
        let wishes = Wishes {
            spaces,
            choice: config.host_dma,
            allow_unsafe_interrupts: config.allow_unsafe_interrupts,
            passed,
        };
        let mut from_host = Self { taken: Vec::new(), host: Host::new(wishes, ram.clone(), kvm) };
        for spec in &config.vfio {
            let taken = from_host.open(spec)?;
            from_host.taken.push((spec.clone(), taken));
        }
        Ok(from_host)
    }

    /// No function, of this host.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        let wishes = Wishes {
            spaces: Spaces::Each,
            choice: crate::config::HostDmaChoice::Auto,
            allow_unsafe_interrupts: false,
            passed: Passed::default(),
        };
        Self { taken: Vec::new(), host: Host::new(wishes, Arc::new(GuestRam::new()), None) }
    }

    /// Takes one function more, for whoever keeps it.
    pub(super) fn open(&mut self, spec: &VfioSpec) -> Result<Taken, HostError> {
        let taken = self.host.open(spec.source)?;
        if let Some(why) = self.host.fallback() {
            eprintln!("\rportcullis: {why}");
        }
        Ok(taken)
    }

    /// For each function the number of its group, if several of the group are here and the user leaves their
    /// places to the machine.
    pub(super) fn shared_groups(&self) -> Vec<Option<usize>> {
        let groups = self.taken.iter().map(|(spec, taken)| {
            let free = spec.placement.is_none();
            free.then_some(Arc::as_ptr(&taken.group))
        });
        several(&groups.collect::<Vec<_>>())
    }

    /// What the choice of a remapping unit goes by; `slots` says that functions may be plugged in later.
    pub(super) fn circumstances(&self, slots: bool) -> Result<Circumstances, HostError> {
        let widths = self.taken.iter().map(|(_, taken)| taken.group.width());
        let widths = widths.collect::<Result<Vec<_>, _>>()?;
        let assigned = widths.into_iter().min().map(|width| Abilities {
            width,
            coherent: self.taken.iter().all(|(_, taken)| taken.coherent),
            nesting: self.nesting(),
            pasid_bits: self.taken.iter().map(|(_, taken)| taken.pasid_bits).max().unwrap_or(0),
        });
        Ok(Circumstances { assigned, slots })
    }

    /// What the host's units can do, if all of them walk first-stage tables of guests.
    fn nesting(&self) -> Option<HostUnit> {
        let units = self.taken.iter().map(|(_, taken)| taken.group.nesting());
        units.reduce(|one, other| Some(one?.and(other?))).flatten()
    }

    /// Checks that the host follows a unit of `width` bits.
    pub(super) fn check(&self, width: u8) -> Result<(), HostError> {
        self.taken.iter().try_for_each(|(_, taken)| taken.group.check(width))
    }

    /// Guest memory (start, length) that the host cannot map for some function: the guest must leave it alone.
    pub(super) fn unusable(&self) -> Result<Vec<(u64, u64)>, HostError> {
        let mut holes = Vec::new();
        for (_, taken) in &self.taken {
            holes.extend(taken.group.holes()?);
        }
        let holes = joined(holes);
        match holes.first() {
            Some(&(start, length)) if start < layout::EXTENDED_START => {
                Err(HostError::RamUnusable { start, end: start + (length - 1) })
            }
            _ => Ok(holes),
        }
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

/// For each key where it comes first, if it comes again.
fn several<K: PartialEq>(keys: &[Option<K>]) -> Vec<Option<usize>> {
    let number = |key: &Option<K>| {
        let key = key.as_ref()?;
        let mut places = keys.iter().enumerate().filter(|(_, other)| other.as_ref() == Some(key));
        let (first, _) = places.next()?;
        places.next().map(|_| first)
    };
    keys.iter().map(number).collect()
}

/// The same ranges (start, length) without overlaps, in order.
fn joined(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, length) in ranges {
        match joined.last_mut() {
            Some((first, size)) if start <= *first + *size => *size = (*size).max(start + length - *first),
            _ => joined.push((start, length)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::{joined, several};

    #[test]
    fn only_groups_with_several_functions_left_to_the_machine_are_kept_together() {
        let groups = [Some('a'), Some('b'), None, Some('a'), Some('c'), Some('b'), Some('b')];
        assert_eq!(several(&groups), [Some(0), Some(1), None, Some(0), None, Some(1), Some(1)]);
        assert_eq!(several::<char>(&[None, None]), [None, None]);
    }

    #[test]
    fn what_two_functions_cannot_use_is_left_alone_once() {
        let ranges =
            vec![(0x5000, 0x1000), (0x1000, 0x2000), (0x2000, 0x3000), (0x9000, 0x1000), (0x9000, 0x1000)];
        assert_eq!(joined(ranges), [(0x1000, 0x5000), (0x9000, 0x1000)]);
        assert_eq!(joined(Vec::new()), []);
    }
}
