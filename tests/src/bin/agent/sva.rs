//! A device that works in a process's address space, by the process's own pointers: the kernel binds the probe to it
//! (`tests/guests/linux/probe_sva.c`), and pages come when the device asks for them.

mod ends;

use std::fs::File;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::atomic::Ordering;

use anyhow::{Context as _, ensure};

use crate::memory::{Memory, PAGE, Registers};
use crate::probe::{Block, flag, register, status};

/// What the driver can be asked for.
mod request {
    const fn number(number: u64) -> u64 {
        (b'P' as u64) << 8 | number
    }
    pub(super) const RUN: u64 = number(0);
    pub(super) const START: u64 = number(1);
    pub(super) const FINISH: u64 = number(2);
}

/// By translations of the device's own, and pages asked for where there are none.
const ASKING: u32 = flag::CACHED | flag::PAGES;

#[derive(clap::Subcommand)]
pub(crate) enum Sva {
    /// Everything, one after the other.
    All {
        /// The probe (0000:00:06.0).
        address: String,
    },
    /// A process that has the device write a word of its own at an address that others use, too.
    #[command(hide = true)]
    Apart(ends::Apart),
    /// A process that has the device count in a file, until it is killed.
    #[command(hide = true)]
    Counting(ends::Counting),
}

impl Sva {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::All { address } => all(&address),
            Self::Apart(apart) => apart.run(),
            Self::Counting(counting) => counting.run(),
        }
    }
}

/// An address space that the device is bound to: this process's, or that of the process that opened it.
struct Space(File);

impl Space {
    fn open() -> anyhow::Result<Self> {
        let path = "/dev/probe_sva";
        let file = File::options().read(true).write(true).open(path);
        Ok(Self(file.with_context(|| format!("cannot open {path}"))?))
    }

    /// Carries a command out.
    fn run(&self, block: Block) -> anyhow::Result<Block> {
        self.request(request::RUN, block)
    }

    /// Starts a command.
    fn start(&self, block: Block) -> anyhow::Result<Block> {
        self.request(request::START, block)
    }

    /// Waits for the end of what was started.
    fn finish(&self, block: Block) -> anyhow::Result<Block> {
        self.request(request::FINISH, block)
    }

    fn request(&self, request: u64, mut block: Block) -> anyhow::Result<Block> {
        let file: RawFd = self.0.as_raw_fd();
        // SAFETY: the driver reads and fills in one block, which outlives the call. What the device then does to this
        // process's memory it does where `Memory` expects it, or in pages that are not ours.
        let result = unsafe { libc::ioctl(file, request as libc::Ioctl, &raw mut block) };
        ensure!(result == 0, "the probe's driver: {}", std::io::Error::last_os_error());
        Ok(block)
    }
}

/// The device, its counters in view.
struct Device {
    space: Space,
    registers: Registers,
}

impl Device {
    /// How many page requests it has sent.
    fn page_requests(&self) -> u32 {
        self.registers.read(register::PAGE_REQUESTS)
    }

    /// How many invalidations have come.
    fn invalidations(&self) -> u32 {
        self.registers.read(register::INVALIDATIONS)
    }

    /// Runs a command that must succeed.
    fn succeed(&self, block: Block) -> anyhow::Result<Block> {
        let block = self.space.run(block)?;
        block.expect(status::DONE)?;
        Ok(block)
    }
}

fn all(address: &str) -> anyhow::Result<()> {
    let resource = format!("/sys/bus/pci/devices/{address}/resource0");
    let resource = File::options().read(true).write(true).open(&resource).with_context(|| resource)?;
    let registers = Registers::of_file(&resource, 0, PAGE)?;
    let device = Device { space: Space::open()?, registers };
    for case in [
        untouched,
        zeros,
        huge,
        file,
        together,
        swapped,
        copied,
        protected,
        privileged,
        not_asking,
        ends::unmapped,
        ends::unmapped_at_work,
        ends::apart,
        ends::killed,
    ] {
        case(&device)?;
    }
    Ok(())
}

