//! The remapping unit's performance counters, as a guest's kernel gives them to `perf`.

use crate::guest::{Emulated, Guest};
use crate::scenario::{Evidence, Scenario, number_after};

/// Lets a disk read and the unit count: all requests, those of the disk alone, those of a function that does
/// nothing; then makes a counter overflow by setting it, which the kernel never does itself. The kernel takes the
/// counters from the last one on.
const WORK: &str = "\
ls -d /sys/bus/event_source/devices/dmar0 || exit 1
requester=$(basename $(readlink -f /sys/block/vda/device/..))
slot=$(echo $requester | sed 's/.*:\\([0-9a-f]*\\)\\..*/\\1/') function=${requester##*.}
id=$(printf '0x%x' $(( 0x$slot * 8 + function )))
filter=filter_requester_id_en=1,filter_requester_id
agent count --event iommu_requests --event iotlb_lookup --event iotlb_hit --event ctxt_cache_lookup \
  --event ctxt_cache_hit --event iommu_mrds --event iommu_requests,$filter=$id \
  --event iommu_requests,$filter=0xfff8 -- dd if=/dev/vda bs=4k count=1000 iflag=direct of=/dev/null >/tmp/counts
status=$?
sed \"s/.*$filter=$id:/@@ the disk's:/\" /tmp/counts
[ $status = 0 ] || exit 1
echo '@@ and again, in vain:'
agent count --event iommu_requests --event pg_req_posted -- true || exit 1
grep -q dmar0-perf /proc/interrupts || exit 1
unit=0x$(sed -n 's/^ *\\([0-9a-f]*\\)-.*dmar0.*/\\1/p' /proc/iomem | head -n 1)
told() { awk '/dmar0-perf/ { sum = 0; for (cpu = 2; $cpu ~ /^[0-9]+$/; cpu++) sum += $cpu; print sum }' /proc/interrupts; }
echo \"@@ overflows told before: $(told)\"
agent count --event iommu_requests -- sh -c \"devmem $((unit + 0x4000 + 7 * 0x400)) 64 0xffffffffff00
  dd if=/dev/vda bs=4k count=500 iflag=direct of=/dev/null\" || exit 1
echo \"@@ overflows told: $(told)\"";

/// Every read is a request at least, in fact several: the device reads descriptors and writes what the disk has and
/// that it has done.
const READS: f64 = 1000.0;

fn equal(one: f64, other: f64) -> bool {
    (one - other).abs() < 0.5
}

/// Whether the counts are those of [`READS`] reads.
fn plausible(evidence: &Evidence) -> Result<(), String> {
    let count = |event: &str| number_after(&evidence.guest, &format!("@@ {event}:"));
    let [requests, lookups, hits] = [count("iommu_requests")?, count("iotlb_lookup")?, count("iotlb_hit")?];
    let [contexts, context_hits, reads] =
        [count("ctxt_cache_lookup")?, count("ctxt_cache_hit")?, count("iommu_mrds")?];
    let facts = [
        (requests >= 4.0 * READS, "requests are missing"),
        (requests <= 100.0 * READS, "there are too many requests"),
        (equal(lookups, requests), "not every request has been looked up"),
        (hits <= lookups && hits > READS, "hits are no part of the lookups"),
        // Each read goes to a page mapped anew.
        (lookups - hits >= READS, "what was unmapped has been hit"),
        (equal(contexts, requests) && context_hits + 8.0 >= contexts, "contexts are not remembered"),
        (reads >= lookups - hits && reads <= 6.0 * (lookups - hits), "reads do not fit the misses"),
    ];
    let nobody = count("iommu_requests,filter_requester_id_en=1,filter_requester_id=0xfff8")?;
    let disk = number_after(&evidence.guest, "@@ the disk's:")?;
    let facts = facts.into_iter().chain([
        (equal(disk, requests), "requests are not those of the disk"),
        (equal(nobody, 0.0), "nobody's requests have been counted"),
    ]);
    match facts.into_iter().find(|(holds, _)| !holds) {
        Some((_, lacking)) => Err(lacking.to_owned()),
        None => Ok(()),
    }
}

/// Whether the overflow has been told.
fn told(evidence: &Evidence) -> Result<(), String> {
    let told = |label| number_after(&evidence.guest, label);
    let (before, after) = (told("@@ overflows told before:")?, told("@@ overflows told:")?);
    if after > before { Ok(()) } else { Err(format!("{before} overflows were told before, {after} after")) }
}

/// A guest that counts what its own disk does.
pub(super) fn scenario() -> Scenario {
    let guest = Guest::new(WORK)
        .profile("full")
        .cmdline("intel_iommu=on iommu.strict=1 iomem=relaxed")
        .emulate(Emulated::Disk { image: "/run/disk.img".into() });
    Scenario::new("counters", guest)
        .before("truncate -s 16M /run/disk.img")
        .appears("@@ iommu_requests: *")
        .appears("@@ pg_req_posted: 0")
        .check(plausible)
        .check(told)
}
