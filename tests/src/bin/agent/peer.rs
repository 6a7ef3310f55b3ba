//! Peer-to-peer DMA: an NVMe drive reads into the memory of another one (its controller memory buffer), and writes
//! from there, while that one's BAR is hidden, moved and reset.

use std::os::unix::fs::FileExt as _;

use anyhow::ensure;

use crate::nvme::drive::Drive;
use crate::sysfs;
use crate::vfio::{Container, Function, Memory, PAGE};

/// The BAR with the memory.
const BAR: u32 = 2;
/// Its register.
const BAR_REGISTER: u64 = 0x10 + 4 * BAR as u64;
/// Pages of it that are mapped.
const PAGES: usize = 16;
/// Where the drive finds its queues.
const QUEUES: u64 = 0x1000_0000;
/// Where its data in memory is for the drive.
const DATA: u64 = 0x2000_0000;
/// Where the other one's memory is for it.
const PEER: u64 = 0x3000_0000;
/// The command register's Bus Master, without Memory Space and with it.
const MEMORY_OFF: u8 = 0x04;
const MEMORY_ON: u8 = sysfs::MEMORY_AND_MASTER;

#[derive(clap::Args)]
pub(crate) struct Peer {
    /// The drive, bound to vfio-pci.
    drive: String,
    /// The one with the memory, bound to vfio-pci.
    other: String,
    /// Neither is bound to anything, and there is no IOMMU: memory is where it is.
    #[arg(long)]
    untranslated: bool,
}

/// The one with the memory.
enum Other<'a> {
    Function(Function),
    Untranslated(&'a str),
}

impl Other<'_> {
    fn command(&self, value: u8) -> anyhow::Result<()> {
        match self {
            Self::Function(function) => function.command(value),
            Self::Untranslated(address) => sysfs::command(address, value),
        }
    }

    fn reset(&self) -> anyhow::Result<()> {
        match self {
            Self::Function(function) => function.reset(),
            Self::Untranslated(address) => sysfs::reset(address),
        }
    }
}

impl Peer {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let own = Memory::new(1)?;
        let (bench, other) = if self.untranslated { self.untranslated(own)? } else { self.translated(own)? };
        bench.expect_reached("at first")?;
        bench.write_back()?;
        println!("@@ peer: the drive reads into the other's memory, and writes from there");

        other.command(MEMORY_OFF)?;
        bench.expect_out_of_reach("hidden", || other.command(MEMORY_ON))?;
        bench.expect_reached("shown again")?;
        println!("@@ peer: what is hidden is out of reach, and within when it is shown again");

        // Behind the back of the kernel, which would not let a BAR in use be moved.
        let config = sysfs::config(&self.other)?;
        let mut place = [0; 4];
        config.read_exact_at(&mut place, BAR_REGISTER)?;
        let away = u32::from_le_bytes(place) ^ 0x0010_0000;
        config.write_all_at(&away.to_le_bytes(), BAR_REGISTER)?;
        bench.expect_out_of_reach("moved away", || Ok(config.write_all_at(&place, BAR_REGISTER)?))?;
        bench.expect_reached("moved back")?;
        println!("@@ peer: what has moved away is out of reach, and within when it is back");

        other.reset()?;
        other.command(MEMORY_ON)?;
        bench.expect_reached("reset")?;
        println!("@@ peer: a reset leaves the mapping as it should be");
        Ok(())
    }

    /// Both in one container.
    fn translated(&self, own: Memory) -> anyhow::Result<(Bench, Other<'_>)> {
        let container = Container::new()?;
        let drive = Drive::start(&container, &self.drive, QUEUES)?;
        let other = Function::open(&self.other)?;
        let bar = other.bar(BAR, PAGES)?;
        container.map(DATA, &own, 0, PAGE)?;
        container.map(PEER, &bar, 0, bar.len())?;
        Ok((Bench { drive, own, bar, data: DATA, peer: PEER }, Other::Function(other)))
    }

    /// Each address stands for itself.
    fn untranslated(&self, own: Memory) -> anyhow::Result<(Bench, Other<'_>)> {
        let drive = Drive::start_untranslated(&self.drive)?;
        sysfs::command(&self.other, MEMORY_ON)?;
        let bar = Memory::of_region(&sysfs::bar(&self.other, BAR)?, 0, PAGES)?;
        let (data, peer) = (own.physical(0)?, sysfs::place(&self.other, BAR, PAGES)?);
        Ok((Bench { drive, own, bar, data, peer }, Other::Untranslated(&self.other)))
    }
}

struct Bench {
    drive: Drive,
    own: Memory,
    bar: Memory,
    /// Where both are for the drive.
    data: u64,
    peer: u64,
}

impl Bench {
    /// A page of the BAR, at its end.
    const AT: usize = (PAGES - 1) * PAGE;

    /// What the drive has in a page of blocks.
    fn content(&self, first: u64) -> anyhow::Result<Vec<u8>> {
        let status = self.drive.read(first, 8, self.data, 0)?;
        ensure!(status == 0, "a read into memory ended with status {status:#x}");
        Ok(self.own.read(0, PAGE))
    }

    /// Has the drive read into the BAR, where something else must be before.
    fn expect_reached(&self, when: &str) -> anyhow::Result<()> {
        let content = self.content(64)?;
        self.bar.write(Self::AT, &[0x5A; PAGE]);
        let status = self.drive.read(64, 8, self.peer + Self::AT as u64, 0)?;
        ensure!(status == 0, "{when}: a read into the BAR ended with status {status:#x}");
        ensure!(self.bar.read(Self::AT, PAGE) == content, "{when}: the drive's data is not in the BAR");
        Ok(())
    }

    /// Has the drive write to its blocks what is in the BAR.
    fn write_back(&self) -> anyhow::Result<()> {
        let content = self.bar.read(Self::AT, PAGE);
        let status = self.drive.write_page(128, self.peer + Self::AT as u64)?;
        ensure!(status == 0, "a write from the BAR ended with status {status:#x}");
        ensure!(self.content(128)? == content, "the drive wrote something else");
        Ok(())
    }

    /// Has the drive read to where the BAR was: when `back` has brought it back, nothing of that must be in it.
    fn expect_out_of_reach(&self, when: &str, back: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let status = self.drive.read(0, 8, self.peer + Self::AT as u64, 0)?;
        println!("@@ peer: while the BAR is {when}, the drive answers with {status:#x}");
        back()?;
        let content = self.content(0)?;
        ensure!(self.bar.read(Self::AT, PAGE) != content, "{when}: the drive still wrote into the BAR");
        Ok(())
    }
}
