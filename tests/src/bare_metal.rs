//! The fast tier: bare-metal guests of our own, in `tests/guests`, run by the program on this machine's `/dev/kvm`.
//!
//! A guest is a C file with a small runtime. It is full of cases, and its kernel command line says which to run; its
//! exit code says how that went. A case takes a fraction of a second, so each has a machine to itself.

mod build;
mod run;

use std::fmt;

pub use build::{BuildError, cases, guests, image};
pub(crate) use run::{Ended, wait};
pub use run::{Outcome, RunError, disk, run, test};

/// One case of a guest, and the machine it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The guest: a file in `tests/guests` without its ending.
    pub guest: String,
    /// The case in it.
    pub name: String,
    /// What follows the case on the kernel command line.
    pub arguments: String,
    /// The program's options besides kernel and command line. `{disk}` stands for a [`disk`].
    pub options: Vec<String>,
    /// The program's exit code.
    pub ends: i32,
    /// What the program or the guest must say at last.
    pub says: String,
    /// What the disk must contain afterwards.
    pub leaves: Option<&'static str>,
}

/// The sectors of a case's disk.
pub const DISK_SECTORS: u64 = 2048;

/// The exit code that the debug-exit port makes of a guest's `code`.
const fn left_with(code: i32) -> i32 {
    2 * code + 1
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.guest, self.name)
    }
}

impl Case {
    /// The case `name` of `guest`, with the machine that it is written for.
    pub fn of(guest: &str, name: &str) -> Self {
        // One device with all address lines and one with the usual 28.
        const DEVICES: &str = "--device edu,addr=04.0,dma-mask=0xffffffffffffffff --device edu,addr=05.0";
        const BEHIND_PORT: &str = "--device edu,port=on";
        let (memory, devices) = match (guest, name) {
            ("hello", "memory") => ("5G", String::new()),
            ("hello", _) => ("128M", String::new()),
            ("dma", "no_unit") => ("128M", format!("{DEVICES} --iommu off")),
            ("dma", "functions_of_a_device") => {
                ("128M", "--device edu,addr=04.0 --device edu,addr=04.1".into())
            }
            ("dma", "high_memory") => ("5G", "--device edu,addr=04.0".into()),
            ("dma", "requester_behind_a_port") | ("pci", "behind_a_port" | "renumbered_bus") => {
                ("128M", BEHIND_PORT.into())
            }
            (_, "behind_a_bridge") => {
                ("128M", "--device edu,bridge=1,dma-mask=0xffffffff --device edu,bridge=1".into())
            }
            ("pci", "enumeration") => ("128M", format!("{DEVICES} {BEHIND_PORT}")),
            ("probe", _) => ("128M", "--device probe,addr=06.0".into()),
            ("scalable" | "ats" | "pages", _) => {
                ("128M", "--device probe,addr=06.0 --iommu-profile full".into())
            }
            ("stages", _) => {
                let stage = if name.starts_with("first_") { "first-stage" } else { "second-stage" };
                ("128M", format!("{DEVICES} --iommu-profile {stage}"))
            }
            ("posting", "not_offered") => ("128M", DEVICES.into()),
            ("posting", _) => ("128M", format!("{DEVICES} --iommu-features +posted-interrupts")),
            ("smp", _) => ("128M", format!("{DEVICES} --cpus 3")),
            ("virtio", "read_only") => ("128M", "--device virtio-blk,path={disk},readonly=on".into()),
            ("virtio", _) => ("128M", "--device virtio-blk,path={disk}".into()),
            _ => ("128M", DEVICES.into()),
        };
        // Most cases are written for one profile, not for what the machine would choose.
        let profile = if devices.contains("--iommu-profile") { "" } else { "--iommu-profile legacy" };
        let arguments = match (guest, name) {
            ("hello", "code") => "code=7".into(),
            ("hello", "memory") => "high=1".into(),
            ("smp", _) => "cpus=3".into(),
            ("virtio", _) => format!("sectors={DISK_SECTORS}"),
            _ => String::new(),
        };
        let (ends, says) = match (guest, name) {
            ("hello", "code") => (left_with(7), String::new()),
            ("power", "triple_fault") => (1, "triple fault".into()),
            ("power", _) => (0, String::new()),
            _ => (left_with(0), format!("PASSED {name}")),
        };
        Self {
            guest: guest.to_owned(),
            name: name.to_owned(),
            arguments,
            options: format!("--memory {memory} {devices} {profile}")
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            ends,
            says,
            leaves: ((guest, name) == ("virtio", "writes")).then_some("PORTCULLISPORTCULLIS"),
        }
    }

    /// The kernel command line.
    pub fn command_line(&self) -> String {
        format!("{} {}", self.name, self.arguments).trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests;
