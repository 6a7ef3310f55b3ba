//! Finds things that claim the same addresses, before a guest does.

use std::ops::RangeInclusive;

use crate::{Error, Machine};

/// The local APICs and the messages of MSIs.
const LOCAL_APIC: RangeInclusive<u64> = 0xfee0_0000..=0xfeef_ffff;

/// The ports through which configuration space is reached.
const CONFIGURATION_PORTS: RangeInclusive<u64> = 0xcf8..=0xcff;

/// A range with the name a person knows it by.
struct Claim {
    name: &'static str,
    range: RangeInclusive<u64>,
}

impl Claim {
    fn describe(&self) -> String {
        format!("{} ({:#x}–{:#x})", self.name, self.range.start(), self.range.end())
    }
}

/// Checks that the windows, ECAM, IOAPIC, local APICs and remapping units keep apart.
pub(crate) fn check(machine: &Machine) -> Result<(), Error> {
    disjoint(&memory_claims(machine))?;
    disjoint(&port_claims(machine))
}

fn memory_claims(machine: &Machine) -> Vec<Claim> {
    let ecam = machine.ecam;
    let ioapic = u64::from(machine.ioapic.address);
    let mut claims = vec![
        Claim { name: "local APIC window", range: LOCAL_APIC },
        Claim { name: "IOAPIC", range: ioapic..=ioapic.saturating_add(0xfff) },
        Claim { name: "ECAM window", range: ecam.base..=ecam.base.saturating_add(ecam.length() - 1) },
    ];
    for window in &machine.windows.memory_32 {
        let range = u64::from(*window.start())..=u64::from(*window.end());
        claims.push(Claim { name: "32-bit PCI memory window", range });
    }
    for window in &machine.windows.memory_64 {
        claims.push(Claim { name: "64-bit PCI memory window", range: window.clone() });
    }
    for unit in machine.dmar.iter().flat_map(|dmar| &dmar.units) {
        let range = unit.base..=unit.base.saturating_add(unit.window_length() - 1);
        claims.push(Claim { name: "register window of a remapping unit", range });
    }
    claims
}

fn port_claims(machine: &Machine) -> Vec<Claim> {
    let mut claims = vec![Claim { name: "range of PCI configuration ports", range: CONFIGURATION_PORTS }];
    for window in &machine.windows.ports {
        let range = u64::from(*window.start())..=u64::from(*window.end());
        claims.push(Claim { name: "PCI port window", range });
    }
    claims
}

fn disjoint(claims: &[Claim]) -> Result<(), Error> {
    for (index, claim) in claims.iter().enumerate() {
        if claim.range.is_empty() {
            return Err(Error::EmptyRange(claim.describe()));
        }
        let clash = claims[..index].iter().find(|other| {
            claim.range.start() <= other.range.end() && other.range.start() <= claim.range.end()
        });
        if let Some(other) = clash {
            return Err(Error::Overlap { first: claim.describe(), second: other.describe() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
