//! Runs a case and judges how it ended.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::build::{BuildError, image, work_folder};
use super::{Case, DISK_SECTORS, left_with};
use crate::lock::Lock;
use crate::program::{target_folder, workspace};
use crate::skip;

/// A case that takes longer hangs. Most are done in less than a second; a busy machine may take a few.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it must.
    Passed,
    /// This machine's KVM cannot show what the case is about.
    Skipped(String),
    /// Not as it must.
    Failed(String),
}

/// Why a case could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The guest does not compile.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The program does not compile.
    #[error("The program does not build:\n{0}")]
    Program(String),
    /// Files or processes cannot be used.
    #[error("Cannot run the program")]
    Io(#[from] io::Error),
}

/// Runs a case as a test: panics if it fails, says so if it cannot be run here.
pub fn test(guest: &str, name: &str) {
    let case = Case::of(guest, name);
    if let Err(error) = fs::File::options().read(true).write(true).open("/dev/kvm") {
        return skip::skip(&case.to_string(), &format!("/dev/kvm cannot be used: {error}"));
    }
    match run(&case) {
        Ok(Outcome::Passed) => {}
        Ok(Outcome::Skipped(reason)) => skip::skip(&case.to_string(), &reason),
        Ok(Outcome::Failed(report)) => panic!("{case} failed\n{report}"),
        Err(error) => panic!("{case} could not be run: {:#}", anyhow::Error::from(error)),
    }
}

/// Runs a case on this machine.
pub fn run(case: &Case) -> Result<Outcome, RunError> {
    let image = image(&case.guest)?;
    let disk = disk(&format!("{}-{}", case.guest, case.name))?;
    let options = case.options.iter().map(|option| option.replace("{disk}", &disk.to_string_lossy()));
    let child = Command::new(program()?)
        .args(["run", "--kernel"])
        .arg(image)
        .args(["--cmdline", &case.command_line()])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let ended = wait(child)?;
    let mut outcome = judge(case, &ended);
    if let (Outcome::Passed, Some(text)) = (&outcome, case.leaves)
        && !contains(&fs::read(&disk)?, text.as_bytes())
    {
        outcome = Outcome::Failed(format!("the disk does not contain {text:?}"));
    }
    fs::remove_file(&disk)?;
    Ok(outcome)
}

/// A new image of a disk of [`DISK_SECTORS`] sectors, each byte of which is its sector's number modulo 256.
pub fn disk(name: &str) -> Result<PathBuf, RunError> {
    let path = work_folder()?.join(name).with_extension("img");
    fs::write(&path, (0..DISK_SECTORS).flat_map(|sector| [sector as u8; 512]).collect::<Vec<_>>())?;
    Ok(path)
}

/// What was left of a run.
pub(crate) struct Ended {
    /// None if it had to be killed.
    pub(crate) status: Option<ExitStatus>,
    /// What was said on both streams.
    pub(crate) output: String,
}

fn judge(case: &Case, ended: &Ended) -> Outcome {
    let report =
        |what: String| Outcome::Failed(format!("{what}. The guest and the program said:\n{}", ended.output));
    let Some(status) = ended.status else {
        return report(format!("it did not end within {} s", PATIENCE.as_secs()));
    };
    match (status.code(), status.signal()) {
        (Some(code), _) if code == case.ends && ended.output.contains(&case.says) => Outcome::Passed,
        (Some(code), _) if code == left_with(4) => match ended.output.split_once("SKIPPED: ") {
            Some((_, reason)) => Outcome::Skipped(reason.lines().next().unwrap_or_default().to_owned()),
            None => report(format!("exit code {code}")),
        },
        (Some(code), _) => report(format!("exit code {code}, not {} with `{}`", case.ends, case.says)),
        (None, signal) => report(format!("killed by signal {}", signal.unwrap_or_default())),
    }
}

/// Waits for the program to end and collects what it says; kills it if it takes too long.
pub(crate) fn wait(mut child: Child) -> io::Result<Ended> {
    let streams = [child.stdout.take().map(collect), child.stderr.take().map(collect)];
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let output = streams.into_iter().flatten().filter_map(|stream| stream.join().ok()).collect();
    Ok(Ended { status, output })
}

fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is worth having.
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// The program under test: `$PORTCULLIS_PROGRAM`, or the one of the workspace as its sources are now.
fn program() -> Result<&'static Path, RunError> {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    if let Some(program) = PROGRAM.get() {
        return Ok(program);
    }
    let program = match std::env::var_os("PORTCULLIS_PROGRAM") {
        Some(given) => given.into(),
        None => built()?,
    };
    Ok(PROGRAM.get_or_init(|| program))
}

/// Builds the program, once for each run of the tests even where every test is a process of its own.
fn built() -> Result<PathBuf, RunError> {
    let program = target_folder().join("debug/portcullis");
    let folder = work_folder()?;
    let run = std::env::var("NEXTEST_RUN_ID").ok();
    let _lock = Lock::take(&folder.join("program.lock"), "another test builds the program")?;
    let built_by = folder.join("program.built");
    if run.is_some() && fs::read_to_string(&built_by).ok() == run && program.exists() {
        return Ok(program);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "-p", "portcullis", "--bin", "portcullis"])
        .current_dir(workspace())
        .output()?;
    if !output.status.success() {
        return Err(RunError::Program(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    if let Some(run) = run {
        fs::write(&built_by, run)?;
    }
    Ok(program)
}
