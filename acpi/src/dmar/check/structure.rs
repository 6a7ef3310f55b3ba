//! What holds for each structure by itself.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::scopes::Allowed;
use super::{Checker, PciKind, Unit};
use crate::RangeKind;
use crate::dmar::SidpFlags;
use crate::dmar::layout::{
    ALL_PORTS, ATC_REQUIRED, AnddLayout, AtsLayout, DrhdLayout, INCLUDE_PCI_ALL, RhsaLayout, RmrrLayout,
    SidpLayout, kind,
};

const PAGE: u64 = 4096;

const NO_FLAGS: SidpFlags = SidpFlags(0);

impl Checker<'_> {
    /// Checks the structure in `bytes`, which begins `offset` bytes into the table.
    pub(super) fn structure(&mut self, kind: u16, offset: usize, bytes: &[u8]) {
        let label = |name| format!("{name} at offset {offset}");
        match kind {
            kind::DRHD => self.drhd(label("DRHD"), bytes),
            kind::RMRR => self.rmrr(label("RMRR"), bytes),
            kind::ATSR => self.atsr(&label("ATSR"), bytes),
            kind::RHSA => self.rhsa(&label("RHSA"), bytes),
            kind::ANDD => self.andd(&label("ANDD"), bytes),
            kind::SATC => self.satc(&label("SATC"), bytes),
            kind::SIDP => self.sidp(&label("SIDP"), bytes),
            unknown => {
                self.problem(format!("The structure at offset {offset} has the unknown type {unknown}."));
            }
        }
    }

    /// Splits a structure into its fixed part and the rest.
    fn fixed<'b, T: FromBytes + KnownLayout + Immutable>(
        &mut self,
        label: &str,
        bytes: &'b [u8],
    ) -> Option<(T, &'b [u8])> {
        let read = T::read_from_prefix(bytes).ok();
        if read.is_none() {
            self.problem(format!(
                "The {label} has {} bytes, less than the {} it needs.",
                bytes.len(),
                size_of::<T>()
            ));
        }
        read
    }

    /// Reports flags other than `known` and reserved bytes that are not zero.
    fn reserved(&mut self, label: &str, flags: u8, known: u8, reserved: u64) {
        if flags & !known != 0 {
            self.problem(format!("The {label} has reserved flags set: {flags:#04x}."));
        }
        if reserved != 0 {
            self.problem(format!("The {label} has reserved bytes that are not zero."));
        }
    }

    fn drhd(&mut self, label: String, bytes: &[u8]) {
        let Some((fixed, rest)) = self.fixed::<DrhdLayout>(&label, bytes) else { return };
        // Bits 7:4 of the size are reserved.
        self.reserved(&label, fixed.flags, INCLUDE_PCI_ALL, u64::from(fixed.size >> 4));
        let base = fixed.base.get();
        let last = base.saturating_add((PAGE << (fixed.size & 0xf)) - 1);
        if base == 0 || !base.is_multiple_of(PAGE) {
            self.problem(format!("The {label} has its registers at {base:#x}, not at a page other than 0."));
        }
        self.reachable(&label, last);
        let hits = |range: &crate::AddressRange| {
            range.kind == RangeKind::Memory
                && range.length > 0
                && base <= range.base.saturating_add(range.length - 1)
                && range.base <= last
        };
        if self.memory.iter().any(hits) {
            self.problem(format!("The {label} has its registers ({base:#x}–{last:#x}) in RAM."));
        }

        let include_all = fixed.flags & INCLUDE_PCI_ALL != 0;
        let types: &[u8] = if include_all { &[3, 4, 5] } else { &[1, 2, 3, 4, 5] };
        let segment = fixed.segment.get();
        let scopes = self.scopes(&label, segment, rest, &Allowed { types, flags: NO_FLAGS });
        if scopes.is_empty() && !include_all {
            self.problem(format!("The {label} has no devices behind it."));
        }
        self.units.push(Unit { label, segment, include_all, base, last, scopes });
    }

    fn rmrr(&mut self, label: String, bytes: &[u8]) {
        let Some((fixed, rest)) = self.fixed::<RmrrLayout>(&label, bytes) else { return };
        self.reserved(&label, 0, 0, u64::from(fixed.reserved.get()));
        let (base, limit) = (fixed.base.get(), fixed.limit.get());
        if limit <= base {
            self.problem(format!("The {label} ends at {limit:#x}, before it begins at {base:#x}."));
        } else {
            if !base.is_multiple_of(PAGE) || !limit.wrapping_add(1).is_multiple_of(PAGE) {
                self.problem(format!("The {label} ({base:#x}–{limit:#x}) is not made of whole pages."));
            }
            let kept = |kind| matches!(kind, RangeKind::Reserved | RangeKind::AcpiNvs);
            if !self.memory.iter().any(|range| kept(range.kind) && range.covers(base, limit)) {
                self.problem(format!(
                    "The {label} ({base:#x}–{limit:#x}) does not lie inside one reserved entry of the memory map."
                ));
            }
            self.reachable(&label, limit);
        }
        let allowed = Allowed { types: &[1, 2, 5], flags: NO_FLAGS };
        if self.scopes(&label, fixed.segment.get(), rest, &allowed).is_empty() {
            self.problem(format!("The {label} names no device."));
        }
        self.regions.push((label, base, limit));
    }

    fn atsr(&mut self, label: &str, bytes: &[u8]) {
        let Some((fixed, rest)) = self.fixed::<AtsLayout>(label, bytes) else { return };
        self.reserved(label, fixed.flags, ALL_PORTS, u64::from(fixed.reserved));
        let segment = fixed.segment.get();
        let scopes = self.scopes(label, segment, rest, &Allowed { types: &[2], flags: NO_FLAGS });
        if fixed.flags & ALL_PORTS == 0 {
            if scopes.is_empty() {
                self.problem(format!("The {label} names no root port."));
            }
        } else {
            if !scopes.is_empty() {
                self.problem(format!("The {label} is for all root ports and names some."));
            }
            if self.all_ports.contains(&segment) {
                self.problem(format!("The {label} is the second for all root ports of segment {segment}."));
            }
            self.all_ports.push(segment);
        }
        for scope in &scopes {
            let found = self.topology.resolve(segment, scope.start_bus, &scope.path);
            if let Some(PciKind::Bridge { root_port: false, .. }) = found.map(|function| function.kind) {
                self.problem(format!("{} leads to a bridge that is no root port.", scope.label));
            }
        }
    }

    fn rhsa(&mut self, label: &str, bytes: &[u8]) {
        let Some((fixed, rest)) = self.fixed::<RhsaLayout>(label, bytes) else { return };
        self.reserved(label, 0, 0, u64::from(fixed.reserved.get()));
        if !rest.is_empty() {
            self.problem(format!("The {label} is {} bytes too long.", rest.len()));
        }
        let base = fixed.base.get();
        if self.affinities.contains(&base) {
            self.problem(format!("The {label} is the second for the unit at {base:#x}."));
        }
        self.affinities.push(base);
    }

    fn andd(&mut self, label: &str, bytes: &[u8]) {
        let Some((fixed, rest)) = self.fixed::<AnddLayout>(label, bytes) else { return };
        if fixed.reserved != [0; 3] {
            self.problem(format!("The {label} has reserved bytes that are not zero."));
        }
        match rest.iter().position(|byte| *byte == 0) {
            None => self.problem(format!("The {label} has a name without a NUL at its end.")),
            Some(end) => {
                let (name, padding) = rest.split_at(end);
                let letter =
                    |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_.".contains(byte);
                if !name.strip_prefix(b"\\").is_some_and(|path| !path.is_empty() && path.iter().all(letter)) {
                    let name = String::from_utf8_lossy(name);
                    self.problem(format!("The {label} has a name that is no full ACPI path: {name:?}."));
                }
                if padding.iter().any(|byte| *byte != 0) {
                    self.problem(format!("The {label} has bytes after the end of its name."));
                }
            }
        }
        let number = fixed.device_number;
        if self.namespace_devices.contains(&number) {
            self.problem(format!("The {label} gives the device number {number} a second time."));
        }
        self.namespace_devices.push(number);
    }

    fn satc(&mut self, label: &str, bytes: &[u8]) {
        let Some((fixed, rest)) = self.fixed::<AtsLayout>(label, bytes) else { return };
        self.reserved(label, fixed.flags, ATC_REQUIRED, u64::from(fixed.reserved));
        let allowed = Allowed { types: &[1], flags: NO_FLAGS };
        if self.scopes(label, fixed.segment.get(), rest, &allowed).is_empty() {
            self.problem(format!("The {label} names no device."));
        }
    }

    fn sidp(&mut self, label: &str, bytes: &[u8]) {
        let Some((fixed, rest)) = self.fixed::<SidpLayout>(label, bytes) else { return };
        self.reserved(label, 0, 0, u64::from(fixed.reserved.get()));
        let allowed = Allowed { types: &[1], flags: SidpFlags::ALL };
        if self.scopes(label, fixed.segment.get(), rest, &allowed).is_empty() {
            self.problem(format!("The {label} names no device."));
        }
    }

    /// Reports an address that is wider than the table's host address width.
    fn reachable(&mut self, label: &str, last: u64) {
        if last.checked_shr(self.address_width).unwrap_or(0) != 0 {
            let width = self.address_width;
            self.problem(format!(
                "The {label} ends at {last:#x}, beyond the host address width of {width} bits."
            ));
        }
    }
}

#[cfg(test)]
mod tests;
