//! A virtio disk of the program's own, whose requests a stock kernel's tables translate like any other device's.

use crate::guest::{Emulated, Guest};
use crate::scenario::{Scenario, Session};

/// The disk's content before: 16 MiB of one line. Afterwards 64 KiB at 1 MiB are of another.
const BEFORE: &str = "yes portcullis | head -c 16777216 >/run/disk.img";
const AFTER: &str = "\
yes portcullis | head -c 16777216 >/run/expected
yes something else | head -c 65536 | dd of=/run/expected bs=64k seek=16 conv=notrunc 2>/dev/null
cmp /run/disk.img /run/expected && echo the image holds what was written >/dev/kmsg";

/// Reads all of it, directly and in large pieces, and writes a piece.
const READ_AND_WRITE: &str = "\
yes portcullis | head -c 16777216 >/tmp/expected
dd if=/dev/vda bs=1M iflag=direct 2>/dev/null | cmp - /tmp/expected && echo '@@ the disk is the image'
dd if=/dev/vda bs=4k count=500 iflag=direct of=/dev/null 2>/dev/null || exit 1
yes something else | head -c 65536 >/tmp/pattern
dd if=/tmp/pattern of=/dev/vda bs=64k seek=16 conv=notrunc,fsync 2>/dev/null || exit 1
grep virtio /proc/interrupts";

pub(super) fn session() -> Session {
    let guest = |script: &str| Guest::new(script).emulate(Emulated::Disk { image: "/run/disk.img".into() });
    let in_mode = |name, guest| {
        Scenario::new(name, guest)
            .before(BEFORE)
            .appears("@@ the disk is the image")
            .after(AFTER)
            .level1_appears("the image holds what was written")
    };
    let scenarios = vec![
        in_mode("strict", guest(READ_AND_WRITE)).appears("IR-PCI-MSIX-*virtio0-req.0"),
        in_mode("pass-through", guest(READ_AND_WRITE).cmdline("intel_iommu=on iommu=pt"))
            .appears("IR-PCI-MSIX-*virtio0-req.0"),
        in_mode("no-iommu", guest(READ_AND_WRITE).without_iommu().cmdline(""))
            .appears("PCI-MSIX-*virtio0-req.0"),
        in_mode("interrupt-pin", guest(READ_AND_WRITE).cmdline("intel_iommu=on iommu.strict=1 pci=nomsi"))
            .appears("IR-IO-APIC*-fasteoi*virtio0"),
        in_mode("two-processors", guest(READ_AND_WRITE).cpus(2)).appears("virtio0-req.0"),
    ];
    Session::new("virtio", "a stock kernel uses an emulated virtio disk through its own tables", scenarios)
        .devices(&[])
}
