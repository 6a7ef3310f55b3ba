//! `cargo xtask demo`: a stock guest reads an assigned drive, every DMA of it through the guest's own tables.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tests::guest::Guest;
use tests::level1::{Config, Contents, Level1};
use tests::parts::{Kernel, Parts};
use tests::program::{Programs, target_folder};

/// The drive, in L1.
const NVME: &str = "0000:00:05.0";

/// What the guest does: it shows its interrupts and reads the drive.
const SCRIPT: &str = "\
drive=$(ls /dev/nvme?n1 2>/dev/null | head -n 1)
echo '@@ interrupts before'
grep -E 'nvme|ttyS0' /proc/interrupts
echo '@@ checksum'
sha256sum $drive
echo '@@ interrupts after'
grep -E 'nvme|ttyS0' /proc/interrupts
";

#[derive(clap::Args)]
pub(crate) struct Demo {
    /// An NVMe drive of this machine, bound to vfio-pci, to run on itself instead of the rig. It is only read.
    #[arg(long, value_name = "0000:BB:DD.F")]
    device: Option<String>,
}

impl Demo {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        match self.obstacle() {
            Ok(address) => {
                println!("Portcullis demo, on this machine, with {address}.\n");
                on_this_machine(address)?;
            }
            Err(obstacle) => {
                println!("Portcullis demo. Not on this machine itself: {obstacle}");
                println!(
                    "So it runs in the nested rig: an emulated machine (L1) with KVM, VFIO and an IOMMU,"
                );
                println!("and in it the guest (L2).\n");
                in_the_rig()?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The drive to use, or why it must be the rig.
    fn obstacle(&self) -> Result<&str, String> {
        let Some(address) = &self.device else { return Err("no drive is named with --device.".into()) };
        if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
            return Err(format!("/dev/kvm cannot be opened ({error})."));
        }
        let device = format!("/sys/bus/pci/devices/{address}");
        if !Path::new(&device).exists() {
            return Err(format!("there is no PCI function {address}."));
        }
        let driver = std::fs::read_link(format!("{device}/driver")).ok();
        if driver.and_then(|it| it.file_name().map(OsStr::to_owned)).is_none_or(|name| name != "vfio-pci") {
            return Err(format!(
                "{address} is not bound to vfio-pci. As root:\n  echo vfio-pci > {device}/driver_override\n  \
                 echo {address} > {device}/driver/unbind\n  echo {address} > /sys/bus/pci/drivers_probe"
            ));
        }
        Ok(address)
    }
}

fn in_the_rig() -> anyhow::Result<()> {
    let parts = Parts::open()?;
    println!("building the program …");
    let programs = Programs::build()?;
    let contents = Contents {
        program: Some(programs.portcullis),
        agent: Some(programs.agent),
        guest: Some(Kernel::Debian),
        ..Contents::default()
    };
    println!("booting L1 …");
    let config = Config { contents, ..Config::default() };
    let mut level1 = Level1::boot(&parts, &config, &target_folder().join("rig/demo"))?;
    let guest = Guest::new(SCRIPT).assign(NVME);
    println!("in L1: {}\n", guest.command());
    let output = level1.run(&guest.job(), Duration::from_mins(2))?;
    let expected = level1.disks().first().context("L1 has no drive")?.sha256()?;
    show(&output.text)?;
    println!("image on this machine:\n  {expected}");
    ensure!(output.text.contains(&expected), "the guest read something else than the image");
    println!("\nThe checksums are equal: the guest's DMA went through its own tables and arrived.");
    Ok(())
}

fn on_this_machine(address: &str) -> anyhow::Result<()> {
    let parts = Parts::open()?;
    let programs = Programs::build()?;
    let folder = target_folder().join("rig/demo");
    let (kernel, initrd) =
        tests::level1::guest_files(&parts, Kernel::Debian, SCRIPT, Some(&programs.agent), &folder)?;
    let output = Command::new(&programs.portcullis)
        .args(["run", "--memory", "1G", "--vfio", address])
        .arg("--kernel")
        .arg(kernel)
        .arg("--initrd")
        .arg(initrd)
        .args(["--cmdline", "console=ttyS0 quiet panic=-1 intel_iommu=on iommu.strict=1"])
        .output()
        .context("cannot run the program")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    show(&text)
}

/// Prints what matters of the guest's console.
fn show(console: &str) -> anyhow::Result<()> {
    let console = console.replace('\r', "");
    let section = |from: &str, to: &str| {
        let rest = console.split_once(from).map_or("", |(_, rest)| rest);
        rest.split(to).next().unwrap_or_default().trim_matches('\n').to_owned()
    };
    let indented = |text: &str| {
        text.lines().fold(String::new(), |mut all, line| {
            writeln!(all, "  {}", line.trim_end()).ok();
            all
        })
    };
    ensure!(console.contains("@@ status 0"), "the guest did not do its work:\n{console}");
    let log = section("@@ kernel log", "@@ status");
    let log: Vec<_> = log.lines().filter(|line| line.contains("DMAR") || line.contains("x2apic")).collect();
    println!("the guest's kernel on its IOMMU:\n{}", indented(&log.join("\n")));
    println!(
        "its interrupts, before reading the drive:\n{}",
        indented(&section("@@ interrupts before", "@@ checksum"))
    );
    println!("and after:\n{}", indented(&section("@@ interrupts after", "@@ kernel log")));
    println!("the drive as the guest read it:\n{}", indented(&section("@@ checksum", "@@ interrupts after")));
    Ok(())
}
