//! `cargo xtask bench-shadow`: what it takes to have the host's mappings follow the guest's, against QEMU.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tests::guest::Guest;
use tests::level1::{Config, Contents, Device, Level1};
use tests::parts::{Kernel, Parts};
use tests::program::{Programs, target_folder};
use tests::{bare_metal, scenario};

use crate::nightly::date;

use super::measurement::Measurements;
use super::page::{Facts, Page};
use super::variant::Variant;

/// The drives, in L1.
const DRIVES: [Device; 4] =
    [Device::Nvme, Device::NvmeOneVector, Device::NvmeBehindPort, Device::NvmeBehindSecondPort];

/// The guest of our own in L1.
const IMAGE: &str = "/bare/assigned";
/// Keeps a VMM on L1's first processor. KVM leaves a register there as the guests here want it (TSC_AUX is 0), and
/// elsewhere writes it before each entry and after: where a VMM happened to run would decide.
const FIRST_PROCESSOR: &str = "taskset 1";
/// How often it maps and unmaps a page, how often a buffer, and how often it flushes.
const PAGES: f64 = 2000.0;
const BUFFERS: f64 = 300.0;
const FLUSHES: f64 = 20.0;
/// MiB that it maps in small pages during a flush: type1 has no room for many more.
const SMALL: u32 = 64;

/// Requests of each size that Linux makes: bytes, how many where they are timed, how many where calls are counted.
const READS: [(u32, f64, f64); 2] = [(4096, 1000.0, 200.0), (131_072, 100.0, 50.0)];
/// RAM of the guest with four drives, in MiB.
const RAM: u32 = 1024;

/// Reads with the drive translated, then passed through, in one guest. Linux changes the treatment of a group while
/// nobody drives it.
const TREATMENTS: &str = "\
function=$(basename $(readlink -f /sys/block/nvme0n1/device/device))
read_as() {
    agent reads /dev/nvme0n1 $2 $1 | sed \"s/^@@/@@ $3:/\"
}
treat_as() {
    echo $function >/sys/bus/pci/drivers/nvme/unbind
    echo $1 >/sys/bus/pci/devices/$function/iommu_group/type
    echo $function >/sys/bus/pci/drivers/nvme/bind
    for try in $(seq 100); do [ -b /dev/nvme0n1 ] && return; sleep 0.1; done
    return 1
}
";

/// Which kernel L1 runs.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Level1Kernel {
    /// Debian's: type1 alone.
    Debian,
    /// The one that is built for the rig: type1 and iommufd.
    Built,
}

/// A part of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// What takes how long, by a guest of our own.
    Own,
    /// What takes how long, by Linux.
    Linux,
    /// How often the host is called.
    Calls,
    /// What the VMM is charged for.
    Locked,
}

#[derive(clap::Args)]
pub(crate) struct BenchShadow {
    /// Turns each takes.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// The kernel of L1.
    #[arg(long, value_enum, default_value = "built")]
    kernel: Level1Kernel,
    /// Write the page to this file, such as docs/shadow-speed.md; to the terminal without it.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Write every measurement to this file, as a JSON array.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure only this part of the page.
    #[arg(long, value_enum)]
    only: Option<Part>,
}

impl BenchShadow {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let kernel = match self.kernel {
            Level1Kernel::Debian => Kernel::Debian,
            Level1Kernel::Built => Kernel::Iommufd,
        };
        let started = Instant::now();
        let variants = Variant::all(kernel);
        let mut bench = Bench { kernel, level1: None, boots: 0, all: Measurements::default() };
        let measured = self.measure(&mut bench, &variants);
        if let Err(error) = &measured {
            eprintln!("bench-shadow: not everything has been measured: {error:#}");
        }
        let facts = Facts {
            day: date("%-d %B %Y")?,
            machine: machine(),
            rounds: self.rounds,
            boots: bench.boots,
            kernel,
            taken: started.elapsed(),
        };
        let page = Page { measurements: &bench.all, variants: &variants, facts }.to_string();
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&bench.all.list())?;
            std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        }
        match &self.write {
            Some(path) => {
                std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
            }
            None => println!("{page}"),
        }
        Ok(if measured.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn measure(&self, bench: &mut Bench, variants: &[Variant]) -> anyhow::Result<()> {
        let wanted = |part| self.only.is_none_or(|only| only == part);
        for round in 1..=self.rounds {
            bench.floors()?;
            for &variant in variants {
                eprintln!("bench-shadow: round {round} of {}: {}", self.rounds, variant.name());
                if wanted(Part::Own) {
                    bench.own_guest(variant)?;
                }
                if wanted(Part::Linux) {
                    bench.linux(variant)?;
                }
            }
        }
        for &variant in variants {
            eprintln!("bench-shadow: calls and locked memory: {}", variant.name());
            if wanted(Part::Calls) {
                bench.calls_of_own_guest(variant)?;
                bench.calls_of_linux(variant)?;
            }
            if wanted(Part::Locked) {
                bench.locked(variant)?;
            }
        }
        Ok(())
    }
}

