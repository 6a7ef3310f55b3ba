//! Drives the `edu` device through VFIO: DMA where it is allowed and where it is not.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::vfio::{Function, Memory, PAGE};

const IDENTITY: usize = 0x00;
const DMA_SOURCE: usize = 0x80;
const DMA_TARGET: usize = 0x88;
const DMA_COUNT: usize = 0x90;
const DMA_COMMAND: usize = 0x98;
/// The device's own buffer, as its DMA engine addresses it.
const BUFFER: u64 = 0x40000;
const START: u32 = 1;
const TO_MEMORY: u32 = 2;

#[derive(clap::Subcommand)]
pub(crate) enum Edu {
    /// DMA over one range of addresses behind which pages lie scattered above 4 GiB.
    Scatter {
        /// The function, bound to vfio-pci.
        address: String,
    },
    /// DMA to and from an address that is not mapped; pages beside it must not change.
    Stray {
        /// The function, bound to vfio-pci.
        address: String,
    },
}

impl Edu {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Scatter { address } => scatter(&open(&address)?),
            Self::Stray { address } => stray(&open(&address)?),
        }
    }
}

fn open(address: &str) -> anyhow::Result<Function> {
    let function = Function::open(address)?;
    let identity = function.read(IDENTITY);
    ensure!(identity & 0xffff == 0x00ed, "{address} is no edu: it says {identity:#x}");
    Ok(function)
}

/// One transfer, and the wait for its end.
fn transfer(function: &Function, from: u64, to: u64, count: u32, command: u32) -> anyhow::Result<()> {
    function.write_wide(DMA_SOURCE, from);
    function.write_wide(DMA_TARGET, to);
    function.write_wide(DMA_COUNT, count.into());
    function.write(DMA_COMMAND, START | command);
    let deadline = Instant::now() + Duration::from_secs(5);
    while function.read(DMA_COMMAND) & START != 0 {
        ensure!(Instant::now() < deadline, "the transfer does not end");
    }
    Ok(())
}

fn scatter(function: &Function) -> anyhow::Result<()> {
    const PAGES: usize = 16;
    const IOVA: u64 = 0x0100_0000;
    let memory = Memory::new(PAGES * 2)?;
    let mut offsets = (0..PAGES * 2)
        .map(|page| Ok((memory.physical(page * PAGE)?, page * PAGE)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    // Every second page, from the highest to the lowest: neighbours for the device are none in memory.
    offsets.sort_unstable_by(|one, other| other.cmp(one));
    let place = |page: usize| offsets[page * 2].1;
    let mut above = 0;
    for page in 0..PAGES {
        function.map(IOVA + (page * PAGE) as u64, &memory, place(page), PAGE)?;
        let physical = memory.physical(place(page))?;
        above += usize::from(physical >= 1 << 32);
        if page > 0 {
            let before = memory.physical(place(page - 1))?;
            ensure!(physical != before + PAGE as u64, "the pages are not scattered");
        }
    }
    let pattern = |page: usize| (0..PAGE).map(|index| (index * 7 + page * 13) as u8).collect::<Vec<_>>();
    for page in 0..PAGES {
        memory.write(place(page), &pattern(page));
    }
    // Half of one page and half of the next, into the device and out again one page further up.
    let half = PAGE as u64 / 2;
    for page in 0..PAGES - 2 {
        let iova = IOVA + (page * PAGE) as u64 + half;
        transfer(function, iova, BUFFER, PAGE as u32, 0)?;
        let expected =
            [&memory.read(place(page), PAGE)[PAGE / 2..], &memory.read(place(page + 1), PAGE)[..PAGE / 2]]
                .concat();
        transfer(function, BUFFER, iova + PAGE as u64, PAGE as u32, TO_MEMORY)?;
        let found = [
            &memory.read(place(page + 1), PAGE)[PAGE / 2..],
            &memory.read(place(page + 2), PAGE)[..PAGE / 2],
        ]
        .concat();
        ensure!(found == expected, "the bytes moved from {iova:#x} are others");
    }
    println!("@@ edu moved {PAGES} scattered pages, {above} of them above 4 GiB");
    Ok(())
}

fn stray(function: &Function) -> anyhow::Result<()> {
    const IOVA: u64 = 0x0200_0000;
    let memory = Memory::new(3)?;
    let canary = vec![0xC5; PAGE];
    for page in [0, 2] {
        memory.write(page * PAGE, &canary);
        function.map(IOVA + (page * PAGE) as u64, &memory, page * PAGE, PAGE)?;
    }
    let hole = IOVA + PAGE as u64;
    println!("@@ edu strays to {hole:#x}");
    transfer(function, hole, BUFFER, 64, 0)?;
    transfer(function, BUFFER, hole + 0x100, 64, TO_MEMORY)?;
    // Once mapped and unmapped again, the address must be as unreachable as before.
    function.map(hole, &memory, PAGE, PAGE)?;
    memory.write(PAGE, &canary);
    transfer(function, hole, BUFFER, 64, 0)?;
    function.unmap(hole, PAGE)?;
    transfer(function, BUFFER, hole + 0x200, 64, TO_MEMORY)?;
    for page in 0..3 {
        ensure!(memory.read(page * PAGE, PAGE) == canary, "page {page} was written");
    }
    println!("@@ edu wrote nothing it may not");
    Ok(())
}
