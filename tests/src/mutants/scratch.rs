//! The copy of the workspace that defects are planted in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::Mutant;
use crate::lock::Lock;
use crate::program::workspace;

/// The copy. Files that do not change keep their times, so that little has to be built anew.
pub(super) struct Scratch {
    folder: PathBuf,
    _lock: Lock,
}

/// A defect in the copy; dropping this takes it out.
pub(super) struct Planted {
    file: PathBuf,
    original: String,
}

impl Scratch {
    /// Brings the copy in `folder` in line with the workspace: what git knows or would add, as it is now.
    pub(super) fn open(folder: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder)?;
        let lock = Lock::take(&folder.with_extension("lock"), "mutants are being tried")?;
        let wanted = files()?;
        for path in &wanted {
            let (from, to) = (workspace().join(path), folder.join(path));
            let content = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
            if fs::read(&to).ok().as_ref() != Some(&content) {
                fs::create_dir_all(to.parent().unwrap_or(&folder))?;
                fs::write(&to, content).with_context(|| format!("cannot write {}", to.display()))?;
            }
        }
        remove_others(&folder, Path::new(""), &wanted)?;
        Ok(Self { folder, _lock: lock })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn plant(&self, mutant: &Mutant) -> anyhow::Result<Planted> {
        let file = self.folder.join(mutant.file);
        let original = fs::read_to_string(&file).with_context(|| format!("cannot read {}", mutant.file))?;
        fs::write(&file, mutant.planted_in(&original)?)?;
        Ok(Planted { file, original })
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        // Its time is new: cargo has to see that the file has changed once more.
        if let Err(error) = fs::write(&self.file, &self.original) {
            eprintln!("mutants: {} keeps a defect until the next run: {error}", self.file.display());
        }
    }
}

/// The workspace's files, without what git ignores.
fn files() -> anyhow::Result<BTreeSet<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(workspace())
        .output()
        .context("cannot run git, which knows the workspace's files")?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
    let names = String::from_utf8(output.stdout).context("git lists a file whose name is no text")?;
    let paths = names.split_terminator('\0').map(PathBuf::from);
    Ok(paths.filter(|path| workspace().join(path).is_file()).collect())
}

/// Removes what is below `folder/below` and not `wanted`.
fn remove_others(folder: &Path, below: &Path, wanted: &BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            remove_others(folder, &path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(folder.join(&path))?;
        }
    }
    Ok(())
}
