//! Scenarios: a guest, what must appear and what must not, and how long it may take.
//!
//! Scenarios that want the same L1 form a [`Session`] and share one boot of it. Logs of every layer are kept in
//! `target/rig/SESSION/`; a failure quotes the end of each.

mod evidence;
mod session;

use std::path::PathBuf;
use std::time::Duration;

pub use evidence::{Evidence, number_after, warnings};
pub use session::{Failure, Outcome, Settings, run};

use crate::guest::{Guest, Vmm};
use crate::level1::{Device, USUAL_IOMMU};
use crate::parts::Kernel;

/// Never to be seen on a guest's console, unless a scenario tolerates it.
const NEVER_IN_GUEST: [&str; 11] = [
    "Kernel panic",
    "BUG:",
    "WARNING: CPU",
    "Call Trace",
    "soft lockup",
    "rcu: INFO",
    "[Firmware Bug]",
    "DRHD: handling fault",
    "I/O error",
    "panicked at",
    "@@ cannot load",
];
/// Never to be seen in L1's log, unless a scenario tolerates it.
const NEVER_IN_LEVEL1: [&str; 6] =
    ["Kernel panic", "BUG:", "WARNING: CPU", "Call Trace", "soft lockup", "DRHD: handling fault"];

/// Looks at what a scenario left behind; an error is a failure.
pub type Check = fn(&Evidence) -> Result<(), String>;

/// What a scenario runs in L1.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A guest.
    Guest(Guest),
    /// A shell script.
    Command(String),
}

impl Subject {
    /// The shell script that L1 runs.
    fn job(&self) -> String {
        match self {
            Self::Guest(guest) => guest.job(),
            Self::Command(script) => script.clone(),
        }
    }

    /// Who runs its guest.
    fn vmm(&self) -> Vmm {
        match self {
            Self::Guest(guest) => guest.vmm,
            Self::Command(_) => Vmm::Portcullis,
        }
    }
}

/// One run of a guest.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name, within its session.
    pub name: &'static str,
    /// A shell script that L1 runs first.
    pub before: String,
    /// What runs in L1.
    pub subject: Subject,
    /// A shell script that L1 runs afterwards; what it prints joins L1's log.
    pub after: String,
    /// Patterns that lines of the guest's console must match.
    pub appears: Vec<String>,
    /// Patterns that no line of it may match, besides those that are always wrong.
    pub never: Vec<String>,
    /// Patterns that lines of L1's log must match.
    pub level1_appears: Vec<String>,
    /// Patterns that are usually wrong, but not here.
    pub tolerated: Vec<String>,
    /// The VMM's exit status.
    pub status: i32,
    /// What else must hold.
    pub checks: Vec<Check>,
    /// How long it may take on an idle machine.
    pub budget: Duration,
}

impl Scenario {
    /// A scenario that runs `guest`, whose script must end well.
    pub fn new(name: &'static str, guest: Guest) -> Self {
        Self { appears: vec!["@@ status 0".into()], ..Self::of(name, Subject::Guest(guest)) }
    }

    /// A scenario that runs a shell script in L1 and no guest, or one of the script's own.
    pub fn command(name: &'static str, script: impl Into<String>) -> Self {
        Self::of(name, Subject::Command(script.into()))
    }

    fn of(name: &'static str, subject: Subject) -> Self {
        Self {
            name,
            before: String::new(),
            subject,
            after: String::new(),
            appears: Vec::new(),
            never: Vec::new(),
            level1_appears: Vec::new(),
            tolerated: Vec::new(),
            status: 0,
            checks: Vec::new(),
            budget: Duration::from_mins(1),
        }
    }

    /// A line like `pattern` must appear on the guest's console. `*` stands for anything; `{nvme.sha256}` for the
    /// SHA-256 of that drive's image, `{nvme-before.sha256}` for what it was before the guest started.
    #[must_use]
    pub fn appears(mut self, pattern: &str) -> Self {
        self.appears.push(pattern.to_owned());
        self
    }

    /// No line like `pattern` may appear on the guest's console.
    #[must_use]
    pub fn never(mut self, pattern: &str) -> Self {
        self.never.push(pattern.to_owned());
        self
    }

    /// A line like `pattern` must appear in L1's log.
    #[must_use]
    pub fn level1_appears(mut self, pattern: &str) -> Self {
        self.level1_appears.push(pattern.to_owned());
        self
    }

    /// The usually wrong `pattern` is expected in this scenario.
    #[must_use]
    pub fn tolerates(mut self, pattern: &str) -> Self {
        self.tolerated.push(pattern.to_owned());
        self
    }

    /// The guest does not get to the end of its script.
    #[must_use]
    pub fn cut_short(mut self) -> Self {
        self.appears.retain(|pattern| pattern != "@@ status 0");
        self
    }

