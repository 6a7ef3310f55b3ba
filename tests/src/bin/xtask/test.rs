//! `cargo xtask test`: everything that can be tested in minutes, or with `--all` everything.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tests::parts::patience;
use tests::program::{target_folder, workspace};
use tests::skip;

#[derive(clap::Args)]
pub(crate) struct Test {
    /// Every session of the rig, not only the smoke test.
    #[arg(long)]
    all: bool,
}

impl Test {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        step("format", cargo(&["fmt", "--all", "--check"]))?;
        let _fetching = self.all.then(fetch_parts).transpose()?;
        step(
            "clippy",
            cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        )?;
        // Examples in documentation, which the runner of the other tests does not know.
        step("examples", cargo(&["test", "--quiet", "--package", "iommu", "--doc"]))?;
        let skipped = skip::Record::start(target_folder().join("skipped"))?;
        let mut missing = Vec::new();
        if has("deny") {
            // Advisories need a database from the network; they are for people: `cargo deny check`.
            let checks =
                ["deny", "--offline", "--log-level", "error", "check", "bans", "licenses", "sources"];
            step("licences and sources", cargo(&checks))?;
        } else {
            missing
                .push("licences and sources: there is no cargo-deny here (cargo install cargo-deny)".into());
        }
        println!("\n== tests");
        let (passed, summary) =
            if has("nextest") { self.nextest(skipped.path())? } else { self.plain(skipped.path())? };
        for reason in missing.into_iter().chain(skipped.reasons()) {
            println!("SKIPPED {reason}");
        }
        println!("{summary}");
        Ok(ExitCode::from(u8::from(!passed)))
    }

    /// Runs the tests with nextest; whether they passed, and its summary.
    fn nextest(&self, skipped: &PathBuf) -> anyhow::Result<(bool, String)> {
        let mut command = cargo(&["nextest", "run", "--workspace", "--run-ignored", "all", "--no-fail-fast"]);
        command.args(["--color", "never"]);
        if !self.all {
            command.args(["-E", "not (binary(rig) and not (test(smoke) or test(every)))"]);
        }
        let mut child = command
            .env(skip::VARIABLE, skipped)
            .env(patience::VARIABLE, wait_until().to_string())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run cargo nextest")?;
        let mut summary = String::new();
        if let Some(messages) = child.stderr.take() {
            for line in BufReader::new(messages).lines().map_while(Result::ok) {
                eprintln!("{line}");
                if line.trim_start().starts_with("Summary [") {
                    summary = line;
                }
            }
        }
        Ok((child.wait()?.success(), summary))
    }

    /// Runs the tests as `cargo test` does, for want of nextest.
    fn plain(&self, skipped: &PathBuf) -> anyhow::Result<(bool, String)> {
        let quick = cargo(&["test", "--workspace"]).env(skip::VARIABLE, skipped).status()?.success();
        let mut rig =
            cargo(&["test", "-p", "tests", "--test", "rig", "--", "--ignored", "--test-threads", "1"]);
        if !self.all {
            rig.arg("smoke");
        }
        let rig = rig.env(skip::VARIABLE, skipped).status()?.success();
        let word = |passed| if passed { "passed" } else { "FAILED" };
        Ok((quick && rig, format!("Summary: tests {}, rig {}", word(quick), word(rig))))
    }
}

/// The moment, in seconds since 1970, until which sessions wait for the kernel that [`fetch_parts`] has built: on a
/// machine that has nothing yet, the rest takes about as long.
fn wait_until() -> u64 {
    const PATIENCE: Duration = Duration::from_mins(18);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now + PATIENCE).as_secs()
}

/// What the rig needs is fetched, and one kernel built, while other tests run: that build alone takes minutes.
/// What goes wrong here is met again, and reported, by the session that needs the missing part.
fn fetch_parts() -> anyhow::Result<Background> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let child = Command::new("nice")
        .args(["-n", "19"])
        .arg(program)
        .args(["rig", "fetch"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start fetching what the rig needs")?;
    Ok(Background(child))
}

/// A program that ends with this one at the latest, and all that it started.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        // Not yet waited for, so the number is still its own.
        kill_process_group(Pid::from_child(&self.0), Signal::KILL).ok();
        self.0.wait().ok();
    }
}

/// Whether cargo has this subcommand.
fn has(subcommand: &str) -> bool {
    let probe = cargo(&[subcommand, "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    probe.is_ok_and(|status| status.success())
}

fn step(name: &str, mut command: Command) -> anyhow::Result<()> {
    println!("== {name}");
    if !command.status().with_context(|| format!("cannot run {name}"))?.success() {
        bail!("{name} found something; see above");
    }
    Ok(())
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace());
    command
}
