//! Ethernet adapters of the host: whole ones, virtual functions, groups of two. What they send arrives at an adapter of
//! L1's on the same wire, and what that sends arrives here.

use crate::guest::{Backend, Guest};
use crate::level1::Device;
use crate::parts::Kernel;
use crate::scenario::{Scenario, Session};

const DEVICES: [Device; 5] = [Device::Igb, Device::E1000e, Device::Pair, Device::Switch, Device::Peer];

/// L1's end of the wire, where a program sends back whatever comes.
const ANSWER: &str = "\
card=$(ls /sys/bus/pci/devices/0000:00:08.0/virtio*/net)
ip link set $card up; ip addr add 10.0.0.1/24 dev $card 2>/dev/null
killall nc 2>/dev/null
setsid nc -ll -p 7000 -e cat </dev/null >/dev/null 2>&1 &
";

/// Sends bytes that nobody can guess to the other end, in packets with and without a checksum in hardware, and compares
/// what comes back.
const TRAFFIC: &str = "\
card=$(ls /sys/class/net | grep eth)
ip link set $card up && ip addr add 10.0.0.2/24 dev $card
for try in $(seq 200); do
    [ \"$(cat /sys/class/net/$card/carrier)\" = 1 ] && break
    sleep 0.1
done
ping -A -c 20 -w 30 -s 1400 10.0.0.1 >/tmp/ping; tail -n 2 /tmp/ping
grep -q '20 packets received' /tmp/ping && echo '@@ every packet came back'
head -c 2097152 /dev/urandom >/tmp/sent
nc 10.0.0.1 7000 </tmp/sent >/tmp/returned
cmp /tmp/sent /tmp/returned && echo '@@ 2 MiB came back as they were'
grep eth /proc/interrupts
";

/// How the functions are grouped.
const GROUPS: &str = "\
for group in /sys/kernel/iommu_groups/*; do
    echo \"@@ group ${group##*/} $(cat $group/type):\" $(ls $group/devices)
done
";

pub(super) fn session() -> Session {
    let address = |device: Device| device.address(&DEVICES);
    let scenarios = vec![
        pair(&address(Device::Pair)),
        switch(&address(Device::Switch)),
        apart(&address(Device::Switch)),
        apart_and_alike(&address(Device::Switch)),
        wire(&address(Device::E1000e)),
        whole(&address(Device::Igb)),
        virtual_function(&address(Device::Igb)),
    ];
    Session::new(
        "network",
        "adapters of the host, virtual functions and groups of two carry traffic",
        scenarios,
    )
    .devices(&DEVICES)
    .kernel(Kernel::Iommufd)
    .guest_kernel(Kernel::Iommufd)
    // With memory above 4 GiB the firmware puts the windows of ports there, and QEMU 10.0 takes but the lower half of
    // where the virtual functions of an igb are: nobody would answer.
    .memory(2048)
    .nightly()
}

fn traffic(name: &'static str, guest: Guest) -> Scenario {
    Scenario::new(name, guest.memory(512))
        .before(ANSWER)
        .appears("@@ every packet came back")
        .appears("@@ 2 MiB came back as they were")
}

/// An adapter with MSI-X, behind a root port as on the host.
fn whole(address: &str) -> Scenario {
    traffic("igb", Guest::new(format!("{GROUPS}{TRAFFIC}")).backend(Backend::Iommufd).assign(address))
        .appears("@@ group * DMA: 0000:01:00.0")
        .appears("IR-PCI-MSIX-0000:01:00.0*eth0-rx-0")
}

/// An adapter that is left no message-signalled interrupt.
fn wire(address: &str) -> Scenario {
    let guest = Guest::new(TRAFFIC).cmdline("intel_iommu=on iommu.strict=1 pci=nomsi").assign(address);
    traffic("wire", guest).appears("IR-IO-APIC*fasteoi*eth0")
}

/// One virtual function, while the physical one is L1's. It has neither pin nor power states, its Memory Space is always
/// on, and what it shows as IDs is the physical function's to say.
fn virtual_function(physical: &str) -> Scenario {
    let function = physical.replace(":00.0", ":10.0");
    let before = format!(
        "unbind_vfio {physical}
ip link set $(ls /sys/bus/pci/devices/{physical}/net) up
echo 1 >/sys/bus/pci/devices/{physical}/sriov_numvfs
{ANSWER}"
    );
    let after = format!("echo 0 >/sys/bus/pci/devices/{physical}/sriov_numvfs");
    let script = format!(
        "{TRAFFIC}
echo \"@@ driver $(basename $(readlink /sys/bus/pci/devices/0000:01:00.0/driver))\"
# All in one read: a KVM of 7.3 in an emulated processor gives up where MMIO is what follows a page fault.
dd if=/sys/bus/pci/devices/0000:01:00.0/config bs=260 count=1 2>/dev/null >/tmp/config
echo \"@@ extended capabilities $(tail -c 4 /tmp/config | od -An -tx4)\"
echo 1 >/sys/bus/pci/devices/0000:01:00.0/reset && echo \"@@ reset by $(cat /sys/bus/pci/devices/0000:01:00.0/reset_method)\"
sleep 1
for try in $(seq 200); do
    [ \"$(cat /sys/class/net/$card/carrier)\" = 1 ] && break
    sleep 0.1
done
nc 10.0.0.1 7000 </tmp/sent | cmp - /tmp/sent && echo '@@ the same after a reset'
"
    );
    traffic("virtual-function", Guest::new(script).backend(Backend::Iommufd).assign(&function))
        .before(&before)
        .after(&after)
        .appears("@@ driver igbvf")
        .appears("@@ extended capabilities  00000000")
        .appears("@@ reset by flr*")
        .appears("@@ the same after a reset")
        .within(120)
}

/// The address of the second of a pair on one bus, and of the second function of a device.
fn beside(address: &str) -> String {
    address.replace(":01.0", ":02.0")
}

fn second_function(address: &str) -> String {
    address.replace(":00.0", ":00.1")
}

/// Two functions that the host cannot tell apart: the machine puts them where the guest cannot either, behind one bridge.
/// First one of them has the group to itself, driven from user space, then the other.
fn pair(first: &str) -> Scenario {
    let script = format!(
        "{GROUPS}
bind_vfio 0000:02:00.0 0000:02:01.0 && agent edu scatter 0000:02:00.0
unbind_vfio 0000:02:00.0 0000:02:01.0
{TRAFFIC}"
    );
    traffic("pair", Guest::new(script).assign(first).assign(&beside(first)))
        .appears("@@ group * DMA: 0000:01:00.0 0000:02:00.0 0000:02:01.0")
        .appears("@@ edu moved 16 scattered pages*")
}

/// A drive and an adapter in one device behind a switch, both at work at once.
fn switch(drive: &str) -> Scenario {
    let script = format!("{GROUPS}\nsha256sum /dev/nvme0n1 >/tmp/sum &\n{TRAFFIC}\nwait; cat /tmp/sum");
    traffic("switch", Guest::new(script).assign(drive).assign(&second_function(drive)))
        .appears("@@ group * DMA: 0000:01:00.0 0000:02:00.0 0000:02:01.0")
        .appears("{switch.sha256}")
}

/// The same placed where the guest takes them for two groups, and gives each a domain of its own: neither reaches
/// anything while both may send. The drive's driver gives up; then the adapter works.
fn apart(drive: &str) -> Scenario {
    let adapter = second_function(drive);
    let guest = Guest::new(format!("{GROUPS}{TRAFFIC}\n[ -e /dev/nvme0n1 ] || echo '@@ no drive'"))
        .cmdline("intel_iommu=on iommu.strict=1 nvme_core.admin_timeout=2")
        .assign(&format!("{drive},addr=04.0"))
        .assign(&format!("{adapter},addr=05.0"));
    traffic("apart", guest)
        .appears("@@ group * DMA: 0000:00:04.0")
        .appears("@@ group * DMA: 0000:00:05.0")
        .appears("*the host cannot tell*")
        .appears("*DMAR: *00:04.0*fault addr*")
        .appears("@@ no drive")
        .tolerates("DRHD: handling fault")
}

/// The same again, and the guest lets both pass through: they are treated alike, so both work.
fn apart_and_alike(drive: &str) -> Scenario {
    let adapter = second_function(drive);
    let guest = Guest::new(format!("{GROUPS}{TRAFFIC}\nsha256sum /dev/nvme0n1"))
        .cmdline("intel_iommu=on iommu=pt")
        .assign(&format!("{drive},addr=04.0"))
        .assign(&format!("{adapter},addr=05.0"));
    traffic("apart-and-alike", guest)
        .appears("@@ group * identity: 0000:00:04.0")
        .appears("@@ group * identity: 0000:00:05.0")
        .appears("{switch.sha256}")
}
