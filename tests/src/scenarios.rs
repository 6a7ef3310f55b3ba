//! Every session of the rig.

mod bare;
mod boot;
mod calls;
mod counters;
mod hotplug;
mod iommufd;
mod kexec;
mod l3;
mod limits;
mod modes;
mod nested;
mod network;
mod nvme;
mod order;
mod paths;
mod peer;
mod peers;
mod posted;
mod refusals;
mod sleep;
mod stray;
mod sva;
mod tables;
mod virtio;
mod witness;

use crate::scenario::Session;

/// All sessions, in the order in which it makes sense to run them.
pub fn all() -> Vec<Session> {
    vec![
        peer::session(),
        boot::smoke(),
        bare::session(),
        boot::session(),
        virtio::session(),
        modes::session(),
        modes::newest(),
        modes::newest_lazy(),
        sva::session(),
        sleep::session(),
        tables::session(),
        nvme::session(),
        posted::session(),
        stray::session(),
        peers::session(),
        order::session(),
        witness::session(),
        witness::modes(),
        witness::pressure(),
        witness::soaks(),
        kexec::session(),
        paths::session(),
        refusals::session(),
        limits::session(),
        l3::session(),
        nested::session(),
        iommufd::session(),
        hotplug::session(),
        hotplug::over_iommufd(),
        network::session(),
    ]
}

/// The session called `name`.
pub fn named(name: &str) -> Option<Session> {
    all().into_iter().find(|session| session.name == name)
}

/// The environment variable that says how many minutes the soaks go on.
pub const SOAK_MINUTES: &str = "PORTCULLIS_SOAK_MINUTES";

/// Where the first NVMe drive stands in L1.
const NVME: &str = "0000:00:05.0";
/// Where the drive with one interrupt stands in L1.
const NVME_ONE_VECTOR: &str = "0000:00:07.0";
/// Where the drive with memory of its own stands in L1.
const NVME_WITH_MEMORY: &str = "0000:00:09.0";
/// Gives the drive back to L1's own driver and reads it there.
const READ_IN_LEVEL1: &str = "\
unbind_vfio 0000:00:05.0
for try in 1 2 3 4 5; do
    drive=$(grep -l rig0 /sys/block/nvme[0-9]n1/device/serial 2>/dev/null | cut -d/ -f4)
    [ -b /dev/${drive:-none} ] && break
    sleep 1
done
echo \"@@ given back: $(sha256sum /dev/$drive)\"
bind_vfio 0000:00:05.0";
