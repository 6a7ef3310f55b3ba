//! One thing that a night does: a program, how long it may take, and which of its lines are worth keeping.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tests::program::workspace;
use tests::scenario::{Session, Tier};
use tests::scenarios;

/// How long the soaks go on, unless the night is shorter.
const SOAK: Duration = Duration::from_hours(1);
/// How long each fuzz target gets, likewise.
const FUZZ: Duration = Duration::from_mins(30);
/// Cases of each property: this many times as many as with every change.
const CASES: u32 = 100 * 256;
/// Told to a program that has run out of time before it is killed: for the rig to end its machine.
const GRACE: &str = "20";
/// What `timeout` ends with if it had to intervene.
const OUT_OF_TIME: [i32; 2] = [124, 137];

/// Something to run.
pub(super) struct Task {
    /// What it is called.
    pub(super) name: String,
    /// What it shows, in one sentence.
    pub(super) shows: &'static str,
    program: Program,
    /// What to put in its environment if that much time is left.
    variables: fn(Duration) -> Vec<(&'static str, String)>,
    /// Which lines of its output to keep.
    keep: fn(&str) -> bool,
}

/// Who runs it, with which arguments.
enum Program {
    /// This program.
    Xtask(Vec<String>),
    /// cargo.
    Cargo(Vec<String>),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Well.
    Passed,
    /// Badly.
    Failed,
    /// It was stopped, or not even begun, for want of time; until then nothing was wrong.
    Unfinished,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "**failed**",
            Self::Unfinished => "no time left",
        })
    }
}

/// What came of it.
pub(super) struct Report {
    pub(super) name: String,
    pub(super) verdict: Verdict,
    pub(super) elapsed: Duration,
    /// The lines worth keeping.
    pub(super) lines: Vec<String>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "{}: {} after {:.0} s", self.name, self.verdict, self.elapsed.as_secs_f64())
    }
}

/// Everything there is, in the order in which it makes sense.
pub(super) fn all() -> Vec<Task> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let nightly = scenarios::all().into_iter().filter(|session| session.tier == Tier::Nightly);
    let mut tasks: Vec<_> = nightly.map(|session| of_session(&session)).collect();
    tasks.push(Task {
        name: "mutants".into(),
        shows: "the tests notice every known mistake",
        program: Program::Xtask(words("mutants")),
        variables: |_| Vec::new(),
        keep: |line| ["SURVIVED", "UNCLEAR", "not killed", "Summary"].iter().any(|it| line.starts_with(it)),
    });
    tasks.push(Task {
        name: "properties".into(),
        shows: "the properties of the unit and of the shadow, with many more cases",
        program: Program::Cargo(words(
            "nextest run --profile nightly -p iommu --lib --test reference --test shadow_model \
             --test shadow_neighbours --no-fail-fast",
        )),
        variables: |_| vec![("PROPTEST_CASES", CASES.to_string())],
        keep: of_nextest,
    });
    tasks.push(Task {
        name: "fuzz".into(),
        shows: "random bytes for every fuzz target, far longer than with every change",
        program: Program::Cargo(words(
            "nextest run --profile nightly --cargo-profile release -p iommu --test fuzz --no-fail-fast",
        )),
        // There are four, two processors at the least, and a build before.
        variables: |left| vec![("PORTCULLIS_FUZZ_SECONDS", FUZZ.min(left / 4).as_secs().to_string())],
        keep: of_nextest,
    });
    tasks
}

fn of_session(session: &Session) -> Task {
    Task {
        name: session.name.into(),
        shows: session.shows,
        program: Program::Xtask(vec!["rig".into(), "run".into(), session.name.into()]),
        variables: |left| {
            let minutes = SOAK.min(left / 2).as_secs() / 60;
            vec![(scenarios::SOAK_MINUTES, minutes.max(1).to_string())]
        },
        keep: |_| true,
    }
}

fn of_nextest(line: &str) -> bool {
    // Those that are stopped for want of time are counted as failed.
    ["FAIL [", "SIGTERM [", "Summary ["].iter().any(|it| line.trim_start().starts_with(it))
}

impl Task {
    /// Runs it for `limit` at the most, with its whole output in a file of `logs`.
    pub(super) fn run(&self, limit: Duration, logs: &Path) -> anyhow::Result<Report> {
        let begin = Instant::now();
        let report =
            |verdict, lines| Report { name: self.name.clone(), verdict, elapsed: begin.elapsed(), lines };
        if limit < Duration::from_mins(1) {
            return Ok(report(Verdict::Unfinished, Vec::new()));
        }
        let log = logs.join(&self.name).with_extension("log");
        let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let (program, arguments) = match &self.program {
            Program::Xtask(arguments) => (std::env::current_exe()?.into_os_string(), arguments),
            Program::Cargo(arguments) => (std::env::var_os("CARGO").unwrap_or("cargo".into()), arguments),
        };
        let status = Command::new("timeout")
            .args(["-k", GRACE, &limit.as_secs().to_string()])
            .arg(program)
            .args(arguments)
            .envs((self.variables)(limit))
            .current_dir(workspace())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .status()
            .context("cannot run timeout")?;
        let text = std::fs::read(&log)?;
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| (self.keep)(line)).map(|line| line.trim_end().to_owned());
        let verdict = match status.code() {
            Some(0) => Verdict::Passed,
            Some(code) if OUT_OF_TIME.contains(&code) => Verdict::Unfinished,
            _ => Verdict::Failed,
        };
        Ok(report(verdict, lines.collect()))
    }
}
