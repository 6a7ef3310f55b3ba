//! Small programs from Debian for use on this machine.

use std::path::Path;

use super::{Override, Parts, Result};

pub(super) const IASL: Override =
    Override { variable: "PORTCULLIS_IASL", meaning: "iasl, the disassembler of ACPI tables" };

const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

impl Parts {
    /// `iasl`, ready for arguments.
    pub fn iasl(&self) -> Result<Vec<String>> {
        if let Some(program) = IASL.path() {
            return Ok(vec![program.to_string_lossy().into_owned()]);
        }
        let tree = self.part("iasl", |apt, to| apt.unpack_with_dependencies(&["acpica-tools"], to))?;
        Ok(through_loader(&tree, "usr/bin/iasl"))
    }
}

/// A program of an unpacked tree, started through that tree's own loader.
pub(super) fn through_loader(tree: &Path, program: &str) -> Vec<String> {
    let inside = |name: &str| tree.join(name).to_string_lossy().into_owned();
    let libraries: Vec<_> = LIBRARIES.iter().map(|name| inside(name)).collect();
    vec![inside(LOADER), "--library-path".into(), libraries.join(":"), inside(program)]
}
