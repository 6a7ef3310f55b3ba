//! What the machine says of itself: ACPI tables, reserved regions.

use super::NVME;
use crate::acpi;
use crate::guest::{Emulated, Guest};
use crate::scenario::{Evidence, Scenario, Session};

/// Dumps every table and the machine they describe.
const DUMP: &str = "\
for table in /sys/firmware/acpi/tables/[A-Z]*; do
    [ -f $table ] && echo \"@@ table $(basename $table)\" && base64 $table && echo '@@ end of table'
done
";

pub(super) fn session() -> Session {
    let edu = Emulated::Edu { place: "04.0".into(), mask: 0x0fff_ffff };
    let region = "--rmrr 0x1e000000,64K,00:04.0";
    let dump =
        Guest::new([DUMP, acpi::machine::SCRIPT].concat()).emulate(edu.clone()).assign(NVME).option(region);
    let reserved = "\
group=$(readlink /sys/bus/pci/devices/0000:00:04.0/iommu_group)
cat /sys/kernel/iommu_groups/${group##*/}/reserved_regions
echo \"@@ tainted $(cat /proc/sys/kernel/tainted)\"
";
    let scenarios = vec![
        Scenario::new("acpi", dump).check(the_disassembler_is_silent).check(the_dmar_fits_the_machine),
        Scenario::new("reserved-region", Guest::new(reserved).emulate(edu).option(region))
            .appears("0x000000001e000000 0x000000001e00ffff direct")
            .appears("@@ tainted 0"),
    ];
    Session::new("tables", "ACPI tables and reserved regions are as they should be", scenarios)
}

fn the_disassembler_is_silent(evidence: &Evidence) -> Result<(), String> {
    let tables = evidence.dumped_tables()?;
    for wanted in ["APIC", "DMAR", "DSDT", "FACP", "MCFG"] {
        table(&tables, wanted)?;
    }
    acpi::disassemble(&tables).map_err(|error| format!("{error:#}"))
}

fn the_dmar_fits_the_machine(evidence: &Evidence) -> Result<(), String> {
    let tables = evidence.dumped_tables()?;
    let topology = acpi::machine::topology(&evidence.guest, table(&tables, "APIC")?)?;
    let memory = acpi::machine::memory(&evidence.guest)?;
    let problems = ::acpi::dmar::check(table(&tables, "DMAR")?, &topology, &memory);
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

fn table<'a>(tables: &'a [(String, Vec<u8>)], name: &str) -> Result<&'a [u8], String> {
    let found = tables.iter().find(|(it, _)| it == name);
    found.map(|(_, content)| content.as_slice()).ok_or_else(|| format!("there is no table {name}"))
}
