//! Compiles guests, once for each state of their sources.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use sha2::{Digest as _, Sha256};

use crate::program::{target_folder, workspace};

/// Why a guest cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The sources or the folder for what comes of them cannot be used.
    #[error("Cannot read or write {0}")]
    Files(PathBuf, #[source] io::Error),
    /// There is no C compiler.
    #[error("Cannot run the C compiler `{0}`: install gcc, or name another in CC")]
    NoCompiler(String, #[source] io::Error),
    /// The compiler refused.
    #[error("The guest {guest} does not compile:\n{messages}")]
    Compiler {
        /// The guest.
        guest: String,
        /// What the compiler said.
        messages: String,
    },
}

/// For an image without a host around it: no C library, no vector registers, nothing that needs set-up.
const FLAGS: [&str; 21] = [
    "-std=gnu17",
    "-O1",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-fno-pic",
    "-no-pie",
    "-fno-stack-protector",
    "-fcf-protection=none",
    "-fno-asynchronous-unwind-tables",
    "-fno-strict-aliasing",
    "-mno-red-zone",
    "-mno-sse",
    "-mgeneral-regs-only",
    "-nostdlib",
    "-static",
    "-Wl,--build-id=none,-z,noexecstack,--no-warn-rwx-segments",
    "-T",
    "runtime/guest.ld",
];

/// The folder with the guests' sources.
fn sources() -> PathBuf {
    workspace().join("tests/guests")
}

/// The guests there are, by name.
pub fn guests() -> Result<Vec<String>, BuildError> {
    let folder = sources();
    let names = files(&folder)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "c"));
    Ok(names.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect())
}

/// The cases of a guest, in the order of its source.
pub fn cases(guest: &str) -> Result<Vec<String>, BuildError> {
    let path = sources().join(guest).with_extension("c");
    let text = fs::read_to_string(&path).map_err(|error| BuildError::Files(path, error))?;
    let names =
        text.lines().filter_map(|line| Some(line.strip_prefix("CASE(")?.split_once(')')?.0.to_owned()));
    Ok(names.collect())
}

/// The ELF image of a guest, compiled if there is none of its sources as they are now.
pub fn image(guest: &str) -> Result<PathBuf, BuildError> {
    let folder = sources();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "gcc".into());
    let source = folder.join(guest).with_extension("c");
    let runtime = files(&folder.join("runtime"))?;

    let mut digest = Sha256::new();
    digest.update(format!("{compiler} {FLAGS:?}"));
    for path in runtime.iter().chain([&source]) {
        digest.update(fs::read(path).map_err(|error| BuildError::Files(path.clone(), error))?);
    }
    let digest = digest.finalize().iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    let output = work_folder()?.join(format!("{guest}-{digest:016x}.elf"));
    if output.exists() {
        return Ok(output);
    }

    // Compiled beside and moved into place: another test may be doing the same.
    let unfinished = output.with_extension(format!("{}", std::process::id()));
    let inputs = runtime.iter().filter(|path| path.extension().is_some_and(|end| end == "c" || end == "S"));
    let compiled = Command::new(&compiler)
        .args(FLAGS)
        .arg("-o")
        .arg(&unfinished)
        .arg(&source)
        .args(inputs)
        .current_dir(&folder)
        .output()
        .map_err(|error| BuildError::NoCompiler(compiler, error))?;
    if !compiled.status.success() {
        let messages = String::from_utf8_lossy(&compiled.stderr).into_owned();
        return Err(BuildError::Compiler { guest: guest.to_owned(), messages });
    }
    fs::rename(&unfinished, &output).map_err(|error| BuildError::Files(output.clone(), error))?;
    Ok(output)
}

/// Where images and disks are kept.
pub(super) fn work_folder() -> Result<PathBuf, BuildError> {
    let folder = target_folder().join("guests");
    fs::create_dir_all(&folder).map_err(|error| BuildError::Files(folder.clone(), error))?;
    Ok(folder)
}

/// The files in a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut paths: Vec<_> =
            fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        paths.retain(|path| path.is_file());
        paths.sort();
        Ok(paths)
    };
    list().map_err(|error| BuildError::Files(folder.to_owned(), error))
}
