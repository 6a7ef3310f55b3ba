//! L1: a Linux machine with KVM, VFIO and an IOMMU, emulated by QEMU.
//!
//! [`Level1::boot`] starts one; [`Level1::run`] runs a shell script in it and returns its output and exit status. The
//! script travels over a virtio-serial port of its own, so that the kernel's console cannot garble it.

mod channel;
#[expect(unsafe_code, reason = "There is no other way to read the counter")]
mod clock;
mod device;
mod image;

use std::fs::File;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::lock::Lock;
use crate::parts::{Kernel, PartError, Parts};
use channel::Channel;
pub use channel::Output;
pub(crate) use channel::{base64, from_base64};
pub use device::{Device, Disk};
pub use image::{Contents, guest_files};

/// An IOMMU that remaps interrupts and translates addresses of 48 bits.
pub const USUAL_IOMMU: &str = "intremap=on,aw-bits=48";
/// A processor with AMD's virtualisation, without what emulation lacks of it.
const PROCESSOR: &str = "EPYC,+svm,+npt,-fxsr-opt,-misalignsse,-osvw,-topoext,-nrip-save,-xsavec";
/// How long an L1 may take to its first process.
const BOOT: Duration = Duration::from_secs(90);
/// How long an L1 lives at the most, whatever happens in it, unless its [`Config`] has another limit.
const LIFETIME: Duration = Duration::from_mins(25);

/// Why an L1 could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Level1Error {
    /// A part is missing.
    #[error(transparent)]
    Part(#[from] PartError),
    /// A file, socket or process of this machine failed.
    #[error("{0}")]
    Host(String, #[source] std::io::Error),
    /// L0 or L1 stopped answering: the fault is not in what was tested.
    #[error("L1 {what}; the end of its console:\n{console}")]
    Lost {
        /// What it failed to do.
        what: String,
        /// The end of its console.
        console: String,
    },
}

/// Result of an operation on an L1.
pub type Result<T> = std::result::Result<T, Level1Error>;

/// What an L1 is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its kernel.
    pub kernel: Kernel,
    /// What its IOMMU can do, as QEMU's options have it.
    pub iommu: &'static str,
    /// Its memory in MiB, the guests' included.
    pub memory: u32,
    /// Whether both of its processors run on one of this machine's, in turns.
    pub one_processor: bool,
    /// Its devices besides the IOMMU and the channel.
    pub devices: Vec<Device>,
    /// Added to its kernel command line.
    pub cmdline: String,
    /// How long it lives at the most.
    pub lifetime: Duration,
    /// What lies in its file system.
    pub contents: Contents,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kernel: Kernel::Debian,
            iommu: USUAL_IOMMU,
            memory: 4096,
            one_processor: false,
            devices: vec![Device::Nvme],
            cmdline: String::new(),
            lifetime: LIFETIME,
            contents: Contents::default(),
        }
    }
}

/// A running L1. Dropping it ends it.
pub struct Level1 {
    emulator: Child,
    channel: Channel,
    console: PathBuf,
    disks: Vec<Disk>,
    _alone: Lock,
}

impl Level1 {
    /// Boots an L1 with its logs and disks in `folder`. Waits for any other L1 of this user to end first.
    pub fn boot(parts: &Parts, config: &Config, folder: &Path) -> Result<Self> {
        let machine = Machine::prepare(parts, config, folder)?;
        let socket = std::env::temp_dir().join(format!("portcullis-rig-{}.socket", std::process::id()));
        std::fs::remove_file(&socket).ok();
        let listener = UnixListener::bind(&socket).map_err(host_error("cannot create the rig's channel"))?;
        listener.set_nonblocking(true).map_err(host_error("cannot set up the rig's channel"))?;

        let console = folder.join("level1.console.log");
        let log = File::create(folder.join("level0.log")).map_err(host_error("cannot create a log"))?;
        let mut command = bounded(config.lifetime);
        command
            .args(machine.command)
            .args(["-display", "none", "-monitor", "none"])
            .args(["-serial", &format!("file:{}", console.display())])
            .args(["-chardev", &format!("socket,id=rig,path={}", socket.display())])
            .args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=rig,name=rig"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(host_error("cannot use a log"))?)
            .stderr(log);
        let emulator = spawn(&mut command, config.one_processor).map_err(host_error("cannot start QEMU"))?;
        let mut level1 = Self {
            emulator,
            channel: Channel::default(),
            console,
            disks: machine.disks,
            _alone: machine.alone,
        };
        let deadline = Instant::now() + patient(BOOT);
        let connected = level1.connect(&listener, deadline);
        std::fs::remove_file(&socket).ok();
        connected?;
        if !level1.channel.wait_until_ready(deadline) {
            return Err(level1.lost("did not reach its first process"));
        }
        Ok(level1)
    }

    /// Runs `script` in a shell. It is stopped after `budget`: exit status 143.
    pub fn run(&mut self, script: &str, budget: Duration) -> Result<Output> {
        let budget = patient(budget);
        match self.channel.run(script, budget) {
            Some(output) => Ok(output),
            None => Err(self.lost("stopped answering")),
        }
    }

    /// The disks behind its devices, as they are now.
    pub fn disks(&self) -> &[Disk] {
        &self.disks
    }

