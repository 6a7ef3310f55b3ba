//! `cargo xtask rig`: the nested rig, for people.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use tests::guest::Vmm;
use tests::level1::{self, Config, Contents, Device, Level1};
use tests::parts::{Kernel, Parts};
use tests::program::{Programs, target_folder};
use tests::scenario::{self, Settings, Subject};
use tests::scenarios;

#[derive(Subcommand)]
pub(crate) enum Rig {
    /// List the sessions, when they run, and their scenarios.
    List,
    /// Run scenarios: SESSION for all of a session, SESSION/SCENARIO for one.
    #[command(after_help = "Example: cargo xtask rig run boot nvme/strict")]
    Run {
        /// What to run.
        #[arg(required = true)]
        names: Vec<String>,
        /// Let QEMU run the guests, to see whether a scenario or the program is at fault.
        #[arg(long)]
        qemu: bool,
    },
    /// An interactive L1 with the program in it and its devices bound to vfio-pci. Ctrl-A x ends it.
    Shell(Machine),
    /// Run a command in an L1; its output and exit status become this command's.
    #[command(
        after_help = "Example: cargo xtask rig exec --device nvme --add ./script.sh -- sh /add/script.sh"
    )]
    Exec {
        #[command(flatten)]
        machine: Machine,
        /// Seconds it may take.
        #[arg(long, default_value_t = 120)]
        timeout: u64,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Fetch everything the rig needs into the cache.
    Fetch,
}

/// The L1 wanted.
#[derive(Args)]
pub(crate) struct Machine {
    /// Its kernel.
    #[arg(long, value_enum, default_value_t = KernelName::Debian)]
    kernel: KernelName,
    /// Its devices, separated by commas: nvme, nvme-port, nvme-virtual, igb, pair, e1000e, switch, peer.
    #[arg(long, value_delimiter = ',', value_parser = device, default_value = "nvme")]
    device: Vec<Device>,
    /// A file or folder to lie in /add.
    #[arg(long, value_name = "FILE")]
    add: Vec<PathBuf>,
    /// Its memory in MiB.
    #[arg(long, default_value_t = 4096)]
    memory: u32,
    /// Words for its kernel's command line.
    #[arg(long, default_value = "")]
    cmdline: String,
    /// Without the program and a guest's kernel.
    #[arg(long)]
    bare: bool,
    /// With QEMU as /bin/qemu.
    #[arg(long)]
    peer: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum KernelName {
    Debian,
    Iommufd,
}

impl From<KernelName> for Kernel {
    fn from(name: KernelName) -> Self {
        match name {
            KernelName::Debian => Self::Debian,
            KernelName::Iommufd => Self::Iommufd,
        }
    }
}

fn device(name: &str) -> Result<Device, String> {
    Device::named(name).ok_or_else(|| {
        let all: Vec<_> = Device::ALL.iter().map(|device| device.name()).collect();
        format!("no such device; there are {}", all.join(", "))
    })
}

impl Machine {
    fn config(&self) -> anyhow::Result<Config> {
        let mut contents = Contents { peer: self.peer, ..Contents::default() };
        if !self.bare {
            let programs = Programs::build()?;
            contents.program = Some(programs.portcullis);
            contents.agent = Some(programs.agent);
            contents.guest = Some(Kernel::Debian);
        }
        for path in &self.add {
            let path = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            contents.files.push((path, format!("add/{name}")));
        }
        Ok(Config {
            kernel: self.kernel.into(),
            iommu: level1::USUAL_IOMMU,
            memory: self.memory,
            devices: self.device.clone(),
            cmdline: self.cmdline.clone(),
            contents,
            ..Config::default()
        })
    }
}

impl Rig {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::List => list(),
            Self::Run { names, qemu } => return run(&names, qemu),
            Self::Shell(machine) => shell(&machine)?,
            Self::Exec { machine, timeout, command } => return exec(&machine, timeout, &command),
            Self::Fetch => fetch()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list() {
    for session in scenarios::all() {
        println!("{:<12} {:<10}  {}", session.name, session.tier, session.shows);
        for scenario in &session.scenarios {
            println!("  {}/{}", session.name, scenario.name);
        }
    }
}

fn run(names: &[String], qemu: bool) -> anyhow::Result<ExitCode> {
    let mut failed = 0;
    for name in names {
        let (session, wanted) = name.split_once('/').map_or((name.as_str(), None), |(a, b)| (a, Some(b)));
        let mut session = scenarios::named(session)
            .with_context(|| format!("no session {session}; `cargo xtask rig list` names them"))?;
        if let Some(wanted) = wanted
            && !session.scenarios.iter().any(|scenario| scenario.name == wanted)
        {
            bail!("no scenario {name}; `cargo xtask rig list` names them");
        }
        for scenario in session.scenarios.iter_mut().filter(|_| qemu) {
            if let Subject::Guest(guest) = &mut scenario.subject {
                guest.vmm = Vmm::Qemu;
            }
        }
        let chosen = |it: &scenario::Scenario| wanted.is_none_or(|wanted| it.name == wanted);
        scenario::run(&session, &Settings::default(), chosen, |outcome| {
            failed += usize::from(outcome.failure.is_some());
            println!("{}/{outcome}", session.name);
        })?;
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn shell(machine: &Machine) -> anyhow::Result<()> {
    level1::shell(&Parts::open()?, &machine.config()?, &target_folder().join("rig/shell"))?;
    Ok(())
}

fn exec(machine: &Machine, timeout: u64, command: &[String]) -> anyhow::Result<ExitCode> {
    let mut level1 = Level1::boot(&Parts::open()?, &machine.config()?, &target_folder().join("rig/exec"))?;
    let words: Vec<_> = command.iter().map(|word| tests::guest::quoted(word)).collect();
    let script = format!("cd /add 2>/dev/null\n{}\n", words.join(" "));
    let output = level1.run(&script, Duration::from_secs(timeout))?;
    print!("{}", output.text);
    if output.timed_out() {
        eprintln!("rig: stopped after {timeout} s");
    }
    Ok(ExitCode::from(output.status.clamp(0, 255) as u8))
}

fn fetch() -> anyhow::Result<()> {
    let parts = Parts::open()?;
    parts.qemu()?;
    parts.busybox()?;
    for kernel in [Kernel::Debian, Kernel::Newest, Kernel::Iommufd] {
        parts.kernel(kernel)?;
    }
    println!("everything is in {}", parts.folder().display());
    Ok(())
}
