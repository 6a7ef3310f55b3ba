//! What the shell scripts in the rig's guests cannot do themselves.
//!
//! Its output is for the rig: lines that begin with "@@".

mod port;
mod reads;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "What the shell scripts in the rig's guests cannot do themselves")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Time direct reads of a block device, one at a time.
    Reads(reads::Reads),
    /// Write a byte to the debug-exit port (0xf4), which ends the machine.
    Exit {
        /// The byte.
        value: u8,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Reads(reads) => reads.run(),
        Command::Exit { value } => port::write(0xf4, value),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("@@ probe failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
