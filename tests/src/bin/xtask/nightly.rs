//! `cargo xtask nightly`: what takes too long for every change, and a dated record of how it ended.

mod task;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tests::program::{target_folder, workspace};

use task::{Report, Task, Verdict};

#[derive(clap::Args)]
#[command(after_help = "Example: cargo xtask nightly --minutes 90 soak fuzz\n\
    The results are added to docs/nightly/DATE.md, for you to commit.")]
pub(crate) struct Nightly {
    /// What to run: names of nightly sessions, mutants, properties, fuzz; everything if there are none.
    names: Vec<String>,
    /// How many hours it may take.
    #[arg(long, default_value_t = 8)]
    hours: u64,
    /// How many minutes it may take, instead.
    #[arg(long, conflicts_with = "hours")]
    minutes: Option<u64>,
    /// Name what there is, and run nothing.
    #[arg(long)]
    list: bool,
}

impl Nightly {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let limit = self.minutes.map_or(Duration::from_hours(self.hours), Duration::from_mins);
        let tasks = task::all();
        if let Some(name) = self.names.iter().find(|name| !tasks.iter().any(|task| task.name == **name)) {
            anyhow::bail!("nothing is called {name}; `cargo xtask nightly --list` names all there is");
        }
        let wanted = |task: &&Task| self.names.is_empty() || self.names.contains(&task.name);
        let tasks: Vec<_> = tasks.iter().filter(wanted).collect();
        if self.list {
            for Task { name, shows, .. } in tasks {
                println!("{name:<12} {shows}");
            }
            return Ok(ExitCode::SUCCESS);
        }
        let begun = date("%H:%M UTC")?;
        let end = Instant::now() + limit;
        let logs = target_folder().join("nightly");
        std::fs::create_dir_all(&logs)?;
        let mut reports = Vec::new();
        for task in tasks {
            println!("== {}", task.name);
            let report = task.run(end.saturating_duration_since(Instant::now()), &logs)?;
            print!("{report}");
            reports.push(report);
        }
        let path = record(&begun, &reports)?;
        let count = |verdict: Verdict| reports.iter().filter(|report| report.verdict == verdict).count();
        println!("the results are in {}", path.display());
        let (passed, failed) = (count(Verdict::Passed), count(Verdict::Failed));
        println!("Summary: {passed} passed, {failed} failed, {} skipped", reports.len() - passed - failed);
        Ok(ExitCode::from(u8::from(failed > 0)))
    }
}

/// Adds the results to the record of the day.
fn record(begun: &str, reports: &[Report]) -> anyhow::Result<PathBuf> {
    let folder = workspace().join("docs/nightly");
    std::fs::create_dir_all(&folder)?;
    let day = date("%F")?;
    let path = folder.join(format!("{day}.md"));
    let mut text = std::fs::read_to_string(&path).unwrap_or_else(|_| format!("# Night of {day}\n"));
    let changed = !output("git", &["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    writeln!(
        text,
        "\nFrom {begun} on {processors} processors, commit {}{}:\n\n| what | result | minutes |\n|---|---|---:|",
        output("git", &["rev-parse", "--short=12", "HEAD"])?,
        if changed { " with changes" } else { "" }
    )?;
    for Report { name, verdict, elapsed, .. } in reports {
        writeln!(text, "| {name} | {verdict} | {:.1} |", elapsed.as_secs_f64() / 60.0)?;
    }
    for Report { lines, name, .. } in reports.iter().filter(|report| !report.lines.is_empty()) {
        writeln!(text, "\n{name}:\n\n```\n{}\n```", lines.join("\n"))?;
    }
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The date or time now, as `date` puts it.
pub(crate) fn date(format: &str) -> anyhow::Result<String> {
    output("date", &["-u", &format!("+{format}")])
}

/// What a command prints.
fn output(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).current_dir(workspace()).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
