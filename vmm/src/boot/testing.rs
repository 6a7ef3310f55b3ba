//! Machines and kernel files for tests, made on the spot.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use acpi::{AddressRange, RangeKind};
use devices::GuestRam;
use vm_memory::{Bytes, GuestAddress};

use super::image::Image;
use super::{Entry, Error, Machine, Module, Request, Role, load};

pub(super) const MIB: u64 = 1 << 20;
pub(super) const RSDP: u64 = 0xe_0000;

/// RAM with a memory map like the program's.
pub(super) struct TestMachine {
    pub(super) ram: GuestRam,
    pub(super) map: Vec<AddressRange>,
}

impl TestMachine {
    pub(super) fn new(mebibytes: u64) -> Self {
        let size = mebibytes * MIB;
        let range = |base, length, kind| AddressRange { base, length, kind };
        Self {
            ram: GuestRam::from_ranges(&[(GuestAddress(0), size as usize)]).unwrap(),
            map: vec![
                range(0, 0x9_fc00, RangeKind::Memory),
                range(0xe_0000, 0x2_0000, RangeKind::Reserved),
                range(MIB, size - MIB, RangeKind::Memory),
            ],
        }
    }

    pub(super) fn machine(&self) -> Machine<'_> {
        Machine { ram: &self.ram, map: &self.map, rsdp: RSDP }
    }

    pub(super) fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.ram.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }

    pub(super) fn u32(&self, address: u64) -> u32 {
        self.ram.read_obj(GuestAddress(address)).unwrap()
    }

    pub(super) fn u64(&self, address: u64) -> u64 {
        self.ram.read_obj(GuestAddress(address)).unwrap()
    }

    /// The text at `address` up to its NUL.
    pub(super) fn text(&self, address: u64) -> String {
        let bytes = self.bytes(address, 4096);
        String::from_utf8(bytes.split(|byte| *byte == 0).next().unwrap().to_vec()).unwrap()
    }

    /// Boots `kernel` alone.
    pub(super) fn boot(&self, kernel: &[u8], command_line: &str) -> Result<Entry, Error> {
        self.boot_with(kernel, command_line, None, &[])
    }

    pub(super) fn boot_with(
        &self,
        kernel: &[u8],
        command_line: &str,
        initrd: Option<&[u8]>,
        modules: &[(&[u8], &str)],
    ) -> Result<Entry, Error> {
        let kernel = TestFile::new(kernel);
        let initrd = initrd.map(TestFile::new);
        let modules: Vec<_> = modules.iter().map(|(bytes, text)| (TestFile::new(bytes), *text)).collect();
        let module =
            |(file, text): &(TestFile, &str)| Module { file: file.path(), arguments: (*text).into() };
        let request = Request {
            kernel: kernel.path(),
            command_line: command_line.into(),
            initrd: initrd.as_ref().map(TestFile::path),
            modules: modules.iter().map(module).collect(),
        };
        load(&request, &self.ram, &self.map, RSDP)
    }

    /// What booting `kernel` is refused with, without the words for the file.
    pub(super) fn refusal(&self, kernel: &[u8]) -> String {
        self.boot(kernel, "").unwrap_err().problem.to_string()
    }
}

/// A file without a name on any disk.
pub(super) struct TestFile(File);

impl TestFile {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let fd = rustix::fs::memfd_create("kernel", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut file = File::from(fd);
        file.write_all(bytes).unwrap();
        Self(file)
    }

    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    pub(super) fn open(&self) -> Image {
        Image::open(&self.path(), Role::Kernel).unwrap()
    }
}

