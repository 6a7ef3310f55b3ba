//! Stock kernels in every mode of the remapping unit: legacy, scalable with second-stage tables, scalable with
//! first-stage tables; with every unmap flushed at once, and with flushes left for later.

use super::counters;
use crate::guest::{Emulated, Guest};
use crate::parts::Kernel;
use crate::scenario::{Scenario, Session};

/// The disk's content: 4 MiB of one line.
const IMAGE: &str = "yes portcullis | head -c 4194304 >/run/disk.img";

/// Says which tables the unit uses (RTADDR_REG, its field TTM) and how the disk's group is treated; reads the
/// disk through the kernel's own mappings and writes a piece; then drives `edu` and `probe` through a user's.
const WORK: &str = "\
unit=0x$(sed -n 's/^ *\\([0-9a-f]*\\)-.*dmar0.*/\\1/p' /proc/iomem | head -n 1)
root=$(devmem $((unit + 0x20)) 64)
case $(( (root >> 10) & 3 )) in 0) echo '@@ tables: legacy';; 1) echo '@@ tables: scalable';; esac
disk=$(readlink -f /sys/block/vda/device/../iommu_group)
echo \"@@ treated as $(cat $disk/type)\"
yes portcullis | head -c 4194304 >/tmp/expected
dd if=/dev/vda bs=1M iflag=direct 2>/dev/null | cmp - /tmp/expected && echo '@@ the disk is the image'
dd if=/dev/vda bs=4k count=500 iflag=direct of=/dev/null 2>/dev/null || exit 1
dd if=/tmp/expected of=/dev/vda bs=64k count=4 conv=notrunc,fsync 2>/dev/null || exit 1
bind_vfio 0000:00:04.0 0000:00:06.0 && agent edu scatter 0000:00:04.0 && agent probe 0000:00:06.0";

/// What a mode must show: name, profile, lazy or strict, the tables, the group's type.
const MODES: [(&str, &str, bool, &str, &str); 7] = [
    ("legacy-strict", "legacy", false, "legacy", "DMA"),
    // Software may not put off flushes where every change must be announced.
    ("legacy-lazy", "legacy", true, "legacy", "DMA"),
    ("second-stage-strict", "second-stage", false, "scalable", "DMA"),
    ("first-stage-strict", "first-stage", false, "scalable", "DMA"),
    ("first-stage-lazy", "first-stage", true, "scalable", "DMA-FQ"),
    ("full-strict", "full", false, "scalable", "DMA"),
    ("full-lazy", "full", true, "scalable", "DMA-FQ"),
];

fn scenarios(is_wanted: impl Fn(bool) -> bool) -> Vec<Scenario> {
    let scenario = |(name, profile, lazy, tables, treated): (&'static str, _, bool, _, _)| {
        let strict = u8::from(!lazy);
        let guest = Guest::new(WORK)
            .profile(profile)
            // Registers in use by a driver are for looking at only where the user says so.
            .cmdline(&format!("intel_iommu=on iommu.strict={strict} iomem=relaxed"))
            .emulate(Emulated::Edu { place: "04.0".into(), mask: u64::MAX })
            .emulate(Emulated::Probe { place: "06.0".into() })
            .emulate(Emulated::Disk { image: "/run/disk.img".into() });
        Scenario::new(name, guest)
            .before(IMAGE)
            .appears(&format!("@@ tables: {tables}"))
            .appears(&format!("@@ treated as {treated}"))
            .appears("@@ the disk is the image")
            .appears("@@ edu moved 16 scattered pages*")
            .appears("@@ probe ran a script of 7 commands")
            // The script strays on purpose.
            .tolerates("DRHD: handling fault")
    };
    MODES.into_iter().filter(|&(_, _, lazy, ..)| is_wanted(lazy)).map(scenario).collect()
}

/// Debian's 6.12.
pub(super) fn session() -> Session {
    let scenarios = [scenarios(|_| true), vec![counters::scenario()]].concat();
    Session::new("modes", "Debian's kernel works in every mode of the remapping unit", scenarios).devices(&[])
}

/// Debian's newest, flushing at once: how it flushes later is what the other kernel does, too.
pub(super) fn newest() -> Session {
    newest_of("newest", scenarios(|lazy| !lazy))
}

/// The same, flushing later.
pub(super) fn newest_lazy() -> Session {
    newest_of("newest_lazy", scenarios(|lazy| lazy)).nightly()
}

fn newest_of(name: &'static str, scenarios: Vec<Scenario>) -> Session {
    Session::new(name, "Debian's newest kernel works in every mode of the remapping unit", scenarios)
        .guest_kernel(Kernel::Newest)
        .devices(&[])
}
