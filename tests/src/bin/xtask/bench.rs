//! `cargo xtask bench` and `bench-shadow`: the program and QEMU side by side in one L1, in turns.

mod measurement;
mod page;
mod shadow;
mod variant;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tests::guest::{Guest, Vmm};
use tests::level1::{Config, Contents, Device, Level1};
use tests::parts::{Kernel, Parts};
use tests::program::{Programs, target_folder};
use tests::scenario::number_after;

use measurement::Measurements;
pub(crate) use shadow::BenchShadow;

/// The drive, in L1.
const NVME: &str = "0000:00:05.0";

#[derive(clap::Args)]
pub(crate) struct Bench {
    /// Write the measurements to this file, as a JSON array.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Turns each takes.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Only QEMU.
    #[arg(long)]
    only_qemu: bool,
}

impl Bench {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let mut level1 = boot(self.only_qemu)?;
        let mut all = Measurements::default();
        floors(&mut level1, &mut all)?;
        let vmms = if self.only_qemu { &[Vmm::Qemu][..] } else { &[Vmm::Portcullis, Vmm::Qemu] };
        for round in 1..=self.rounds {
            for (scenario, cmdline) in MODES {
                for &vmm in vmms {
                    eprintln!("bench: round {round} of {}: {scenario}, {}", self.rounds, name(vmm));
                    measure(&mut level1, &mut all, scenario, cmdline, vmm)
                        .with_context(|| format!("{scenario} under {}", name(vmm)))?;
                }
            }
        }
        all.print();
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&all.list())?;
            std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Scenarios and the guest's command line in each; without one there is no IOMMU.
const MODES: [(&str, Option<&str>); 3] = [
    ("strict", Some("intel_iommu=on iommu.strict=1")),
    ("pass-through", Some("intel_iommu=on iommu=pt")),
    ("no-iommu", None),
];

fn name(vmm: Vmm) -> &'static str {
    match vmm {
        Vmm::Portcullis => "portcullis",
        Vmm::Qemu => "qemu",
    }
}

fn boot(only_qemu: bool) -> anyhow::Result<Level1> {
    let programs = Programs::build()?;
    let contents = Contents {
        program: (!only_qemu).then_some(programs.portcullis),
        agent: Some(programs.agent),
        guest: Some(Kernel::Debian),
        peer: true,
        ..Contents::default()
    };
    let config = Config { contents, devices: vec![Device::Nvme], ..Config::default() };
    Ok(Level1::boot(&Parts::open()?, &config, &target_folder().join("rig/bench"))?)
}

/// What the host takes whoever asks, so that ratios can be read.
fn floors(level1: &mut Level1, all: &mut Measurements) -> anyhow::Result<()> {
    let script = format!("bind_vfio {NVME} && agent floor exit && agent floor map {NVME}");
    let output = level1.run(&script, Duration::from_mins(1))?;
    ensure!(output.status == 0, "the floors cannot be measured: {}", output.text);
    for (metric, words) in [("empty exit", "@@ floor exit:"), ("map and unmap", "@@ floor map:")] {
        all.add("floor", "host", metric, "s", number(&output.text, words)?);
    }
    Ok(())
}

fn measure(
    level1: &mut Level1,
    all: &mut Measurements,
    scenario: &str,
    cmdline: Option<&str>,
    vmm: Vmm,
) -> anyhow::Result<()> {
    let guest =
        Guest::new("agent reads /dev/nvme0n1 2000 4096\nagent reads /dev/nvme0n1 100 131072").assign(NVME);
    let guest = match cmdline {
        Some(words) => guest.cmdline(words),
        None => guest.cmdline("").without_iommu(),
    };
    let output = level1.run(&guest.run_by(vmm).under("agent watch --").job(), Duration::from_mins(2))?;
    ensure!(output.text.contains("@@ status 0"), "the guest did not do its work:\n{}", output.text);
    let metrics = [
        ("whole run", "s", "@@ watch end after"),
        ("time to user space", "s", "@@ watch userspace after"),
        ("memory beyond the guest's", "KiB", "@@ watch memory beyond the guest's:"),
        ("2000 reads of 4 KiB", "s", "2000 reads of 4096 bytes:"),
        ("100 reads of 128 KiB", "s", "100 reads of 131072 bytes:"),
    ];
    for (metric, unit, words) in metrics {
        all.add(scenario, name(vmm), metric, unit, number(&output.text, words)?);
    }
    Ok(())
}

fn number(text: &str, words: &str) -> anyhow::Result<f64> {
    number_after(text, words).map_err(anyhow::Error::msg)
}
