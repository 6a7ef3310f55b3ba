//! Tests that cannot run on a machine say so, and are counted at the end instead of passing silently.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The environment variable that names the file reasons are written to.
pub const VARIABLE: &str = "PORTCULLIS_SKIPPED";

/// Says that the test `name` is skipped and why. The test then returns.
pub fn skip(name: &str, reason: &str) {
    eprintln!("SKIPPED {name}: {reason}");
    if let Some(path) = std::env::var_os(VARIABLE) {
        let file = File::options().create(true).append(true).open(path);
        if let Err(error) = file.and_then(|mut file| writeln!(file, "{name}: {reason}")) {
            eprintln!("and that could not be recorded: {error}");
        }
    }
}

/// The reasons given during one run of the tests.
pub struct Record {
    path: PathBuf,
}

impl Record {
    /// Starts with none, in the file `path`.
    pub fn start(path: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        std::fs::write(&path, "")?;
        Ok(Self { path })
    }

    /// The file, for [`VARIABLE`].
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// What was skipped and why.
    pub fn reasons(&self) -> Vec<String> {
        std::fs::read_to_string(&self.path).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}
