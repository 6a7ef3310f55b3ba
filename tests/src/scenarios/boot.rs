//! A stock kernel starts, with and without an IOMMU.

use crate::guest::Guest;
use crate::scenario::{Scenario, Session};

/// One look at everything, for the quick tier: an assigned drive, translated and remapped.
pub(super) fn smoke() -> Session {
    let guest = Guest::new("sha256sum /dev/nvme0n1; grep nvme /proc/interrupts").assign(super::NVME);
    let scenario = Scenario::new("nvme", guest)
        .appears("{nvme.sha256}")
        .appears("DMAR: IOMMU enabled")
        .appears("DMAR-IR: Enabled IRQ remapping in x2apic mode")
        .appears("IR-PCI-MSIX-*nvme0q1")
        .appears(
            "portcullis: the remapping unit has the profile `legacy` and 48 bits, because functions are*",
        );
    Session::new("smoke", "a guest reads an assigned NVMe drive through its own tables", vec![scenario])
}

pub(super) fn session() -> Session {
    let guest = || Guest::new("grep ttyS0 /proc/interrupts");
    let drive = |script: &str| Guest::new(format!("sha256sum /dev/nvme0n1\n{script}")).assign(super::NVME);
    let sized = |name, guest| Scenario::new(name, guest).appears("{nvme.sha256}");
    let scenarios = vec![
        Scenario::new("no-iommu", guest().without_iommu().cmdline("")).appears("IO-APIC*ttyS0"),
        Scenario::new("iommu", guest())
            .appears(
                "portcullis: the remapping unit has the profile `full` and 48 bits, because no function*",
            )
            .appears("DMAR: IOMMU enabled")
            .appears("DMAR-IR: Enabled IRQ remapping in x2apic mode")
            .appears("DMAR: dmar0: Using Queued invalidation")
            .appears("IR-IO-APIC*ttyS0"),
        sized("two-processors", drive("").cpus(2)).appears("smp: Brought up 1 node, 2 CPUs"),
        sized("four-processors", drive("").cpus(4)).appears("smp: Brought up 1 node, 4 CPUs"),
        sized("small", drive("").memory(512)),
        sized(
            "large",
            drive("awk '/MemTotal/ && $2 > 5800000 { print \"@@ much memory\" }' /proc/meminfo").memory(6144),
        )
        .appears("@@ much memory")
        .within(90),
        Scenario::new("debug-exit", Guest::new("agent exit 21; sleep 10")).cut_short().status(43),
        Scenario::new("reboot", Guest::new("reboot -f; sleep 10")).cut_short(),
    ];
    Session::new("boot", "Debian's kernel starts on machines of several sizes and ends cleanly", scenarios)
        .memory(9216)
}
