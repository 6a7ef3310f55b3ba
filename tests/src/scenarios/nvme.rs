//! An assigned NVMe drive, in every mode a stock kernel has.

use super::NVME;
use crate::guest::Guest;
use crate::level1::Device;
use crate::scenario::{Evidence, Scenario, Session, warnings};

/// Reads the whole drive, shows its interrupts, and writes a pattern that the host finds on the image afterwards.
const READ_AND_WRITE: &str = "\
sha256sum /dev/nvme0n1
grep -E 'nvme|ttyS0' /proc/interrupts
stamp=$(head -c 16 /proc/sys/kernel/random/uuid)
yes $stamp | head -c 65536 >/tmp/pattern
dd if=/tmp/pattern of=/dev/nvme0n1 bs=64k seek=100 conv=notrunc,fsync 2>/dev/null
echo \"@@ pattern $stamp\"
";

pub(super) fn session() -> Session {
    let in_mode = |name, cmdline: &str| {
        let guest = Guest::new(READ_AND_WRITE).assign(NVME).cmdline(cmdline);
        Scenario::new(name, guest).appears("{nvme-before.sha256}").check(pattern_is_on_the_image)
    };
    let translated = |name, cmdline: &str| {
        in_mode(name, cmdline)
            .appears("DMAR: IOMMU enabled")
            .appears("DMAR: dmar0: Using Queued invalidation")
            .appears("Adding to iommu group")
    };
    let remapped = |scenario: Scenario| {
        scenario
            .appears("DMAR-IR: Enabled IRQ remapping in x2apic mode")
            .appears("IR-PCI-MSIX-*nvme0q1")
            .appears("IR-IO-APIC*ttyS0")
    };
    let scenarios = vec![
        remapped(translated("strict", "intel_iommu=on iommu.strict=1"))
            .appears("DMA domain TLB invalidation policy: strict mode")
            .check(no_warnings),
        remapped(translated("pass-through", "intel_iommu=on iommu=pt"))
            .appears("Default domain type: Passthrough"),
        remapped(translated("force", "intel_iommu=on iommu=force")),
        remapped(translated("no-source-check", "intel_iommu=on intremap=nosid")),
        translated("no-remapping", "intel_iommu=on intremap=off")
            .appears(" PCI-MSIX-*nvme0q1")
            .never("IR-PCI-MSIX"),
        remapped(in_mode("no-translation", "intel_iommu=off")).never("Adding to iommu group"),
        affinity(),
        interrupts_count(),
        given_back(),
    ];
    Session::new("nvme", "a stock guest reads and writes an assigned NVMe in every mode", scenarios)
}

/// Reads go on while the queue's interrupt moves from processor to processor. With remapping, Linux then rewrites the
/// remapping entry alone and leaves the MSI-X table as it is.
fn affinity() -> Scenario {
    let script = "\
queue=$(grep -o '^ *[0-9]*:.*nvme0q1' /proc/interrupts | cut -d: -f1 | tr -d ' ')
( while :; do for cpu in 0 1; do echo $cpu >/proc/irq/$queue/smp_affinity_list || echo \"@@ cannot move\"; done; done ) &
mover=$!
probe reads /dev/nvme0n1 500 4096
kill $mover
sha256sum /dev/nvme0n1
grep nvme0q /proc/interrupts
";
    let guest = Guest::new(script)
        .assign(NVME)
        .cpus(2)
        .cmdline("intel_iommu=on iommu.strict=1 nvme.use_threaded_interrupts=0");
    Scenario::new("affinity", guest).appears("500 reads").appears("{nvme.sha256}").within(90)
}

/// Interrupts arrive: their counts rise by as many as there were reads and characters.
fn interrupts_count() -> Scenario {
    let script = "\
count() { grep \"$1\" /proc/interrupts | awk '{ print $2 }'; }
before=$(count nvme0q1); serial=$(count ttyS0)
probe reads /dev/nvme0n1 100 4096
echo \"some text for the serial port\"
sleep 1
echo \"@@ nvme interrupts $(( $(count nvme0q1) - before ))\"
[ $(( $(count ttyS0) - serial )) -gt 0 ] && echo '@@ serial interrupts rise'
";
    Scenario::new("interrupts", Guest::new(script).assign(NVME))
        .appears("@@ nvme interrupts 10")
        .appears("@@ serial interrupts rise")
}

/// After the guest has gone the drive works for L1 as before.
fn given_back() -> Scenario {
    let guest = Guest::new("sha256sum /dev/nvme0n1").assign(NVME);
    Scenario::new("given-back", guest)
        .after(
            "unbind_vfio 0000:00:05.0\n\
             for try in 1 2 3 4 5; do [ -b /dev/nvme0n1 ] && break; sleep 1; done\n\
             sha256sum /dev/nvme0n1; bind_vfio 0000:00:05.0",
        )
        .level1_appears("{nvme.sha256}")
}

fn pattern_is_on_the_image(evidence: &Evidence) -> Result<(), String> {
    let stamp = evidence.guest.split_once("@@ pattern ").ok_or("the guest wrote no pattern")?.1;
    let stamp = stamp.lines().next().unwrap_or_default().trim();
    let image = std::fs::read(evidence.image(Device::Nvme)?).map_err(|error| error.to_string())?;
    let expected: Vec<u8> = format!("{stamp}\n").bytes().cycle().take(65536).collect();
    if image.get(100 * 65536..101 * 65536) == Some(&expected[..]) {
        Ok(())
    } else {
        Err(format!("the pattern {stamp} is not on the image"))
    }
}

fn no_warnings(evidence: &Evidence) -> Result<(), String> {
    let found = warnings(&evidence.guest);
    if found.is_empty() { Ok(()) } else { Err(format!("the guest's kernel warns:\n{}", found.join("\n"))) }
}
