//! A stock kernel starts, with and without an IOMMU.

use crate::guest::Guest;
use crate::scenario::{Scenario, Session};

pub(super) fn session() -> Session {
    let guest = || Guest::new("grep ttyS0 /proc/interrupts");
    let scenarios = vec![
        Scenario::new("no-iommu", guest().without_iommu().cmdline("")).appears("IO-APIC*ttyS0"),
        Scenario::new("iommu", guest())
            .appears("DMAR: IOMMU enabled")
            .appears("DMAR-IR: Enabled IRQ remapping in x2apic mode")
            .appears("DMAR: dmar0: Using Queued invalidation")
            .appears("IR-IO-APIC*ttyS0"),
        Scenario::new("debug-exit", Guest::new("probe exit 21; sleep 10")).cut_short().status(43),
        Scenario::new("reboot", Guest::new("reboot -f; sleep 10")).cut_short(),
    ];
    Session::new("boot", "Debian's kernel starts under Portcullis and ends cleanly", scenarios)
}
