//! The less travelled ways: no IOMMU, huge pages, buses that the guest numbers anew, no paravirtual clock.

use super::NVME;
use crate::guest::Guest;
use crate::scenario::{Scenario, Session};

/// Reads the whole drive and shows what interrupted.
const READ: &str = "sha256sum /dev/nvme0n1; grep -E 'nvme|ttyS0' /proc/interrupts";

pub(super) fn session() -> Session {
    let nvme = || Guest::new(READ).assign(NVME);
    let scenarios = vec![
        Scenario::new("no-iommu", nvme().without_iommu().cmdline(""))
            .appears("{nvme.sha256}")
            .appears(" PCI-MSIX-*nvme0q1")
            .never("DMAR"),
        Scenario::new("renumbered-buses", nvme().cmdline("intel_iommu=on iommu.strict=1 pci=assign-busses"))
            .appears("{nvme.sha256}")
            .appears("IR-PCI-MSIX-*nvme0q1"),
        Scenario::new("on-the-root-bus", Guest::new(READ).option(&format!("--vfio {NVME},addr=05.0")))
            .before(&format!("bind_vfio {NVME}"))
            .appears("{nvme.sha256}")
            .appears("IR-PCI-MSIX-0000:00:05.0*nvme0q1"),
        Scenario::new("huge-pages", nvme().option("--hugepages 2M"))
            .before("echo 512 >/proc/sys/vm/nr_hugepages")
            .appears("{nvme.sha256}")
            .after("echo 0 >/proc/sys/vm/nr_hugepages"),
        without_paravirtual_clocks(),
    ];
    Session::new("paths", "the less travelled ways work too", scenarios)
}

/// A guest that has to live by the 8254 and the PM timer. It cannot calibrate its processor here, where an access to
/// a port takes longer than what it measures.
fn without_paravirtual_clocks() -> Scenario {
    let guest = Guest::new("sleep 1; grep timer /proc/interrupts").cmdline("intel_iommu=on no-kvmclock");
    Scenario::new("no-kvmclock", guest).appears("IR-IO-APIC*2-edge*timer").never("kvm-clock").within(60)
}
