//! NVMe drives driven from user space through VFIO: read, and made to stray.

pub(crate) mod drive;

use anyhow::ensure;
use sha2::{Digest as _, Sha256};

use crate::vfio::{Container, Memory, PAGE};
use drive::{BLOCK, Drive};

/// Where the queues are for the first drive; those of others follow.
const QUEUES: u64 = 0x1000_0000;
/// Where data is for the drives.
const DATA: u64 = 0x2000_0000;
/// What each drive has there.
const STRIDE: u64 = 0x10_0000;

#[derive(clap::Args)]
pub(crate) struct Read {
    /// The drives, bound to vfio-pci.
    #[arg(required = true)]
    addresses: Vec<String>,
    /// Each in an address space of its own, and not all in one.
    #[arg(long)]
    apart: bool,
}

impl Read {
    /// Reads each drive from its first block to its last, in turns.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        /// Pages of a transfer; the drives of the rig take no more at once.
        const PAGES: usize = 32;
        let shared = Container::new()?;
        let mut readers = Vec::new();
        for (index, address) in self.addresses.iter().enumerate() {
            let container = if self.apart { Container::new()? } else { shared.clone() };
            // Alone in its space, each uses the same addresses as the others.
            let place = if self.apart { 0 } else { index as u64 * STRIDE };
            let drive = Drive::start(&container, address, QUEUES + place)?;
            let memory = Memory::new(PAGES + 1)?;
            container.map(DATA + place, &memory, 0, memory.len())?;
            let serial = drive.identify(&memory, 0, DATA + place)?;
            let blocks = drive.blocks(&memory, 0, DATA + place)?;
            println!("@@ {address} is {serial} with {blocks} blocks");
            // The list of pages, from the second on, lies behind them.
            for page in 1..PAGES {
                let entry = DATA + place + (page * PAGE) as u64;
                memory.write(PAGES * PAGE + (page - 1) * 8, &entry.to_le_bytes());
            }
            readers.push((address, drive, memory, DATA + place, blocks, Sha256::new()));
        }
        let at_once = (PAGES * PAGE / BLOCK) as u64;
        let most = readers.iter().map(|reader| reader.4).max().unwrap_or(0);
        for first in (0..most).step_by(at_once as usize) {
            for (address, drive, memory, data, blocks, digest) in &mut readers {
                let count = at_once.min(blocks.saturating_sub(first));
                if count == 0 {
                    continue;
                }
                let list = *data + (PAGES * PAGE) as u64;
                let status = drive.read(first, count as u32, *data, list)?;
                ensure!(status == 0, "{address}: block {first} ended with status {status:#x}");
                let bytes = memory.read(0, count as usize * BLOCK);
                if first == 0 {
                    println!("@@ {address} block 0: {}", hexadecimal(&Sha256::digest(&bytes[..BLOCK])));
                }
                digest.update(&bytes);
            }
        }
        for (address, .., digest) in readers {
            println!("@@ {address} as a whole: {}", hexadecimal(&digest.finalize()));
        }
        Ok(())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[derive(clap::Args)]
pub(crate) struct Stray {
    /// The drive, bound to vfio-pci.
    address: String,
}

impl Stray {
    /// Makes the drive read and write where nothing is mapped; pages beside must not change.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let container = Container::new()?;
        let drive = Drive::start(&container, &self.address, QUEUES)?;
        let memory = Memory::new(4)?;
        let canary = vec![0xC5; PAGE];
        for page in [0, 2] {
            memory.write(page * PAGE, &canary);
            container.map(DATA + (page * PAGE) as u64, &memory, page * PAGE, PAGE)?;
        }
        let good = 3 * PAGE;
        container.map(DATA + good as u64, &memory, good, PAGE)?;
        let status = drive.read(0, 8, DATA + good as u64, 0)?;
        ensure!(status == 0, "a good read ended with status {status:#x}");
        ensure!(memory.read(good, PAGE).iter().any(|byte| *byte != 0), "the drive read nothing");

        let hole = DATA + PAGE as u64;
        println!("@@ nvme strays to {hole:#x}");
        // The drive writes its data to the hole; whether it learns of the refusal is its own affair.
        let status = drive.read(0, 8, hole, 0)?;
        println!("@@ nvme answered a stray write with {status:#x}");
        // The drive fetches the list of pages from the hole: it cannot go on without.
        let status = drive.read(0, 32, DATA + good as u64, hole)?;
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
