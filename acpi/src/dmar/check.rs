//! Judges a finished table by what the specification demands and by what operating systems refuse.
//!
//! The check reads nothing but the bytes, the PCI tree and the memory map, all as plain data, so it can judge
//! tables of any origin. It reports everything it finds, each as a sentence.

mod finish;
mod scopes;
mod structure;
mod topology;

use zerocopy::FromBytes;

pub use topology::{PciFunction, PciKind, Topology};

use super::flag;
use super::layout::{Head, SDT_HEADER, TableBody};
use crate::AddressRange;
use scopes::ScopeView;

/// Returns what is wrong with the table in `bytes` for a machine of this shape and this memory map; nothing
/// if all is well.
///
/// Bus numbers in `topology` and in the table must be those of the same moment.
pub fn check(bytes: &[u8], topology: &Topology, memory: &[AddressRange]) -> Vec<String> {
    let mut checker = Checker {
        topology,
        memory,
        problems: Vec::new(),
        address_width: 0,
        interrupt_remapping: false,
        units: Vec::new(),
        affinities: Vec::new(),
        namespace_devices: Vec::new(),
        all_ports: Vec::new(),
        regions: Vec::new(),
    };
    if let Some(structures) = checker.header(bytes) {
        checker.structures(structures);
        checker.finish();
    }
    checker.problems
}

/// What has been read so far.
struct Checker<'a> {
    topology: &'a Topology,
    memory: &'a [AddressRange],
    problems: Vec<String>,
    address_width: u32,
    interrupt_remapping: bool,
    units: Vec<Unit>,
    /// Register bases that RHSAs name.
    affinities: Vec<u64>,
    /// Device numbers that ANDDs give.
    namespace_devices: Vec<u8>,
    /// Segments with an ATSR for all ports.
    all_ports: Vec<u16>,
    /// Reserved memory, by label and first and last address.
    regions: Vec<(String, u64, u64)>,
}

/// One remapping unit as read.
struct Unit {
    label: String,
    segment: u16,
    include_all: bool,
    base: u64,
    /// Last address of the register window.
    last: u64,
    scopes: Vec<ScopeView>,
}

impl Checker<'_> {
    fn problem(&mut self, sentence: String) {
        self.problems.push(sentence);
    }

    /// Checks what all ACPI tables and this one begin with, and returns the rest.
    fn header<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let Some((header, rest)) = bytes.split_at_checked(SDT_HEADER) else {
            self.problem(format!("The table has {} bytes, less than an ACPI header.", bytes.len()));
            return None;
        };
        let Ok((body, rest)) = TableBody::read_from_prefix(rest) else {
            self.problem(format!("The table has {} bytes, less than the 48 of a DMAR.", bytes.len()));
            return None;
        };
        if !header.starts_with(b"DMAR") {
            self.problem("The table's signature is not DMAR.".into());
        }
        let length = header.get(4..8).and_then(|field| Some(u32::from_le_bytes(field.try_into().ok()?)));
        if length.map(u64::from) != Some(bytes.len() as u64) {
            let told = length.unwrap_or_default();
            self.problem(format!("The table says it has {told} bytes, but has {}.", bytes.len()));
        }
        if header.get(8) != Some(&1) {
            self.problem("The table's revision is not 1.".into());
        }
        if bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)) != 0 {
            self.problem("The table's bytes do not add up to zero: the checksum is wrong.".into());
        }
        self.body(&body);
        Some(rest)
    }

    fn body(&mut self, body: &TableBody) {
        self.address_width = u32::from(body.width_less_one) + 1;
        if !(12..=64).contains(&self.address_width) {
            self.problem(format!("The host address width is {} bits.", self.address_width));
        }
        let known = flag::INTR_REMAP | flag::X2APIC_OPT_OUT | flag::DMA_CTRL_PLATFORM_OPT_IN;
        if body.flags & !known != 0 {
            self.problem(format!("The table's flags {:#04x} have reserved bits set.", body.flags));
        }
        self.interrupt_remapping = body.flags & flag::INTR_REMAP != 0;
        if body.flags & flag::X2APIC_OPT_OUT != 0 && !self.interrupt_remapping {
            self.problem("X2APIC_OPT_OUT is set without INTR_REMAP, which alone gives it a meaning.".into());
        }
        if body.reserved != [0; 10] {
            self.problem("The reserved bytes after the table's flags are not zero.".into());
        }
    }

    /// Walks the structures; ends at the first whose length leads nowhere.
    fn structures(&mut self, mut rest: &[u8]) {
        let mut offset = SDT_HEADER + size_of::<TableBody>();
        let mut highest = 0;
        while !rest.is_empty() {
            let Ok((head, _)) = Head::read_from_prefix(rest) else {
                self.problem(format!("The {} bytes at offset {offset} are no structure.", rest.len()));
                return;
            };
            let (kind, length) = (head.kind.get(), usize::from(head.length.get()));
            let Some((structure, after)) =
                rest.split_at_checked(length).filter(|_| length >= size_of::<Head>())
            else {
                self.problem(format!(
                    "The structure at offset {offset} says it has {length} bytes; {} are left.",
                    rest.len()
                ));
                return;
            };
            if kind < highest {
                self.problem(format!(
                    "The structure at offset {offset} has type {kind} but follows one of type {highest}."
                ));
            }
            highest = highest.max(kind);
            self.structure(kind, offset, structure);
            rest = after;
            offset += length;
        }
    }
}

#[cfg(test)]
mod tests;
