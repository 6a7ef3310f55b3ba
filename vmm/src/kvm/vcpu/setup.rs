//! A processor's state before its first instruction, as firmware would have left it.

use kvm_bindings::{CpuId, Msrs, kvm_lapic_state, kvm_msr_entry, kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;

use crate::boot::{Entry, Segment};
use crate::kvm::KvmError;

const MSR_MTRR_DEFAULT_TYPE: u32 = 0x2FF;
const MSR_MISC_ENABLE: u32 = 0x1A0;
const LVT_LINT0: usize = 0x350;
const LVT_LINT1: usize = 0x360;
const DELIVERY_EXTINT: u32 = 7 << 8;
const DELIVERY_NMI: u32 = 4 << 8;

/// Gives a processor its identity, its model-specific registers and the local APIC's wires.
///
/// `known` are the model-specific registers KVM has: asking for another is an error on some hosts.
pub fn prepare(fd: &VcpuFd, cpuid: &CpuId, known: &[u32]) -> Result<(), KvmError> {
    fd.set_cpuid2(cpuid).map_err(KvmError::at("describe a processor"))?;
    let wanted = [
        // MTRRs on, memory is write-back unless a guest says otherwise.
        (MSR_MTRR_DEFAULT_TYPE, 1 << 11 | 6),
        // Fast string operations.
        (MSR_MISC_ENABLE, 1),
    ];
    let entries: Vec<kvm_msr_entry> = wanted
        .into_iter()
        .filter(|(index, _)| known.contains(index))
        .map(|(index, data)| kvm_msr_entry { index, data, ..Default::default() })
        .collect();
    if let Ok(msrs) = Msrs::from_entries(&entries) {
        fd.set_msrs(&msrs).map_err(KvmError::at("set model-specific registers"))?;
    }
    let mut apic = fd.get_lapic().map_err(KvmError::at("read a local APIC"))?;
    wire(&mut apic, LVT_LINT0, DELIVERY_EXTINT);
    wire(&mut apic, LVT_LINT1, DELIVERY_NMI);
    fd.set_lapic(&apic).map_err(KvmError::at("set up a local APIC"))
}

fn wire(apic: &mut kvm_lapic_state, register: usize, value: u32) {
    for (byte, value) in apic.regs[register..register + 4].iter_mut().zip(value.to_le_bytes()) {
        *byte = value.cast_signed();
    }
}

/// Gives the first processor the registers that the boot protocol asks for.
pub fn enter_at(fd: &VcpuFd, entry: &Entry) -> Result<(), KvmError> {
    let mut special = fd.get_sregs().map_err(KvmError::at("read a processor's control registers"))?;
    special.cs = segment(&entry.code);
    let data = segment(&entry.data);
    (special.ds, special.es, special.fs, special.gs, special.ss) = (data, data, data, data, data);
    special.tr = segment(&entry.task);
    special.gdt.base = entry.gdt.base;
    special.gdt.limit = entry.gdt.limit;
    (special.idt.base, special.idt.limit) = (0, 0);
    (special.cr0, special.cr3, special.cr4) = (entry.cr0, entry.cr3, entry.cr4);
    special.efer = entry.efer;
    fd.set_sregs(&special).map_err(KvmError::at("set a processor's control registers"))?;
    let registers = kvm_regs {
        rip: entry.rip,
        rax: entry.rax,
        rbx: entry.rbx,
        rsi: entry.rsi,
        rflags: entry.rflags,
        ..Default::default()
    };
    fd.set_regs(&registers).map_err(KvmError::at("set a processor's registers"))
}

fn segment(segment: &Segment) -> kvm_segment {
    kvm_segment {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        type_: segment.kind,
        present: 1,
        dpl: 0,
        db: segment.default_32.into(),
        s: segment.code_or_data.into(),
        l: segment.long.into(),
        g: segment.granularity.into(),
        ..Default::default()
    }
}