fn boot(kernel: Kernel) -> anyhow::Result<Level1> {
    let programs = Programs::build_released()?;
    let contents = Contents {
        program: Some(programs.portcullis),
        agent: Some(programs.agent),
        guest: Some(Kernel::Debian),
        peer: true,
        guest_hosts: false,
        files: vec![(bare_metal::image("assigned")?, IMAGE.trim_start_matches('/').to_owned())],
    };
    let config = Config { kernel, contents, devices: DRIVES.to_vec(), ..Config::default() };
    Ok(Level1::boot(&Parts::open()?, &config, &folder())?)
}

/// Where its logs are.
fn folder() -> PathBuf {
    target_folder().join("rig/bench-shadow")
}

struct Bench {
    kernel: Kernel,
    /// None before the first boot, and after it has stopped answering.
    level1: Option<Level1>,
    boots: u32,
    all: Measurements,
}

impl Bench {
    fn level1(&mut self) -> anyhow::Result<&mut Level1> {
        if self.level1.is_none() {
            self.level1 = Some(boot(self.kernel)?);
            self.boots += 1;
        }
        self.level1.as_mut().context("L1 has just been booted")
    }

    /// What the host takes whoever asks.
    fn floors(&mut self) -> anyhow::Result<()> {
        let drive = drive(0);
        let follow = format!("{FIRST_PROCESSOR} agent floor follow");
        let mut script = format!("bind_vfio {drive} && agent floor tick && {follow} {drive}");
        let mut floors = vec![("tick", "@@ floor tick:"), ("type1", "@@ floor type1:")];
        if self.kernel == Kernel::Iommufd {
            write!(script, " && {follow} --iommufd {drive}")?;
            floors.push(("iommufd", "@@ floor iommufd:"));
        }
        let output = self.level1()?.run(&script, Duration::from_mins(1))?;
        ensure!(output.status == 0, "the floors cannot be measured: {}", output.text);
        for (metric, words) in floors {
            self.all.add("floor", "host", metric, "s", number(&output.text, words)?);
        }
        Ok(())
    }

    /// Runs a guest to its end, which is told by a line. Once more if it does not get there, which happens to QEMU's;
    /// in a new L1 if that stopped answering.
    fn run_guest(
        &mut self,
        variant: Variant,
        guest: &Guest,
        wrapper: &str,
        ends: &str,
    ) -> anyhow::Result<String> {
        let job = variant.guest(guest.clone()).under(wrapper).job();
        for _ in 0..2 {
            match self.level1()?.run(&job, Duration::from_mins(1)) {
                Ok(output) if output.text.contains(ends) => {
                    std::fs::write(folder().join("last.log"), &output.text)?;
                    return Ok(output.text);
                }
                Ok(output) => {
                    eprintln!("bench-shadow: {} did not finish:\n{}", variant.name(), output.text);
                }
                Err(error) => {
                    eprintln!("bench-shadow: {}: {error}", variant.name());
                    self.level1 = None;
                }
            }
        }
        bail!("a guest of {} twice did not do its work", variant.name());
    }

    /// Times maps, unmaps and flushes in a guest that does nothing else.
    fn own_guest(&mut self, variant: Variant) -> anyhow::Result<()> {
        let text = self.run_guest(variant, &own_guest(PAGES, BUFFERS), FIRST_PROCESSOR, "PASSED figures")?;
        let tick = self.all.median_of("floor", "host", "tick").context("the ticks have been timed")?;
        for (what, times) in OWN_WORK {
            let ticks = number(&text, &format!("@@ {what}, ticks:"))?;
            self.all.add("own guest", variant.name(), what, "s", ticks * tick / times);
        }
        Ok(())
    }

