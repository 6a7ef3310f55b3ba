//! Where address spaces end: unmapped memory, other processes, and processes that are no more.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::{ASKING, Device, Space};
use crate::memory::{Memory, PAGE, anonymous_file};
use crate::probe::{Block, flag, status};

/// SFS.2: nothing in the process's tables.
const NOT_PRESENT: u32 = 0x71;
/// SPT.2: no entry for the PASID.
const NO_PASID_ENTRY: u32 = 0x59;
/// As often as a command can be repeated.
const FOREVER: u32 = 1 << 20;

/// Unmapped memory is out of reach, although the page itself is still there for others.
pub(super) fn unmapped(device: &Device) -> anyhow::Result<()> {
    let file = anonymous_file(1)?;
    let (memory, alias) = (Memory::of_file(&file, 1)?, Memory::of_file(&file, 1)?);
    let write = |mark| Block::write(memory.address(), 8, mark);
    device.succeed(write(1).with(ASKING))?;
    ensure!(alias.load(0) == 1, "the device wrote elsewhere");
    let attempts = [
        (write(2), status::BLOCKED),
        (write(3).with(flag::CACHED), status::NO_PERMISSION),
        (write(4).with(ASKING), status::PAGE_REFUSED),
    ];
    let before = device.invalidations();
    drop(memory);
    ensure!(device.invalidations() > before, "the device was not told to forget");
    for (attempt, expected) in attempts {
        let end = device.space.run(attempt)?;
        end.expect(expected)?;
        ensure!(expected != status::BLOCKED || end.reason == NOT_PRESENT, "reason {:#x}", end.reason);
    }
    ensure!(alias.load(0) == 1, "the device wrote to memory that was unmapped");
    println!("@@ sva: unmapped memory is out of reach");
    Ok(())
}

/// The same while the device is at work: not one addition is made after `munmap` has returned.
pub(super) fn unmapped_at_work(device: &Device) -> anyhow::Result<()> {
    const ROUNDS: u32 = 10;
    let mut additions = 0;
    for _ in 0..ROUNDS {
        let file = anonymous_file(1)?;
        let (memory, alias) = (Memory::of_file(&file, 1)?, Memory::of_file(&file, 1)?);
        let started = device.space.start(Block::add(memory.address(), FOREVER).with(ASKING))?;
        moves(&alias)?;
        drop(memory);
        let then = alias.load(0);
        let end = device.space.finish(started)?;
        end.expect(status::PAGE_REFUSED)?;
        let (now, told) = (alias.load(0), u64::from(end.succeeded));
        ensure!((now, told) == (then, then), "{then} additions, then {now}; the device made {told}");
        additions += then;
    }
    println!(
        "@@ sva: {ROUNDS} times unmapped under way, after {additions} additions, and not one afterwards"
    );
    Ok(())
}

/// Waits until the device counts.
fn moves(memory: &Memory) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while memory.load(0) < 100 {
        ensure!(Instant::now() < deadline, "the device does not count");
    }
    Ok(())
}

/// A process of this program, which says where it stands and does as it is told.
struct Process {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Process {
    fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .arg("sva")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, lines })
    }

    /// The number it says next.
    fn number(&mut self) -> anyhow::Result<u32> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        line.trim().parse().with_context(|| format!("a process said {line:?}"))
    }

    /// Lets it go on, and waits for its good end.
    fn end(mut self) -> anyhow::Result<()> {
        self.child.stdin.take().context("no input")?.write_all(b"\n")?;
        let status = self.child.wait()?;
        ensure!(status.success(), "a process ended with {status}");
        Ok(())
    }

    /// Its file `number`, opened here, too.
    fn file(&self, number: RawFd) -> anyhow::Result<File> {
        let taken = |result: libc::c_long, what: &str| -> anyhow::Result<OwnedFd> {
            if result < 0 {
                bail!("{what}: {}", std::io::Error::last_os_error());
            }
            // SAFETY: the kernel made this descriptor for us just now; nothing else owns it.
            Ok(unsafe { OwnedFd::from_raw_fd(result as RawFd) })
        };
        // SAFETY: two numbers.
        let process = unsafe { libc::syscall(libc::SYS_pidfd_open, self.child.id(), 0) };
        let process = taken(process, "cannot open a process")?;
        // SAFETY: three numbers.
        let file = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
        Ok(taken(file, "cannot take a file")?.into())
    }
}

