//! An assigned NVMe drive, in every mode a stock kernel has.

use super::{NVME, NVME_ONE_VECTOR, READ_IN_LEVEL1};
use crate::guest::Guest;
use crate::level1::Device;
use crate::scenario::{Evidence, Scenario, Session, number_after, warnings};

const DEVICES: [Device; 3] = [Device::Nvme, Device::NvmeOneVector, Device::NvmeVirtual];

/// Reads the whole drive, shows its interrupts, and writes a pattern that the host finds on the image afterwards.
const READ_AND_WRITE: &str = "\
sha256sum /dev/nvme0n1
grep -E 'nvme|ttyS0' /proc/interrupts
stamp=$(head -c 16 /proc/sys/kernel/random/uuid)
yes $stamp | head -c 65536 >/tmp/pattern
dd if=/tmp/pattern of=/dev/nvme0n1 bs=64k seek=100 conv=notrunc,fsync 2>/dev/null
echo \"@@ pattern $stamp\"
";

/// Says which tables the unit uses (RTADDR_REG, its field TTM) and how the drive's group is treated.
const TREATMENT: &str = "\
unit=0x$(sed -n 's/^ *\\([0-9a-f]*\\)-.*dmar0.*/\\1/p' /proc/iomem | head -n 1)
root=$(devmem $((unit + 0x20)) 64)
echo \"@@ tables: $(( (root >> 10) & 3 ))\"
echo \"@@ treated as $(cat /sys/bus/pci/drivers/nvme/0000:*/iommu_group/type)\"
";

pub(super) fn session() -> Session {
    let with = |name, guest: Guest| {
        Scenario::new(name, guest.assign(NVME)).appears("{nvme-before.sha256}").check(pattern_is_on_the_image)
    };
    let in_mode = |name, cmdline: &str| with(name, Guest::new(READ_AND_WRITE).cmdline(cmdline));
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
        in_scalable_mode(with, "second-stage", "intel_iommu=on iommu.strict=1", "DMA"),
        in_scalable_mode(with, "second-stage-pass-through", "intel_iommu=on iommu=pt", "identity"),
        remapped(translated("no-source-check", "intel_iommu=on intremap=nosid")),
        translated("no-remapping", "intel_iommu=on intremap=off")
            .appears(" PCI-MSIX-*nvme0q1")
            .never("IR-PCI-MSIX"),
        remapped(in_mode("no-translation", "intel_iommu=off")).never("Adding to iommu group"),
        translated("wire", "intel_iommu=on pci=nomsi").appears("IR-IO-APIC*fasteoi*nvme0q0"),
        translated("wire-no-remapping", "intel_iommu=on intremap=off pci=nomsi")
            .appears(" IO-APIC*fasteoi*nvme0q0")
            .never("IR-IO-APIC"),
        affinity(),
        interrupts_count(),
        given_back(),
        reboot(),
        function_reset(),
        virtual_function(),
    ];
    Session::new("nvme", "a stock guest reads and writes an assigned NVMe in every mode", scenarios)
        .devices(&DEVICES)
}

