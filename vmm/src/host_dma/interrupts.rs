//! Whether the host's IOMMU remaps interrupts.

use std::fs;
use std::path::Path;

use super::HostError;

/// Refuses a host whose IOMMU lets any device raise any interrupt, unless `allowed`; `module` is the kernel's that
/// would have to allow it too.
///
/// The kernel refuses too, later and with a bare EPERM, except where its administrator switched that off
/// for every program; then the user of this one still has to agree.
pub(super) fn check(sysfs: &Path, allowed: bool, module: &'static str) -> Result<(), HostError> {
    if remapped(sysfs) || allowed { Ok(()) } else { Err(HostError::UnsafeInterrupts { module }) }
}

/// With remapping on, the kernel's names of interrupt controllers start with `IR-`.
fn remapped(sysfs: &Path) -> bool {
    let Ok(interrupts) = fs::read_dir(sysfs.join("kernel/irq")) else { return false };
    interrupts
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("chip_name")).ok())
        .any(|name| name.starts_with("IR-"))
}
