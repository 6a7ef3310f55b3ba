//! Peer to peer: assigned functions reach each other's BARs, as long as the guest sees those.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Once};

use devices::VtdUnit;
use devices::vfio::Mapping;
use iommu::{GuestAddress, HostMapper, Iova, Permissions};

use super::stop::stop;
use super::{Iommufd, Targets};

/// Where the BARs of functions become targets for others.
#[derive(Clone)]
pub struct Peers {
    finder: Finder,
    mapper: Mapper,
}

/// Who knows what guest addresses lead to.
#[derive(Clone)]
pub(super) enum Finder {
    /// This program: the host gets what it has mapped of a BAR.
    Program(Arc<Targets>),
    /// The host's iommufd: it gets dma-bufs.
    Iommufd(Arc<Iommufd>),
}

/// Who has functions reach them.
#[derive(Clone)]
pub(super) enum Mapper {
    /// The unit, where the guest's tables lead to them or addresses are not translated.
    Unit(Arc<VtdUnit>),
    /// Nobody else: all are in this one space, where each address stands for itself.
    Space(Arc<dyn HostMapper>),
}

/// A BAR that functions reach. When it has been dropped, none does.
pub struct Reachable {
    peers: Peers,
    guest: u64,
    length: u64,
}

impl Peers {
    pub(super) const fn new(finder: Finder, mapper: Mapper) -> Self {
        Self { finder, mapper }
    }

    /// Lets functions reach `bar` at the guest address `guest`, where nothing else is. Where the host does not, they
    /// get faults there.
    pub fn show(&self, guest: u64, bar: &Arc<Mapping>) -> Option<Reachable> {
        if let Err(error) = self.finder.show(guest, bar) {
            say_unreachable(&error);
            return None;
        }
        let length = bar.length();
        match &self.mapper {
            Mapper::Unit(unit) => unit.add_peer(GuestAddress(guest), length),
            Mapper::Space(space) => {
                if let Err(error) =
                    space.map(Iova(guest), GuestAddress(guest), length, Permissions::READ_WRITE)
                {
                    self.finder.hide(guest, length);
                    say_unreachable(&error);
                    return None;
                }
            }
        }
        Some(Reachable { peers: self.clone(), guest, length })
    }
}

impl Finder {
    fn show(&self, guest: u64, bar: &Arc<Mapping>) -> io::Result<()> {
        match self {
            Self::Program(targets) => {
                targets.show(guest, bar.clone());
                Ok(())
            }
            Self::Iommufd(iommufd) => iommufd.show(guest, bar.dma_buf()?.as_fd(), bar.length()),
        }
    }

    fn hide(&self, guest: u64, length: u64) {
        match self {
            Self::Program(targets) => targets.hide(guest),
            Self::Iommufd(iommufd) => iommufd.hide(guest, length),
        }
    }
}

impl Drop for Reachable {
    fn drop(&mut self) {
        let Self { peers: Peers { finder, mapper }, guest, length } = self;
        // First nothing can be mapped there any more, then nothing is.
        finder.hide(*guest, *length);
        match mapper {
            Mapper::Unit(unit) => unit.remove_peer(GuestAddress(*guest), *length),
            Mapper::Space(space) => {
                if let Err(error) = space.unmap(Iova(*guest), *length) {
                    stop(&error);
                }
            }
        }
    }
}

/// Says, once, that the host leaves BARs to the processors.
fn say_unreachable(error: &dyn std::fmt::Display) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        tracing::warn!(
            "Assigned devices do not reach each other's BARs (peer to peer), for the host does not map them ({error}): \
             if they are to, use a kernel with CONFIG_VFIO_PCI_DMABUF, or --host-dma type1"
        );
    });
}

#[cfg(test)]
mod tests;
