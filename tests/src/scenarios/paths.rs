//! The less travelled ways of DMA and interrupts: INTx, no IOMMU, an emulated disk, huge pages, buses that the guest
//! numbers anew.

use super::NVME;
use crate::guest::{Emulated, Guest};
use crate::scenario::{Scenario, Session};

/// Reads the whole drive and shows what interrupted.
const READ: &str = "sha256sum /dev/nvme0n1; grep -E 'nvme|virtio|ttyS0' /proc/interrupts";

pub(super) fn session() -> Session {
    let nvme = || Guest::new(READ).assign(NVME);
    let scenarios = vec![
        Scenario::new("wire", nvme().cmdline("intel_iommu=on iommu.strict=1 pci=nomsi"))
            .appears("{nvme.sha256}")
            .appears("IR-IO-APIC*fasteoi*nvme0q"),
        Scenario::new("wire-without-remapping", nvme().cmdline("intel_iommu=on intremap=off pci=nomsi"))
            .appears("{nvme.sha256}")
            .appears(" IO-APIC*fasteoi*nvme0q"),
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
        disk(),
        without_paravirtual_clocks(),
    ];
    Session::new("paths", "the less travelled ways of DMA and interrupts work too", scenarios)
}

/// An emulated disk, whose every access goes through the guest's tables.
fn disk() -> Scenario {
    let script = "\
sha256sum /dev/vda
echo changed | dd of=/dev/vda bs=512 seek=3 conv=notrunc,fsync 2>/dev/null
dd if=/dev/vda bs=512 skip=3 count=1 2>/dev/null | head -c 8
readlink /sys/block/vda/device/../iommu_group
grep virtio /proc/interrupts
";
    let guest = Guest::new(script).emulate(Emulated::Disk { image: "/run/disk.img".into() });
    Scenario::new("emulated-disk", guest)
        .before("dd if=/dev/zero of=/run/disk.img bs=1M count=4 2>/dev/null")
        // Of 4 MiB of zeroes.
        .appears("bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8  /dev/vda")
        .appears("changed")
        .appears("*kernel/iommu_groups/*")
        .appears("IR-PCI-MSIX-*virtio*")
        .after("dd if=/run/disk.img bs=512 skip=3 count=1 2>/dev/null | grep changed && rm /run/disk.img")
}

/// A guest that has to live by the 8254 and the PM timer. It cannot calibrate its processor here, where an access to
/// a port takes longer than what it measures.
fn without_paravirtual_clocks() -> Scenario {
    let guest = Guest::new("sleep 1; grep timer /proc/interrupts").cmdline("intel_iommu=on no-kvmclock");
    Scenario::new("no-kvmclock", guest).appears("IR-IO-APIC*2-edge*timer").never("kvm-clock").within(60)
}
