//! ACPI tables that a guest dumped, judged by a disassembler that is not ours and by our own checker.

pub mod machine;

use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::parts::Parts;

/// Disassembles every table with `iasl`; anything it complains of is an error.
pub fn disassemble(tables: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    let program = Parts::open()?.iasl()?;
    let folder = std::env::temp_dir().join(format!("portcullis-acpi-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let complaints = tables.iter().try_fold(Vec::new(), |mut complaints, (name, content)| {
        std::fs::write(folder.join(name), content)?;
        let output = Command::new(&program[0])
            .args(&program[1..])
            .args(["-d", name])
            .current_dir(&folder)
            .output()
            .context("cannot run iasl")?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let wrong =
            |line: &&str| ["Error", "Warning", "Invalid", "rror:"].iter().any(|word| line.contains(word));
        complaints.extend(text.lines().filter(wrong).map(|line| format!("{name}: {line}")));
        if !output.status.success() {
            complaints.push(format!("{name}: iasl ends with {}", output.status));
        }
        anyhow::Ok(complaints)
    })?;
    std::fs::remove_dir_all(&folder).ok();
    ensure!(complaints.is_empty(), "iasl complains:\n{}", complaints.join("\n"));
    Ok(())
}
