//! Hosts that can do less: an IOMMU that remaps no interrupts and translates fewer bits than guests are used to.

use super::NVME;
use crate::guest::Guest;
use crate::scenario::{Evidence, Scenario, Session};

pub(super) fn session() -> Session {
    let run = "portcullis run --kernel /guest/kernel --cmdline console=ttyS0";
    let read =
        Guest::new("sha256sum /dev/nvme0n1").option(&format!("--vfio {NVME} --allow-unsafe-interrupts"));
    let scenarios = vec![
        Scenario::command("interrupts-not-remapped", format!("bind_vfio {NVME}; {run} --vfio {NVME}"))
            .status(2)
            .within(20)
            .appears("allow-unsafe-interrupts"),
        Scenario::command(
            "narrow-host",
            format!("{run} --vfio {NVME} --allow-unsafe-interrupts --iommu-width 48"),
        )
        .before(&format!("{ALLOW}; bind_vfio {NVME}"))
        .status(2)
        .within(20)
        .appears("39"),
        Scenario::new("as-wide-as-the-host", read)
            .before(&format!("{ALLOW}; bind_vfio {NVME}"))
            .appears("{nvme.sha256}")
            .check(width_is_39),
    ];
    Session::new("limits", "a host that can do less is told of, or made do with", scenarios)
        .iommu("intremap=off,aw-bits=39")
}

/// VFIO itself asks for the same consent.
const ALLOW: &str = "echo 1 >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";

/// MGAW of the unit's capabilities, which holds the width less one.
fn width_is_39(evidence: &Evidence) -> Result<(), String> {
    let capabilities = evidence.guest.split_once(" cap ").and_then(|(_, rest)| rest.split_once(' '));
    let capabilities = capabilities.and_then(|(digits, _)| u64::from_str_radix(digits, 16).ok());
    match capabilities.map(|bits| (bits >> 16 & 0x3f) + 1) {
        Some(39) => Ok(()),
        Some(width) => Err(format!("the unit translates {width} bits, not 39")),
        None => Err("the guest does not show the unit's capabilities".into()),
    }
}
