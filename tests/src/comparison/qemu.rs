//! A case in QEMU's machine.

use std::process::{Command, Stdio};

use crate::bare_metal::{self, Case, Ended};
use crate::parts::{Parts, Qemu};

/// QEMU as the counterpart of Portcullis.
#[derive(Clone, Debug)]
pub struct Counterpart(Qemu);

/// How a case ended.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) passed: bool,
    /// What the guest and QEMU said.
    pub(super) output: String,
}

/// A machine without anything that Portcullis has not. Time goes by with instructions, 256 ns each, and jumps where
/// nobody waits: QEMU's edu takes 100 ms for each transfer.
const MACHINE: &str = "-accel tcg -icount shift=8,sleep=off -M q35,kernel-irqchip=split -cpu max -nodefaults \
                       -display none -serial stdio -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=4";
/// The remapping unit with what the legacy profile has.
const UNIT: &str = "-device intel-iommu,intremap=on,caching-mode=on,aw-bits=48";
/// A bridge to conventional PCI, behind a root port.
const BRIDGE: &str = "-device pcie-root-port,id=link,chassis=1 -device pcie-pci-bridge,id=bridge,bus=link";
/// What comes to it for the others that it can be like.
const SECOND_STAGE: &str = "x-scalable-mode=on";
const FIRST_STAGE: &str = "x-scalable-mode=on,x-flts=on";

impl Counterpart {
    /// Finds or fetches it.
    pub fn open() -> anyhow::Result<Self> {
        Ok(Self(Parts::open()?.qemu()?))
    }

    pub(super) fn run(&self, case: &Case) -> anyhow::Result<Run> {
        let command = self.0.command();
        let child = Command::new(&command[0])
            .args(&command[1..])
            .args(options(&case.options))
            .arg("-kernel")
            .arg(bare_metal::image(&case.guest)?)
            .args(["-append", &case.command_line()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let Ended { status, output } = bare_metal::wait(child)?;
        let passed =
            status.is_some_and(|status| status.code() == Some(case.ends)) && output.contains(&case.says);
        Ok(Run { passed, output })
    }
}

/// QEMU's words for a machine described in Portcullis'.
pub(super) fn options(ours: &[String]) -> Vec<String> {
    let mut options: Vec<_> = MACHINE.split_whitespace().map(str::to_owned).collect();
    let mut unit = UNIT.to_owned();
    let mut devices = Vec::new();
    let mut words = ours.iter();
    while let (Some(option), Some(value)) = (words.next(), words.next()) {
        match option.as_str() {
            "--memory" => options.extend(["-m".into(), value.clone()]),
            "--cpus" => options.extend(["-smp".into(), value.clone()]),
            "--iommu" if value == "off" => unit.clear(),
            "--iommu-profile" => match value.as_str() {
                "legacy" => {}
                "second-stage" => unit = format!("{UNIT},{SECOND_STAGE}"),
                // First stages have no caching mode.
                "first-stage" => unit = format!("{UNIT},{FIRST_STAGE}").replace("caching-mode=on,", ""),
                profile => panic!("QEMU's unit has no profile {profile}"),
            },
            "--device" => match value.split_once(",bridge=1") {
                Some((device, rest)) => {
                    if devices.is_empty() {
                        devices.extend(BRIDGE.split_whitespace().map(str::to_owned));
                    }
                    devices.extend(self::device(&format!("{device}{rest},bus=bridge"), devices.len()));
                }
                None => devices.extend(device(value, devices.len())),
            },
            _ => panic!("{option} {value} has no counterpart"),
        }
    }
    // The unit comes before the devices behind it.
    options.extend(unit.split_whitespace().map(str::to_owned));
    options.extend(devices);
    options
}

/// A device, and the port before it.
fn device(ours: &str, number: usize) -> Vec<String> {
    let mut theirs = ours.replace("dma-mask", "dma_mask");
    if ours.ends_with(".0") {
        theirs += ",multifunction=on";
    }
    match theirs.strip_suffix(",port=on") {
        Some(device) => vec![
            "-device".into(),
            format!("pcie-root-port,id=port{number},chassis={number}"),
            "-device".into(),
            format!("{device},bus=port{number}"),
        ],
        None => vec!["-device".into(), theirs],
    }
}
