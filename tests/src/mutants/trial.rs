//! Building a test and running it alone, with and without a defect.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Deserialize;

use super::scratch::Scratch;
use super::{Mutant, Test};
use crate::program::target_folder;

/// How long cargo may build.
const BUILD_LIMIT: Duration = Duration::from_mins(20);
/// How long a test may run; each takes a second or two at most.
const RUN_LIMIT: Duration = Duration::from_mins(2);
/// The same where it is expected to hang.
const HANG_LIMIT: Duration = Duration::from_secs(30);

/// A copy of the workspace to plant defects in, and a target folder that stays warm.
pub struct Workshop {
    scratch: Scratch,
    folder: PathBuf,
}

/// What came of one mutant, or of a test without any.
#[derive(Clone, Debug)]
pub struct Trial {
    /// How it ended.
    pub outcome: Outcome,
    /// How long building and running took.
    pub elapsed: Duration,
    /// The file with all that was printed.
    pub log: PathBuf,
}

/// How the attempt to run a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed: it panicked, which the harness noticed.
    Failed,
    /// It was still running after its time.
    Hung,
    /// It ended in another way, without a verdict of the harness.
    Crashed,
    /// There is no such test.
    Absent,
    /// It cannot be built.
    NotBuilt,
}

/// Whether a mutant was noticed, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its test failed, or hung where it may.
    Killed,
    /// Its test passed.
    Survived,
    /// Nothing can be said, for this reason.
    Unclear(&'static str),
}

impl Workshop {
    /// Copies the workspace to `target/mutants`.
    pub fn open() -> anyhow::Result<Self> {
        let folder = target_folder().join("mutants");
        fs::create_dir_all(folder.join("logs"))?;
        Ok(Self { scratch: Scratch::open(folder.join("workspace"))?, folder })
    }

    /// Runs a test as things are.
    pub fn run(&self, test: &Test) -> anyhow::Result<Trial> {
        self.attempt(test, &format!("unmutated-{}", test.name.replace("::", ".")), RUN_LIMIT)
    }

    /// Plants a mutant, runs its test, and takes it out again.
    pub fn try_out(&self, mutant: &Mutant) -> anyhow::Result<Trial> {
        let limit = if mutant.killed_by.may_hang { HANG_LIMIT } else { RUN_LIMIT };
        let _planted = self.scratch.plant(mutant)?;
        self.attempt(&mutant.killed_by, mutant.name, limit)
    }

    fn attempt(&self, test: &Test, log: &str, limit: Duration) -> anyhow::Result<Trial> {
        let begin = Instant::now();
        let log = self.folder.join("logs").join(log).with_extension("log");
        let outcome = match self.build(test, &log)? {
            Some(program) => self.execute(test, &program, &log, limit)?,
            None => Outcome::NotBuilt,
        };
        Ok(Trial { outcome, elapsed: begin.elapsed(), log })
    }

    /// Builds the program that has the test in it; `None` if it does not build.
    fn build(&self, test: &Test, log: &Path) -> anyhow::Result<Option<PathBuf>> {
        let messages = log.with_extension("json");
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["test", "--no-run", "--quiet", "--message-format=json-render-diagnostics"]);
        command.args(["--package", test.package]);
        match test.target {
            Some(target) => command.args(["--test", target]),
            None => command.arg("--lib"),
        };
        let child = command
            .arg("--target-dir")
            .arg(self.folder.join("target"))
            // Each program runs once: what counts is how quickly it is built.
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
            .current_dir(self.scratch.folder())
            .stdin(Stdio::null())
            .stdout(File::create(&messages)?)
            .stderr(File::create(log)?)
            .spawn()
            .context("cannot run cargo")?;
        let status = wait(child, BUILD_LIMIT)?;
        let built = fs::read_to_string(&messages)?;
        fs::remove_file(&messages)?;
        if !status.is_some_and(|status| status.success()) {
            return Ok(None);
        }
        let program =
            built.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok()).next_back();
        let program = program.with_context(|| format!("cargo names no program that has {test} in it"))?;
        Ok(Some(program.executable))
    }

    /// Runs the test and no other.
    fn execute(&self, test: &Test, program: &Path, log: &Path, limit: Duration) -> anyhow::Result<Outcome> {
        let folder = self.scratch.folder().join(test.folder());
        let output = File::options().append(true).open(log)?;
        let child = Command::new(program)
            .args(["--exact", test.name, "--include-ignored", "--test-threads", "1", "--color", "never"])
            .current_dir(&folder)
            .env("CARGO_MANIFEST_DIR", &folder)
            // What a defect makes fail is no regression to be tried again.
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let Some(status) = wait(child, limit)? else { return Ok(Outcome::Hung) };
        let printed = fs::read(log)?;
        let printed = String::from_utf8_lossy(&printed);
        let verdict = |word: &str| printed.lines().any(|line| line.trim_end().ends_with(word));
        Ok(if printed.contains("test result: ok. 0 passed") {
            Outcome::Absent
        } else if status.success() && verdict("... ok") {
            Outcome::Passed
        } else if printed.contains("test result: FAILED. 0 passed; 1 failed") {
            Outcome::Failed
        } else {
            Outcome::Crashed
        })
    }
}

/// A line of cargo's about something that it has built and that can be run.
#[derive(Deserialize)]
struct Artifact {
    executable: PathBuf,
}

/// Waits for a program to end; kills it if it has not after `limit`.
fn wait(mut child: Child, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Outcome {
    /// What it says of the mutant whose test this was.
    pub const fn verdict(self, test: &Test) -> Verdict {
        match self {
            Self::Failed => Verdict::Killed,
            Self::Hung if test.may_hang => Verdict::Killed,
            Self::Passed => Verdict::Survived,
            Self::Hung => Verdict::Unclear("its test hangs"),
            Self::Crashed => Verdict::Unclear("its test crashes"),
            Self::Absent => Verdict::Unclear("its test is not there"),
            Self::NotBuilt => Verdict::Unclear("it does not build"),
        }
    }
}
