//! Capabilities: which of the host's the guest sees, and as what.
//!
//! They stay where the host has them, since drivers of device-specific registers count on those, and the
//! lists are linked anew past the hidden ones. Shown are those on the lists below and no others: ATS, PRI
//! and SR-IOV would let the device send what nothing here follows, a resizable BAR would move under
//! the host's feet, and what describes the host's fabric (ARI, ACS, link and power settings, error
//! reporting) is the host's. VFIO hides the capability of PASIDs; where the host carries them out, the guest gets one of
//! our making.

use std::ops::Range;

use pci::{Bars, ExpressKind, Register};

use super::config::{Found, Layout, MsixPlace, Power, register};
use super::express::Express;
use super::host::{HostFunction, InterruptKind, RegionIndex};
use super::msi::Msi;
use super::pasids::Pasids;

/// Standard capability IDs.
mod id {
    pub(super) const POWER_MANAGEMENT: u8 = 0x01;
    pub(super) const MSI: u8 = 0x05;
    pub(super) const VENDOR: u8 = 0x09;
    pub(super) const EXPRESS: u8 = 0x10;
    pub(super) const MSIX: u8 = 0x11;
    pub(super) const ADVANCED_FEATURES: u8 = 0x13;
}

/// Extended capability IDs.
mod extended_id {
    pub(super) const SERIAL_NUMBER: u16 = 0x03;
    pub(super) const VENDOR: u16 = 0x0B;
}

const STANDARD: Range<u16> = 0x40..0x100;
pub(super) const EXTENDED: Range<u16> = 0x100..0x1000;

/// No list is longer; a loop ends here.
const MOST_STANDARD: usize = 48;
const MOST_EXTENDED: usize = 960;

/// Lays the guest's capabilities out after the host's.
pub(super) fn lay_out(
    layout: &mut Layout<'_>,
    host: &dyn HostFunction,
    bars: &Bars,
    kind: Option<ExpressKind>,
    pasid_bits: u8,
) -> Found {
    let mut found = Found::default();
    let places = standard_places(layout);
    let mut shown = Vec::new();
    for &at in &places {
        // Up to the next capability everything may belong to this one.
        let end = places.iter().copied().filter(|&next| next > at).min().unwrap_or(STANDARD.end);
        let mut place = Place { layout, host, bars, at, end, kind };
        shown.extend(place.lay_out(&mut found).map(|id| (at, id)));
    }
    link_standard(layout, &shown);
    let mut shown = extended(layout);
    if pasid_bits > 0 && found.express.is_some_and(|express| express.carry_prefixes(layout)) {
        found.pasids = Pasids::lay_out(layout, &mut shown, pasid_bits);
    }
    link_extended(layout, shown);
    found
}

/// Where the host's standard capabilities are, in the order of its list.
fn standard_places(layout: &Layout<'_>) -> Vec<u16> {
    let mut places = Vec::new();
    let mut at = u16::from(layout.snapshot.u8(register::CAPABILITIES) & !3);
    while STANDARD.contains(&at) && places.len() < MOST_STANDARD && !places.contains(&at) {
        places.push(at);
        at = u16::from(layout.snapshot.u8(at + 1) & !3);
    }
    places
}

/// Links the shown ones: the place and the ID of each.
fn link_standard(layout: &mut Layout<'_>, shown: &[(u16, u8)]) {
    const HAS_LIST: u16 = 1 << 4;
    let nexts = shown.iter().skip(1).map(|(at, _)| *at as u8).chain([0]);
    layout.space.define(register::CAPABILITIES, Register::u8(shown.first().map_or(0, |(at, _)| *at as u8)));
    layout.space.define(register::STATUS, Register::u16(if shown.is_empty() { 0 } else { HAS_LIST }));
    for (&(at, id), next) in shown.iter().zip(nexts) {
        layout.own(at..at + 2);
        layout.space.define(at, Register::u8(id));
        layout.space.define(at + 1, Register::u8(next));
    }
}

/// One standard capability of the host's.
struct Place<'a, 'b> {
    layout: &'a mut Layout<'b>,
    host: &'a dyn HostFunction,
    bars: &'a Bars,
    at: u16,
    end: u16,
    kind: Option<ExpressKind>,
}

