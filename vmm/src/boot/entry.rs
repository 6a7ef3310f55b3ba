//! The state of the first vCPU when it enters a kernel, as plain data.

use super::Problem;
use super::arena::Arena;

/// How a kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Linux's 64-bit boot protocol.
    Linux,
    /// PVH, as Xen defines it.
    Pvh,
    /// Multiboot 1.
    Multiboot,
}

/// Registers of the first vCPU. Those not named are zero; interrupts are off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which protocol the kernel was loaded by.
    pub protocol: Protocol,
    /// Instruction pointer.
    pub rip: u64,
    /// RAX: multiboot's magic number.
    pub rax: u64,
    /// RBX: address of the PVH or multiboot information.
    pub rbx: u64,
    /// RSI: address of Linux's zero page.
    pub rsi: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// CR0.
    pub cr0: u64,
    /// CR3: the page tables, in 64-bit mode.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// IA32_EFER.
    pub efer: u64,
    /// The global descriptor table in guest memory, with the segments below. There is no interrupt table.
    pub gdt: DescriptorTable,
    /// CS.
    pub code: Segment,
    /// DS, ES, FS, GS and SS.
    pub data: Segment,
    /// TR.
    pub task: Segment,
}

/// A descriptor table in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorTable {
    /// Address.
    pub base: u64,
    /// Length in bytes, less one.
    pub limit: u16,
}

/// A segment register with its hidden part, which the descriptor in the table agrees with. Every segment is
/// present and for privilege level 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bit of the descriptor, under its own name")]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Base address.
    pub base: u64,
    /// Last offset.
    pub limit: u32,
    /// Type, 4 bits.
    pub kind: u8,
    /// Code or data, not a system segment: the S bit.
    pub code_or_data: bool,
    /// 64-bit code: the L bit.
    pub long: bool,
    /// 32-bit: the D/B bit.
    pub default_32: bool,
    /// The limit counts pages: the G bit.
    pub granularity: bool,
}

/// Execute, read, accessed.
const CODE: u8 = 0xb;
/// Read, write, accessed.
const DATA: u8 = 3;
/// Busy TSS, 32 or 64 bits as the mode is.
const BUSY_TSS: u8 = 0xb;

/// Linux names these selectors.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
const TASK_SELECTOR: u16 = 0x20;

/// Bit 1 of RFLAGS is always set.
const RFLAGS: u64 = 2;
const CR0_PE: u64 = 1 << 0;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// Page-table entry bits.
const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;
const PAGE: usize = 4096;
const ENTRIES: u64 = 512;
/// Directories of 1 GiB each: all that 32 bits reach.
const DIRECTORIES: u64 = 4;

impl Segment {
    fn flat(selector: u16, kind: u8) -> Self {
        Self {
            selector,
            base: 0,
            limit: u32::MAX,
            kind,
            code_or_data: true,
            long: false,
            default_32: true,
            granularity: true,
        }
    }

    fn task() -> Self {
        Self {
            selector: TASK_SELECTOR,
            base: 0,
            limit: 0x67,
            kind: BUSY_TSS,
            code_or_data: false,
            long: false,
            default_32: false,
            granularity: false,
        }
    }

    /// The descriptor, as the processor reads it from the table.
    fn descriptor(&self) -> u64 {
        let limit = u64::from(if self.granularity { self.limit >> 12 } else { self.limit });
        let access = u64::from(self.kind & 0xf) | u64::from(self.code_or_data) << 4 | 1 << 7;
        let size =
            u64::from(self.long) << 1 | u64::from(self.default_32) << 2 | u64::from(self.granularity) << 3;
        (limit & 0xffff)
            | (self.base & 0xff_ffff) << 16
            | access << 40
            | (limit >> 16 & 0xf) << 48
            | size << 52
            | (self.base >> 24 & 0xff) << 56
    }
}

impl Entry {
    /// 32-bit protected mode without paging, segments flat.
    pub(super) fn protected(protocol: Protocol, rip: u32, arena: &mut Arena<'_>) -> Result<Self, Problem> {
        let code = Segment::flat(CODE_SELECTOR, CODE);
        Ok(Self { cr0: CR0_PE | CR0_ET, ..Self::with_segments(protocol, u64::from(rip), code, arena)? })
    }

    /// 64-bit mode, the lowest 4 GiB mapped to themselves.
    pub(super) fn long(protocol: Protocol, rip: u64, arena: &mut Arena<'_>) -> Result<Self, Problem> {
        let code = Segment { long: true, default_32: false, ..Segment::flat(CODE_SELECTOR, CODE) };
        Ok(Self {
            cr0: CR0_PE | CR0_ET | CR0_PG,
            cr3: identity_map(arena)?,
            cr4: CR4_PAE,
            efer: EFER_LME | EFER_LMA,
            ..Self::with_segments(protocol, rip, code, arena)?
        })
    }

    fn with_segments(
        protocol: Protocol,
        rip: u64,
        code: Segment,
        arena: &mut Arena<'_>,
    ) -> Result<Self, Problem> {
        let data = Segment::flat(DATA_SELECTOR, DATA);
        let task = Segment::task();
        // Two empty ones before Linux's selectors; a TSS takes two entries in 64-bit mode.
        let table = [0, 0, code.descriptor(), data.descriptor(), task.descriptor(), 0];
        let bytes: Vec<u8> = table.iter().flat_map(|entry: &u64| entry.to_le_bytes()).collect();
        let gdt = DescriptorTable { base: arena.write_low(&bytes, 8)?, limit: bytes.len() as u16 - 1 };
        Ok(Self {
            protocol,
            rip,
            rax: 0,
            rbx: 0,
            rsi: 0,
            rflags: RFLAGS,
            cr0: 0,
            cr3: 0,
            cr4: 0,
            efer: 0,
            gdt,
            code,
            data,
            task,
        })
    }
}

/// Writes page tables that map the lowest 4 GiB to themselves in 2 MiB pages, and returns their root.
fn identity_map(arena: &mut Arena<'_>) -> Result<u64, Problem> {
    // The tables lie one after the other: root, directory pointers, directories.
    let pages = 2 + DIRECTORIES as usize;
    let root = arena.write_low(&vec![0; pages * PAGE], PAGE as u64)?;
    let page = |index: u64| root + index * PAGE as u64;
    arena.write(&(page(1) | PRESENT_WRITABLE).to_le_bytes(), root)?;
    for directory in 0..DIRECTORIES {
        let pointer = page(2 + directory) | PRESENT_WRITABLE;
        arena.write(&pointer.to_le_bytes(), page(1) + 8 * directory)?;
    }
    let leaf = |index: u64| (index << 21 | LARGE | PRESENT_WRITABLE).to_le_bytes();
    let directories: Vec<u8> = (0..DIRECTORIES * ENTRIES).flat_map(leaf).collect();
    arena.write(&directories, page(2))?;
    Ok(root)
}

#[cfg(test)]
mod tests;
