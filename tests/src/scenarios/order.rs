//! Effects before completion: the host's tables change before the guest can go on.

use super::{NVME, calls};
use crate::guest::Guest;
use crate::scenario::{Evidence, Scenario, Session};

/// The Global Command register of the remapping unit, and its bit Translation Enable.
const GLOBAL_COMMAND: &str = "gpa 0xfed90018 val 0x";
const TRANSLATION_ENABLE: u64 = 1 << 31;

pub(super) fn session() -> Session {
    let scenarios = vec![unmap_before_entry(), calls::scenario()];
    Session::new(
        "order",
        "what the host is asked for: before the guest runs on, and no more often than it must",
        scenarios,
    )
    .files(calls::files)
}

/// Whatever the guest unmaps, L1 has unmapped before the guest runs on: its own trace says so.
pub(super) fn unmap_before_entry() -> Scenario {
    let before = "\
cd /sys/kernel/tracing
echo 0 >tracing_on; echo global >trace_clock; echo 65536 >buffer_size_kb; echo >trace
echo 'gpa >= 0xfed90000 && gpa < 0xfed91000 && type == 2' >events/kvm/kvm_mmio/filter
for event in kvm/kvm_mmio kvm/kvm_entry iommu/unmap; do echo 1 >events/$event/enable; done
echo 1 >tracing_on";
    // Of the many entries only the first after an event of another kind says anything.
    let after = "\
cd /sys/kernel/tracing
echo 0 >tracing_on
echo '@@ trace'
grep -oE 'kvm_mmio:.*|kvm_entry|unmap:.*' trace | uniq
echo '@@ end of trace'
for event in kvm/kvm_mmio kvm/kvm_entry iommu/unmap; do echo 0 >events/$event/enable; done
echo 0 >events/kvm/kvm_mmio/filter; echo >trace";
    let guest = Guest::new("agent reads /dev/nvme0n1 100 4096").assign(NVME);
    Scenario::new("unmap-before-entry", guest)
        .before(before)
        .after(after)
        .appears("100 reads")
        .check(every_unmap_is_before_the_entry)
        .within(120)
}

/// Every host unmap must lie between a write to the unit's registers and the next entry into the guest, but for those
/// before translation is on, when the guest still moves BARs about, and after the last entry, when it has ended.
fn every_unmap_is_before_the_entry(evidence: &Evidence) -> Result<(), String> {
    let trace = evidence.level1.split_once("@@ trace").ok_or("there is no trace")?.1;
    let trace = trace.split("@@ end of trace").next().unwrap_or_default();
    let lines: Vec<_> = trace.lines().collect();
    let enables = |line: &&str| {
        let value =
            line.split_once(GLOBAL_COMMAND).and_then(|(_, value)| u64::from_str_radix(value.trim(), 16).ok());
        value.is_some_and(|value| value & TRANSLATION_ENABLE != 0)
    };
    let first = lines.iter().position(enables).ok_or("the guest never enabled translation")?;
    let last = lines.iter().rposition(|line| line.starts_with("kvm_entry")).ok_or("the guest never ran")?;
    let (mut handling, mut within, mut outside) = (false, 0, 0);
    for line in lines.get(first..last).unwrap_or_default() {
        if line.starts_with("kvm_mmio") {
            handling = true;
        } else if line.starts_with("kvm_entry") {
            handling = false;
        } else if handling {
            within += 1;
        } else {
            outside += 1;
        }
    }
    if outside > 0 || within < 100 {
        return Err(format!("{within} unmaps came before the guest ran on, {outside} did not"));
    }
    Ok(())
}
