//! Functions of the host that come and go while the guest runs.
//!
//! L1 asks the VMM through its control socket, and goes on when the guest says on its console that it has come so
//! far; the guest goes on when its kernel shows or loses the drive.

use crate::guest::{Backend, Guest};
use crate::parts::Kernel;
use crate::scenario::{Scenario, Session};

/// What L1's part is written with.
const LEVEL1: &str = "\
D=0000:00:05.0
ask() { agent control /run/control \"$@\" || touch /run/failed; }
# Waits for a line of the guest's.
guest() {
    for try in $(seq 300); do
        grep -q \"@@ $1\" /run/guest.log && return
        grep -q 'State:.Z' /proc/$vmm/status && break
        sleep 0.2
    done
    echo \"@@ the guest never came to: $1\"
    touch /run/failed
}
# Gives the drive to L1's own driver, reads it, and takes it back.
read_here() {
    unbind_vfio $D
    for try in $(seq 25); do
        drive=$(grep -l rig0 /sys/block/nvme[0-9]n1/device/serial 2>/dev/null | cut -d/ -f4)
        [ -b /dev/${drive:-none} ] && break
        sleep 0.2
    done
    echo \"@@ L1 reads $(sha256sum /dev/$drive)\"
    bind_vfio $D
}
rm -f /run/failed
# What the scenario before this one left there is not this guest's.
: >/run/guest.log
bind_vfio $D
";

/// The end of L1's part: the VMM ends with its guest, and nothing of it stays. Until then it is a zombie.
const LEVEL1_END: &str = "\
wait $vmm; status=$?
cat /run/guest.log
[ -e /run/control ] && echo '@@ the socket is still there'
[ -e /run/failed ] && exit 98
exit $status
";

/// What the guest's part is written with.
const GUEST: &str = "\
comes() { for try in $(seq 300); do [ -b /dev/nvme0n1 ] && return; sleep 0.1; done; echo '@@ no drive comes'; exit 1; }
goes() { for try in $(seq 300); do [ -b /dev/nvme0n1 ] || return; sleep 0.1; done; echo '@@ the drive stays'; exit 1; }
read_all() { comes; echo \"@@ $1 reads $(sha256sum /dev/nvme0n1)\"; }
load() {
    ( while [ -b /dev/nvme0n1 ]; do dd if=/dev/nvme0n1 of=/dev/null bs=64k iflag=direct; done ) >/dev/null 2>&1 &
    sleep 0.5
    echo \"@@ $1 loaded\"
}
dmesg -n 6
";

/// A guest with two empty slots, numbers 8 and 9, that runs `script` while L1 runs `level1`.
fn scenario(name: &'static str, backend: Backend, script: &str, level1: &str) -> Scenario {
    with(name, |guest| guest.backend(backend).option("--hotplug 2"), script, level1)
}

/// A guest with other slots.
fn with(name: &'static str, slots: impl FnOnce(Guest) -> Guest, script: &str, level1: &str) -> Scenario {
    let guest = Guest::new(format!("{GUEST}{script}")).cpus(2).option("--control /run/control");
    let guest = slots(guest);
    // The guest's job ends in `exec`: it is run in a shell of its own.
    let job = guest.job();
    Scenario::command(name, format!("{LEVEL1}( {job} ) >/run/guest.log 2>&1 &\nvmm=$!\n{level1}{LEVEL1_END}"))
        .appears("@@ status 0")
        .never("the socket is still there")
        // What is in the middle of being read when the drive goes.
        .tolerates("I/O error")
        .within(150)
}

/// A drive comes, leaves in the middle of its work when the guest has agreed, and comes again elsewhere.
fn orderly(backend: Backend) -> Scenario {
    let script = "\
echo '@@ empty'
read_all first
load first
goes
echo '@@ gone'
read_all second
grep nvme0q1 /proc/interrupts
echo 0 >/sys/bus/pci/slots/9/power
goes
dmesg | grep pciehp
echo '@@ done'
";
    let level1 = "\
guest empty
ask '{\"command\": \"list\"}'
ask '{\"command\": \"add\", \"vfio\": \"0000:00:05.0\"}'
guest 'first loaded'
ask '{\"command\": \"audit\"}'
ask '{\"command\": \"add\", \"vfio\": \"0000:00:05.0\"}' --until 'already'
ask '{\"command\": \"remove\", \"slot\": 8}' --until '\"event\":\"removed\"'
guest gone
read_here
ask '{\"command\": \"add\", \"vfio\": \"0000:00:05.0\", \"slot\": 9}'
guest done
for try in $(seq 50); do
    agent control /run/control '{\"command\": \"list\"}' | grep -q 0000:00:05.0 || break
    sleep 0.2
done
ask '{\"command\": \"list\"}'
ask '{\"command\": \"statistics\"}' --until '\"answer\":[]'
read_here
";
    scenario("orderly", backend, script, level1)
        .appears("@@ first reads {nvme.sha256}*")
        .appears("@@ second reads {nvme.sha256}*")
        .appears("@@ L1 reads {nvme.sha256}*")
        .appears("*\"event\":\"removed\"*\"orderly\":true*")
}

/// A drive is pulled out under load: by force, and because the host takes it back.
fn surprise(backend: Backend) -> Scenario {
    let script = "\
echo '@@ empty'
read_all first
load first
goes
echo '@@ gone'
read_all second
load second
goes
echo '@@ gone again'
read_all third
dmesg | grep pciehp
echo '@@ done'
";
    let level1 = "\
guest empty
ask '{\"command\": \"add\", \"vfio\": \"0000:00:05.0\", \"slot\": 9}'
guest 'first loaded'
ask '{\"command\": \"remove\", \"vfio\": \"0000:00:05.0\", \"force\": true}' --until '\"removed\":true'
guest gone
read_here
ask '{\"command\": \"add\", \"vfio\": \"0000:00:05.0\"}'
guest 'second loaded'
echo 1 >/sys/bus/pci/devices/$D/remove
guest 'gone again'
ask '{\"command\": \"list\"}'
echo 1 >/sys/bus/pci/rescan
bind_vfio $D
ask '{\"command\": \"add\", \"vfio\": \"0000:00:05.0\"}'
guest done
";
    scenario("surprise", backend, script, level1)
        .appears("@@ first reads {nvme.sha256}*")
        .appears("@@ second reads {nvme.sha256}*")
        .appears("@@ third reads {nvme.sha256}*")
        .appears("@@ L1 reads {nvme.sha256}*")
        .appears("*the host wants 0000:00:05.0 back, so the guest is asked to let go of it")
        .appears("*pciehp*Link Down*")
}

/// A drive that the guest has had from the start is taken back by the host, in the middle of its work, and given again.
fn resident(backend: Backend) -> Scenario {
    let script = "\
read_all first
load first
goes
echo '@@ gone'
read_all second
dmesg | grep pciehp
echo '@@ done'
";
    let level1 = "\
guest 'first loaded'
read_here
guest gone
ask '{\"command\": \"add\", \"vfio\": \"0000:00:05.0\", \"slot\": 8}'
guest done
";
    with(
        "resident",
        |guest| guest.backend(backend).option("--hotplug 0").assign("0000:00:05.0"),
        script,
        level1,
    )
    .appears("@@ first reads {nvme.sha256}*")
    .appears("@@ second reads {nvme.sha256}*")
    .appears("@@ L1 reads {nvme.sha256}*")
    .appears("*the host wants 0000:00:05.0 back, so the guest is asked to let go of it")
    .appears("*pciehp*Button press: will power off*")
}

fn all(backend: Backend) -> Vec<Scenario> {
    vec![orderly(backend), surprise(backend), resident(backend)]
}

pub(super) fn session() -> Session {
    Session::new("hotplug", "drives come to a stock guest and leave it under load", all(Backend::Type1))
        .nightly()
}

pub(super) fn over_iommufd() -> Session {
    Session::new(
        "hotplug_iommufd",
        "drives come and leave where iommufd maps for them",
        all(Backend::Iommufd),
    )
    .kernel(Kernel::Iommufd)
    .nightly()
}