    /// The VMM ends with `status`.
    #[must_use]
    pub fn status(mut self, status: i32) -> Self {
        self.status = status;
        self
    }

    /// L1 runs `script` before the VMM starts.
    #[must_use]
    pub fn before(mut self, script: &str) -> Self {
        script.clone_into(&mut self.before);
        self
    }

    /// L1 runs `script` after the VMM has ended.
    #[must_use]
    pub fn after(mut self, script: &str) -> Self {
        script.clone_into(&mut self.after);
        self
    }

    /// `check` must hold.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// It may take `seconds` on an idle machine.
    #[must_use]
    pub fn within(mut self, seconds: u64) -> Self {
        self.budget = Duration::from_secs(seconds);
        self
    }
}

/// When a session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// With every change: a test of `.ci/run`.
    Regression,
    /// By `cargo xtask nightly`: it takes long.
    Nightly,
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Regression => "regression",
            Self::Nightly => "nightly",
        })
    }
}

/// Scenarios that share one boot of an L1.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its name: of the test, of the folder of its logs, on command lines.
    pub name: &'static str,
    /// What it shows, in one sentence.
    pub shows: &'static str,
    /// When it runs.
    pub tier: Tier,
    /// L1's kernel.
    pub kernel: Kernel,
    /// The guests' kernel.
    pub guest_kernel: Kernel,
    /// What L1's IOMMU can do, as QEMU's options have it.
    pub iommu: &'static str,
    /// L1's memory in MiB.
    pub memory: u32,
    /// Whether L1's processors share one of this machine's.
    pub one_processor: bool,
    /// L1's devices.
    pub devices: Vec<Device>,
    /// Added to L1's kernel command line.
    pub cmdline: &'static str,
    /// More files for it: (path here, path in L1). Made when the session runs.
    pub files: fn() -> anyhow::Result<Vec<(PathBuf, String)>>,
    /// What runs in it, in order.
    pub scenarios: Vec<Scenario>,
}

impl Session {
    /// A session in an L1 of Debian's kernel with 4 GiB and one NVMe drive.
    pub fn new(name: &'static str, shows: &'static str, scenarios: Vec<Scenario>) -> Self {
        Self {
            name,
            shows,
            tier: Tier::Regression,
            kernel: Kernel::Debian,
            guest_kernel: Kernel::Debian,
            iommu: USUAL_IOMMU,
            memory: 4096,
            one_processor: false,
            devices: vec![Device::Nvme],
            cmdline: "",
            files: || Ok(Vec::new()),
            scenarios,
        }
    }

    /// Runs at night only.
    #[must_use]
    pub fn nightly(mut self) -> Self {
        self.tier = Tier::Nightly;
        self
    }

    /// In an L1 that runs `kernel`.
    #[must_use]
    pub fn kernel(mut self, kernel: Kernel) -> Self {
        self.kernel = kernel;
        self
    }

    /// With guests that run `kernel`.
    #[must_use]
    pub fn guest_kernel(mut self, kernel: Kernel) -> Self {
        self.guest_kernel = kernel;
        self
    }

    /// With `mebibytes` of memory for L1.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// With both of L1's processors on one of this machine's. QEMU's emulation of SVM (10.0) is not proof against what
    /// two threads do at the same instant: left alone on two processors, it now and then reads a guest's tables as if
    /// nothing were there, within minutes to an hour, and the guest ends with a triple fault.
    #[must_use]
    pub fn on_one_processor(mut self) -> Self {
        self.one_processor = true;
        self
    }

    /// With an IOMMU of `options` in L1.
    #[must_use]
    pub fn iommu(mut self, options: &'static str) -> Self {
        self.iommu = options;
        self
    }

    /// With these devices in L1.
    #[must_use]
    pub fn devices(mut self, devices: &[Device]) -> Self {
        self.devices = devices.to_vec();
        self
    }

    /// With these files in L1.
    #[must_use]
    pub fn files(mut self, files: fn() -> anyhow::Result<Vec<(PathBuf, String)>>) -> Self {
        self.files = files;
        self
    }

    /// How long it may take in all, if every scenario takes as long as it may.
    pub(crate) fn budget(&self) -> Duration {
        self.scenarios.iter().map(|scenario| scenario.budget).sum()
    }

    /// Whether any of its guests is run by QEMU.
    pub fn needs_peer(&self) -> bool {
        self.scenarios.iter().any(|scenario| scenario.subject.vmm() == Vmm::Qemu)
    }

    /// Whether any of its guests runs guests of its own.
    pub fn guests_host(&self) -> bool {
        self.scenarios
            .iter()
            .any(|scenario| matches!(&scenario.subject, Subject::Guest(guest) if guest.hosts))
    }

    /// Whether any of its guests is run by the program under test.
    pub fn needs_program(&self) -> bool {
        self.scenarios.iter().any(|scenario| scenario.subject.vmm() == Vmm::Portcullis)
    }
}
