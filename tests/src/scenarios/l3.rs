//! Portcullis twice: a guest of a guest reads the drive, every DMA of it through the tables of both.

use super::NVME;
use crate::guest::Guest;
use crate::scenario::{Scenario, Session};

/// Where the drive stands in L2.
const IN_LEVEL2: &str = "0000:00:08.0";

pub(super) fn session() -> Session {
    let inner = Guest::new(
        "sha256sum /dev/nvme0n1\n\
         agent reads /dev/nvme0n1 50 4096\n\
         grep -E 'nvme|ttyS0' /proc/interrupts",
    );
    let inner = inner.memory(512).assign(IN_LEVEL2);
    // The drive is L2's own first: its tables are followed before its VFIO uses them and after.
    let outer = Guest::new("sha256sum /dev/nvme0n1 | sed 's/^/@@ L2 /'")
        .memory(1536)
        .option(&format!("--vfio {NVME},addr=08.0"))
        .hosting(&inner);
    let strict = Scenario::new("strict", outer)
        .before(&format!("bind_vfio {NVME}"))
        .appears("@@ L2 {nvme.sha256}")
        .appears("[L3] {nvme.sha256}")
        .appears("[L3] @@ 50 reads of 4096 bytes")
        .appears("[L3]*IR-PCI-MSIX*nvme0q1")
        .appears("[L3]*DMAR-IR: Enabled IRQ remapping in x2apic mode")
        .appears("[L3] @@ status 0")
        .within(240);
    Session::new("l3", "a guest of Portcullis in a guest of Portcullis reads an assigned NVMe", vec![strict])
        .nightly()
}
