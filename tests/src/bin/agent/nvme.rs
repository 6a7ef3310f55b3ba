//! A driver for an NVMe drive through VFIO, as small as can be: it reads a block, and makes the drive stray.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use crate::vfio::{Function, Memory, PAGE};

const CONFIGURATION: usize = 0x14;
const STATUS: usize = 0x1c;
const ADMIN_QUEUE_SIZES: usize = 0x24;
const ADMIN_SUBMISSION: usize = 0x28;
const ADMIN_COMPLETION: usize = 0x30;
const DOORBELLS: usize = 0x1000;
/// Entries of every queue.
const ENTRIES: u16 = 16;
/// Where the queues are for the drive; a page each.
const QUEUES: u64 = 0x1000_0000;
/// Where data is for the drive.
const DATA: u64 = 0x2000_0000;

#[derive(clap::Args)]
pub(crate) struct Stray {
    /// The drive, bound to vfio-pci.
    address: String,
}

impl Stray {
    /// Makes the drive read and write where nothing is mapped; pages beside must not change.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let drive = Drive::start(&self.address)?;
        let memory = Memory::new(4)?;
        let canary = vec![0xC5; PAGE];
        for page in [0, 2] {
            memory.write(page * PAGE, &canary);
            drive.function.map(DATA + (page * PAGE) as u64, &memory, page * PAGE, PAGE)?;
        }
        let good = 3 * PAGE;
        drive.function.map(DATA + good as u64, &memory, good, PAGE)?;
        let status = drive.read_blocks(8, DATA + good as u64, 0)?;
        ensure!(status == 0, "a good read ended with status {status:#x}");
        ensure!(memory.read(good, PAGE).iter().any(|byte| *byte != 0), "the drive read nothing");

        let hole = DATA + PAGE as u64;
        println!("@@ nvme strays to {hole:#x}");
        // The drive writes its data to the hole; whether it learns of the refusal is its own affair.
        let status = drive.read_blocks(8, hole, 0)?;
        println!("@@ nvme answered a stray write with {status:#x}");
        // The drive fetches the list of pages from the hole: it cannot go on without.
        let status = drive.read_blocks(32, DATA + good as u64, hole)?;
        println!("@@ nvme answered a stray read with {status:#x}");
        ensure!(status != 0, "the drive read a list from an address that is not mapped");
        for page in [0, 2] {
            ensure!(memory.read(page * PAGE, PAGE) == canary, "page {page} was written");
        }
        ensure!(
            memory.read(PAGE, PAGE).iter().all(|byte| *byte == 0),
            "the page that is not mapped was written"
        );
        println!("@@ nvme wrote nothing it may not");
        Ok(())
    }
}

/// A drive with one pair of queues besides the admin queues.
struct Drive {
    function: Function,
    queues: Memory,
    admin: std::cell::Cell<u16>,
    io: std::cell::Cell<u16>,
}

/// Pages of `queues`.
const ADMIN: usize = 0;
const IO: usize = 2;

impl Drive {
    fn start(address: &str) -> anyhow::Result<Self> {
        let function = Function::open(address)?;
        let queues = Memory::new(4)?;
        function.map(QUEUES, &queues, 0, queues.len())?;
        let drive = Self { function, queues, admin: 0.into(), io: 0.into() };
        drive.function.write(CONFIGURATION, 0);
        drive.wait_until_ready(false)?;
        drive.function.write(ADMIN_QUEUE_SIZES, u32::from(ENTRIES - 1) << 16 | u32::from(ENTRIES - 1));
        drive.function.write_wide(ADMIN_SUBMISSION, QUEUES);
        drive.function.write_wide(ADMIN_COMPLETION, QUEUES + PAGE as u64);
        // Entries of 64 and 16 bytes, pages of 4 KiB, enabled.
        drive.function.write(CONFIGURATION, 4 << 20 | 6 << 16 | 1);
        drive.wait_until_ready(true)?;
        let size = u32::from(ENTRIES - 1) << 16 | 1;
        let io = QUEUES + (IO * PAGE) as u64;
        // Create I/O Completion Queue, without interrupts; Create I/O Submission Queue for it.
        let status = drive.command(
            ADMIN,
            &Command { opcode: 0x05, page: io + PAGE as u64, words: [size, 1, 0], ..Command::default() },
        )?;
        ensure!(status == 0, "the drive makes no completion queue: {status:#x}");
        let status = drive.command(
            ADMIN,
            &Command { opcode: 0x01, page: io, words: [size, 1 << 16 | 1, 0], ..Command::default() },
        )?;
        ensure!(status == 0, "the drive makes no submission queue: {status:#x}");
        Ok(drive)
    }

    /// Reads `blocks` blocks of 512 bytes from the start to `page`; `list` is the second page or the list of pages.
    fn read_blocks(&self, blocks: u32, page: u64, list: u64) -> anyhow::Result<u16> {
        self.command(IO, &Command { opcode: 0x02, namespace: 1, page, list, words: [0, 0, blocks - 1] })
    }

    /// Submits a command and waits for it: its status code and type.
    fn command(&self, queue: usize, command: &Command) -> anyhow::Result<u16> {
        let (count, id) = if queue == ADMIN { (&self.admin, 0) } else { (&self.io, 1) };
        let slot = count.get() % ENTRIES;
        self.queues.write(queue * PAGE + usize::from(slot) * 64, &command.bytes());
        let next = (slot + 1) % ENTRIES;
        self.function.write(DOORBELLS + id * 8, next.into());
        let entry = (queue + 1) * PAGE + usize::from(slot) * 16;
        // The phase bit of a completion turns over with every round of the queue.
        let phase = (count.get() / ENTRIES + 1) & 1;
        let deadline = Instant::now() + Duration::from_secs(10);
        let status = loop {
            let status = self.queues.read(entry + 14, 2);
            let status = u16::from_le_bytes([status[0], status[1]]);
            if status & 1 == phase {
                break status >> 1;
            }
            ensure!(Instant::now() < deadline, "the drive does not answer");
        };
        count.set(count.get() + 1);
        self.function.write(DOORBELLS + id * 8 + 4, next.into());
        Ok(status & 0x7ff)
    }

    fn wait_until_ready(&self, ready: bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while (self.function.read(STATUS) & 1 != 0) != ready {
            if Instant::now() > deadline {
                bail!("the drive does not become {}", if ready { "ready" } else { "idle" });
            }
        }
        Ok(())
    }
}

/// What matters of a submission queue entry.
#[derive(Default)]
struct Command {
    opcode: u32,
    namespace: u32,
    page: u64,
    list: u64,
    words: [u32; 3],
}

impl Command {
    fn bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &self.opcode.to_le_bytes());
        put(4, &self.namespace.to_le_bytes());
        put(24, &self.page.to_le_bytes());
        put(32, &self.list.to_le_bytes());
        for (index, word) in self.words.iter().enumerate() {
            put(40 + index * 4, &word.to_le_bytes());
        }
        bytes
    }
}
