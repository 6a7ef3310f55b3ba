//! The host's IOMMU by way of iommufd: guest memory pinned once, and a program that needs no privilege.

use super::{NVME, NVME_ONE_VECTOR, READ_IN_LEVEL1};
use crate::guest::Guest;
use crate::level1::Device;
use crate::parts::Kernel;
use crate::scenario::{Evidence, Scenario, Session, number_after};

/// Writes down how much memory the program has pinned, every second until it ends.
const WATCH_PINS: &str = "\
echo 0 >/run/pins
watch_pins() {
    until pid=$(pidof portcullis); do sleep 1; done
    while sleep 1 && [ -e /proc/$pid ]; do
        while read -r name kib unit; do [ $name = VmPin: ] && echo $kib; done </proc/$pid/status
    done
}
watch_pins >/run/pins 2>/dev/null </dev/null &
echo $! >/run/watcher";
/// Says the most there was.
const PINS: &str = "\
kill $(cat /run/watcher) 2>/dev/null
echo \"@@ pinned $(sort -n /run/pins | tail -n 1) KiB\"
";

/// A user who may use KVM and nothing of VFIO, and the names of the device's files.
const USER: &str = "\
mkdir -p /etc; echo 'user:x:1000:1000::/:/bin/sh' >/etc/passwd
chmod 666 /dev/kvm; chmod 600 /dev/iommu /dev/vfio/vfio /dev/vfio/[0-9]*
cdev=/dev/vfio/devices/$(ls /sys/bus/pci/devices/0000:00:05.0/vfio-dev)
";

pub(super) fn session() -> Session {
    let on_one = |name, cmdline: &str| {
        let guest = Guest::new("sha256sum /dev/nvme0n1; agent reads /dev/nvme0n1 200 4096");
        Scenario::new(name, guest.assign(NVME).cmdline(cmdline))
            .appears("{nvme.sha256}")
            .appears("@@ 200 reads")
            .before(WATCH_PINS)
            .check(memory_is_pinned_once)
    };
    let scenarios = vec![
        on_one("strict", "intel_iommu=on iommu.strict=1")
            .after(&format!("{PINS}{READ_IN_LEVEL1}"))
            .level1_appears("@@ given back: {nvme.sha256}"),
        on_one("pass-through", "intel_iommu=on iommu=pt").after(PINS),
        two_drives(),
        passed_in(),
        super::peers::nvme_into_nvme("peer-to-peer"),
        super::peers::without_unit("peer-to-peer-without-unit"),
    ];
    let all = scenarios.into_iter().chain(refusals()).collect();
    Session::new("iommufd", "assigned devices by iommufd: one copy of guest memory, and no privilege", all)
        .kernel(Kernel::Iommufd)
        .devices(&[Device::Nvme, Device::NvmeOneVector, Device::NvmeWithMemory])
}

/// Two drives, each in an address space of its own.
fn two_drives() -> Scenario {
    let guest = Guest::new("sha256sum /dev/nvme?n1").assign(NVME).assign(NVME_ONE_VECTOR);
    Scenario::new("two-drives", guest)
        .appears("{nvme.sha256}")
        .appears("{nvme-one-vector.sha256}")
        .before(WATCH_PINS)
        .after(PINS)
        .check(memory_is_pinned_once)
}

/// A program without privilege gets open descriptors, and nothing else of VFIO may it open.
fn passed_in() -> Scenario {
    // Changing the user wants the command as one word; nothing in it has quotes of its own.
    let before = format!(
        "bind_vfio {NVME}; {USER}\
         cat >/run/unprivileged <<END\n\
         #!/bin/sh\n\
         exec 6<>/dev/iommu 7<>$cdev\n\
         ulimit -l 1048576\n\
         exec su user -c \"\\$(printf \"'%s' \" \"\\$@\")\"\n\
         END\n\
         chmod 755 /run/unprivileged\n\
         su user -c 'head -c 0 /dev/iommu || head -c 0 /dev/vfio/vfio' && echo '@@ this user needs no descriptors'\n\
         {WATCH_PINS}"
    );
    let guest = Guest::new("sha256sum /dev/nvme0n1; agent reads /dev/nvme0n1 200 4096");
    let guest = guest.option("--iommufd fd=6 --vfio fd=7").under("/run/unprivileged");
    Scenario::new("passed-in", guest)
        .before(&before)
        .appears("{nvme.sha256}")
        .appears("@@ 200 reads")
        .after(&format!("{PINS}{READ_IN_LEVEL1}"))
        .level1_appears("@@ given back: {nvme.sha256}")
        .check(memory_is_pinned_once)
        .check(|evidence| {
            if evidence.level1.contains("needs no descriptors") {
                Err("it could open everything".into())
            } else {
                Ok(())
            }
        })
}

