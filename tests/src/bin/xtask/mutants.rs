//! `cargo xtask mutants`: whether the tests notice defects that are planted on purpose.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use tests::mutants::{self, Mutant, Outcome, Trial, Verdict, Workshop};
use tests::program::workspace;

#[derive(clap::Args)]
#[command(after_help = "Example: cargo xtask mutants tail-unchecked routes")]
pub(crate) struct Mutants {
    /// Parts of the names of those wanted; all if there are none.
    names: Vec<String>,
    /// Print them, with what each does and the test that has to fail, and plant none.
    #[arg(long)]
    list: bool,
}

impl Mutants {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let chosen = self.chosen()?;
        if self.list {
            for Mutant { name, why, file, killed_by, .. } in chosen {
                println!("{name}\n    {why}\n    in {file}\n    killed by {killed_by}");
            }
            return Ok(ExitCode::SUCCESS);
        }
        for mutant in &chosen {
            let text = std::fs::read_to_string(workspace().join(mutant.file))
                .with_context(|| format!("cannot read {}, which {} is for", mutant.file, mutant.name))?;
            mutant.planted_in(&text)?;
        }
        let workshop = Workshop::open()?;
        unmutated(&workshop, &chosen)?;

        println!("\n== {} mutants", chosen.len());
        let mut survivors = Vec::new();
        for mutant in &chosen {
            let trial = workshop.try_out(mutant)?;
            let verdict = trial.outcome.verdict(&mutant.killed_by);
            if verdict != Verdict::Killed {
                survivors.push(mutant.name);
            }
            report(mutant, &trial, verdict);
        }
        println!();
        if !survivors.is_empty() {
            println!("not killed: {}", survivors.join(", "));
        }
        let (passed, failed) = (chosen.len() - survivors.len(), survivors.len());
        println!("Summary: {passed} passed, {failed} failed (a mutant passes when its test kills it)");
        Ok(ExitCode::from(u8::from(failed > 0)))
    }

    fn chosen(&self) -> anyhow::Result<Vec<Mutant>> {
        let all = mutants::all();
        if let Some(name) =
            self.names.iter().find(|name| !all.iter().any(|mutant| mutant.name.contains(*name)))
        {
            bail!("no mutant is called {name}; `cargo xtask mutants --list` names them");
        }
        let wanted = |mutant: &Mutant| self.names.iter().any(|name| mutant.name.contains(name));
        Ok(all.into_iter().filter(|mutant| self.names.is_empty() || wanted(mutant)).collect())
    }
}

/// Runs the tests of `mutants` without any of them: only then does it mean something that they fail.
fn unmutated(workshop: &Workshop, mutants: &[Mutant]) -> anyhow::Result<()> {
    println!("== their tests, unmutated");
    let mut done = Vec::new();
    for mutant in mutants {
        let test = mutant.killed_by;
        if done.contains(&(test.package, test.target, test.name)) {
            continue;
        }
        done.push((test.package, test.target, test.name));
        let Trial { outcome, elapsed, log } = workshop.run(&test)?;
        if outcome != Outcome::Passed {
            show(&log);
            bail!("{test} is to pass as things are ({outcome:?}): see {}", log.display());
        }
        println!("ok        {:>6.1} s  {test}", elapsed.as_secs_f64());
    }
    Ok(())
}

fn report(mutant: &Mutant, trial: &Trial, verdict: Verdict) {
    let (word, note) = match verdict {
        Verdict::Killed if trial.outcome == Outcome::Hung => ("killed", "hangs"),
        Verdict::Killed => ("killed", ""),
        Verdict::Survived => ("SURVIVED", ""),
        Verdict::Unclear(why) => ("UNCLEAR", why),
    };
    let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
    let (seconds, name, test) = (trial.elapsed.as_secs_f64(), mutant.name, mutant.killed_by);
    println!("{word:<8}  {seconds:>6.1} s  {name:<30}  {test}{note}");
    if verdict != Verdict::Killed {
        show(&trial.log);
        println!(
            "    {}\n    planted in {}; all of the output is in {}",
            mutant.why,
            mutant.file,
            trial.log.display()
        );
    }
}

/// Shows the end of what was printed.
fn show(log: &std::path::Path) {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(20)) {
        println!("    | {line}");
    }
}