/// Where every such process has its memory.
const PLACE: usize = 0x5000_0000_0000;

#[derive(clap::Args)]
pub(crate) struct Apart {
    mark: u64,
}

impl Apart {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let space = Space::open()?;
        let memory = Memory::untouched_at(PLACE, 1)?;
        let end = space.run(Block::write(memory.address(), 8, self.mark).with(ASKING))?;
        end.expect(status::DONE)?;
        println!("{}", end.pasid);
        std::io::stdin().read_line(&mut String::new())?;
        let end = space.run(Block::read(memory.address(), 8).with(ASKING))?;
        end.expect(status::DONE)?;
        ensure!((end.value, memory.load(0)) == (self.mark, self.mark), "another's word: {:#x}", end.value);
        Ok(())
    }
}

/// One address, as many words as there are processes.
pub(super) fn apart(device: &Device) -> anyhow::Result<()> {
    let mut processes = ["11", "22", "33"].map(|mark| Process::start(&["apart", mark]));
    let mut pasids = vec![device.succeed(Block::default())?.pasid];
    for process in &mut processes {
        match process {
            Ok(process) => pasids.push(process.number()?),
            Err(error) => bail!("cannot start a process: {error}"),
        }
    }
    let count = pasids.len();
    for process in processes {
        process?.end()?;
    }
    println!("@@ sva: {} processes have their own words at one address, by PASIDs {pasids:?}", count - 1);
    pasids.sort_unstable();
    pasids.dedup();
    ensure!(pasids.len() == count, "two processes have one PASID");
    Ok(())
}

#[derive(clap::Args)]
pub(crate) struct Counting {
    /// The file to count in, open for this process.
    file: RawFd,
}

impl Counting {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        // SAFETY: who started this process opened the file for it.
        let file = unsafe { File::from_raw_fd(self.file) };
        let space = Space::open()?;
        let memory = Memory::of_file(&file, 1)?;
        space.start(Block::add(memory.address(), FOREVER).with(ASKING))?;
        println!("{}", space.0.as_raw_fd());
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// With the process its PASID ends: the device is stopped in the middle of its work, and has no way back.
pub(super) fn killed(device: &Device) -> anyhow::Result<()> {
    let file = anonymous_file(1)?;
    let memory = Memory::of_file(&file, 1)?;
    let mut process = Process::start(&["counting", &file.as_raw_fd().to_string()])?;
    let number = process.number()?.cast_signed();
    // The driver's file outlives the process, and with it the PASID's number.
    let space = Space(process.file(number)?);
    moves(&memory)?;
    process.child.kill()?;
    process.child.wait()?;
    let then = memory.load(0);
    let end = space.finish(Block::default())?;
    end.expect(status::UNSUPPORTED)?;
    let (now, told) = (memory.load(0), u64::from(end.succeeded));
    ensure!((now, told) == (then, then), "{then} additions, then {now}; the device made {told}");
    let read = Block::read(PLACE as u64, 8);
    let end = space.run(read)?;
    end.expect(status::BLOCKED)?;
    ensure!(end.reason == NO_PASID_ENTRY, "reason {:#x}", end.reason);
    space.run(read.with(ASKING))?.expect(status::UNSUPPORTED)?;
    println!("@@ sva: killed after {then} additions, and PASID {} leads nowhere", end.pasid);
    drop(space);
    // Others are not affected.
    let memory = Memory::untouched(1)?;
    device.succeed(Block::write(memory.address(), PAGE, 1).with(ASKING))?;
    println!("@@ sva: this process is as well as before");
    Ok(())
}
