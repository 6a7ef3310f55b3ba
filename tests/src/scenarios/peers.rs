//! Peer-to-peer DMA between assigned functions.

use super::{NVME, NVME_WITH_MEMORY};
use crate::guest::Guest;
use crate::level1::Device;
use crate::scenario::{Scenario, Session};

pub(super) fn session() -> Session {
    Session::new(
        "peers",
        "an assigned drive reaches another one's memory, wherever its BAR goes",
        vec![nvme_into_nvme("nvme-into-nvme"), without_unit("without-unit")],
    )
    .devices(&[Device::Nvme, Device::NvmeWithMemory])
}

/// A drive reads into the memory of another, while that one's BAR comes, goes and moves.
pub(super) fn nvme_into_nvme(name: &'static str) -> Scenario {
    let script = "\
bind_vfio 0000:01:00.0 0000:02:00.0 || exit 1
agent peer 0000:01:00.0 0000:02:00.0";
    of_two_drives(name, Guest::new(script))
        .level1_appears("DMAR: [DMA Write NO_PASID] Request device [*00:05.0] fault addr 0x3000f000*")
}

/// The same where the guest has no IOMMU, so that the drive goes by the BAR's own address.
pub(super) fn without_unit(name: &'static str) -> Scenario {
    let script = "\
for drive in 0000:01:00.0 0000:02:00.0; do echo $drive >/sys/bus/pci/drivers/nvme/unbind; done
agent peer --untranslated 0000:01:00.0 0000:02:00.0";
    of_two_drives(name, Guest::new(script).without_iommu())
        .level1_appears("DMAR: [DMA Write NO_PASID] Request device [*00:05.0] fault addr*")
}

/// In the guest each is behind a port of its own, in this order.
fn of_two_drives(name: &'static str, guest: Guest) -> Scenario {
    Scenario::new(name, guest.assign(NVME).assign(NVME_WITH_MEMORY))
        .appears("@@ peer: the drive reads into the other's memory, and writes from there")
        .appears("@@ peer: what is hidden is out of reach, and within when it is shown again")
        .appears("@@ peer: what has moved away is out of reach, and within when it is back")
        .appears("@@ peer: a reset leaves the mapping as it should be")
        // The host stops what the drive sends to where the BAR was.
        .tolerates("DRHD: handling fault")
}
