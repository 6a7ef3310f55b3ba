//! Builds the kernel with what no Debian kernel has, from Debian's newest source, our configuration fragment and a
//! driver of our own.
//!
//! It takes a quarter of an hour of a processor, once; it happens only where a scenario or the user asks for that
//! kernel. Of the machine it takes a C compiler, perl and the usual small tools; the rest comes from Debian's packages.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::apt::{Apt, Progress, run};
use super::{PartError, Result, file_error, tools};

/// What an L1 needs of a kernel beyond the smallest configuration there is.
const FRAGMENT: &str = include_str!("../../../resources/rig/first-level-kernel.fragment");
/// The file it lies in for the build. What it does not name is off, unless something it names brings it along.
const SETTINGS: &str = "settings";
/// The probe's driver, which becomes part of the kernel.
const DRIVER: &str = include_str!("../../guests/linux/probe_sva.c");
/// Programs that build a kernel and that few machines have.
const PROGRAMS: [&str; 5] = ["make", "flex", "bison", "m4", "bc"];
/// Headers of libelf, for the kernel's own tools.
const HEADERS: [&str; 4] = ["libelf.h", "gelf.h", "nlist.h", "elfutils"];

/// The part's name: another one for another configuration or driver.
pub(super) fn name() -> String {
    let digest = Sha256::new().chain_update(FRAGMENT).chain_update(DRIVER).finalize();
    digest.iter().take(4).fold("linux-iommufd-".to_owned(), |mut name, byte| {
        write!(name, "{byte:02x}").ok();
        name
    })
}

/// Fetches the source, builds it and leaves `bzImage` in `to`. Returns the version.
pub(super) fn build(apt: &Apt, busybox: &Path, to: &Path) -> Result<String> {
    let work = to.join("work");
    let packed = work.join("packed");
    let create = |path: &Path| std::fs::create_dir_all(path).map_err(file_error("cannot create", path));
    create(&packed)?;
    let package = apt.newest_behind_meta_package("linux-source")?;
    let version = apt.unpack(&[&package], &packed)?;
    let source = work.join(&package);
    {
        let _progress = Progress::start(format!("unpacking {package}"), source.clone());
        let archive = packed.join(format!("usr/src/{package}.tar.xz"));
        run(Command::new(busybox).args(["tar", "-xJf"]).arg(archive).arg("-C").arg(&work))?;
    }
    let tree = work.join("tools");
    create(&tree)?;
    let packages = [&PROGRAMS[..], &["libelf-dev"]].concat();
    apt.unpack_with_dependencies(&packages, &tree)?;

    let tools = Tools::install(&tree, &work)?;
    add_driver(&source)?;
    let output = work.join("output");
    create(&output)?;
    let _progress = Progress::start(format!("building a kernel with iommufd from {package}"), output.clone());
    let fragment = output.join(SETTINGS);
    std::fs::write(&fragment, FRAGMENT).map_err(file_error("cannot write", &fragment))?;
    tools.make(&source, &output, "allnoconfig")?;
    let config = output.join(".config");
    let text = std::fs::read_to_string(&config).map_err(file_error("cannot read", &config))?;
    if let Some(option) = missing(FRAGMENT, &text) {
        return Err(PartError::Unavailable(format!("{package} cannot be built with {option}")));
    }
    tools.make(&source, &output, "bzImage")?;
    let image = to.join("bzImage");
    std::fs::rename(output.join("arch/x86/boot/bzImage"), &image)
        .and_then(|()| std::fs::rename(&config, to.join("config")))
        .map_err(file_error("cannot keep", &image))?;
    remove_later(&work, &to.with_extension(format!("rubbish-{}", std::process::id())))?;
    Ok(version)
}

/// Puts a folder aside and has it removed: a hundred thousand files can take minutes, and nobody has to wait for that.
fn remove_later(folder: &Path, aside: &Path) -> Result<()> {
    std::fs::rename(folder, aside).map_err(file_error("cannot put aside", folder))?;
    run(Command::new("sh").args(["-c", "nice rm -rf \"$0\" >/dev/null 2>&1 &"]).arg(aside))?;
    Ok(())
}