    /// The last lines of its console.
    pub fn console_tail(&self) -> String {
        tail(&self.console, 30)
    }

    fn connect(&mut self, listener: &UnixListener, deadline: Instant) -> Result<()> {
        loop {
            if let Ok((stream, _)) = listener.accept() {
                return self.channel.attach(stream).map_err(host_error("cannot use the rig's channel"));
            }
            if let Ok(Some(status)) = self.emulator.try_wait() {
                let log = tail(&self.console.with_file_name("level0.log"), 10);
                return Err(self.lost(&format!("did not start: QEMU ended with {status}: {log}")));
            }
            if Instant::now() > deadline {
                return Err(self.lost("never opened its channel"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn lost(&self, what: &str) -> Level1Error {
        Level1Error::Lost { what: what.to_owned(), console: self.console_tail() }
    }
}

impl Drop for Level1 {
    fn drop(&mut self) {
        // `timeout` passes this on to QEMU, which then closes its disks.
        let process = rustix::process::Pid::from_child(&self.emulator);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).ok();
        self.emulator.wait().ok();
    }
}

/// Boots an L1 whose console is this terminal, with a shell on it; returns when it is left.
pub fn shell(parts: &Parts, config: &Config, folder: &Path) -> Result<()> {
    let bound: Vec<_> = config.devices.iter().map(|device| device.address(&config.devices)).collect();
    let cmdline = format!("{} rig.shell rig.bind={}", config.cmdline, bound.join(","));
    let config = Config { cmdline, ..config.clone() };
    let machine = Machine::prepare(parts, &config, folder)?;
    let mut command = Command::new(&machine.command[0]);
    command.args(&machine.command[1..]).args(["-display", "none", "-serial", "mon:stdio"]);
    command.status().map_err(host_error("cannot start QEMU"))?;
    Ok(())
}

/// All that is common to an L1 with a channel and one with a person before it.
struct Machine {
    command: Vec<String>,
    disks: Vec<Disk>,
    alone: Lock,
}

impl Machine {
    fn prepare(parts: &Parts, config: &Config, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(host_error("cannot create the rig's folder"))?;
        let kernel = parts.kernel(config.kernel)?;
        let initrd = folder.join("level1.cpio");
        let mut command = parts.qemu()?.command();
        let alone = Lock::take(&parts.folder().join("level0.lock"), "another rig is running on this machine")
            .map_err(host_error("cannot lock the rig"))?;
        image::write(parts, config, &kernel, &initrd)?;

        let mut disks = Vec::new();
        let text = |value: &str| value.to_owned();
        command.extend(["-M", "q35,kernel-irqchip=off", "-accel", "tcg,thread=multi"].map(text));
        command.extend(["-cpu", PROCESSOR, "-smp", "2", "-m"].map(text));
        command.extend([config.memory.to_string(), text("-device"), format!("intel-iommu,{}", config.iommu)]);
        command.extend(["-nodefaults", "-no-reboot", "-vga", "none", "-net", "none"].map(text));
        for (index, device) in config.devices.iter().enumerate() {
            let (arguments, disk) =
                device.arguments(index, folder).map_err(host_error("cannot create a disk"))?;
            command.extend(arguments);
            disks.extend(disk);
        }
        // A busy machine may give L0 no turn during the check of the timer, which is fatal.
        let cmdline = format!(
            "console=ttyS0 intel_iommu=on no_timer_check tsc_early_khz={} quiet panic=-1 {}",
            clock::kilohertz(),
            config.cmdline
        );
        let paths = [&kernel.image, &initrd].map(|path| path.to_string_lossy().into_owned());
        command.extend([text("-kernel"), paths[0].clone(), text("-initrd"), paths[1].clone()]);
        command.extend([text("-append"), cmdline]);
        Ok(Self { command, disks, alone })
    }
}

/// A command that ends by itself after `limit`, even if we do not.
fn bounded(limit: Duration) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--foreground", "-k", "5", &patient(limit).as_secs().to_string(), "nice", "-n", "5"]);
    command
}

/// Starts a program, on the last of the processors that we may use if `one_processor`.
fn spawn(command: &mut Command, one_processor: bool) -> std::io::Result<Child> {
    let all = sched_getaffinity(None)?;
    if one_processor && let Some(last) = (0..CpuSet::MAX_CPU).rfind(|&processor| all.is_set(processor)) {
        let mut only = CpuSet::new();
        only.set(last);
        // A program is started with what its parent's thread has.
        sched_setaffinity(None, &only)?;
    }
    let child = command.spawn();
    sched_setaffinity(None, &all)?;
    child
}

/// Time budgets are for an otherwise idle machine of two cores; `$PORTCULLIS_PATIENCE` multiplies them.
pub(crate) fn patient(budget: Duration) -> Duration {
    let factor =
        std::env::var("PORTCULLIS_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0_f64);
    budget.mul_f64(factor.clamp(0.1, 100.0))
}

/// The last `lines` lines of a file.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let content = std::fs::read(path).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&content), lines)
}

/// The last `lines` lines of a text.
pub(crate) fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn host_error(what: &str) -> impl FnOnce(std::io::Error) -> Level1Error {
    let what = what.to_owned();
    move |error| Level1Error::Host(what, error)
}
