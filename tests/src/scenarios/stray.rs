//! DMA where nothing is mapped: it must not arrive, and whoever can know of it must say so.

use super::NVME;
use crate::guest::{Emulated, Guest};
use crate::scenario::{Evidence, Scenario, Session};

pub(super) fn session() -> Session {
    let edu = |script: &str| {
        let script = format!("bind_vfio 0000:00:04.0 || exit 1\n{script}");
        Guest::new(script)
            // Its faults are called by their names in legacy mode.
            .profile("legacy")
            .cmdline("intel_iommu=on iommu.strict=1")
            .emulate(Emulated::Edu { place: "04.0".into(), mask: 0x0fff_ffff })
    };
    let scenarios = vec![
        Scenario::new("edu", edu("agent edu stray 0000:00:04.0"))
            .tolerates("DRHD: handling fault")
            .appears("@@ edu wrote nothing it may not")
            .appears("DMAR: [DMA Read NO_PASID] Request device [00:04.0] fault addr 0x2001000 [fault reason 0x06]")
            .appears("DMAR: [DMA Write NO_PASID] Request device [00:04.0] fault addr 0x2001000 [fault reason 0x05]"),
        Scenario::new("nvme", Guest::new("bdf=$(echo /sys/bus/pci/drivers/nvme/0000:*); bdf=${bdf##*/}\n\
             bind_vfio $bdf && agent nvme-stray $bdf").assign(NVME))
            .tolerates("DRHD: handling fault")
            .appears("@@ nvme wrote nothing it may not")
            .level1_appears("DMAR: [DMA Read NO_PASID] Request device [00:05.0] fault addr 0x20001000")
            .check(the_guest_learns_nothing_invented),
        Scenario::new("edu-scatter", edu(
            "agent edu scatter 0000:00:04.0 && echo \"@@ swiotlb used: $(cat /sys/kernel/debug/swiotlb/io_tlb_used 2>/dev/null || echo unknown)\"",
        ).memory(6144))
        .appears("16 of them above 4 GiB")
        .appears("@@ swiotlb used: 0")
        .within(90),
    ];
    Session::new("stray", "DMA outside the guest's tables does not arrive and is reported", scenarios)
        .memory(9216)
}

/// What the host's IOMMU stopped cannot be known by the VMM, and nothing may be made up.
fn the_guest_learns_nothing_invented(evidence: &Evidence) -> Result<(), String> {
    match evidence.guest.lines().find(|line| line.contains("DMAR: [DMA")) {
        Some(line) => Err(format!("a fault was invented for the guest: {line}")),
        None => Ok(()),
    }
}
