//! A lock file: one rig at a time, one filler of the cache, one run of mutants.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Held until dropped; the kernel releases it if the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock on `path`, saying on standard error why it waits if it has to.
    pub(crate) fn take(path: &Path, why: &str) -> io::Result<Self> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            eprintln!("waiting: {why}");
            flock(&file, FlockOperation::LockExclusive)?;
        }
        Ok(Self { _file: file })
    }

    /// Whether somebody has the lock on `path` at this moment.
    pub(crate) fn is_held(path: &Path) -> bool {
        let file = File::options().write(true).open(path);
        file.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_err())
    }
}
