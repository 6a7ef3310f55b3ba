//! What cannot work is refused before anything is half done: one sentence, what to do, exit status 2.

use super::NVME;
use crate::guest::{Backend, Guest};
use crate::scenario::{Scenario, Session};

/// Runs the VMM, and asks it for a function more.
const ASKING: &str = "\
cat >/run/asking <<'END'
\"$@\" &
agent control /run/control '{\"command\": \"add\", \"vfio\": \"0000:77:00.0\"}' --until error
wait $!
END
";
/// How many mappings type1 makes for a container that is opened from now on.
const MAPPINGS: &str = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit";

pub(super) fn session() -> Session {
    let run = "portcullis run --kernel /guest/kernel --cmdline console=ttyS0";
    let refused = |name, script: String| Scenario::command(name, script).status(2).within(20).never("Error:");
    let scenarios = vec![
        refused("no-kernel", "portcullis run --kernel /nowhere".into()).appears("/nowhere"),
        refused("not-a-kernel", "portcullis run --kernel /bin/busybox".into()).appears("/bin/busybox"),
        refused("little-memory", format!("{run} --memory 1M")).appears("emory"),
        refused("unknown-device", format!("{run} --device toaster")).appears("toaster"),
        refused("no-such-function", format!("{run} --vfio 0000:77:00.0")).appears("0000:77:00.0"),
        refused("not-bound", format!("unbind_vfio {NVME} 2>/dev/null; {run} --vfio {NVME}"))
            .appears("vfio-pci"),
        refused(
            "group-not-viable",
            format!("bind_vfio 0000:01:01.0; drive 0000:01:02.0 uio_pci_generic; {run} --vfio 0000:01:01.0"),
        )
        .appears("0000:01:02.0"),
        refused(
            "no-kvm",
            format!("mv /dev/kvm /dev/hidden; {run}; status=$?; mv /dev/hidden /dev/kvm; exit $status"),
        )
        .appears("/dev/kvm"),
        refused(
            "no-vfio",
            format!(
                "bind_vfio {NVME}; mv /dev/vfio/vfio /dev/hidden; {run} --vfio {NVME}; status=$?; \
                 mv /dev/hidden /dev/vfio/vfio; exit $status"
            ),
        )
        .appears("/dev/vfio/vfio"),
        refused(
            "locked-memory",
            format!(
                "bind_vfio {NVME}; chmod 666 /dev/kvm /dev/vfio/*; mkdir -p /etc\n\
                 echo 'user:x:1000:1000::/:/bin/sh' >/etc/passwd\n\
                 ulimit -l 64; su user -c '{run} --vfio {NVME}'"
            ),
        )
        .appears("ulimit -l"),
        refused("slots-first-stage", format!("{run} --hotplug 1 --iommu-profile first-stage"))
            .appears("*a guest never announces what it maps there*"),
        while_running(),
    ];
    Session::new("refusals", "what cannot work is refused in one sentence, with what to do", scenarios)
        .devices(&[crate::level1::Device::Nvme, crate::level1::Device::Pair])
}

/// What a guest cannot have is said while it runs, and it runs on: two functions that the host cannot tell apart in two
/// domains, more mappings than the host makes, a function more without a slot for it.
fn while_running() -> Scenario {
    // Functions matter once they may send.
    let send = "for bdf in 0000:00:05.0 0000:00:06.0; do\n\
                printf '\\007' | dd of=/sys/bus/pci/devices/$bdf/config bs=1 seek=4 conv=notrunc 2>/dev/null\n\
                done";
    let guest = Guest::new(send)
        .cmdline("intel_iommu=on iommu.strict=1 nvme_core.admin_timeout=2")
        .backend(Backend::Type1)
        .assign(NVME)
        .assign("0000:01:01.0,addr=05.0")
        .assign("0000:01:02.0,addr=06.0")
        .option("--control /run/control")
        .under("sh /run/asking");
    Scenario::new("while-running", guest)
        .before(&format!("{ASKING}echo 8 >{MAPPINGS}"))
        .after(&format!("echo 65535 >{MAPPINGS}"))
        .appears("*the host cannot tell them apart*have the guest put them in one domain*")
        .appears("*takes no more mappings*--host-dma iommufd*")
        .appears("*No slot is empty*start with --hotplug N*")
        .tolerates("DRHD: handling fault")
}
