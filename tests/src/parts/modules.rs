//! Kernel modules, in an order in which they can be loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PartError, Result, file_error};

/// The modules below one `/lib/modules/VERSION`.
#[derive(Debug)]
pub struct Modules {
    files: BTreeMap<String, PathBuf>,
    busybox: PathBuf,
}

impl Modules {
    /// Finds the modules below `folder`; `busybox` unpacks compressed ones.
    pub fn in_folder(folder: &Path, busybox: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        collect(folder, &mut files).map_err(file_error("cannot read", folder))?;
        Ok(Self { files, busybox: busybox.to_owned() })
    }

    /// The modules `names` and all they need, what is needed first: (name, content).
    ///
    /// A name that is no module here is skipped: it is built into some kernels.
    pub fn with_dependencies(&self, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names {
            self.visit(name, &mut seen, &mut order)?;
        }
        Ok(order)
    }

    fn visit(
        &self,
        name: &str,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<()> {
        let name = canonical(name);
        let Some(path) = self.files.get(&name) else { return Ok(()) };
        if !seen.insert(name.clone()) {
            return Ok(());
        }
        let content = self.read(path)?;
        for needed in needs(&content) {
            self.visit(&needed, seen, order)?;
        }
        order.push((name, content));
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        if path.extension().is_some_and(|it| it == "ko") {
            return std::fs::read(path).map_err(file_error("cannot read", path));
        }
        let output = Command::new(&self.busybox)
            .args(["xz", "-dc"])
            .arg(path)
            .output()
            .map_err(file_error("cannot unpack", path))?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(PartError::Program { program: format!("xz -dc {}", path.display()), output })
        }
    }
}

/// Modules are named with underscores; their files sometimes with hyphens.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// The names in the module's `depends=` line.
fn needs(content: &[u8]) -> Vec<String> {
    let tag = b"\0depends=";
    let Some(at) = content.windows(tag.len()).position(|window| window == tag) else { return Vec::new() };
    let list = &content[at + tag.len()..];
    let list = &list[..list.iter().position(|byte| *byte == 0).unwrap_or(list.len())];
    let list = String::from_utf8_lossy(list);
    list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if let Some((name, "ko" | "ko.xz")) =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('.'))
        {
            files.insert(canonical(name), path.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::needs;

    #[test]
    fn a_module_names_what_it_needs() {
        assert_eq!(needs(b"x\0license=GPL\0depends=kvm,ccp\0name=y\0"), ["kvm", "ccp"]);
        assert!(needs(b"x\0depends=\0name=y\0").is_empty());
        assert!(needs(b"none").is_empty());
    }
}
