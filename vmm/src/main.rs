//! The program: reads the command line, runs the machine, and says in one sentence what went wrong.

use std::process::ExitCode;

use clap::Parser;
use portcullis::cli::{Cli, Command};
use portcullis::machine::{self, Outcome};
use tracing_subscriber::EnvFilter;

/// The machine cannot be built as described.
const BAD_INPUT: u8 = 2;
/// The machine ran and could not go on.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    log_to_standard_error();
    let Command::Run(run) = Cli::parse().command;
    let machine =
        match run.config().map_err(anyhow::Error::from).and_then(|config| Ok(machine::build(&config)?)) {
            Ok(machine) => machine,
            Err(error) => {
                eprintln!("portcullis: {}", sentence(&error));
                return ExitCode::from(BAD_INPUT);
            }
        };
    match machine.run() {
        Ok(Outcome::Exit(code)) => ExitCode::from(code),
        Ok(_) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("portcullis: {message}");
            ExitCode::from(FAILED)
        }
    }
}

/// The chain of causes on one line.
fn sentence(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join(": ")
}

/// Warnings and worse by default; `PORTCULLIS_LOG` takes more, by module.
fn log_to_standard_error() {
    let filter = EnvFilter::try_from_env("PORTCULLIS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}
