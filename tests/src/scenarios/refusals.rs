//! What cannot work is refused before anything is half done: one sentence, what to do, exit status 2.

use super::NVME;
use crate::scenario::{Scenario, Session};

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
    ];
    Session::new("refusals", "what cannot work is refused in one sentence, with what to do", scenarios)
        .devices(&[crate::level1::Device::Nvme, crate::level1::Device::Pair])
}
