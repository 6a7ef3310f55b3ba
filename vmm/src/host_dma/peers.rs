//! Peer to peer: assigned functions reach each other's BARs, as long as the guest sees those.

use std::sync::Arc;

use devices::VtdUnit;
use devices::vfio::Mapping;
use iommu::GuestAddress;

use super::Targets;

/// Where the BARs of functions become targets for others.
#[derive(Clone)]
pub struct Peers {
    unit: Arc<VtdUnit>,
    targets: Arc<Targets>,
}

/// A BAR that functions reach. When it has been dropped, none does.
pub struct Reachable {
    peers: Peers,
    guest: u64,
    length: u64,
}

impl Peers {
    /// For functions behind `unit`, whose mappings lead to `targets`.
    pub(super) fn new(unit: Arc<VtdUnit>, targets: Arc<Targets>) -> Self {
        Self { unit, targets }
    }

    /// Lets functions reach `bar` at the guest address `guest`, where nothing else is.
    pub fn show(&self, guest: u64, bar: &Arc<Mapping>) -> Reachable {
        self.targets.show(guest, bar.clone());
        self.unit.add_peer(GuestAddress(guest), bar.length());
        Reachable { peers: self.clone(), guest, length: bar.length() }
    }
}

impl Drop for Reachable {
    fn drop(&mut self) {
        // First nothing can be mapped there any more, then nothing is.
        self.peers.targets.hide(self.guest);
        self.peers.unit.remove_peer(GuestAddress(self.guest), self.length);
    }
}

#[cfg(test)]
mod tests;