/// Whatever stands in the way is said in one sentence.
fn refusals() -> Vec<Scenario> {
    let program = "portcullis run --memory 64M";
    let run = format!("{program} --kernel /guest/kernel");
    let refused = |name, script: String| {
        Scenario::command(name, format!("bind_vfio {NVME}; {USER}{script}"))
            .status(2)
            .within(20)
            .never("Error:")
            .never("Caused by")
    };
    vec![
        refused("not-bound", format!("unbind_vfio {NVME}; {run} --vfio {NVME}"))
            .appears("*bound to nvme, not to vfio-pci*"),
        refused("no-permission", format!("su user -c '{run} --host-dma iommufd --vfio {NVME}'"))
            .appears("*/dev/iommu may not be opened by this user*"),
        refused(
            "no-permission-device",
            format!("chmod 666 /dev/iommu; su user -c '{run} --host-dma iommufd --vfio {NVME}'"),
        )
        .appears("*/dev/vfio/devices/vfio* may not be opened by this user*"),
        refused("no-permission-at-all", format!("su user -c '{run} --vfio {NVME}'"))
            .appears("*/dev/vfio/vfio may not be opened by this user*"),
        // It goes as far as to the kernel, which is none.
        refused(
            "permission-for-type1",
            format!(
                "chmod 666 /dev/vfio/vfio /dev/vfio/[0-9]*; ulimit -l 131072
                 su user -c '{program} --kernel /bin/sh --vfio {NVME}'"
            ),
        )
        .appears("*/dev/iommu may not be opened by this user, so assigned devices go by type1*"),
        refused(
            "little-locked-memory",
            format!("chmod 666 /dev/iommu $cdev; ulimit -l 64; su user -c '{run} --vfio {NVME}'"),
        )
        .appears("*64 MiB of locked memory (1 x guest memory)*"),
        refused("group-busy", format!("exec 9<>/dev/vfio/$(group_of {NVME}); {run} --vfio {NVME}"))
            .appears("*in use by another program*fuser -v /dev/vfio/*"),
        // A program that ends after it has bound the device, which stays bound as long as the shell has it open.
        refused(
            "device-busy",
            format!("exec 7<>$cdev; {program} --kernel /nowhere --vfio fd=7; {run} --vfio {NVME}"),
        )
        .appears("*in use by another program*fuser -v /dev/vfio/devices/vfio*"),
        refused(
            "already-bound",
            format!("exec 7<>$cdev; {program} --kernel /bin/sh --vfio fd=7; {run} --vfio fd=7"),
        )
        .appears("*is bound to an iommufd already*"),
        refused("not-open", format!("{run} --vfio fd=7")).appears("*No descriptor 7 was passed in*"),
        refused("not-a-function", format!("exec 7<>/dev/null; {run} --vfio fd=7"))
            .appears("*not one of a VFIO character device*"),
        refused("not-an-iommufd", format!("exec 6<>/dev/null 7<>$cdev; {run} --iommufd fd=6 --vfio fd=7"))
            .appears("*not one of iommufd*"),
    ]
}

/// However many devices and address spaces there are, all guest memory is pinned, and nothing twice.
fn memory_is_pinned_once(evidence: &Evidence) -> Result<(), String> {
    const GUEST_MEMORY: f64 = 1024.0 * 1024.0;
    let pinned = number_after(&evidence.level1, "@@ pinned")?;
    if (GUEST_MEMORY..GUEST_MEMORY * 1.02).contains(&pinned) {
        Ok(())
    } else {
        Err(format!("{pinned} KiB were pinned for {GUEST_MEMORY} KiB of guest memory"))
    }
}