/// Writes `bytes` at `offset`, making `file` longer if need be.
pub(super) fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// A bzImage of 64 KiB with `code` at its 64-bit entry.
pub(super) fn bzimage(code: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 2048];
    put(&mut file, 0x1f1, &[3]); // setup_sects: the code starts at 2048
    put(&mut file, 0x1f4, &0x1000_u32.to_le_bytes()); // syssize, in 16 bytes
    put(&mut file, 0x1fe, &[0x55, 0xaa]);
    put(&mut file, 0x200, &[0xeb, 0x6a]); // jump over the header
    put(&mut file, 0x202, b"HdrS");
    put(&mut file, 0x206, &0x020f_u16.to_le_bytes());
    put(&mut file, 0x211, &[1]); // loadflags: LOADED_HIGH
    put(&mut file, 0x22c, &0x7fff_ffff_u32.to_le_bytes()); // initrd_addr_max
    put(&mut file, 0x230, &0x20_0000_u32.to_le_bytes()); // kernel_alignment
    put(&mut file, 0x234, &[1]); // relocatable_kernel
    put(&mut file, 0x236, &0b11_u16.to_le_bytes()); // xloadflags: 64-bit entry
    put(&mut file, 0x238, &2047_u32.to_le_bytes()); // cmdline_size
    put(&mut file, 0x258, &(16 * MIB).to_le_bytes()); // pref_address
    put(&mut file, 0x260, &(4 * MIB as u32).to_le_bytes()); // init_size
    put(&mut file, 2048 + 0x1_0000 - 1, &[0]);
    put(&mut file, 2048 + 0x200, code);
    file
}

/// Parts of a small ELF file: one segment at 2 MiB with `code` at its start, entered there.
pub(super) struct ElfParts<'a> {
    pub(super) bits: u8,
    pub(super) code: &'a [u8],
    pub(super) pvh_entry: Option<u32>,
    pub(super) multiboot_flags: Option<u32>,
}

pub(super) const ELF_START: u64 = 2 * MIB;
/// Where the segment of such a file starts in it.
pub(super) const ELF_CODE: usize = 0x200;
/// Zeros after the code.
pub(super) const ELF_BSS: u64 = 0x3000;

impl ElfParts<'_> {
    pub(super) fn build(&self) -> Vec<u8> {
        let wide = self.bits == 64;
        let word = |value: u64| {
            if wide { value.to_le_bytes().to_vec() } else { (value as u32).to_le_bytes().to_vec() }
        };
        let (header, program) = if wide { (64_usize, 56_usize) } else { (52, 32) };
        let mut file = vec![0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1, 1];
        put(&mut file, 16, &[2, 0, if wide { 62 } else { 3 }, 0, 1]);
        let entry = [word(ELF_START), word(header as u64)].concat();
        put(&mut file, 24, &entry);
        let sizes = [header as u16, program as u16, 2].map(u16::to_le_bytes).concat();
        put(&mut file, if wide { 52 } else { 40 }, &sizes);

        let note = self.pvh_entry.map_or(Vec::new(), |entry| {
            // Another note first, of a length that needs padding.
            let other =
                [&2_u32.to_le_bytes()[..], &5_u32.to_le_bytes(), &18_u32.to_le_bytes(), b"A\0\0\0", &[7; 8]];
            let pvh = [&4_u32.to_le_bytes()[..], &4_u32.to_le_bytes(), &18_u32.to_le_bytes(), b"Xen\0"];
            [other.concat(), pvh.concat(), entry.to_le_bytes().to_vec()].concat()
        });
        let note_at = header + 2 * program;
        put(&mut file, note_at, &note);

        let size = self.code.len() as u64;
        let load = (1_u32, ELF_CODE as u64, ELF_START, size, size + ELF_BSS);
        let notes = (4_u32, note_at as u64, 0, note.len() as u64, note.len() as u64);
        for (index, (kind, offset, address, file_size, memory_size)) in [load, notes].into_iter().enumerate()
        {
            let place = [
                word(offset),
                word(0xffff_ffff_8000_0000),
                word(address),
                word(file_size),
                word(memory_size),
            ];
            let kind = kind.to_le_bytes().to_vec();
            let flags = if wide { vec![7, 0, 0, 0] } else { vec![] };
            put(&mut file, header + index * program, &[kind, flags, place.concat()].concat());
        }
        if let Some(flags) = self.multiboot_flags {
            let checksum = 0_u32.wrapping_sub(0x1bad_b002).wrapping_sub(flags);
            put(&mut file, 0x180, &[0x1bad_b002, flags, checksum].map(u32::to_le_bytes).concat());
        }
        put(&mut file, ELF_CODE, self.code);
        file
    }
}

pub(super) fn pvh_elf(code: &[u8]) -> Vec<u8> {
    ElfParts { bits: 64, code, pvh_entry: Some(ELF_START as u32), multiboot_flags: None }.build()
}

pub(super) fn multiboot_elf(code: &[u8]) -> Vec<u8> {
    ElfParts { bits: 32, code, pvh_entry: None, multiboot_flags: Some(3) }.build()
}
