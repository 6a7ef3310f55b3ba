//! What the host itself takes, below which no VMM can get.

use std::time::Instant;

use anyhow::{Context as _, bail};
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuExit};

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
    /// The same of a write to memory-mapped registers, for which KVM emulates the instruction.
    Store {
        /// How many.
        #[arg(default_value_t = 10_000)]
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
    /// The same by way of iommufd, of memory that is pinned already.
    Copy {
        /// A function bound to vfio-pci.
        address: String,
        /// How many.
        #[arg(default_value_t = 2_000)]
        count: u32,
    },
}

impl Floor {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            // In 16-bit mode: out 0x80, al; jmp back.
            Self::Exit { count } => exit("exit", &[0xe6, 0x80, 0xeb, 0xfc], count),
            // mov [0x8000], al, where no memory is; jmp back.
            Self::Store { count } => exit("store", &[0xa2, 0x00, 0x80, 0xeb, 0xfb], count),
            Self::Tick => {
                tick();
                Ok(())
            }
            Self::Map { address, count } => map(&address, count),
            Self::Copy { address, count } => copy(&address, count),
        }
    }
}

fn exit(what: &str, program: &[u8], count: u32) -> anyhow::Result<()> {
    let memory = Memory::new(1)?;
    memory.write(0, program);
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
                VcpuExit::IoOut(0x80, _) | VcpuExit::MmioWrite(0x8000, _) => {}
                other => bail!("the machine ended with {other:?}"),
            }
        }
        Ok(())
    };
    run(100)?;
    let start = Instant::now();
    run(count)?;
    println!("@@ floor {what}: {:.9} s each", start.elapsed().as_secs_f64() / f64::from(count));
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

fn copy(address: &str, count: u32) -> anyhow::Result<()> {
    let space = Space::open(address)?;
    time("copy", count, || {
        space.map(IOVA)?;
        space.unmap(IOVA)
    })
}

fn time(what: &str, count: u32, pair: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    pair()?;
    let start = Instant::now();
    for _ in 0..count {
        pair()?;
    }
    println!("@@ floor {what}: {:.9} s each", start.elapsed().as_secs_f64() / f64::from(count));
    Ok(())
}
