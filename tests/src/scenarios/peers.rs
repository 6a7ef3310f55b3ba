//! Peer-to-peer DMA between assigned functions.

use super::{NVME, NVME_WITH_MEMORY};
use crate::guest::Guest;
use crate::level1::Device;
use crate::scenario::{Scenario, Session};

pub(super) fn session() -> Session {
    Session::new(
        "peers",
        "an assigned drive reaches another one's memory, wherever its BAR goes",
        vec![nvme_into_nvme("nvme-into-nvme")],
    )
    .devices(&[Device::Nvme, Device::NvmeWithMemory])
}

/// A drive reads into the memory of another, while that one's BAR comes, goes and moves.
pub(super) fn nvme_into_nvme(name: &'static str) -> Scenario {
    // In the guest each is behind a port of its own, in this order.
    let script = "\
bind_vfio 0000:01:00.0 0000:02:00.0 || exit 1
agent peer 0000:01:00.0 0000:02:00.0";
    let guest = Guest::new(script).assign(NVME).assign(NVME_WITH_MEMORY);
    Scenario::new(name, guest)
        .appears("@@ peer: the drive reads into the other's memory, and writes from there")
        .appears("@@ peer: what is hidden is out of reach, and within when it is shown again")
        .appears("@@ peer: what has moved away is out of reach, and within when it is back")
        .appears("@@ peer: a reset leaves the mapping as it should be")
        // The host stops what the drive sends to where the BAR was.
        .tolerates("DRHD: handling fault")
        .level1_appears("DMAR: [DMA Write NO_PASID] Request device [*00:05.0] fault addr 0x3000f000*")
}
