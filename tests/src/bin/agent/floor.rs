//! What the host itself takes, below which no VMM can get.

use std::time::Instant;

use anyhow::{Context as _, bail};
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuExit};

use crate::announcer::Announcer;
use crate::iommufd::Space;
use crate::vfio::{Function, Memory, PAGE};

#[derive(clap::Subcommand)]
pub(crate) enum Floor {
    /// Time a port write that user space sees and answers with nothing.
    Exit {
        /// How many.
        #[arg(default_value_t = 20_000)]
        count: u32,
    },
    /// Time what the guests of our own count in.
    Tick,
    /// Time the mapping of one page for DMA and its unmapping.
    Map {
        /// A function bound to vfio-pci.
        address: String,
        /// How many.
        #[arg(default_value_t = 2_000)]
        count: u32,
    },
    /// The same for a guest that has the page mapped and unmapped in the way of a driver, and waits.
    Follow {
        /// A function bound to vfio-pci.
        address: String,
        /// By way of iommufd, of memory that is pinned already.
        #[arg(long)]
        iommufd: bool,
        /// How many.
        #[arg(default_value_t = 2_000)]
        count: u32,
    },
}

impl Floor {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Exit { count } => exit(count),
            Self::Tick => {
                tick();
                Ok(())
            }
            Self::Map { address, count } => map(&address, count),
            Self::Follow { address, iommufd: false, count } => follow_by_type1(&address, count),
            Self::Follow { address, iommufd: true, count } => follow_by_iommufd(&address, count),
        }
    }
}

fn exit(count: u32) -> anyhow::Result<()> {
    let memory = Memory::new(1)?;
    // In 16-bit mode: out 0x80, al; jmp back.
    memory.write(0, &[0xe6, 0x80, 0xeb, 0xfc]);
    let machine = Kvm::new().context("cannot open /dev/kvm")?.create_vm()?;
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0x1000,
        memory_size: PAGE as u64,
        userspace_addr: memory.address(),
    };
    // SAFETY: the memory outlives the machine, which is dropped first, and nothing of ours refers to its bytes.
    unsafe { machine.set_user_memory_region(region)? };
    let mut processor = machine.create_vcpu(0)?;
    let mut segments = processor.get_sregs()?;
    segments.cs.base = 0;
    segments.cs.selector = 0;
    segments.ds.base = 0;
    processor.set_sregs(&segments)?;
    let mut registers = processor.get_regs()?;
    (registers.rip, registers.rflags) = (0x1000, 2);
    processor.set_regs(&registers)?;

    let mut run = |times| -> anyhow::Result<()> {
        for _ in 0..times {
            match processor.run()? {
                VcpuExit::IoOut(0x80, _) => {}
                other => bail!("the machine ended with {other:?}"),
            }
        }
        Ok(())
    };
    run(100)?;
    let start = Instant::now();
    run(count)?;
    println!("@@ floor exit: {:.9} s each", start.elapsed().as_secs_f64() / f64::from(count));
    Ok(())
}

fn tick() {
    const TICKS: u32 = 500_000_000;
    // SAFETY: every processor of 64 bits has the counter.
    let ticks = || unsafe { core::arch::x86_64::_rdtsc() };
    let (start, first) = (Instant::now(), ticks());
    while ticks() - first < TICKS.into() {}
    println!("@@ floor tick: {:.15} s each", start.elapsed().as_secs_f64() / f64::from(TICKS));
}

/// Where a page is mapped.
const IOVA: u64 = 0x10_0000;

fn map(address: &str, count: u32) -> anyhow::Result<()> {
    let function = Function::open(address)?;
    let memory = Memory::new(1)?;
    time("map", count, || {
        function.map(IOVA, &memory, 0, PAGE)?;
        function.unmap(IOVA, PAGE)
    })
}

fn follow_by_type1(address: &str, count: u32) -> anyhow::Result<()> {
    let function = Function::open(address)?;
    let memory = Memory::new(1)?;
    follow("type1", count, || function.map(IOVA, &memory, 0, PAGE), || function.unmap(IOVA, PAGE))
}

fn follow_by_iommufd(address: &str, count: u32) -> anyhow::Result<()> {
    let space = Space::open(address)?;
    follow("iommufd", count, || space.map(IOVA), || space.unmap(IOVA))
}

/// Has the host follow a guest in the shortest way there is: a call for each of its announcements.
fn follow(
    what: &str,
    count: u32,
    map: impl Fn() -> anyhow::Result<()>,
    unmap: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut guest = Announcer::new()?;
    time(what, count, || {
        guest.run_to_tail()?;
        map()?;
        guest.complete();
        guest.run_to_tail()?;
        unmap()?;
        guest.complete();
        Ok(())
    })
}

fn time(what: &str, count: u32, mut pair: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    // An emulated processor takes longer for what it has not met.
    for _ in 0..count.div_ceil(4) {
        pair()?;
    }
    let start = Instant::now();
    for _ in 0..count {
        pair()?;
    }
    println!("@@ floor {what}: {:.9} s each", start.elapsed().as_secs_f64() / f64::from(count));
    Ok(())
}
