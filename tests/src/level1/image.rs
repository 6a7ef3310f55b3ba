//! The initial file system of an L1, in parts that follow one another in one file.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Config, Result, host_error};
use crate::cpio::Archive;
use crate::parts::{Kernel, KernelImage, Parts};

const INIT: &str = include_str!("../../../resources/rig/level1-init.sh");
const LIBRARY: &str = include_str!("../../../resources/rig/level1-lib.sh");
const GUEST_INIT: &str = include_str!("../../../resources/rig/level2-init.sh");

/// Modules an L1 loads as it starts.
const MODULES: [&str; 7] =
    ["kvm-amd", "vfio-pci", "vfio_iommu_type1", "msr", "tun", "virtio_net", "uio_pci_generic"];
/// Modules a guest loads as it starts, and those it has at hand.
const GUEST_MODULES: [&str; 4] = ["virtio_blk", "vfio-pci", "vfio_iommu_type1", "msr"];

/// Modules that a guest needs besides to run guests of its own.
const HOST_MODULES: [&str; 1] = ["kvm-amd"];

/// What lies in an L1's file system besides busybox.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The program under test, as `/bin/portcullis`.
    pub program: Option<PathBuf>,
    /// The guests' helper program, as `/bin/agent` in L1 and L2.
    pub agent: Option<PathBuf>,
    /// A guest's kernel as `/guest/kernel` and its initial file system as `/guest/initrd`.
    pub guest: Option<Kernel>,
    /// What a guest needs besides to run guests of its own, as `/guest/host`, to be put behind `/guest/initrd`.
    pub guest_hosts: bool,
    /// QEMU, as `/bin/qemu`.
    pub peer: bool,
    /// Any other files: (path here, path in L1).
    pub files: Vec<(PathBuf, String)>,
}

/// Writes the initial file system of `config` to `path`.
pub(super) fn write(parts: &Parts, config: &Config, kernel: &KernelImage, path: &Path) -> Result<()> {
    let contents = &config.contents;
    let mut file = File::create(path).map_err(host_error("cannot create L1's initial file system"))?;
    let mut add = |part: Vec<u8>| file.write_all(&part).map_err(host_error("cannot write L1's file system"));
    add(base(parts, kernel, INIT, &MODULES)?)?;
    if let Some(which) = contents.guest {
        add(guest(parts, which, contents)?)?;
    }
    if contents.peer {
        add(parts.peer()?)?;
    }
    add(last(contents)?)
}

/// busybox, the kernel's modules and the first process.
fn base(parts: &Parts, kernel: &KernelImage, init: &str, modules: &[&str]) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    archive.character_device("dev/console", 5, 1);
    let busybox = read(&parts.busybox()?)?;
    archive.program("bin/busybox", &busybox).program("init", init.as_bytes());
    archive.file("lib/rig.sh", 0o644, LIBRARY.as_bytes());
    add_modules(&mut archive, kernel, modules)?;
    Ok(archive.finish())
}

/// The modules named, all they need, and the order in which to load them.
fn add_modules(archive: &mut Archive, kernel: &KernelImage, modules: &[&str]) -> Result<()> {
    let mut order = String::new();
    if let Some(all) = &kernel.modules {
        for (name, content) in all.with_dependencies(modules)? {
            archive.file(&format!("modules/{name}.ko"), 0o644, &content);
            order.extend([name.as_str(), "\n"]);
        }
    }
    archive.file("modules/order", 0o644, order.as_bytes());
    Ok(())
}

/// A guest's kernel and initial file system, as files of L1.
fn guest(parts: &Parts, which: Kernel, contents: &Contents) -> Result<Vec<u8>> {
    let kernel = parts.kernel(which)?;
    let initrd = guest_initrd(parts, &kernel, contents.agent.as_deref())?;
    let mut archive = Archive::new();
    archive.file("guest/kernel", 0o644, &read(&kernel.image)?).file("guest/initrd", 0o644, &initrd);
    if contents.guest_hosts {
        archive.file("guest/host", 0o644, &guest_host(&kernel, contents)?);
    }
    Ok(archive.finish())
}

/// What makes a host of a guest: the program, KVM, and an order of modules with KVM in it.
fn guest_host(kernel: &KernelImage, contents: &Contents) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    if let Some(program) = &contents.program {
        archive.program("bin/portcullis", &read(program)?);
    }
    add_modules(&mut archive, kernel, &[&GUEST_MODULES[..], &HOST_MODULES].concat())?;
    Ok(archive.finish())
}

fn guest_initrd(parts: &Parts, kernel: &KernelImage, agent: Option<&Path>) -> Result<Vec<u8>> {
    let mut initrd = base(parts, kernel, GUEST_INIT, &GUEST_MODULES)?;
    if let Some(agent) = agent {
        let mut archive = Archive::new();
        archive.program("bin/agent", &read(agent)?);
        initrd.extend(archive.finish());
    }
    Ok(initrd)
}

/// A guest's kernel, and an initial file system that runs `script`, written to `folder` of this machine.
pub fn guest_files(
    parts: &Parts,
    which: Kernel,
    script: &str,
    agent: Option<&Path>,
    folder: &Path,
) -> Result<(PathBuf, PathBuf)> {
    let kernel = parts.kernel(which)?;
    let mut initrd = guest_initrd(parts, &kernel, agent)?;
    let mut archive = Archive::new();
    archive.file("script", 0o644, script.as_bytes());
    initrd.extend(archive.finish());
    let path = folder.join("guest.initrd");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, initrd))
        .map_err(host_error("cannot write the guest's file system"))?;
    Ok((kernel.image, path))
}

/// What changes from run to run.
fn last(contents: &Contents) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    let programs = [(&contents.program, "bin/portcullis"), (&contents.agent, "bin/agent")];
    for (program, name) in programs {
        if let Some(path) = program {
            archive.program(name, &read(path)?);
        }
    }
    for (from, to) in &contents.files {
        archive.copy(from, to).map_err(host_error(&format!("cannot read {}", from.display())))?;
    }
    Ok(archive.finish())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(host_error(&format!("cannot read {}", path.display())))
}
