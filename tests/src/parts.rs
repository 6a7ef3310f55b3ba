//! What the rig is made of and does not come with the source: fetched once, without root, into a cache folder.
//!
//! The folder is `$PORTCULLIS_CACHE`, or `portcullis` in the user's cache folder. Each part lives in a folder named
//! after its version; a file beside them names the one in use, so nothing is looked up again once it is there. Any part
//! can be a file of the user's instead, named by an environment variable ([`Override`]).

mod apt;
mod kernel;
mod kernel_build;
mod modules;
pub mod patience;
mod qemu;
mod tools;

use std::path::{Path, PathBuf};

pub use kernel::{Kernel, KernelImage};
pub use modules::Modules;
pub use qemu::Qemu;

use crate::lock::Lock;

/// Why a part is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// A file or folder could not be read or written.
    #[error("{0}")]
    File(String, #[source] std::io::Error),
    /// A program needed for fetching ended badly; its last words follow.
    #[error("{program} failed: {output}")]
    Program {
        /// What was run.
        program: String,
        /// The end of what it printed.
        output: String,
    },
    /// This system has no packages we know how to fetch.
    #[error("{0}")]
    Unavailable(String),
}

/// Result of looking for a part.
pub type Result<T> = std::result::Result<T, PartError>;

/// Adds to an I/O error what was being done.
pub(crate) fn file_error(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> PartError {
    let message = format!("{what} {}", path.display());
    move |error| PartError::File(message, error)
}

/// An environment variable that names a local file to use instead of a fetched part.
#[derive(Clone, Copy, Debug)]
pub struct Override {
    /// The variable.
    pub variable: &'static str,
    /// What it must name.
    pub meaning: &'static str,
}

impl Override {
    /// The file the user named, if any.
    fn path(self) -> Option<PathBuf> {
        std::env::var_os(self.variable).filter(|value| !value.is_empty()).map(PathBuf::from)
    }
}

/// Every variable that replaces a part.
pub const OVERRIDES: [Override; 9] = [
    qemu::PROGRAM,
    qemu::TREE,
    kernel::IMAGE,
    kernel::MODULES,
    kernel::NEWEST_IMAGE,
    kernel::NEWEST_MODULES,
    kernel::IOMMUFD_IMAGE,
    BUSYBOX,
    tools::IASL,
];

const BUSYBOX: Override =
    Override { variable: "PORTCULLIS_BUSYBOX", meaning: "a statically linked busybox with insmod and xz" };

/// The cache, and what can be had from it.
#[derive(Clone, Debug)]
pub struct Parts {
    cache: PathBuf,
}

impl Parts {
    /// Opens the cache folder, creating it if need be.
    pub fn open() -> Result<Self> {
        let cache = cache_folder().ok_or_else(|| {
            PartError::Unavailable("no cache folder: set PORTCULLIS_CACHE to a folder of yours".into())
        })?;
        std::fs::create_dir_all(&cache).map_err(file_error("cannot create the cache folder", &cache))?;
        Ok(Self { cache })
    }

    /// The cache folder.
    pub fn folder(&self) -> &Path {
        &self.cache
    }

    /// A statically linked busybox; it runs here as well as in the guests.
    pub fn busybox(&self) -> Result<PathBuf> {
        if let Some(path) = BUSYBOX.path() {
            return Ok(path);
        }
        Ok(self.part("busybox", |apt, to| apt.unpack(&["busybox-static"], to))?.join("bin/busybox"))
    }

    /// Held while the part `name` is being made.
    fn lock_of(&self, name: &str) -> PathBuf {
        self.cache.join("parts").join(format!("{name}.lock"))
    }

    /// The folder of the part `name`, which `make` fills if it is not in the cache yet.
    fn part(&self, name: &str, make: impl FnOnce(&apt::Apt, &Path) -> Result<String>) -> Result<PathBuf> {
        let parts = self.cache.join("parts");
        let current = parts.join(format!("{name}.current"));
        if let Some(folder) = folder_in_use(&parts, &current) {
            return Ok(folder);
        }
        std::fs::create_dir_all(&parts).map_err(file_error("cannot create", &parts))?;
        let lock = self.lock_of(name);
        let _lock = Lock::take(&lock, &format!("another run is making {name}"))
            .map_err(file_error("cannot lock", &lock))?;
        if let Some(folder) = folder_in_use(&parts, &current) {
            return Ok(folder);
        }
        let unfinished = parts.join(format!("{name}.unfinished"));
        remove_folder(&unfinished)?;
        std::fs::create_dir_all(&unfinished).map_err(file_error("cannot create", &unfinished))?;
        let version = make(&apt::Apt::new(&self.cache)?, &unfinished)?;
        let folder = format!("{name}-{}", version.replace(['/', ':'], "_"));
        remove_folder(&parts.join(&folder))?;
        std::fs::rename(&unfinished, parts.join(&folder))
            .and_then(|()| std::fs::write(&current, &folder))
            .map_err(file_error("cannot finish", &parts.join(&folder)))?;
        Ok(parts.join(folder))
    }
}

fn folder_in_use(parts: &Path, current: &Path) -> Option<PathBuf> {
    let folder = parts.join(std::fs::read_to_string(current).ok()?.trim());
    folder.is_dir().then_some(folder)
}

fn remove_folder(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(file_error("cannot remove", path)(error))
        }
        _ => Ok(()),
    }
}

fn cache_folder() -> Option<PathBuf> {
    let named = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("PORTCULLIS_CACHE")
        .or_else(|| Some(named("XDG_CACHE_HOME")?.join("portcullis")))
        .or_else(|| Some(named("HOME")?.join(".cache/portcullis")))
}
