//! A kernel that has its devices' interrupts posted (`intremap=posted_msi`): they become bits in a descriptor of
//! the processor they go to, and one vector tells of them all.

use super::{NVME, NVME_ONE_VECTOR};
use crate::guest::{Emulated, Guest};
use crate::level1::Device;
use crate::parts::Kernel;
use crate::scenario::{Evidence, Scenario, Session, number_after, warnings};

const CMDLINE: &str = "intel_iommu=on iommu.strict=1 intremap=posted_msi";

/// The emulated disk's content: 16 MiB of one line.
const IMAGE: &str = "yes portcullis | head -c 16777216 >/run/disk.img";

/// `count ROW`: how many interrupts `/proc/interrupts` has in a row, over all processors. PMN is the row of
/// notifications; without posting there is none.
const COUNT: &str = "\
count() {
    awk -v row=$1 'index($0, row) { for (i = 2; $i ~ /^[0-9]+$/; i++) sum += $i } END { print sum + 0 }' \
        /proc/interrupts
}
";

/// Reads both drives one request after the other, so that each interrupt is notified on its own; then all of
/// both, and compares. Shows the entries of posted format.
const READ_BOTH: &str = "\
notifications=$(count PMN:); interrupts=$(count virtio0-req.0)
agent reads /dev/vda 200 4096
echo \"@@ disk notifications $(( $(count PMN:) - notifications ))\"
echo \"@@ disk interrupts $(( $(count virtio0-req.0) - interrupts ))\"
notifications=$(count PMN:); interrupts=$(count nvme0q1)
agent reads /dev/nvme0n1 200 4096
echo \"@@ drive notifications $(( $(count PMN:) - notifications ))\"
echo \"@@ drive interrupts $(( $(count nvme0q1) - interrupts ))\"
yes portcullis | head -c 16777216 >/tmp/expected
dd if=/dev/vda bs=1M iflag=direct 2>/dev/null | cmp - /tmp/expected && echo '@@ the disk is the image'
sha256sum /dev/nvme0n1
grep -E 'PMN|nvme|virtio' /proc/interrupts
mount -t debugfs debugfs /sys/kernel/debug
sed -n '/^Posted/,$p' /sys/kernel/debug/iommu/intel/ir_translation_struct >/tmp/posted
cat /tmp/posted
echo \"@@ posted entries $(grep -c '^ *[0-9][0-9]* ' /tmp/posted)\"
";

pub(super) fn session() -> Session {
    let read_both = |name, features: &str| {
        let guest = Guest::new(format!("{COUNT}{READ_BOTH}"))
            .cmdline(CMDLINE)
            .features(features)
            .emulate(Emulated::Disk { image: "/run/disk.img".into() })
            .assign(NVME);
        Scenario::new(name, guest)
            .before(IMAGE)
            .appears("DMAR-IR: Enabled IRQ remapping in x2apic mode")
            .appears("@@ the disk is the image")
            .appears("{nvme.sha256}")
            .check(no_warnings)
            .within(120)
    };
    let scenarios = vec![
        read_both("emulated-and-assigned", "+posted-interrupts")
            .appears("PMN:*Posted MSI notification event")
            .check(every_interrupt_is_notified),
        // A kernel that asks for what the unit does not offer goes on without.
        read_both("not-offered", "-posted-interrupts")
            .never("Posted MSI notification event")
            .check(nothing_is_posted),
        affinity(),
    ];
    Session::new("posted", "a kernel gets the interrupts of all its devices posted", scenarios)
        .guest_kernel(Kernel::Iommufd)
        .devices(&[Device::Nvme, Device::NvmeOneVector])
}

/// Reads go on while the drive's interrupt moves from processor to processor, and so between their descriptors.
fn affinity() -> Scenario {
    let script = "\
irq=$(grep nvme0q1 /proc/interrupts | cut -d: -f1 | tr -d ' ')
move() {
    moves=0
    while [ -e /tmp/go ]; do
        echo $((moves % 2)) >/proc/irq/$irq/smp_affinity_list || return
        moves=$((moves + 1))
    done
    echo \"@@ moves $moves\"
}
notifications=$(count PMN:)
touch /tmp/go; move &
agent reads /dev/nvme0n1 500 4096
rm /tmp/go; wait
echo \"@@ drive notifications $(( $(count PMN:) - notifications ))\"
sha256sum /dev/nvme0n1
grep -E 'PMN|nvme' /proc/interrupts
";
    let guest = Guest::new(format!("{COUNT}{script}")).cmdline(CMDLINE).features("+posted-interrupts");
    Scenario::new("affinity", guest.assign(NVME_ONE_VECTOR).cpus(2))
        .appears("@@ 500 reads")
        .appears("{nvme-one-vector.sha256}")
        .check(no_warnings)
        .check(both_processors_are_notified)
        .within(180)
}

/// Requests made one at a time find no notification outstanding.
fn every_interrupt_is_notified(evidence: &Evidence) -> Result<(), String> {
    let number = |words: &str| number_after(&evidence.guest, words);
    for device in ["disk", "drive"] {
        let notifications = number(&format!("@@ {device} notifications"))?;
        let interrupts = number(&format!("@@ {device} interrupts"))?;
        if interrupts < 200.0 || notifications < interrupts {
            return Err(format!("{notifications} notifications of {interrupts} interrupts of the {device}"));
        }
    }
    match number("@@ posted entries")? {
        entries if entries < 2.0 => Err(format!("the table has {entries} entries of posted format")),
        _ => Ok(()),
    }
}

fn nothing_is_posted(evidence: &Evidence) -> Result<(), String> {
    for words in ["@@ disk notifications", "@@ drive notifications", "@@ posted entries"] {
        let number = number_after(&evidence.guest, words)?;
        if number != 0.0 {
            return Err(format!("{words}: {number}"));
        }
    }
    Ok(())
}

fn both_processors_are_notified(evidence: &Evidence) -> Result<(), String> {
    let moves = number_after(&evidence.guest, "@@ moves")?;
    let notifications = number_after(&evidence.guest, "@@ drive notifications")?;
    let row = evidence.guest.lines().rev().find(|line| line.contains("PMN:")).unwrap_or_default();
    let counts: Vec<u64> = row.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    if moves < 100.0 || notifications < 400.0 || counts.len() != 2 || counts.contains(&0) {
        return Err(format!("{moves} moves, {notifications} notifications: {row}"));
    }
    Ok(())
}

fn no_warnings(evidence: &Evidence) -> Result<(), String> {
    let found = warnings(&evidence.guest);
    if found.is_empty() { Ok(()) } else { Err(format!("the guest's kernel warns:\n{}", found.join("\n"))) }
}
