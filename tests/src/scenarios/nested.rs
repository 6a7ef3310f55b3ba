//! Nested translation: L1's Portcullis emulates a unit that nests, L2's kernel drives it, and L2's Portcullis has it
//! walk the first-stage tables of an L3. What is not shown here is real silicon.

use crate::guest::{Emulated, Guest};
use crate::parts::Kernel;
use crate::scenario::{Scenario, Session};

/// Says how the PASID tables of the kernel it runs in translate: for each entry that is present, its field PGTT.
const ENTRIES: &str = "\
entries() {
    tables=/sys/kernel/debug/iommu/intel/dmar_translation_struct
    for low in $(sed -n 's/.*:0x\\([0-9a-f]*\\)$/\\1/p' $tables); do
        [ $(( 0x$low & 1 )) = 1 ] && echo \"@@ translated as $(( (0x$low >> 6) & 7 ))\"
    done
}
";

/// Drives both devices through VFIO: mappings come and go, and what has gone is not reached any more.
const IN_LEVEL3: &str = "\
entries
bind_vfio 0000:00:04.0 0000:00:06.0 || exit 1
agent pasid 0000:00:06.0 && agent probe 0000:00:06.0 &&
agent edu scatter 0000:00:04.0 && agent edu stray 0000:00:04.0";

/// Looks, while L3 runs, at how L2's kernel translates.
const WATCH: &str = "\
bind_vfio 0000:00:04.0 0000:00:06.0 || exit 1
touch /tmp/watch
while [ -e /tmp/watch ]; do entries; sleep 1; done >/tmp/entries &
";

pub(super) fn session() -> Session {
    let inner = Guest::new(format!("{ENTRIES}{IN_LEVEL3}"))
        .memory(512)
        .profile("nested")
        .option("--vfio 0000:00:04.0,addr=04.0 --vfio 0000:00:06.0,addr=06.0");
    let outer = Guest::new(format!("{ENTRIES}{WATCH}"))
        .memory(1536)
        .profile("full")
        .emulate(Emulated::Edu { place: "04.0".into(), mask: u64::MAX })
        .emulate(Emulated::Probe { place: "06.0".into() })
        .hosting(&inner)
        .then("rm /tmp/watch; wait; sort /tmp/entries | uniq -c");
    let first_stage = Scenario::new("first-stage", outer)
        // PGTT 1 is a first stage, 2 a second stage, 3 one behind the other.
        .appears("[L3] @@ translated as 1")
        .never("[L3] @@ translated as 2")
        .appears(" @@ translated as 3")
        .appears("[L3] @@ edu moved 16 scattered pages*")
        .appears("[L3] @@ edu wrote nothing it may not")
        .appears("[L3] @@ probe ran a script of 7 commands")
        .appears("[L3] @@ pasid: 0x5 and 0x10006 each reach a page of their own, 0x7 none")
        .appears("[L3] @@ pasid: what is unmapped for 0x10006 is out of its reach, and what is mapped in it")
        .appears("[L3] @@ pasid: replaced, 0x5 reaches the other page, and detached nothing")
        .appears("[L3] @@ status 0")
        // The devices stray on purpose.
        .tolerates("DRHD: handling fault")
        .within(600);
    Session::new("nested", "a host's unit walks the first-stage tables of a guest", vec![first_stage])
        .guest_kernel(Kernel::Iommufd)
        .devices(&[])
        .nightly()
}
