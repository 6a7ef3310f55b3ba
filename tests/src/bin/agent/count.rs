//! Counts events of a remapping unit while a command runs, the way `perf stat` does.

use std::fs;
use std::io::Read as _;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

/// `PERF_EVENT_IOC_ENABLE` and `PERF_EVENT_IOC_DISABLE` of `linux/perf_event.h`.
const ENABLE: libc::Ioctl = 0x2400;
const DISABLE: libc::Ioctl = 0x2401;
/// Of `perf_event_attr`: the event does not count yet.
const DISABLED: u64 = 1 << 0;
/// What is read besides the count: for how long it was wanted, and for how long it has counted.
const READ_FORMAT: u64 = 0b11;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;

/// As much of `perf_event_attr` as the kernel has to know.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint_type: u32,
    config1: u64,
    config2: u64,
}

#[derive(clap::Args)]
pub(crate) struct Count {
    /// The unit, as the kernel names it.
    #[arg(long, default_value = "dmar0")]
    unit: String,
    /// An event, and what else is to be set, such as `iotlb_lookup,filter_domain_en=1,filter_domain=0x2`.
    #[arg(long = "event", required = true)]
    events: Vec<String>,
    /// What runs meanwhile.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Count {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let unit = PathBuf::from("/sys/bus/event_source/devices").join(&self.unit);
        let kind = read(&unit.join("type"))?.parse()?;
        let cpu = fs::read_to_string(unit.join("cpumask")).map_or(0, |list| first(&list));
        // One group: all of them begin and end at once.
        let mut group: Vec<fs::File> = Vec::new();
        for event in &self.events {
            let flags = if group.is_empty() { DISABLED } else { 0 };
            let attributes = Attributes { kind, flags, ..attributes(&unit, event)? };
            let leader = group.first().map_or(-1, std::os::fd::AsRawFd::as_raw_fd);
            let opened = open(&attributes, cpu, leader);
            group.push(opened.with_context(|| format!("the kernel does not count {event}"))?.into());
        }
        let (program, arguments) = self.command.split_first().context("nothing to run")?;
        control(&group[0], ENABLE)?;
        let status = Command::new(program).args(arguments).status();
        control(&group[0], DISABLE)?;
        ensure!(status.with_context(|| format!("cannot run {program}"))?.success(), "{program} failed");
        for (event, mut file) in self.events.iter().zip(group) {
            let mut bytes = [0; 24];
            file.read_exact(&mut bytes).context("cannot read a count")?;
            let [count, wanted, counted] = std::array::from_fn(|word| {
                u64::from_le_bytes(std::array::from_fn(|byte| bytes[word * 8 + byte]))
            });
            ensure!(counted > 0 && counted == wanted, "{event} did not count all the time");
            println!("@@ {event}: {count}");
        }
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// The first number of a list like `0-3,5`.
fn first(list: &str) -> i32 {
    list.split(|separator: char| !separator.is_ascii_digit())
        .next()
        .and_then(|cpu| cpu.parse().ok())
        .unwrap_or(0)
}

/// What `event` means, as the unit's files say.
fn attributes(unit: &Path, event: &str) -> anyhow::Result<Attributes> {
    let (name, more) = event.split_once(',').unwrap_or((event, ""));
    let meaning = read(&unit.join("events").join(name))?;
    let mut attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        read_format: READ_FORMAT,
        ..Attributes::default()
    };
    for term in meaning.split(',').chain(more.split(',')).filter(|term| !term.is_empty()) {
        let (field, value) = term.split_once('=').with_context(|| format!("{term} has no value"))?;
        let value = match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16)?,
            None => value.parse()?,
        };
        let format = read(&unit.join("format").join(field))?;
        let (word, bits) = format.split_once(':').with_context(|| format!("{format} names no bits"))?;
        let low: u32 = bits.split('-').next().unwrap_or(bits).parse()?;
        let word = match word {
            "config" => &mut attributes.config,
            "config1" => &mut attributes.config1,
            "config2" => &mut attributes.config2,
            _ => bail!("{format} names a word that is not there"),
        };
        *word |= value << low;
    }
    Ok(attributes)
}

fn open(attributes: &Attributes, cpu: i32, leader: RawFd) -> anyhow::Result<OwnedFd> {
    // SAFETY: the kernel reads as many bytes of `attributes` as its field `size` says, which are all of it.
    let result = unsafe {
        let attributes: *const Attributes = attributes;
        libc::syscall(libc::SYS_perf_event_open, attributes, -1, cpu, leader, CLOSE_ON_EXEC)
    };
    let file = RawFd::try_from(result).ok().filter(|file| *file >= 0);
    let file = file.ok_or_else(std::io::Error::last_os_error)?;
    // SAFETY: the kernel has just given the descriptor to nobody but us.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}

/// Starts or stops a group.
fn control(leader: &fs::File, request: libc::Ioctl) -> anyhow::Result<()> {
    /// `PERF_IOC_FLAG_GROUP`.
    const GROUP: libc::c_ulong = 1;
    // SAFETY: the request takes a number and no memory.
    let result = unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(leader), request, GROUP) };
    ensure!(result == 0, "cannot start or stop counting: {}", std::io::Error::last_os_error());
    Ok(())
}
