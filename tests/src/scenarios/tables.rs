//! What the machine says of itself: ACPI tables, reserved regions.

use crate::guest::{Emulated, Guest};
use crate::scenario::{Evidence, Scenario, Session};

pub(super) fn session() -> Session {
    let edu = Emulated::Edu { place: "04.0".into(), mask: 0x0fff_ffff };
    let dump = "for table in /sys/firmware/acpi/tables/[A-Z]*; do\n\
                [ -f $table ] && echo \"@@ table $(basename $table)\" && base64 $table && echo '@@ end of table'\n\
                done";
    let reserved = "\
group=$(readlink /sys/bus/pci/devices/0000:00:04.0/iommu_group)
cat /sys/kernel/iommu_groups/${group##*/}/reserved_regions
grep -i reserved /proc/iomem
echo \"@@ tainted $(cat /proc/sys/kernel/tainted)\"
";
    let scenarios = vec![
        Scenario::new("acpi", Guest::new(dump).emulate(edu.clone())).check(the_disassembler_is_silent),
        Scenario::new(
            "reserved-region",
            Guest::new(reserved).emulate(edu).option("--rmrr 0x1e000000,64K,00:04.0"),
        )
        .appears("0x000000001e000000 0x000000001e00ffff direct")
        .appears("@@ tainted 0"),
    ];
    Session::new("tables", "ACPI tables and reserved regions are as they should be", scenarios)
}

fn the_disassembler_is_silent(evidence: &Evidence) -> Result<(), String> {
    let tables = evidence.dumped_tables()?;
    for wanted in ["APIC", "DMAR", "DSDT", "FACP", "MCFG"] {
        if !tables.iter().any(|(name, _)| name == wanted) {
            return Err(format!("there is no table {wanted}"));
        }
    }
    crate::acpi::disassemble(&tables).map_err(|error| format!("{error:#}"))
}
