//! A driver for an NVMe drive through VFIO, or with no one between, as small as can be: one command at a time.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use crate::memory::Registers;
use crate::sysfs;
use crate::vfio::{Container, Function, Memory, PAGE};

const CONFIGURATION: usize = 0x14;
const STATUS: usize = 0x1c;
const ADMIN_QUEUE_SIZES: usize = 0x24;
const ADMIN_SUBMISSION: usize = 0x28;
const ADMIN_COMPLETION: usize = 0x30;
const DOORBELLS: usize = 0x1000;
/// Bytes of registers that matter: with the doorbells of two pairs of queues.
const REGISTERS: usize = 0x2000;
/// Entries of every queue.
const ENTRIES: u16 = 16;
/// Bytes in a block, of all drives in the rig.
pub(crate) const BLOCK: usize = 512;

/// A drive with one pair of queues besides the admin queues.
pub(crate) struct Drive {
    function: Access,
    queues: Memory,
    admin: std::cell::Cell<u16>,
    io: std::cell::Cell<u16>,
}

/// How its registers are reached.
enum Access {
    /// As VFIO's.
    Function(Function),
    /// As sysfs shows them.
    Registers(Registers),
}

impl Access {
    fn read(&self, offset: usize) -> u32 {
        match self {
            Self::Function(function) => function.read(offset),
            Self::Registers(registers) => registers.read(offset),
        }
    }

    fn write(&self, offset: usize, value: u32) {
        match self {
            Self::Function(function) => function.write(offset, value),
            Self::Registers(registers) => registers.write(offset, value),
        }
    }

    /// Writes a 64-bit register as two halves, the lower first.
    fn write_wide(&self, offset: usize, value: u64) {
        self.write(offset, value as u32);
        self.write(offset + 4, (value >> 32) as u32);
    }
}

/// Pages of `queues`.
const ADMIN: usize = 0;
const IO: usize = 2;

impl Drive {
    /// Starts the drive at `address`, bound to vfio-pci. It finds its queues in four pages at `at`.
    pub(crate) fn start(container: &Container, address: &str, at: u64) -> anyhow::Result<Self> {
        let function = Function::open_in(container, address)?;
        let queues = Memory::new(4)?;
        function.map(at, &queues, 0, queues.len())?;
        let places = [0, 1, 2, 3].map(|page| at + page * PAGE as u64);
        Self::begin(Access::Function(function), queues, places)
    }

    /// Starts the drive at `address`, which no driver has. It finds its queues where they are: nothing translates.
    pub(crate) fn start_untranslated(address: &str) -> anyhow::Result<Self> {
        sysfs::command(address, sysfs::MEMORY_AND_MASTER)?;
        let registers = Registers::of_file(&sysfs::bar(address, 0)?, 0, REGISTERS)?;
        let queues = Memory::new(4)?;
        let mut places = [0; 4];
        for (page, place) in places.iter_mut().enumerate() {
            *place = queues.physical(page * PAGE)?;
        }
        Self::begin(Access::Registers(registers), queues, places)
    }

    /// The pages of `queues` are at `places` for it.
    fn begin(function: Access, queues: Memory, places: [u64; 4]) -> anyhow::Result<Self> {
        let drive = Self { function, queues, admin: 0.into(), io: 0.into() };
        drive.function.write(CONFIGURATION, 0);
        drive.wait_until_ready(false)?;
        drive.function.write(ADMIN_QUEUE_SIZES, u32::from(ENTRIES - 1) << 16 | u32::from(ENTRIES - 1));
        drive.function.write_wide(ADMIN_SUBMISSION, places[ADMIN]);
        drive.function.write_wide(ADMIN_COMPLETION, places[ADMIN + 1]);
        // Entries of 64 and 16 bytes, pages of 4 KiB, enabled.
        drive.function.write(CONFIGURATION, 4 << 20 | 6 << 16 | 1);
        drive.wait_until_ready(true)?;
        let size = u32::from(ENTRIES - 1) << 16 | 1;
        // Create I/O Completion Queue, without interrupts; Create I/O Submission Queue for it.
        let status = drive.command(
            ADMIN,
            &Command { opcode: 0x05, page: places[IO + 1], words: [size, 1, 0], ..Command::default() },
        )?;
        ensure!(status == 0, "the drive makes no completion queue: {status:#x}");
        let status = drive.command(
            ADMIN,
            &Command { opcode: 0x01, page: places[IO], words: [size, 1 << 16 | 1, 0], ..Command::default() },
        )?;
        ensure!(status == 0, "the drive makes no submission queue: {status:#x}");
        Ok(drive)
    }

    /// Has the drive describe itself in the page at `page`: its serial number.
    pub(crate) fn identify(&self, memory: &Memory, offset: usize, page: u64) -> anyhow::Result<String> {
        const CONTROLLER: u32 = 1;
        let command = Command { opcode: 0x06, page, words: [CONTROLLER, 0, 0], ..Command::default() };
        let status = self.command(ADMIN, &command)?;
        ensure!(status == 0, "the drive does not identify itself: {status:#x}");
        let serial = memory.read(offset + 4, 20);
        Ok(String::from_utf8_lossy(&serial).trim().to_owned())
    }

    /// How many blocks it has; the page at `page` is used for the answer.
    pub(crate) fn blocks(&self, memory: &Memory, offset: usize, page: u64) -> anyhow::Result<u64> {
        let command = Command { opcode: 0x06, namespace: 1, page, ..Command::default() };
        let status = self.command(ADMIN, &command)?;
        ensure!(status == 0, "the drive does not describe its blocks: {status:#x}");
        Ok(memory.load(offset))
    }

    /// Reads `count` blocks from block `first` on to `page`; `list` is the second page or the list of pages. Gives the
    /// drive's status, 0 for success.
    pub(crate) fn read(&self, first: u64, count: u32, page: u64, list: u64) -> anyhow::Result<u16> {
        let words = [first as u32, (first >> 32) as u32, count - 1];
        self.command(IO, &Command { opcode: 0x02, namespace: 1, page, list, words })
    }

    /// Writes the page at `page` to 8 blocks from block `first` on; gives the status.
    pub(crate) fn write_page(&self, first: u64, page: u64) -> anyhow::Result<u16> {
        let words = [first as u32, (first >> 32) as u32, 7];
        self.command(IO, &Command { opcode: 0x01, namespace: 1, page, list: 0, words })
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
        // Someone may stop the whole machine for a while.
        let deadline = Instant::now() + Duration::from_mins(1);
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
