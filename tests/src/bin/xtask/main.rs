//! The project's own commands: `cargo xtask …`.

mod bench;
mod conformance;
mod demo;
mod mutants;
mod nightly;
mod qemu_compare;
mod rig;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The nested rig: scenarios, a shell, or any command in an L1.
    #[command(subcommand)]
    Rig(rig::Rig),
    /// A stock guest reads an assigned drive through the emulated IOMMU: on this machine, or in the rig.
    Demo(demo::Demo),
    /// Measure the program against QEMU, in one L1 and in turns.
    Bench(bench::Bench),
    /// Measure against QEMU what it takes to have the host's mappings follow the guest's: with iommufd and without.
    BenchShadow(bench::BenchShadow),
    /// Print, section by section of the VT-d specification, what the tests show of it.
    Conformance(conformance::Conformance),
    /// Run the bare-metal guests here and under QEMU, and print where they end differently and who is right.
    QemuCompare(qemu_compare::QemuCompare),
    /// Plant known defects in a copy of the code, one at a time, and see that a test notices each.
    Mutants(mutants::Mutants),
    /// Everything that takes long, bounded in time; the results go to docs/nightly.
    Nightly(nightly::Nightly),
    /// Format, lints, and all tests that take minutes; with --all, those of the rig too.
    Test(test::Test),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Rig(rig) => rig.run(),
        Command::Demo(demo) => demo.run(),
        Command::Bench(bench) => bench.run(),
        Command::BenchShadow(bench) => bench.run(),
        Command::Conformance(conformance) => conformance.run(),
        Command::QemuCompare(compare) => compare.run(),
        Command::Mutants(mutants) => mutants.run(),
        Command::Nightly(nightly) => nightly.run(),
        Command::Test(test) => test.run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
