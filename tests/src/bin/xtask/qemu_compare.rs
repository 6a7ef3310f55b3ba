//! `cargo xtask qemu-compare`: the bare-metal guests here and under QEMU, side by side.

use std::process::ExitCode;

use tests::bare_metal::{self, Outcome};
use tests::comparison::{self, Counterpart, Expected, Verdict};

#[derive(clap::Args)]
pub(crate) struct QemuCompare {
    /// Parts of the names of the cases wanted, as `dma/` or `overflow`; all if there are none.
    names: Vec<String>,
    /// Print the list of differences as the table of docs/qemu.md, and run nothing.
    #[arg(long)]
    table: bool,
}

impl QemuCompare {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        if self.table {
            print!("{}", comparison::table());
            return Ok(ExitCode::SUCCESS);
        }
        let qemu = Counterpart::open()?;
        let (mut same, mut different, mut skipped, mut wrong) = (0, 0, 0, 0);
        println!("{:<55} {:<11} QEMU", "case", "Portcullis");
        for (case, expected) in comparison::cases()? {
            if !self.names.is_empty() && !self.names.iter().any(|name| case.to_string().contains(name)) {
                continue;
            }
            let here = match bare_metal::run(&case)? {
                Outcome::Passed => "pass",
                Outcome::Skipped(_) => "skipped",
                Outcome::Failed(_) => {
                    wrong += 1;
                    "FAIL"
                }
            };
            let Verdict { case, passed, expected, surprise } = comparison::compare(&qemu, case, expected)?;
            let there = match passed {
                Some(true) => "pass",
                Some(false) => "differs",
                None => "-",
            };
            println!("{:<55} {here:<11} {there}", case.to_string());
            match expected {
                None => same += 1,
                Some(Expected::Differs { section, right, why, .. }) => {
                    different += 1;
                    println!("    §{section}: {why}; {right}");
                }
                Some(Expected::Skipped(why)) => {
                    skipped += 1;
                    println!("    {why}");
                }
            }
            if let Some(surprise) = surprise {
                wrong += 1;
                println!("    NOT AS LISTED: {surprise}");
            }
        }
        println!(
            "\nSummary: {same} cases end alike, {different} differ as listed, {skipped} are not compared, {wrong} are \
             not as expected"
        );
        Ok(ExitCode::from(u8::from(wrong > 0)))
    }
}
