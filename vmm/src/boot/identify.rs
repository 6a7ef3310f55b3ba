//! Finds out what a kernel file is, by its first bytes.

use super::{Problem, multiboot};

/// How much of a file must be seen: a multiboot header may stand in the first 8 KiB.
pub(super) const WINDOW: u64 = 8192;

/// What we can load.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Linux for PCs.
    BzImage,
    /// An ELF file; its notes and headers say more.
    Elf,
    /// A flat file with a multiboot header.
    Multiboot(multiboot::Header),
}

/// What begins with these bytes.
pub(super) fn identify(start: &[u8]) -> Result<Format, Problem> {
    let has = |offset: usize, magic: &[u8]| start.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    // An x86 kernel with an EFI stub begins like any EFI program, so this comes first.
    if has(0x1fe, &[0x55, 0xaa]) && has(0x202, b"HdrS") {
        return Ok(Format::BzImage);
    }
    if has(0, b"\x7fELF") {
        return Ok(Format::Elf);
    }
    if let Some(problem) = foreign(&has) {
        return Err(problem);
    }
    match multiboot::Header::find(start)? {
        Some(header) => Ok(Format::Multiboot(header)),
        None => Err(Problem::Unknown),
    }
}

/// What people give by mistake.
fn foreign(has: &impl Fn(usize, &[u8]) -> bool) -> Option<Problem> {
    let compressed = [
        (&[0x1f, 0x8b][..], "gunzip"),
        (b"\xfd7zXZ\0", "unxz"),
        (b"BZh", "bunzip2"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "unzstd"),
        (&[0x04, 0x22, 0x4d, 0x18], "lz4 -d"),
        (&[0x02, 0x21, 0x4c, 0x18], "lz4 -d"),
        (&[0x5d, 0, 0], "unlzma"),
        (b"\x89LZO", "lzop -d"),
    ];
    if let Some((_, tool)) = compressed.iter().find(|(magic, _)| has(0, magic)) {
        return Some(Problem::Compressed(tool));
    }
    if has(56, b"ARM\x64") {
        return Some(Problem::Foreign("64-bit Arm"));
    }
    if has(0x24, &[0x18, 0x28, 0x6f, 0x01]) {
        return Some(Problem::Foreign("32-bit Arm"));
    }
    if has(56, b"RSC\x05") {
        return Some(Problem::Foreign("RISC-V"));
    }
    if has(0, b"MZ") {
        // No x86 kernel is packed this way.
        let packed = has(4, b"zimg");
        return Some(if packed { Problem::Foreign("another processor") } else { Problem::Efi });
    }
    None
}

#[cfg(test)]
mod tests;
