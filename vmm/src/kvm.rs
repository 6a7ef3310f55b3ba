//! The hypervisor: `/dev/kvm` opened, checked, and a virtual machine made of it.

pub mod cpuid;
mod kick;
pub mod slots;
pub mod vcpu;

use std::sync::Arc;

use kvm_bindings::{
    CpuId, KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_X2APIC_API, KVM_MAX_CPUID_ENTRIES,
    KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK, KVM_X2APIC_API_USE_32BIT_IDS, kvm_enable_cap,
};
use kvm_ioctls::{Cap, Kvm, VmFd};

use crate::layout;

/// Pins of the user-space IOAPIC.
pub const IOAPIC_PINS: u32 = 24;

/// Why the host cannot run a guest, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// There is no device node.
    #[error("There is no /dev/kvm: load kvm_intel or kvm_amd, and turn virtualization on in the firmware")]
    Missing,
    /// The device node is not for this user.
    #[error("No permission to open /dev/kvm: join the group that owns it (often `kvm`)")]
    Permission,
    /// The kernel is too old or too small.
    #[error("The host's KVM lacks {0}: use a kernel of 5.10 or newer")]
    Lacks(&'static str),
    /// The kernel refused a step.
    #[error("KVM refused to {step}")]
    Refused {
        /// The step.
        step: &'static str,
        /// What it said.
        source: kvm_ioctls::Error,
    },
}

impl KvmError {
    /// For `map_err`: names the step that failed.
    pub fn at(step: &'static str) -> impl Fn(kvm_ioctls::Error) -> Self {
        move |source| Self::Refused { step, source }
    }
}

/// A virtual machine with the split irqchip: local APICs in the kernel, the rest here.
pub struct Vm {
    /// The machine's descriptor.
    pub fd: Arc<VmFd>,
    /// What the host's processor and KVM can show a guest.
    pub cpuid: CpuId,
    /// Model-specific registers that KVM knows.
    pub msrs: Vec<u32>,
    /// Whether local APICs have the TSC deadline timer.
    pub tsc_deadline: bool,
}

impl Vm {
    /// Opens `/dev/kvm` and makes an empty machine.
    pub fn new() -> Result<Self, KvmError> {
        let kvm = open()?;
        let fd = kvm.create_vm().map_err(KvmError::at("create a virtual machine"))?;
        // Only Intel processors without unrestricted guests use these pages; elsewhere it is no harm.
        fd.set_tss_address((layout::KVM_RESERVED_START + 0x1000) as usize)
            .map_err(KvmError::at("place its task state segment"))?;
        fd.set_identity_map_address(layout::KVM_RESERVED_START)
            .map_err(KvmError::at("place its identity map"))?;
        enable(&fd, KVM_CAP_SPLIT_IRQCHIP, IOAPIC_PINS.into(), "split the interrupt controllers")?;
        // 32-bit destinations as interrupt remapping gives them, and none of them a broadcast by accident.
        let x2apic = KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK;
        enable(&fd, KVM_CAP_X2APIC_API, x2apic.into(), "take 32-bit APIC IDs")?;
        let tsc_deadline = kvm.check_extension(Cap::TscDeadlineTimer);
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(KvmError::at("tell what the processor can do"))?;
        let msrs = kvm.get_msr_index_list().map_err(KvmError::at("list model-specific registers"))?;
        Ok(Self { fd: Arc::new(fd), cpuid, msrs: msrs.as_slice().to_vec(), tsc_deadline })
    }

    /// Physical address bits that a guest sees.
    pub fn address_bits(&self) -> u8 {
        self.cpuid
            .as_slice()
            .iter()
            .find(|entry| entry.function == 0x8000_0008)
            .map_or(36, |entry| (entry.eax & 0xFF) as u8)
    }
}

fn open() -> Result<Kvm, KvmError> {
    let kvm = Kvm::new().map_err(|error| match error.errno() {
        libc::ENOENT | libc::ENXIO | libc::ENODEV => KvmError::Missing,
        libc::EACCES | libc::EPERM => KvmError::Permission,
        _ => KvmError::Refused { step: "open /dev/kvm", source: error },
    })?;
    let needed = [
        (Cap::SplitIrqchip, "the split irqchip"),
        (Cap::X2ApicApi, "32-bit APIC IDs"),
        (Cap::SignalMsi, "message-signalled interrupts"),
        (Cap::Irqfd, "irqfd"),
        (Cap::IrqRouting, "interrupt routing"),
        (Cap::ImmediateExit, "immediate exits"),
        (Cap::UserMemory, "user memory"),
    ];
    match needed.into_iter().find(|(cap, _)| !kvm.check_extension(*cap)) {
        Some((_, name)) => Err(KvmError::Lacks(name)),
        None => Ok(kvm),
    }
}

fn enable(vm: &VmFd, cap: u32, argument: u64, step: &'static str) -> Result<(), KvmError> {
    let cap = kvm_enable_cap { cap, args: [argument, 0, 0, 0], ..Default::default() };
    vm.enable_cap(&cap).map_err(KvmError::at(step))
}
