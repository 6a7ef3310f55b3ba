//! The differentiated system description table: the devices an operating system cannot find by itself
//! (chapters 6 and 19).

mod pci;
mod platform;

use acpi_tables::aml::{Name, Package, Scope};
use acpi_tables::{Aml, AmlSink};

use crate::Machine;
use crate::tables::sdt;

/// The table for `machine`.
pub(crate) fn dsdt(machine: &Machine) -> Vec<u8> {
    let mut body = Vec::new();
    let sleep_type = machine.power.s5_sleep_type;
    let power_off = Package::new(vec![&sleep_type, &sleep_type, &0u8, &0u8]);
    Name::new("\\_S5_".into(), &power_off).to_aml_bytes(&mut body);

    let processors = platform::processors(machine.cpus.len());
    let motherboard = platform::motherboard(machine);
    let root = pci::root(machine);
    Scope::new("\\_SB_".into(), vec![&processors, &motherboard, &root]).to_aml_bytes(&mut body);
    sdt(*b"DSDT", 2, &body)
}

/// AML that is encoded already.
struct Encoded(Vec<u8>);

impl Aml for Encoded {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

/// One ISA interrupt as a resource: edge-triggered, active high, not shared, or as the MADT overrides it
/// (section 6.4.2.1, the form without flags).
struct IsaInterrupt(u8);

impl Aml for IsaInterrupt {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x22);
        sink.word(1 << self.0);
    }
}

#[cfg(test)]
mod tests;
