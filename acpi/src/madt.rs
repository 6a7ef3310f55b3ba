//! The multiple APIC description table (section 5.2.12).

use zerocopy::little_endian::{U16, U32};
use zerocopy::{Immutable, IntoBytes, Unaligned};

use crate::tables::sdt;
use crate::{IoApic, Machine};

const LOCAL_APIC_ADDRESS: u32 = 0xfee0_0000;

/// The table's flag for a pair of 8259s.
const PCAT_COMPAT: u32 = 1;

/// A processor's flag: it runs.
const ENABLED: u32 = 1;

/// Flags of an interrupt input: level-triggered and active high (table 5.26).
const LEVEL_HIGH: u16 = 3 << 2 | 1;

/// Flags of an interrupt input: as its bus has it.
const AS_BUS: u16 = 0;

/// The largest ID an entry of the older kind can hold; 255 means all processors there.
const LAST_SMALL_ID: u32 = 254;

/// ISA's timer interrupt arrives at this pin, as on every PC since the IOAPIC.
const TIMER_PIN: u32 = 2;

/// The table for `machine`.
pub(crate) fn madt(machine: &Machine) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(LOCAL_APIC_ADDRESS.to_le_bytes());
    body.extend(PCAT_COMPAT.to_le_bytes());

    let mut small = false;
    let mut large = false;
    for (uid, &id) in (0u32..).zip(&machine.cpus) {
        if id <= LAST_SMALL_ID && uid <= LAST_SMALL_ID {
            small = true;
            body.extend(LocalApic::new(uid as u8, id as u8).as_bytes());
        } else {
            large = true;
            body.extend(LocalX2Apic::new(uid, id).as_bytes());
        }
    }

    body.extend(IoApicEntry::new(machine.ioapic).as_bytes());
    let base = machine.ioapic.gsi_base;
    body.extend(SourceOverride::new(0, base + TIMER_PIN, AS_BUS).as_bytes());
    let sci = machine.power.sci;
    body.extend(SourceOverride::new(sci, base + u32::from(sci), LEVEL_HIGH).as_bytes());

    if small {
        body.extend(LocalApicNmi::new().as_bytes());
    }
    if large {
        body.extend(LocalX2ApicNmi::new().as_bytes());
    }
    sdt(*b"APIC", 5, &body)
}

/// A processor with small numbers (section 5.2.12.2).
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct LocalApic {
    kind: u8,
    length: u8,
    processor_uid: u8,
    apic_id: u8,
    flags: U32,
}

impl LocalApic {
    fn new(processor_uid: u8, apic_id: u8) -> Self {
        Self { kind: 0, length: 8, processor_uid, apic_id, flags: ENABLED.into() }
    }
}

/// A processor with large numbers (section 5.2.12.12).
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct LocalX2Apic {
    kind: u8,
    length: u8,
    reserved: U16,
    x2apic_id: U32,
    flags: U32,
    processor_uid: U32,
}

impl LocalX2Apic {
    fn new(processor_uid: u32, x2apic_id: u32) -> Self {
        Self {
            kind: 9,
            length: 16,
            reserved: 0.into(),
            x2apic_id: x2apic_id.into(),
            flags: ENABLED.into(),
            processor_uid: processor_uid.into(),
        }
    }
}

/// An IOAPIC (section 5.2.12.3).
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct IoApicEntry {
    kind: u8,
    length: u8,
    id: u8,
    reserved: u8,
    address: U32,
    gsi_base: U32,
}

impl IoApicEntry {
    fn new(ioapic: IoApic) -> Self {
        Self {
            kind: 1,
            length: 12,
            id: ioapic.id,
            reserved: 0,
            address: ioapic.address.into(),
            gsi_base: ioapic.gsi_base.into(),
        }
    }
}

/// An ISA interrupt that is not wired one to one, edge-triggered and active high (section 5.2.12.5).
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct SourceOverride {
    kind: u8,
    length: u8,
    bus: u8,
    source: u8,
    gsi: U32,
    flags: U16,
}

impl SourceOverride {
    fn new(source: u8, gsi: u32, flags: u16) -> Self {
        Self { kind: 2, length: 10, bus: 0, source, gsi: gsi.into(), flags: flags.into() }
    }
}

/// The NMI at LINT1 of all processors with small numbers (section 5.2.12.7).
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct LocalApicNmi {
    kind: u8,
    length: u8,
    processor_uid: u8,
    flags: U16,
    lint: u8,
}

impl LocalApicNmi {
    fn new() -> Self {
        Self { kind: 4, length: 6, processor_uid: u8::MAX, flags: AS_BUS.into(), lint: 1 }
    }
}

/// The NMI at LINT1 of all processors with large numbers (section 5.2.12.13).
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct LocalX2ApicNmi {
    kind: u8,
    length: u8,
    flags: U16,
    processor_uid: U32,
    lint: u8,
    reserved: [u8; 3],
}

impl LocalX2ApicNmi {
    fn new() -> Self {
        Self {
            kind: 10,
            length: 12,
            flags: AS_BUS.into(),
            processor_uid: u32::MAX.into(),
            lint: 1,
            reserved: [0; 3],
        }
    }
}

#[cfg(test)]
mod tests;
