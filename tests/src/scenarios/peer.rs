//! The rig itself, proven with a VMM that is not ours.

use super::NVME;
use crate::guest::{Guest, Vmm};
use crate::scenario::{Scenario, Session};

pub(super) fn session() -> Session {
    let guest = Guest::new(
        "sha256sum /dev/nvme0n1\n\
         agent reads /dev/nvme0n1 200 4096\n\
         grep -E 'nvme|ttyS0' /proc/interrupts",
    );
    let scenario = Scenario::new("nvme-strict", guest.assign(NVME).run_by(Vmm::Qemu))
        .appears("{nvme.sha256}")
        .appears("DMAR-IR: Enabled IRQ remapping in x2apic mode")
        .appears("IR-PCI-MSIX*nvme0q1")
        .appears("200 reads of 4096 bytes");
    Session::new("peer", "the rig works: QEMU in L1 runs a guest that reads an assigned NVMe", vec![scenario])
}
