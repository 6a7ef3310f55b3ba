//! What holds for the structures together.

use super::{Checker, PciFunction};
use crate::RangeKind;
use crate::dmar::ScopeKind;

impl Checker<'_> {
    /// Called when all structures have been read.
    pub(super) fn finish(&mut self) {
        let mut found = Vec::new();
        self.memory_is_reachable(&mut found);
        self.units_are_in_order(&mut found);
        self.windows_are_apart(&mut found);
        self.functions_have_one_unit(&mut found);
        self.ioapics_have_one_unit(&mut found);
        self.names_refer_to_something(&mut found);
        self.problems.append(&mut found);
    }

    fn memory_is_reachable(&self, found: &mut Vec<String>) {
        for range in self.memory.iter().filter(|range| range.kind == RangeKind::Memory && range.length > 0) {
            let last = range.base.saturating_add(range.length - 1);
            if last.checked_shr(self.address_width).unwrap_or(0) != 0 {
                let width = self.address_width;
                found.push(format!("RAM ends at {last:#x}, beyond the host address width of {width} bits."));
            }
        }
    }

    /// At most one unit of a segment takes the rest, and it comes after the others.
    fn units_are_in_order(&self, found: &mut Vec<String>) {
        if self.units.is_empty() {
            found.push("There is no DRHD.".into());
        }
        for (index, unit) in self.units.iter().enumerate() {
            let before = self.units.iter().take(index);
            let all = before.filter(|other| other.segment == unit.segment).find(|other| other.include_all);
            if let Some(all) = all {
                let what = if unit.include_all { "is the second with INCLUDE_PCI_ALL" } else { "comes late" };
                found.push(format!(
                    "The {} {what}: the {} has INCLUDE_PCI_ALL for segment {} already.",
                    unit.label, all.label, unit.segment
                ));
            }
        }
    }

    /// No two units share registers, and no reserved memory covers them.
    fn windows_are_apart(&self, found: &mut Vec<String>) {
        for (index, unit) in self.units.iter().enumerate() {
            for other in self.units.iter().take(index) {
                if unit.base <= other.last && other.base <= unit.last {
                    found.push(format!(
                        "The {} and the {} have registers at the same addresses.",
                        other.label, unit.label
                    ));
                }
            }
            for (label, base, limit) in &self.regions {
                if unit.base <= *limit && *base <= unit.last {
                    found.push(format!("The {label} covers registers of the {}.", unit.label));
                }
            }
        }
    }

    /// The units that name `function`, alone or with a bridge above it.
    fn owners(&self, function: PciFunction) -> Vec<&str> {
        let names = |unit: &&super::Unit| {
            unit.segment == function.segment
                && unit.scopes.iter().any(|scope| {
                    let named = self.topology.resolve(unit.segment, scope.start_bus, &scope.path);
                    match scope.kind {
                        ScopeKind::Endpoint => named == Some(&function),
                        ScopeKind::SubHierarchy => named.is_some_and(|bridge| bridge.contains(function)),
                        _ => false,
                    }
                })
        };
        self.units.iter().filter(names).map(|unit| unit.label.as_str()).collect()
    }

    fn functions_have_one_unit(&self, found: &mut Vec<String>) {
        for &function in &self.topology.functions {
            let rest = self.units.iter().any(|unit| unit.include_all && unit.segment == function.segment);
            match self.owners(function).as_slice() {
                [] if !rest => found.push(format!("The PCI function {function} is behind no unit.")),
                [first, second, ..] => {
                    found
                        .push(format!("The PCI function {function} is behind the {first} and the {second}."));
                }
                _ => {}
            }
        }
    }

    fn ioapics_have_one_unit(&self, found: &mut Vec<String>) {
        let scopes = || self.units.iter().flat_map(|unit| &unit.scopes);
        for scope in scopes() {
            if let ScopeKind::IoApic { id } = scope.kind
                && !self.topology.ioapics.contains(&id)
            {
                found.push(format!("{} names IOAPIC {id}, which the MADT does not have.", scope.label));
            }
        }
        for &id in &self.topology.ioapics {
            match scopes().filter(|scope| scope.kind == ScopeKind::IoApic { id }).count() {
                0 if self.interrupt_remapping => {
                    found.push(format!(
                        "IOAPIC {id} is behind no unit, so its interrupts cannot be remapped."
                    ));
                }
                0 | 1 => {}
                count => found.push(format!("IOAPIC {id} is named by {count} scopes.")),
            }
        }
    }

    /// ANDDs and the scopes that use their numbers, RHSAs and the units they are about.
    fn names_refer_to_something(&self, found: &mut Vec<String>) {
        let mut used = Vec::new();
        for scope in self.units.iter().flat_map(|unit| &unit.scopes) {
            if let ScopeKind::Namespace { number } = scope.kind {
                used.push(number);
                if !self.namespace_devices.contains(&number) {
                    found.push(format!("{} names device {number}, which no ANDD describes.", scope.label));
                }
            }
        }
        for number in self.namespace_devices.iter().filter(|number| !used.contains(number)) {
            found.push(format!("The ANDD of device {number} describes a device that is behind no unit."));
        }
        for base in &self.affinities {
            if !self.units.iter().any(|unit| unit.base == *base) {
                found.push(format!("An RHSA is about a unit at {base:#x}, where no DRHD has one."));
            }
        }
    }
}
