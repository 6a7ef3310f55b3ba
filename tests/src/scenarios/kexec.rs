//! A second kernel starts while translation and remapping are still set.

use super::NVME;
use crate::guest::Guest;
use crate::scenario::{Scenario, Session};

const FIRST: &str = "sha256sum /dev/nvme0n1 | sed 's/^/@@ first /'\n";
const SECOND: &str = "sha256sum /dev/nvme0n1 | sed 's/^/@@ second /'\n";

/// A guest with a drive that runs `first`, panics, and runs `second` in the kernel that it has for that.
pub(super) fn crash(first: &str, second: &str) -> Guest {
    guest(first, second, "--crash", "nr_cpus=1 reset_devices").cmdline(&format!("{STRICT} crashkernel=256M"))
}

/// A guest with a drive that runs `first`, and `second` in the kernel that it goes over to in good order.
pub(super) fn orderly(first: &str, second: &str) -> Guest {
    guest(first, second, "", "").cmdline(STRICT)
}

const STRICT: &str = "intel_iommu=on iommu.strict=1";

/// The second kernel's script is put behind its initial file system.
fn guest(first: &str, second: &str, how: &str, words: &str) -> Guest {
    let script = format!(
        "{first}\
         mkdir -p /second && cd /second\n\
         cat >script <<'END'\n{second}END\n\
         ( cat /guest/initrd; echo script | cpio -o -H newc 2>/dev/null ) >/tmp/initrd\n\
         agent kexec {how} /guest/kernel /tmp/initrd 'console=ttyS0 quiet panic=-1 {STRICT} {words}'\n"
    );
    Guest::new(script).memory(2048).assign(NVME).carrying_itself()
}

pub(super) fn session() -> Session {
    let scenarios = vec![
        Scenario::new("crash", crash(FIRST, SECOND))
            .tolerates("Kernel panic")
            .tolerates("Call Trace")
            .appears("@@ first {nvme.sha256}")
            .appears("Translation already enabled - trying to copy translation structures")
            .appears("Copied translation tables from previous kernel for dmar0")
            .appears("Copied IR table for dmar0 from previous kernel")
            .appears("@@ second {nvme.sha256}")
            .within(120),
        Scenario::new("orderly", orderly(FIRST, SECOND))
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
