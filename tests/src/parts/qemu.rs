//! QEMU 10: the emulator of L0, and in L1 the peer that Portcullis is compared with.
//!
//! Debian's package is unpacked with everything it depends on, its C library included, and is started through that
//! library's loader. So the same folder works on this machine and, packed into an initial file system, in an L1.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Override, PartError, Parts, Result, apt, tools};
use crate::cpio::Archive;

pub(super) const PROGRAM: Override = Override {
    variable: "PORTCULLIS_QEMU",
    meaning: "qemu-system-x86_64, version 10 or newer, to emulate L0 with",
};
pub(super) const TREE: Override = Override {
    variable: "PORTCULLIS_PEER",
    meaning: "a root folder with QEMU 10, its libraries and its firmware, to run in L1 as the peer",
};

const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
const BINARY: &str = "usr/bin/qemu-system-x86_64";
const FIRMWARE: [&str; 3] = ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"];
/// The firmware files a PCIe machine without a display asks for when it boots a kernel directly.
const FIRMWARE_IN_LEVEL1: [&str; 8] = [
    "usr/share/seabios/bios-256k.bin",
    "usr/share/qemu/kvmvapic.bin",
    "usr/share/qemu/linuxboot.bin",
    "usr/share/qemu/linuxboot_dma.bin",
    "usr/share/qemu/multiboot.bin",
    "usr/share/qemu/multiboot_dma.bin",
    "usr/share/qemu/pvh.bin",
    "usr/lib/ipxe/qemu/efi-virtio.rom",
];

/// A QEMU that can be run.
#[derive(Clone, Debug)]
pub struct Qemu {
    /// The program, if it is one of the user's; the folder of the unpacked packages otherwise.
    program: Option<PathBuf>,
    tree: PathBuf,
}

impl Parts {
    /// The QEMU that emulates L0.
    pub fn qemu(&self) -> Result<Qemu> {
        match PROGRAM.path() {
            Some(program) => Ok(Qemu { program: Some(program), tree: PathBuf::new() }),
            None => Ok(Qemu { program: None, tree: self.qemu_tree()? }),
        }
    }

    /// The QEMU that runs in L1, as a part of L1's initial file system under `/peer`.
    pub fn peer(&self) -> Result<Vec<u8>> {
        let tree = match TREE.path() {
            Some(tree) => tree,
            None => self.qemu_tree()?,
        };
        let pack = || -> std::io::Result<Vec<u8>> {
            let mut archive = Archive::new();
            let mut add = |path: &Path, name: &str| {
                // The archive has no links between them: one name, one file.
                std::fs::read(path).map(|content| {
                    archive.file(&format!("peer/{name}"), 0o755, &content);
                })
            };
            add(&tree.join(LOADER), LOADER)?;
            add(&tree.join(BINARY), BINARY)?;
            for library in libraries_of(&tree).map_err(std::io::Error::other)? {
                let name = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
                add(&library, &format!("lib/{name}"))?;
            }
            for name in FIRMWARE_IN_LEVEL1 {
                let file = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
                add(&tree.join(name), &format!("firmware/{file}"))?;
            }
            let start = "#!/bin/sh\nexec /peer/lib64/ld-linux-x86-64.so.2 --library-path /peer/lib \
                         /peer/usr/bin/qemu-system-x86_64 -L /peer/firmware \"$@\"\n";
            archive.program("bin/qemu", start.as_bytes());
            Ok(archive.finish())
        };
        pack().map_err(super::file_error("cannot pack QEMU from", &tree))
    }

    fn qemu_tree(&self) -> Result<PathBuf> {
        self.part("qemu", |apt, to| apt.unpack_with_dependencies(&["qemu-system-x86"], to))
    }
}

impl Qemu {
    /// The program with what it needs to start, ready for arguments.
    pub fn command(&self) -> Vec<String> {
        if let Some(program) = &self.program {
            return vec![program.to_string_lossy().into_owned()];
        }
        let inside = |name: &str| self.tree.join(name).to_string_lossy().into_owned();
        let mut command = tools::through_loader(&self.tree, BINARY);
        for name in FIRMWARE {
            command.extend(["-L".into(), inside(name)]);
        }
        command
    }
}

/// The shared libraries QEMU's program in `tree` is linked with.
fn libraries_of(tree: &Path) -> Result<Vec<PathBuf>> {
    let path =
        LIBRARIES.iter().map(|name| tree.join(name).to_string_lossy().into_owned()).collect::<Vec<_>>();
    let mut loader = Command::new(tree.join(LOADER));
    let listing =
        apt::run(loader.args(["--library-path", &path.join(":"), "--list"]).arg(tree.join(BINARY)))?;
    if let Some(missing) = listing.lines().find(|line| line.contains("not found")) {
        return Err(PartError::Unavailable(format!("QEMU lacks a library: {}", missing.trim())));
    }
    // Lines read `libname.so => /path/libname.so (address)`.
    Ok(listing
        .lines()
        .filter_map(|line| line.split_once("=> ")?.1.split(" (").next())
        .map(|path| PathBuf::from(path.trim()))
        .filter(|path| path.starts_with(tree))
        .collect())
}