/// Pages that nobody has touched come as the device asks for them.
fn untouched(device: &Device) -> anyhow::Result<()> {
    const PAGES: usize = 16;
    const MARK: u64 = 0x7075_6C6C_6973_2121;
    let memory = Memory::untouched(PAGES)?;
    ensure!(memory.pages()? == (0, 0), "there are pages already");
    let before = device.page_requests();
    device.succeed(Block::write(memory.address(), PAGES * PAGE, MARK).with(ASKING))?;
    let requests = device.page_requests() - before;
    ensure!(memory.pages()? == (PAGES, 0), "the pages did not come");
    ensure!((0..PAGES * PAGE).step_by(8).all(|offset| memory.load(offset) == MARK), "other bytes");
    ensure!(requests as usize == PAGES, "{requests} page requests");
    println!("@@ sva: the device wrote {PAGES} untouched pages, by {requests} page requests");
    // Now that they are there, also without translations of its own: DMA with a PASID.
    let read = device.succeed(Block::read(memory.address() + 8, 8))?;
    ensure!(read.value == MARK, "it read {:#x}", read.value);
    println!("@@ sva: DMA with PASID {} goes to the process's addresses", read.pasid);
    Ok(())
}

/// To read, the device gets the page of zeros; to write, one of its own.
fn zeros(device: &Device) -> anyhow::Result<()> {
    let memory = Memory::untouched(1)?;
    let read = device.succeed(Block::read(memory.address(), PAGE).with(ASKING))?;
    ensure!(read.value == 0, "it read {:#x}", read.value);
    device.succeed(Block::write(memory.address(), 8, 7).with(ASKING))?;
    ensure!((memory.load(0), memory.load(8)) == (7, 0), "the page was not written");
    println!("@@ sva: a page of zeros became one of its own");
    Ok(())
}

/// One page request and one translation for a huge page.
fn huge(device: &Device) -> anyhow::Result<()> {
    const HUGE: usize = 2 << 20;
    let memory = Memory::untouched(2 * HUGE / PAGE)?;
    memory.advise(libc::MADV_HUGEPAGE)?;
    let start = memory.address().next_multiple_of(HUGE as u64);
    let before = device.page_requests();
    device.succeed(Block::write(start + 0x1_0000, 0x1_0000, 3).with(ASKING))?;
    let found = device.succeed(Block::translate(start + 0x5000))?;
    let requests = device.page_requests() - before;
    ensure!(
        (requests, found.size) == (1, HUGE as u64),
        "{requests} page requests for {:#x} bytes",
        found.size
    );
    println!("@@ sva: one translation for {} KiB", found.size >> 10);
    Ok(())
}

/// A file that is mapped and not yet read.
fn file(device: &Device) -> anyhow::Result<()> {
    let path = "/proc/self/exe";
    let expected = std::fs::read(path)?;
    let expected = u64::from_le_bytes(expected[PAGE * 5..][..8].try_into()?);
    let program = File::open(path)?;
    let memory = Memory::of_file_private(&program, 8)?;
    let read = device.succeed(Block::read(memory.address() + 5 * PAGE as u64, PAGE).with(ASKING))?;
    ensure!(read.value == expected, "it read {:#x}, not {expected:#x}", read.value);
    println!("@@ sva: the device read a file that is mapped");
    Ok(())
}

/// Atomic for the device is atomic for the processor.
fn together(device: &Device) -> anyhow::Result<()> {
    const TIMES: u32 = 20_000;
    let memory = Memory::untouched(1)?;
    let started = device.space.start(Block::add(memory.address(), TIMES).with(ASKING))?;
    for _ in 0..TIMES {
        memory.word(0).fetch_add(1, Ordering::SeqCst);
    }
    let end = device.space.finish(started)?;
    end.expect(status::DONE)?;
    let sum = memory.load(0);
    ensure!(sum == 2 * u64::from(TIMES), "{TIMES} and {TIMES} make {sum}");
    println!("@@ sva: {TIMES} additions by the device and as many by the processor make {sum}");
    Ok(())
}