    /// Times reads of a stock kernel; what translation adds to each.
    fn linux(&mut self, variant: Variant) -> anyhow::Result<()> {
        let mut script = TREATMENTS.to_owned();
        for treatment in ["DMA", "identity"] {
            if treatment == "identity" {
                script += "treat_as identity || exit 1\n";
            }
            for (bytes, count, _) in READS {
                writeln!(script, "read_as {bytes} {count} {treatment}")?;
            }
        }
        let guest = Guest::new(script).assign(&drive(0));
        let text = self.run_guest(variant, &guest, FIRST_PROCESSOR, "@@ status 0")?;
        for (bytes, count, _) in READS {
            let timed =
                |treatment: &str| number(&text, &format!("@@ {treatment}: {count} reads of {bytes} bytes:"));
            let (strict, through) = (timed("DMA")? / count, timed("identity")? / count);
            let metrics = [("strict", strict), ("pass-through", through), ("extra", strict - through)];
            for (treatment, seconds) in metrics {
                self.all.add("Linux", variant.name(), &format!("{bytes} bytes, {treatment}"), "s", seconds);
            }
        }
        Ok(())
    }

    fn calls_of_own_guest(&mut self, variant: Variant) -> anyhow::Result<()> {
        // It takes longer when every call is told.
        const ALL: f64 = 20.0;
        let text = self.run_guest(variant, &own_guest(ALL, ALL), "agent calls --", "PASSED figures")?;
        for (what, times) in OWN_WORK {
            let times = times.min(ALL);
            let calls = number(&text, &format!("@@ {what}, host calls that map:"))?;
            self.all.add("own guest", variant.name(), &format!("{what}, calls"), "calls", calls / times);
        }
        Ok(())
    }

    fn calls_of_linux(&mut self, variant: Variant) -> anyhow::Result<()> {
        let mut script = String::new();
        for (bytes, _, count) in READS {
            write!(
                script,
                "echo '@@ count from here'; sleep 1; agent reads /dev/nvme0n1 {count} {bytes}; sleep 1\n\
                 echo '@@ count to here: reads of {bytes}'; sleep 1\n"
            )?;
        }
        let guest = Guest::new(script).assign(&drive(0));
        let text = self.run_guest(variant, &guest, "agent calls --", "@@ status 0")?;
        for (bytes, _, count) in READS {
            for what in ["host calls that map", "exits"] {
                let calls = number(&text, &format!("@@ reads of {bytes}, {what}:"))?;
                self.all.add(
                    "Linux",
                    variant.name(),
                    &format!("{bytes} bytes, {what}"),
                    "calls",
                    calls / count,
                );
            }
        }
        Ok(())
    }

    /// What the VMM is charged for when four drives reach all of the guest's memory.
    fn locked(&mut self, variant: Variant) -> anyhow::Result<()> {
        let script = "[ -b /dev/nvme3n1 ] && echo '@@ look'\nsleep 1";
        let guest = Guest::new(script).memory(RAM).cmdline("intel_iommu=on iommu=pt");
        let guest = (0..DRIVES.len()).fold(guest, |guest, index| guest.assign(&drive(index)));
        let text = self.run_guest(variant, &guest, "agent watch --", "@@ status 0")?;
        let kibibytes = number(&text, "@@ watch locked:")?;
        let share = kibibytes / f64::from(RAM << 10);
        self.all.add("four drives", variant.name(), "locked memory", "× RAM", share);
        Ok(())
    }
}

/// What the guest of our own does, and how often.
pub(super) const OWN_WORK: [(&str, f64); 5] = [
    ("page", PAGES),
    ("buffer", BUFFERS),
    ("scattered buffer", BUFFERS),
    ("flush", FLUSHES),
    ("flush of small pages", FLUSHES),
];

fn own_guest(pages: f64, buffers: f64) -> Guest {
    let case = format!("figures pages={pages} buffers={buffers} flushes={FLUSHES} small={SMALL}");
    Guest::bare_metal(IMAGE, &case).memory(1280).assign(&drive(0))
}

fn drive(index: usize) -> String {
    DRIVES[index].address(&DRIVES)
}

/// What kind of machine this is, and what else it does.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().nth(1).unwrap_or("unknown").to_owned();
    format!("{count} processors, {model}; load at the end {load}")
}

fn number(text: &str, words: &str) -> anyhow::Result<f64> {
    scenario::number_after(text, words).map_err(anyhow::Error::msg)
}