/// Puts our driver among those that are always built.
fn add_driver(source: &Path) -> Result<()> {
    let folder = source.join("drivers/misc");
    let makefile = folder.join("Makefile");
    std::fs::write(folder.join("probe_sva.c"), DRIVER)
        .and_then(|()| std::fs::read_to_string(&makefile))
        .and_then(|text| std::fs::write(&makefile, text + "\nobj-y += probe_sva.o\n"))
        .map_err(file_error("cannot add a driver to", &folder))
}

/// The first option of `fragment` that is not in `config`: the kernel has none of that name, or not without others.
fn missing<'a>(fragment: &'a str, config: &str) -> Option<&'a str> {
    fragment.lines().find(|option| config.lines().all(|line| line != *option))
}

/// The programs for the build, ready to be found by name.
struct Tools {
    tree: PathBuf,
    programs: PathBuf,
    headers: PathBuf,
}

impl Tools {
    fn install(tree: &Path, work: &Path) -> Result<Self> {
        let tools = Self { tree: tree.into(), programs: work.join("bin"), headers: work.join("include") };
        for folder in [&tools.programs, &tools.headers] {
            std::fs::create_dir_all(folder).map_err(file_error("cannot create", folder))?;
        }
        for name in PROGRAMS {
            let command = tools::through_loader(tree, &format!("usr/bin/{name}"));
            let script = format!("#!/bin/sh\nexec {} \"$@\"\n", command.join(" "));
            let path = tools.programs.join(name);
            std::fs::write(&path, script)
                .and_then(|()| {
                    use std::os::unix::fs::PermissionsExt as _;
                    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
                })
                .map_err(file_error("cannot write", &path))?;
        }
        // Only these headers: the C library's would get in the way of the machine's own.
        for name in HEADERS {
            let link = tools.headers.join(name);
            std::os::unix::fs::symlink(tree.join("usr/include").join(name), &link)
                .map_err(file_error("cannot create", &link))?;
        }
        Ok(tools)
    }

    fn make(&self, source: &Path, output: &Path, target: &str) -> Result<()> {
        let include = format!("-I{}", self.headers.display());
        let libraries = self.tree.join("usr/lib/x86_64-linux-gnu");
        let path = std::env::var("PATH").unwrap_or_default();
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        run(Command::new("nice")
            .args(["-n", "19", "make", target])
            .arg(format!("-j{jobs}"))
            .arg(format!("O={}", output.display()))
            .arg(format!("HOSTCFLAGS={include}"))
            .arg(format!("HOSTLDFLAGS=-Wl,-rpath,{}", libraries.display()))
            .arg(format!("LIBELF_FLAGS={include}"))
            .arg(format!("LIBELF_LIBS={}", libraries.join("libelf.so.1").display()))
            .env("PATH", format!("{}:{path}", self.programs.display()))
            .env("KCONFIG_ALLCONFIG", output.join(SETTINGS))
            .env("M4", self.programs.join("m4"))
            .env("BISON_PKGDATADIR", self.tree.join("usr/share/bison"))
            .env_remove("MAKEFLAGS")
            .current_dir(source))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{missing, remove_later};

    #[test]
    fn what_is_removed_later_is_out_of_the_way_at_once() {
        let folder = std::env::temp_dir().join(format!("remove-later-{}", std::process::id()));
        let (work, aside) = (folder.join("work"), folder.join("aside"));
        std::fs::create_dir_all(work.join("deep")).unwrap();
        remove_later(&work, &aside).unwrap();
        assert!(!work.exists());
        let begin = Instant::now();
        while aside.exists() {
            assert!(begin.elapsed() < Duration::from_secs(20), "nobody removes it");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn an_option_that_the_kernel_ignored_is_noticed() {
        let config = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\n";
        assert_eq!(missing("CONFIG_C=\"x\"\nCONFIG_A=y\n", config), None);
        assert_eq!(missing("CONFIG_A=y\nCONFIG_B=y\nCONFIG_D=y\n", config), Some("CONFIG_B=y"));
    }
}
