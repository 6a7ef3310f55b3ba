//! Runs a session: boots its L1, runs its scenarios one after the other, keeps the logs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Evidence, Scenario, Session};
use crate::level1::{Config, Contents, Level1, Level1Error, Output, last_lines, tail};
use crate::parts::Parts;
use crate::program::{self, Programs};

/// How long L1 may take for the scripts before and after a guest.
const ERRAND: Duration = Duration::from_mins(1);
/// How long it may take for all of them.
const ERRANDS: Duration = Duration::from_mins(10);

/// Where things are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder for logs; each session gets one of its own in it.
    pub logs: PathBuf,
    /// The programs under test; built when first needed if none are named.
    pub programs: Option<Programs>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { logs: program::target_folder().join("rig"), programs: None }
    }
}

/// How a scenario ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its name.
    pub scenario: &'static str,
    /// From the VMM's start to its end.
    pub elapsed: Duration,
    /// What it measured: the lines of the guest and of L1 that begin with `@@ figure`.
    pub figures: Vec<String>,
    /// What was wrong, with the end of every layer's log; none if nothing was.
    pub failure: Option<Failure>,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let word = if self.failure.is_none() { "ok" } else { "FAILED" };
        write!(f, "{} ({seconds:.1} s): {word}", self.scenario)?;
        for figure in &self.figures {
            write!(f, "\n  {figure}")?;
        }
        self.failure.as_ref().map_or(Ok(()), |failure| write!(f, "\n{failure}"))
    }
}

/// What was wrong with a scenario.
#[derive(Debug)]
pub struct Failure {
    /// Each thing that was not as it must be.
    pub problems: Vec<String>,
    /// The end of every layer's log.
    pub tails: String,
    /// Where the whole logs are.
    pub logs: PathBuf,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for problem in &self.problems {
            writeln!(f, "  * {problem}")?;
        }
        write!(f, "{}logs: {}", self.tails, self.logs.display())
    }
}

/// Runs those scenarios of `session` that `chosen` picks.
///
/// Where L0 or L1 fails, and not what is tested, that is said and tried once more with a new L1.
pub fn run(
    session: &Session,
    settings: &Settings,
    chosen: impl Fn(&Scenario) -> bool,
    mut report: impl FnMut(&Outcome),
) -> anyhow::Result<Vec<Outcome>> {
    let parts = Parts::open()?;
    let folder = settings.logs.join(session.name);
    std::fs::create_dir_all(&folder)?;
    let config = config(session, settings)?;
    let mut level1 = boot(&parts, &config, &folder)?;
    let mut outcomes = Vec::new();
    for scenario in session.scenarios.iter().filter(|scenario| chosen(scenario)) {
        let evidence = match gather(&mut level1, scenario) {
            Ok(evidence) => evidence,
            Err(error) => {
                eprintln!(
                    "rig: {}/{}: {error}\nrig: trying once more with a new L1",
                    session.name, scenario.name
                );
                drop(level1);
                level1 = boot(&parts, &config, &folder)?;
                gather(&mut level1, scenario)?
            }
        };
        let outcome = judge(scenario, &evidence, &folder)?;
        report(&outcome);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn config(session: &Session, settings: &Settings) -> anyhow::Result<Config> {
    let programs = match &settings.programs {
        Some(programs) => programs.clone(),
        None => Programs::build()?,
    };
    let contents = Contents {
        program: session.needs_program().then_some(programs.portcullis),
        agent: Some(programs.agent),
        guest: Some(session.guest_kernel),
        guest_hosts: session.guests_host(),
        peer: session.needs_peer(),
        files: (session.files)()?,
    };
    Ok(Config {
        kernel: session.kernel,
        iommu: session.iommu,
        memory: session.memory,
        one_processor: session.one_processor,
        devices: session.devices.clone(),
        cmdline: session.cmdline.to_owned(),
        lifetime: Config::default().lifetime.max(session.budget() + ERRANDS),
        contents,
    })
}

/// Boots an L1; a boot that fails is said and tried once more.
fn boot(parts: &Parts, config: &Config, folder: &Path) -> Result<Level1, Level1Error> {
    match Level1::boot(parts, config, folder) {
        Err(error @ Level1Error::Lost { .. }) => {
            eprintln!("rig: {error}\nrig: booting L1 once more");
            Level1::boot(parts, config, folder)
        }
        other => other,
    }
}

/// Runs one scenario.
fn gather(level1: &mut Level1, scenario: &Scenario) -> Result<Evidence, Level1Error> {
    let before = level1.run(&format!("dmesg -c >/dev/null\n{}", scenario.before), ERRAND)?;
    let checksums = level1.disks().iter().map(|disk| disk.sha256().unwrap_or_default()).collect();
    let start = Instant::now();
    let guest: Output = level1.run(&scenario.subject.job(), scenario.budget)?;
    let elapsed = start.elapsed();
    let after = level1.run(&format!("{}\ndmesg", scenario.after), ERRAND)?;
    Ok(Evidence {
        guest: guest.text,
        level1: before.text + &after.text,
        status: guest.status,
        elapsed,
        disks: level1.disks().to_vec(),
        before: checksums,
    })
}

fn judge(scenario: &Scenario, evidence: &Evidence, folder: &Path) -> std::io::Result<Outcome> {
    let log = |layer: &str| folder.join(format!("{}.{layer}.log", scenario.name));
    std::fs::write(log("guest"), &evidence.guest)?;
    std::fs::write(log("level1"), &evidence.level1)?;
    let problems = evidence.problems(scenario);
    let failure = (!problems.is_empty()).then(|| {
        let mut tails = String::new();
        let layers = [
            ("L2, the guest's console", last_lines(&evidence.guest, 40)),
            ("L1, its log", last_lines(&evidence.level1, 15)),
            ("L1, its console", tail(&folder.join("level1.console.log"), 5)),
            ("L0, QEMU", tail(&folder.join("level0.log"), 3)),
        ];
        for (layer, text) in layers {
            writeln!(tails, "--- end of {layer}:\n{text}").ok();
        }
        Failure { problems, tails, logs: folder.to_owned() }
    });
    Ok(Outcome { scenario: scenario.name, elapsed: evidence.elapsed, figures: evidence.figures(), failure })
}
