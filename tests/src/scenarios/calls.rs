//! How often the host is asked to map: once for what the guest's memory has in one piece, and not at all for a flush that
//! changes nothing.

use std::path::PathBuf;

use super::NVME;
use crate::bare_metal;
use crate::guest::Guest;
use crate::scenario::{Evidence, Scenario, number_after};

/// Where the guest is in L1.
const IMAGE: &str = "/bare/assigned";

/// How often a buffer is mapped and unmapped.
const COUNT: f64 = 20.0;

/// What a host that obeys is asked for while each does its work.
const EXPECTED: [(&str, f64); 5] = [
    ("page", 2.0 * COUNT),
    ("buffer", 2.0 * COUNT),
    // The host maps ranges of this process's memory, and 32 pages that are no neighbours are 32 ranges.
    ("scattered buffer", 33.0 * COUNT),
    ("flush", 0.0),
    ("flush of small pages", 0.0),
];

/// A guest of our own whose assigned drive's mappings come and go. 1 GiB is mapped in pages of 2 MiB during the first of
/// the flushes.
pub(super) fn scenario() -> Scenario {
    let guest = Guest::bare_metal(IMAGE, &format!("figures pages={COUNT} buffers={COUNT} small=16"))
        .memory(1280)
        .assign(NVME);
    Scenario::new("calls", guest.under("agent calls --"))
        .cut_short()
        .appears("PASSED figures")
        .appears("@@ calls end, exit status: 1")
        .check(asks_no_more_than_it_must)
        .within(90)
}

/// What the scenario needs in L1.
pub(super) fn files() -> anyhow::Result<Vec<(PathBuf, String)>> {
    Ok(vec![(bare_metal::image("assigned")?, IMAGE.trim_start_matches('/').to_owned())])
}

fn asks_no_more_than_it_must(evidence: &Evidence) -> Result<(), String> {
    for (what, expected) in EXPECTED {
        let asked = number_after(&evidence.guest, &format!("@@ {what}, host calls that map:"))?;
        if (asked - expected).abs() > 0.5 {
            return Err(format!("{asked} calls that map, not {expected}: {what}"));
        }
    }
    Ok(())
}
