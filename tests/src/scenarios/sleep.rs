//! A guest that goes to sleep and wakes up: its kernel saves the unit's registers, turns translation and interrupt
//! remapping off and sets both up anew. `pm_test=core` does all of it but the firmware's part, which is not offered.

use crate::guest::{Emulated, Guest};
use crate::parts::Kernel;
use crate::scenario::{Scenario, Session};

/// The disk's content: 4 MiB of one line.
const IMAGE: &str = "yes portcullis | head -c 4194304 >/run/disk.img";

/// Reads the disk through the kernel's mappings before the sleep and after it, writes, and drives `edu` through a
/// user's mappings made after it.
const SLEEP: &str = "\
yes portcullis | head -c 4194304 >/tmp/expected
reads() { dd if=/dev/vda bs=1M iflag=direct 2>/dev/null | cmp - /tmp/expected && echo \"@@ the disk is the image $1\"; }
reads before || exit 1
echo 1 >/sys/power/pm_debug_messages
echo core >/sys/power/pm_test && echo shutdown >/sys/power/disk || exit 1
echo disk >/sys/power/state || exit 1
echo \"@@ slept: $(dmesg | grep -c 'hibernation debug: Waiting')\"
reads after || exit 1
dd if=/tmp/expected of=/dev/vda bs=64k count=4 conv=notrunc,fsync 2>/dev/null || exit 1
bind_vfio 0000:00:04.0 && agent edu scatter 0000:00:04.0";

fn sleeper(profile: &str) -> Guest {
    Guest::new(SLEEP)
        .profile(profile)
        .cpus(2)
        .memory(256)
        .emulate(Emulated::Edu { place: "04.0".into(), mask: u64::MAX })
        .emulate(Emulated::Disk { image: "/run/disk.img".into() })
}

pub(super) fn session() -> Session {
    let scenario = |name, guest: Guest| {
        Scenario::new(name, guest)
            .before(IMAGE)
            .within(90)
            .appears("@@ the disk is the image before")
            .appears("@@ slept: 1")
            .appears("*Calling iommu_suspend*")
            .appears("*Calling iommu_resume*")
            .appears("@@ the disk is the image after")
            .appears("@@ edu moved 16 scattered pages*")
    };
    Session::new(
        "sleep",
        "a kernel takes the remapping unit down to sleep and up again",
        vec![
            scenario("legacy", sleeper("legacy")),
            scenario("second-stage", sleeper("second-stage")),
            scenario("first-stage", sleeper("first-stage")),
        ],
    )
    .guest_kernel(Kernel::Iommufd)
    .devices(&[])
}