impl Place<'_, '_> {
    /// Lays it out; gives the ID under which the guest sees it, if it does.
    fn lay_out(&mut self, found: &mut Found) -> Option<u8> {
        let id = self.layout.snapshot.u8(self.at);
        match id {
            id::POWER_MANAGEMENT => {
                self.own(8);
                // Version 3, neither D1 nor D2, no PME; going from D3hot to D0 loses nothing. The hardware
                // stays in D0: in another state the host would fault on accesses to its BARs.
                self.layout.space.define(self.at + 2, Register::u16(3));
                self.layout.space.define(self.at + 4, Register::u16(1 << 3).writable(0b11));
                found.power = Some(Power { control: self.at + 4 });
            }
            id::MSI if self.host.interrupts(InterruptKind::Msi).count > 0 => {
                let msi = Msi::lay_out(self.layout, self.at, self.host.interrupts(InterruptKind::Msi).count);
                self.own(msi.length());
                found.msi = Some(msi);
            }
            id::MSIX => {
                self.own(12);
                let place = self.msix()?;
                let control = Register::u16(place.vectors - 1).writable(0xC000);
                self.layout.space.define(self.at + 2, control);
                for pointer in [self.at + 4, self.at + 8] {
                    self.layout.space.define(pointer, Register::u32(self.layout.snapshot.u32(pointer)));
                }
                found.msix = Some(place);
            }
            id::EXPRESS if let Some(kind) = self.kind => {
                let integrated = kind == ExpressKind::IntegratedEndpoint;
                let express = Express::lay_out(self.layout, self.at, integrated, self.host.can_reset());
                self.own(express.length());
                found.express = Some(express);
            }
            // On a conventional bus no function is PCI Express: guests refuse one that says so. What is left
            // of it there is the reset.
            id::EXPRESS if self.host.can_reset() && found.advanced.is_none() => {
                self.layout.own(self.at..self.end);
                self.advanced_features(found);
                return Some(id::ADVANCED_FEATURES);
            }
            id::ADVANCED_FEATURES if self.host.can_reset() && found.advanced.is_none() => {
                self.own(6);
                self.advanced_features(found);
            }
            // Registers of the maker's, as much the guest's as those in the BARs.
            id::VENDOR => {}
            _ => {
                self.layout.own(self.at..self.end);
                return None;
            }
        }
        Some(id)
    }

    /// Function-level reset, and transactions never pending: the host's reset waits for them.
    fn advanced_features(&mut self, found: &mut Found) {
        self.layout.space.define(self.at + 2, Register::u16(0x0306));
        self.layout.space.define(self.at + 4, Register::u16(0).writable(1));
        found.advanced = Some(self.at + 4);
    }

    /// Makes the first `length` bytes ours.
    fn own(&mut self, length: u16) {
        self.layout.own(self.at..self.at.saturating_add(length));
    }

    /// The MSI-X table, if it is where a table can be.
    fn msix(&self) -> Option<MsixPlace> {
        let snapshot = self.layout.snapshot;
        let in_host = self.host.interrupts(InterruptKind::Msix).count;
        let in_table = u32::from(snapshot.u16(self.at + 2) & 0x7FF) + 1;
        let vectors = in_table.min(in_host);
        let place = |pointer: u16, length: u64| {
            let register = snapshot.u32(pointer);
            let bar = (register & 7) as usize;
            let start = u64::from(register & !7);
            let end = start + length;
            let region = RegionIndex::of_bar(bar).filter(|_| self.bars.get(bar).is_some())?;
            (end <= self.host.region(region).size).then_some((bar, start..end))
        };
        let table = place(self.at + 4, u64::from(in_table) * 16)?;
        let pending = place(self.at + 8, u64::from(in_table).div_ceil(64) * 8)?;
        (vectors > 0).then_some(MsixPlace { at: self.at, vectors: vectors as u16, table, pending })
    }
}

/// An extended capability that the guest sees.
pub(super) struct Extended {
    pub(super) at: u16,
    /// Without the place of the next one.
    pub(super) header: u32,
    pub(super) length: u16,
}

/// Lays the host's out that the guest sees; gives them.
fn extended(layout: &mut Layout<'_>) -> Vec<Extended> {
    let mut shown: Vec<Extended> = Vec::new();
    let mut at = EXTENDED.start;
    for _ in 0..MOST_EXTENDED {
        if !EXTENDED.contains(&at) || !layout.snapshot.has(at) {
            break;
        }
        let header = layout.snapshot.u32(at);
        if header == 0 || header == u32::MAX {
            break;
        }
        let known = shown.iter().any(|other| other.at == at);
        if !known && let Some(length) = extended_body(layout, at, header as u16) {
            shown.push(Extended { at, header: header & 0xF_FFFF, length });
        }
        at = (header >> 20) as u16 & !3;
    }
    shown
}

fn link_extended(layout: &mut Layout<'_>, mut shown: Vec<Extended>) {
    // The list starts at a fixed place. What is not shown there becomes a capability without meaning.
    if !shown.is_empty() && shown.iter().all(|capability| capability.at != EXTENDED.start) {
        shown.insert(0, Extended { at: EXTENDED.start, header: 0, length: 4 });
    }
    // The one at the fixed place comes first, whatever the order of the host's list.
    shown.sort_by_key(|capability| capability.at);
    let nexts: Vec<u32> = shown.iter().skip(1).map(|next| u32::from(next.at)).chain([0]).collect();
    for (capability, next) in shown.iter().zip(nexts) {
        layout.own(capability.at..capability.at + 4);
        layout.space.define(capability.at, Register::u32(next << 20 | capability.header));
    }
}

/// Lays out what is behind an extended capability's header, and gives its length; none if the guest is not to see it.
fn extended_body(layout: &mut Layout<'_>, at: u16, id: u16) -> Option<u16> {
    match id {
        extended_id::SERIAL_NUMBER => {
            for offset in [at + 4, at + 8] {
                layout.space.define(offset, Register::u32(layout.snapshot.u32(offset)));
            }
            Some(12)
        }
        extended_id::VENDOR => {
            let length = (layout.snapshot.u32(at + 4) >> 20) as u16;
            layout.live.set(at + 4..at.saturating_add(length).min(EXTENDED.end), true);
            Some(length)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
