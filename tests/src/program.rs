//! The programs that run inside the rig, built so that they need nothing from the system they run on.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Programs for L1 and L2, statically linked.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The program under test; `$PORTCULLIS_PROGRAM` names another than the one built here.
    pub portcullis: PathBuf,
    /// The helper for scripts in L1 and in guests.
    pub agent: PathBuf,
}

impl Programs {
    /// Builds them with cargo, quick to build.
    pub fn build() -> anyhow::Result<Self> {
        Self::build_as("rig")
    }

    /// Builds them as they are released, to be measured.
    pub fn build_released() -> anyhow::Result<Self> {
        Self::build_as("release")
    }

    /// Builds them in a target folder of their own since their flags are others than usual.
    fn build_as(profile: &str) -> anyhow::Result<Self> {
        let given = std::env::var_os("PORTCULLIS_PROGRAM").map(PathBuf::from);
        let folder = target_folder().join("static");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new("nice");
        command.arg(cargo).args(["build", "--quiet", "--profile", profile, "--target", TARGET]);
        if given.is_none() {
            command.args(["-p", "portcullis", "--bin", "portcullis"]);
        }
        let output = command
            .args(["-p", "tests", "--bin", "agent", "--target-dir"])
            .arg(&folder)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .current_dir(workspace())
            .output()
            .context("cannot run cargo")?;
        let messages = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the programs for the rig do not build:\n{messages}");
        let built = folder.join(TARGET).join(profile);
        Ok(Self { portcullis: given.unwrap_or_else(|| built.join("portcullis")), agent: built.join("agent") })
    }
}

/// The workspace's folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Cargo's target folder.
pub fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}
