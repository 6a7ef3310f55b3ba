//! Groups of devices that move together from one address space to another.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, Weak};

use iommu::{HostGroup, MapError, Pasid, SpaceId};

use super::tables::Target;
use super::{Iommufd, lock, stop};
use crate::host_dma::HostError;

/// A device bound to an iommufd.
pub(in crate::host_dma) trait Attachable: Send + Sync {
    /// Its number among the objects of the iommufd.
    fn number(&self) -> u32;

    /// How many bits the PASIDs of its requests have; 0 if it sends none with PASID, or is behind a unit that does not
    /// walk first-stage tables of guests.
    fn pasid_bits(&self) -> u8;

    /// Attaches its requests with a PASID, or those without, to a page table, in place of the one they were attached to
    /// if there was one.
    fn attach(&self, table: u32, pasid: Option<Pasid>) -> io::Result<()>;

    /// Attaches them to nothing, so that they reach nothing; those without PASID unless others of its group do.
    fn detach(&self, pasid: Option<Pasid>) -> io::Result<()>;
}

/// The devices of one IOMMU group, all in the same address space.
pub(in crate::host_dma) struct Members {
    iommufd: Arc<Iommufd>,
    state: Mutex<State>,
}

struct State {
    devices: Vec<Weak<dyn Attachable>>,
    /// The space they are in, kept for as long as they are.
    current: Arc<dyn Target>,
    /// The same for PASIDs.
    pasids: BTreeMap<Pasid, Arc<dyn Target>>,
}

impl Members {
    /// A group without members.
    pub(in crate::host_dma) fn new(iommufd: Arc<Iommufd>) -> Self {
        let current: Arc<dyn Target> = iommufd.blocked.clone();
        Self { iommufd, state: Mutex::new(State { devices: Vec::new(), current, pasids: BTreeMap::new() }) }
    }

    pub(in crate::host_dma) const fn iommufd(&self) -> &Arc<Iommufd> {
        &self.iommufd
    }

    /// Adds a device that is bound and attached to nothing: it goes where the others are.
    pub(in crate::host_dma) fn add(&self, device: &Arc<dyn Attachable>) -> Result<(), HostError> {
        let mut state = lock(&self.state);
        state.devices.retain(|device| device.strong_count() > 0);
        if state.devices.is_empty() {
            state.current = self.iommufd.blocked.clone();
            state.pasids.clear();
        }
        self.iommufd.admit(device, &*state.current)?;
        state.devices.push(Arc::downgrade(device));
        Ok(())
    }

    /// Puts every device into `target`. Where the host has them in one group the first takes the others
    /// along; where it has not, each goes by itself.
    fn go(&self, target: Arc<dyn Target>) -> io::Result<()> {
        let mut state = lock(&self.state);
        let devices: Vec<_> = state.devices.iter().filter_map(Weak::upgrade).collect();
        for (index, device) in devices.iter().enumerate() {
            if let Err(error) = target.admit(&**device, None) {
                for moved in &devices[..=index] {
                    retreat(&**moved, &*state.current);
                }
                return Err(error);
            }
        }
        state.current = target;
        Ok(())
    }

    /// Puts requests with `pasid` into `target`, of the only device there is.
    fn go_with_pasid(&self, pasid: Pasid, target: Arc<dyn Target>) -> io::Result<()> {
        let mut state = lock(&self.state);
        let devices: Vec<_> = state.devices.iter().filter_map(Weak::upgrade).collect();
        let [device] = &devices[..] else {
            return Err(io::Error::other("it is not alone in its group"));
        };
        target.admit(&**device, Some(pasid))?;
        state.pasids.insert(pasid, target);
        Ok(())
    }

    fn space(&self, space: SpaceId) -> Result<Arc<dyn Target>, MapError> {
        let target = self.iommufd.space(space);
        target.ok_or_else(|| MapError::Host(format!("there is no address space {}", space.0)))
    }
}

/// Puts a device back where it was or, where the host refuses that too, where nothing is reachable.
fn retreat(device: &dyn Attachable, to: &dyn Target) {
    if to.admit(device, None).is_err()
        && let Err(error) = device.detach(None)
    {
        stop(&error);
    }
}

/// The hand that moves a group.
pub(in crate::host_dma) struct Mover(pub(in crate::host_dma) Arc<Members>);

impl HostGroup for Mover {
    fn enter(&self, space: SpaceId) -> Result<(), MapError> {
        self.0.go(self.0.space(space)?).map_err(|error| {
            MapError::Host(match error.raw_os_error() {
                Some(libc::EADDRINUSE) => {
                    "the address space maps what the device cannot use (a reserved region)".into()
                }
                _ => format!("the device cannot enter an address space: {error}"),
            })
        })
    }

    fn block(&self) {
        let blocked = &self.0.iommufd.blocked;
        if self.0.go(blocked.clone()).is_ok() {
            return;
        }
        let mut state = lock(&self.0.state);
        for device in state.devices.iter().filter_map(Weak::upgrade) {
            if let Err(error) = device.detach(None) {
                stop(&error);
            }
        }
        state.current = blocked.clone();
    }

    fn enter_pasid(&self, pasid: Pasid, space: SpaceId) -> Result<(), MapError> {
        let target = self.0.space(space)?;
        self.0.go_with_pasid(pasid, target).map_err(|error| {
            MapError::Host(format!(
                "the device's PASID {:#x} cannot enter an address space: {error}",
                pasid.0
            ))
        })
    }

    fn leave_pasid(&self, pasid: Pasid) {
        let mut state = lock(&self.0.state);
        for device in state.devices.iter().filter_map(Weak::upgrade) {
            if let Err(error) = device.detach(Some(pasid)) {
                stop(&error);
            }
        }
        state.pasids.remove(&pasid);
    }
}
