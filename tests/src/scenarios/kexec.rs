//! A second kernel starts while translation and remapping are still set.

use super::NVME;
use crate::guest::Guest;
use crate::scenario::{Scenario, Session};

pub(super) fn session() -> Session {
    // The second kernel's script is put behind its initial file system.
    let script = |how: &str, cmdline: &str| {
        format!(
            "sha256sum /dev/nvme0n1 | sed 's/^/@@ first /'\n\
             mkdir -p /second && cd /second\n\
             echo \"sha256sum /dev/nvme0n1 | sed 's/^/@@ second /'\" >script\n\
             ( cat /guest/initrd; echo script | cpio -o -H newc 2>/dev/null ) >/tmp/initrd\n\
             agent kexec {how} /guest/kernel /tmp/initrd '{cmdline}'\n"
        )
    };
    let cmdline = "console=ttyS0 quiet panic=-1 intel_iommu=on iommu.strict=1";
    let crash = Guest::new(script("--crash", &format!("{cmdline} nr_cpus=1 reset_devices")))
        .cmdline("intel_iommu=on iommu.strict=1 crashkernel=256M")
        .memory(2048)
        .assign(NVME)
        .carrying_itself();
    let orderly = Guest::new(script("", cmdline)).memory(2048).assign(NVME).carrying_itself();
    let scenarios = vec![
        Scenario::new("crash", crash)
            .tolerates("Kernel panic")
            .tolerates("Call Trace")
            .appears("@@ first {nvme.sha256}")
            .appears("Translation already enabled - trying to copy translation structures")
            .appears("Copied translation tables from previous kernel for dmar0")
            .appears("Copied IR table for dmar0 from previous kernel")
            .appears("@@ second {nvme.sha256}")
            .within(120),
        Scenario::new("orderly", orderly)
            .appears("@@ first {nvme.sha256}")
            .appears("@@ second {nvme.sha256}")
            .within(120),
    ];
    Session::new(
        "kexec",
        "a second kernel takes the unit over, translation and remapping still on",
        scenarios,
    )
}
