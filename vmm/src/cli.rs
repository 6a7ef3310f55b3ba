//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError, Options};

/// A microVM whose point is its IOMMU.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The things the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a virtual machine on this terminal until the guest powers off
    #[command(after_help = EXAMPLES)]
    Run(Box<Run>),
}

/// A machine, from flags and a file.
#[derive(Args, Debug)]
pub struct Run {
    /// TOML file with the same keys as the flags below; flags win, lists are added
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The machine.
    #[command(flatten)]
    pub options: Options,
}

impl Run {
    /// Puts flags and file together and checks the result.
    pub fn config(self) -> Result<Config, ConfigError> {
        let file = self.config.as_deref().map(Options::from_file).transpose()?.unwrap_or_default();
        self.options.over(file).check()
    }
}

const EXAMPLES: &str = "\
Examples:
  Boot a kernel with an initial RAM disk on the serial console:
    portcullis run --kernel vmlinuz --initrd initrd.img --cmdline 'console=ttyS0 intel_iommu=on'

  Give the guest an NVMe drive that is bound to vfio-pci; caching mode, the split irqchip and all else
  that VFIO behind a remapping unit needs is set up by itself:
    portcullis run --kernel vmlinuz --initrd initrd.img --cmdline 'console=ttyS0 intel_iommu=on' \\
        --cpus 2 --memory 1G --vfio 0000:03:00.0

  Study translation without hardware, with an emulated requester that drives 28 address bits:
    portcullis run --kernel vmlinuz --memory 6G --device edu,addr=04.0,dma-mask=0xfffffff

  The same from a file (memory = \"6G\", device = [\"edu,addr=04.0\"], …):
    portcullis run --config vm.toml

  Scalable mode instead of legacy mode, with posted interrupts, which no profile has by itself:
    portcullis run --kernel vmlinuz --iommu-profile full --iommu-features=+posted-interrupts --device edu

The guest's serial port is this terminal: Ctrl-A x quits, Ctrl-A h lists the keys.
Exit code: 0 after power-off or reboot, 2N+1 where the guest wrote N to port 0xf4, 2 for a machine that
cannot be built, 1 where it could not go on.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_of_the_readme_parse() {
        let line =
            "portcullis run --kernel K --initrd I --cmdline C --cpus 2 --memory 1G --vfio 0000:03:00.0";
        let Command::Run(run) = Cli::try_parse_from(line.split(' ')).unwrap().command;
        let config = run.config().unwrap();
        assert_eq!((config.cpus, config.memory, config.vfio.len()), (2, 1 << 30, 1));
    }

    #[test]
    fn a_feature_that_goes_is_not_taken_for_a_flag() {
        for line in [
            "portcullis run --kernel K --iommu-features -pass-through,+posted-interrupts",
            "portcullis run --kernel K --iommu-features=-pass-through,+posted-interrupts",
        ] {
            let Command::Run(run) = Cli::try_parse_from(line.split(' ')).unwrap().command;
            let legacy = iommu::Capabilities::legacy(48).to_builder();
            let capabilities = run.config().unwrap().unit.features.apply(legacy);
            assert!(!capabilities.has(iommu::Feature::PassThrough));
            assert!(capabilities.has(iommu::Feature::PostedInterrupts));
        }
    }
}