/// The host's mappings follow a PASID entry, with a second-stage table or passing through.
fn in_scalable_mode(
    with: impl Fn(&'static str, Guest) -> Scenario,
    name: &'static str,
    cmdline: &str,
    treated: &str,
) -> Scenario {
    let script = format!("{TREATMENT}{READ_AND_WRITE}");
    // Registers in use by a driver are for looking at only where the user says so.
    let guest = Guest::new(&script).profile("second-stage").cmdline(&format!("{cmdline} iomem=relaxed"));
    with(name, guest)
        .appears("@@ tables: 1")
        .appears(&format!("@@ treated as {treated}"))
        .never("DRHD: handling fault")
}

/// Reads go on while the drive's interrupt moves from processor to processor. With remapping, Linux then rewrites the
/// remapping entry alone and leaves the MSI-X table as it is, which L1's trace shows.
fn affinity() -> Scenario {
    let script = "\
irq=$(grep nvme0q1 /proc/interrupts | cut -d: -f1 | tr -d ' ')
echo \"@@ registers $(cat /sys/bus/pci/drivers/nvme/0000:*/resource | head -n 1)\"
move() {
    moves=0
    while [ -e /tmp/go ]; do
        echo $((moves % 2)) >/proc/irq/$irq/smp_affinity_list || return
        moves=$((moves + 1))
    done
    echo \"@@ moves $moves\"
}
touch /tmp/go; move &
agent reads /dev/nvme0n1 1000 4096
rm /tmp/go; wait
sha256sum /dev/nvme0n1
grep nvme0q /proc/interrupts
";
    let before = "\
cd /sys/kernel/tracing
echo 'type == 2 && gpa < 0xfec00000' >events/kvm/kvm_mmio/filter
echo 1 >events/kvm/kvm_mmio/enable; echo 1 >tracing_on";
    let after = "\
cd /sys/kernel/tracing
grep -o 'mmio write.*' trace
echo 0 >events/kvm/kvm_mmio/enable; echo 0 >events/kvm/kvm_mmio/filter; echo >trace";
    Scenario::new("affinity", Guest::new(script).assign(NVME_ONE_VECTOR).cpus(2))
        .before(before)
        .after(after)
        .appears("@@ 1000 reads")
        .appears("{nvme-one-vector.sha256}")
        .check(the_vector_table_stays_as_it_is)
        .within(120)
}

/// Of many moves, none may have written a message's address or data into the MSI-X table; setting the one vector up
/// takes a few writes. The mask bit behind them is another matter.
fn the_vector_table_stays_as_it_is(evidence: &Evidence) -> Result<(), String> {
    /// Where QEMU's drive has its table.
    const TABLE: u64 = 0x2000;
    let address = |text: &str, words: &str| {
        let digits: String = text.split_once(words)?.1.chars().take_while(char::is_ascii_hexdigit).collect();
        u64::from_str_radix(&digits, 16).ok()
    };
    let moves = number_after(&evidence.guest, "@@ moves")?;
    let registers =
        address(&evidence.guest, "@@ registers 0x").ok_or("the guest does not say where the drive is")?;
    let table = registers + TABLE..registers + TABLE + 12;
    let write = |line: &&str| address(line, "gpa 0x").is_some_and(|gpa| table.contains(&gpa));
    let writes = evidence.level1.lines().filter(write).count();
    if moves < 100.0 || writes == 0 || writes > 30 {
        return Err(format!("the interrupt moved {moves} times and its message was written {writes} times"));
    }
    Ok(())
}

/// Interrupts arrive: their counts rise by as many as there were reads and characters.
fn interrupts_count() -> Scenario {
    let script = "\
count() { grep \"$1\" /proc/interrupts | awk '{ print $2 }'; }
before=$(count nvme0q1); serial=$(count ttyS0)
agent reads /dev/nvme0n1 100 4096
echo \"some text for the serial port\"
sleep 1
echo \"@@ nvme interrupts $(( $(count nvme0q1) - before ))\"
[ $(( $(count ttyS0) - serial )) -gt 0 ] && echo '@@ serial interrupts rise'
";
    Scenario::new("interrupts", Guest::new(script).assign(NVME))
        .appears("@@ nvme interrupts 10")
        .appears("@@ serial interrupts rise")
}

/// After the guest has powered off, the drive works for L1 as before.
fn given_back() -> Scenario {
    let guest = Guest::new("sha256sum /dev/nvme0n1").assign(NVME);
    Scenario::new("given-back", guest).after(READ_IN_LEVEL1).level1_appears("@@ given back: {nvme.sha256}")
}

/// The same after a guest that asked for a reboot, in the middle of its work.
fn reboot() -> Scenario {
    let script = "\
sha256sum /dev/nvme0n1
cat /dev/nvme0n1 >/dev/null &
reboot -f
sleep 20";
    Scenario::new("reboot", Guest::new(script).assign(NVME))
        .cut_short()
        .appears("{nvme.sha256}")
        .after(READ_IN_LEVEL1)
        .level1_appears("@@ given back: {nvme.sha256}")
}

/// Function-level resets: one by the guest's kernel in the middle of the drive's work, and one that the guest writes into
/// the register itself, which leaves registers as they are after power-on. The drive works again each time.
fn function_reset() -> Scenario {
    let script = "\
device=/sys/bus/pci/devices/$(basename /sys/bus/pci/drivers/nvme/0000:*)
# Where a capability is.
capability() {
    at=$(od -An -tu1 -j52 -N1 $device/config)
    while [ $(od -An -tu1 -j$at -N1 $device/config) != $1 ]; do
        at=$(od -An -tu1 -j$((at + 1)) -N1 $device/config)
    done
    echo $at
}
show() { echo \"$(od -An -t$1 -j$2 -N$3 $device/config)\"; }
registers() { echo \"@@ $1: command$(show x2 4 2) BAR$(show x4 16 8) MSI-X$(show x2 $((msix + 2)) 2)\"; }
put() { printf $2 | dd of=$device/config bs=1 seek=$1 2>/dev/null; }
drive_comes() { for try in $(seq 100); do [ -b /dev/nvme0n1 ] && return; sleep 0.1; done; }
sha256sum /dev/nvme0n1
( while [ -e /tmp ]; do dd if=/dev/nvme0n1 of=/dev/null bs=64k iflag=direct; done ) >/dev/null 2>&1 &
work=$!
sleep 0.3
echo flr >$device/reset_method && echo 1 >$device/reset && echo \"@@ reset by $(cat $device/reset_method)\"
sleep 0.3
kill $work; wait
echo 3 >/proc/sys/vm/drop_caches
echo \"@@ in use $(sha256sum /dev/nvme0n1)\"

echo ${device##*/} >$device/driver/unbind
express=$(capability 16); msix=$(capability 17)
put 4 '\\006'
put $((msix + 3)) '\\300'
registers before
put $((express + 9)) '\\200'
sleep 0.2
registers after
echo 1 >$device/remove
echo 1 >/sys/bus/pci/rescan
drive_comes
registers again
echo \"@@ found anew $(sha256sum /dev/nvme0n1)\"
";
    Scenario::new("function-reset", Guest::new(script).assign(NVME))
        .appears("@@ reset by flr")
        .appears("@@ in use {nvme.sha256}*")
        .appears("@@ before: command 0006 BAR * MSI-X c*")
        .never("@@ before: command * BAR 00000004 00000000*")
        .appears("@@ after: command 0000 BAR 00000004 00000000 MSI-X 0*")
        .appears("@@ again: command 0*06 BAR * MSI-X 8*")
        .never("@@ again: command * BAR 00000004 00000000*")
        .appears("@@ found anew {nvme.sha256}*")
}

/// A virtual function that L1 has given queues and interrupts of its own, while L1 has the physical one.
fn virtual_function() -> Scenario {
    let physical = Device::NvmeVirtual.address(&DEVICES);
    let function = physical.replace(":00.0", ":00.1");
    // Virtualization Management: the controller, what kind of resource (queues or interrupts), what to do, how many.
    let before = format!(
        "P=/sys/bus/pci/devices/{physical}
controller=$(ls $P/nvme)
manage() {{ agent nvme-admin /dev/$controller 28 $(( $1 << 16 | $2 << 8 | $3 )) $4; }}
# What can be given away is no longer the physical function's from its next reset on.
manage 0 0 1 0; manage 0 1 1 0
echo 1 >/sys/class/nvme/$controller/reset_controller
echo 0 >$P/sriov_drivers_autoprobe
echo 1 >$P/sriov_numvfs
manage 1 0 8 2; manage 1 1 8 2
manage 1 0 9 0"
    );
    let after = format!("echo 0 >/sys/bus/pci/devices/{physical}/sriov_numvfs");
    let script = "\
sha256sum /dev/nvme0n1
grep nvme0q /proc/interrupts
device=/sys/bus/pci/devices/$(basename /sys/bus/pci/drivers/nvme/0000:*)
echo flr >$device/reset_method && echo 1 >$device/reset
echo 3 >/proc/sys/vm/drop_caches
echo \"@@ after a reset $(sha256sum /dev/nvme0n1)\"
";
    Scenario::new("virtual-function", Guest::new(script).assign(&function))
        .before(&before)
        .after(&after)
        .appears("{nvme-virtual.sha256}")
        .appears("IR-PCI-MSIX-*nvme0q1")
        .appears("@@ after a reset {nvme-virtual.sha256}*")
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
