//! What the ACPI tables say of the PCI functions that were built.

use acpi::dmar::{PathStep, Scope, ScopeKind};
use pci::{FunctionKind, PlacedFunction, RootComplex};

use super::BuildError;
use super::host::FromHost;
use crate::config::{Config, RmrrSpec};

/// Device numbers on the root bus whose interrupt pins `_PRT` routes.
pub(super) fn root_devices(pci: &RootComplex) -> Vec<u8> {
    let mut devices: Vec<u8> =
        pci.functions().iter().filter_map(|function| Some(function.path.first()?.0)).collect();
    devices.sort_unstable();
    devices.dedup();
    devices
}

/// The unit's device scopes: every function on the root bus, a bridge standing for all behind it.
pub(super) fn scopes(pci: &RootComplex) -> Vec<Scope> {
    pci.functions().iter().filter(|function| function.path.len() == 1).map(scope).collect()
}

/// The reserved regions to publish: first address, length, and the function they are for.
pub(super) fn reserved_memory(
    config: &Config,
    pci: &RootComplex,
    host: &FromHost,
    placed: &[pci::Location],
) -> Result<Vec<(u64, u64, Scope)>, BuildError> {
    let functions = pci.functions();
    let named = |bdf| {
        functions.iter().find(|function| function.bdf == bdf).map(scope).ok_or_else(|| {
            BuildError::Invalid(format!(
                "The machine has no function {bdf} to reserve memory for: its functions are {}; change --rmrr",
                functions.iter().map(|function| function.bdf.to_string()).collect::<Vec<_>>().join(", ")
            ))
        })
    };
    let mut reserved = Vec::new();
    for spec in &config.rmrr {
        match *spec {
            RmrrSpec::Range { start, length, function } => reserved.push((start, length, named(function)?)),
            RmrrSpec::Host => {
                for (index, location) in placed.iter().enumerate() {
                    for (start, length) in host.relaxable(index) {
                        reserved.push((start, length, named(location.bdf())?));
                    }
                }
            }
        }
    }
    Ok(reserved)
}

fn scope(function: &PlacedFunction) -> Scope {
    let kind = match function.kind {
        FunctionKind::Endpoint => ScopeKind::Endpoint,
        FunctionKind::Bridge => ScopeKind::SubHierarchy,
    };
    let path: Vec<PathStep> =
        function.path.iter().map(|&(device, function)| PathStep { device, function }).collect();
    Scope::pci(kind, 0, &path)
}

#[cfg(test)]
mod tests;
