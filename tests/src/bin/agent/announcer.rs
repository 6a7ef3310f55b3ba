//! A guest that does what a driver does to map a page and to unmap it, and nothing else: the least that any VMM has to
//! deal with.

use std::sync::atomic::Ordering;

use anyhow::{Context as _, bail};
use kvm_bindings::{
    KVM_CAP_SPLIT_IRQCHIP, KVM_MAX_CPUID_ENTRIES, kvm_enable_cap, kvm_segment, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

use crate::memory::{Memory, PAGE};

/// What lies where in guest memory.
const TOP_TABLE: usize = 0x1000;
const SECOND_TABLE: usize = 0x2000;
/// Maps the first GiB in pages of 2 MiB.
const LOW_TABLE: usize = 0x3000;
/// The same of the fourth GiB, where registers are.
const HIGH_TABLE: usize = 0x4000;
const CODE: usize = 0x5000;
const ENTRY: usize = 0x6000;
const QUEUE: usize = 0x7000;
const STATUS: usize = 0x8000;
const PAGES: usize = 512;

/// The tail register of a unit at the usual place.
const TAIL: u64 = 0xFED9_0088;

/// Writes a table entry, a descriptor for its page and a wait, then the tail, and waits for the status; over and over.
const PROGRAM: &[u8] = &[
    0x48, 0x89, 0x03, //             mov [rbx], rax: the entry
    0x48, 0x89, 0x01, //             mov [rcx], rax: the descriptor
    0x48, 0x89, 0x41, 0x08, //       mov [rcx+8], rax
    0x48, 0x89, 0x41, 0x10, //       mov [rcx+16], rax: the wait
    0x48, 0x89, 0x41, 0x18, //       mov [rcx+24], rax
    0xc7, 0x02, 0, 0, 0, 0, //       mov dword [rdx], 0: the status
    0x89, 0x06, //                   mov [rsi], eax: the tail
    0x83, 0x3a, 0x00, //             cmp dword [rdx], 0
    0x74, 0xfb, //                   je to the comparison
    0xeb, 0xdf, //                   jmp to the start
];

pub(crate) struct Announcer {
    processor: VcpuFd,
    /// Outlived by nothing that uses the memory.
    _machine: VmFd,
    memory: Memory,
}

impl Announcer {
    /// A guest at its first instruction, with interrupt controllers where those of other VMMs are.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let memory = Memory::new(PAGES)?;
        memory.write(CODE, PROGRAM);
        fill_tables(&memory);
        let kvm = Kvm::new().context("cannot open /dev/kvm")?;
        let machine = kvm.create_vm()?;
        let mut split = kvm_enable_cap { cap: KVM_CAP_SPLIT_IRQCHIP, ..Default::default() };
        split.args[0] = 24;
        machine.enable_cap(&split)?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: (PAGES * PAGE) as u64,
            userspace_addr: memory.address(),
        };
        // SAFETY: the memory is dropped after the machine, and nothing of ours refers to its bytes.
        unsafe { machine.set_user_memory_region(region)? };
        let processor = machine.create_vcpu(0)?;
        processor.set_cpuid2(&kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?)?;
        prepare(&processor)?;
        Ok(Self { processor, _machine: machine, memory })
    }

    /// Runs it until it has written the tail.
    pub(crate) fn run_to_tail(&mut self) -> anyhow::Result<()> {
        match self.processor.run()? {
            VcpuExit::MmioWrite(TAIL, _) => Ok(()),
            other => bail!("the machine ended with {other:?}"),
        }
    }

    /// Tells it that what it announced has been done.
    pub(crate) fn complete(&self) {
        self.memory.word(STATUS).store(1, Ordering::Release);
    }
}

/// Identity-maps what the program uses.
fn fill_tables(memory: &Memory) {
    const PRESENT_WRITABLE: usize = 3;
    const LARGE: u64 = 1 << 7;
    let set = |table: usize, index: usize, value: u64| memory.write(table + index * 8, &value.to_le_bytes());
    set(TOP_TABLE, 0, (SECOND_TABLE | PRESENT_WRITABLE) as u64);
    set(SECOND_TABLE, 0, (LOW_TABLE | PRESENT_WRITABLE) as u64);
    set(SECOND_TABLE, 3, (HIGH_TABLE | PRESENT_WRITABLE) as u64);
    for index in 0..512 {
        let offset = (index as u64) << 21 | LARGE | PRESENT_WRITABLE as u64;
        set(LOW_TABLE, index, offset);
        set(HIGH_TABLE, index, 3 << 30 | offset);
    }
}

/// Puts a processor into 64-bit mode, before the program.
fn prepare(processor: &VcpuFd) -> anyhow::Result<()> {
    let mut special = processor.get_sregs()?;
    let flat = kvm_segment { limit: !0, selector: 8, present: 1, s: 1, g: 1, ..Default::default() };
    let code = kvm_segment { type_: 0b1011, l: 1, ..flat };
    let data = kvm_segment { type_: 0b0011, db: 1, selector: 16, ..flat };
    (special.cs, special.ds, special.es, special.ss) = (code, data, data, data);
    special.cr3 = TOP_TABLE as u64;
    special.cr4 |= 1 << 5; // PAE
    special.cr0 |= 1 << 31 | 1; // paging, protection
    special.efer |= 1 << 10 | 1 << 8; // 64-bit mode, in use and enabled
    processor.set_sregs(&special)?;
    let mut registers = processor.get_regs()?;
    (registers.rip, registers.rflags) = (CODE as u64, 2);
    (registers.rbx, registers.rcx, registers.rdx) = (ENTRY as u64, QUEUE as u64, STATUS as u64);
    registers.rsi = TAIL;
    processor.set_regs(&registers)?;
    Ok(())
}