/// Pages that were swapped out are fetched again.
fn swapped(device: &Device) -> anyhow::Result<()> {
    // More than the processors keep back from the lists of pages that can be swapped out.
    const PAGES: usize = 256;
    const AT_ONCE: usize = 16 * PAGE;
    let memory = Memory::untouched(PAGES)?;
    for offset in (0..PAGES * PAGE).step_by(AT_ONCE) {
        let write = Block::write(memory.address() + offset as u64, AT_ONCE, 0x5A5A);
        device.succeed(write.with(ASKING))?;
    }
    memory.advise(libc::MADV_PAGEOUT)?;
    let (_, swapped) = memory.pages()?;
    ensure!(swapped > 0, "no page was swapped out");
    let before = device.page_requests();
    for offset in (0..PAGES * PAGE).step_by(PAGE) {
        let read = device.succeed(Block::read(memory.address() + offset as u64, PAGE).with(ASKING))?;
        ensure!(read.value == 0x5A5A, "it read {:#x}", read.value);
    }
    let requests = device.page_requests() - before;
    ensure!(requests > 0, "the device did not ask");
    println!("@@ sva: {swapped} of {PAGES} pages went to swap, and came back by {requests} page requests");
    Ok(())
}

/// What the device writes after a fork is not the child's.
fn copied(device: &Device) -> anyhow::Result<()> {
    let memory = Memory::untouched(1)?;
    let word = || Block::write(memory.address(), 8, 2).with(ASKING);
    device.succeed(Block::write(memory.address(), 8, 1).with(ASKING))?;
    let go = Memory::new(1)?;
    // SAFETY: this process has one thread; the child only reads memory, sleeps and ends.
    let child = unsafe { libc::fork() };
    ensure!(child >= 0, "cannot fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        while go.load(0) == 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let kept = memory.load(0) == 1;
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(!kept)) };
    }
    let written = device.succeed(word());
    go.word(0).store(1, Ordering::SeqCst);
    let mut ended = 0;
    // SAFETY: waits for our child; the status is ours.
    unsafe { libc::waitpid(child, &raw mut ended, 0) };
    written?;
    ensure!(memory.load(0) == 2, "the parent does not see what the device wrote");
    ensure!(ended == 0, "the child sees what the device wrote afterwards");
    println!("@@ sva: after a fork the device writes the parent's copy only");
    Ok(())
}

/// The kernel refuses what the process may not do itself.
fn protected(device: &Device) -> anyhow::Result<()> {
    let memory = Memory::untouched(1)?;
    device.succeed(Block::write(memory.address(), 8, 5).with(ASKING))?;
    memory.protect()?;
    let write = Block::write(memory.address(), 8, 6);
    device.space.run(write.with(flag::CACHED))?.expect(status::NO_PERMISSION)?;
    device.space.run(write.with(ASKING))?.expect(status::PAGE_REFUSED)?;
    let read = device.succeed(Block::read(memory.address(), 8).with(ASKING))?;
    ensure!((read.value, memory.load(0)) == (5, 5), "the page was written");
    println!("@@ sva: a page that may only be read is only read");
    Ok(())
}

/// A process's address space is for requests of users, and for data.
fn privileged(device: &Device) -> anyhow::Result<()> {
    const NO_EXECUTE_REQUESTS: u32 = 0x5C;
    const NO_SUPERVISOR_REQUESTS: u32 = 0x5D;
    const INVALID_REQUEST: u64 = 1;
    let memory = Memory::untouched(1)?;
    device.succeed(Block::write(memory.address(), 8, 5).with(ASKING))?;
    let read = Block::read(memory.address(), 8);
    for (flags, reason) in [(flag::PRIVILEGED, NO_SUPERVISOR_REQUESTS), (flag::EXECUTE, NO_EXECUTE_REQUESTS)]
    {
        let end = device.space.run(read.with(flags))?;
        end.expect(status::BLOCKED)?;
        ensure!(end.reason == reason, "reason {:#x}, not {reason:#x}", end.reason);
        let response = device.succeed(Block::page_request(memory.address()).with(flags))?.value;
        ensure!(response == INVALID_REQUEST, "a page request was answered with {response}");
    }
    println!("@@ sva: requests to execute and with privilege are blocked, and answered as invalid");
    Ok(())
}

/// Without asking for pages the device finds none.
fn not_asking(device: &Device) -> anyhow::Result<()> {
    let memory = Memory::untouched(1)?;
    let write = Block::write(memory.address(), 8, 1);
    let end = device.space.run(write)?;
    end.expect(status::BLOCKED)?;
    device.space.run(write.with(flag::CACHED))?.expect(status::NO_PERMISSION)?;
    ensure!(memory.pages()? == (0, 0), "a page came");
    println!("@@ sva: without a page request the write is blocked, for reason {:#x}", end.reason);
    Ok(())
}
