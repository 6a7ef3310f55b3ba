//! What a virtual processor says of itself.

use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

const LEAF1_ECX_MONITOR: u32 = 1 << 3;
const LEAF1_ECX_X2APIC: u32 = 1 << 21;
const LEAF1_ECX_TSC_DEADLINE: u32 = 1 << 24;
const LEAF1_ECX_HYPERVISOR: u32 = 1 << 31;
const LEAF1_EDX_HTT: u32 = 1 << 28;
/// KVM's own interrupt format for wide destinations, which means something else under remapping.
const KVM_FEATURE_MSI_EXT_DEST_ID: u32 = 1 << 15;

/// What the machine decides about its processors.
#[derive(Clone, Copy, Debug)]
pub struct Topology {
    /// How many there are, all cores of one package.
    pub count: u32,
    /// Whether x2APIC is shown. Xen writes x2APIC-format remapping entries wherever it sees the bit, so it
    /// goes together with the unit's extended interrupt mode (ECAP.EIM).
    pub x2apic: bool,
    /// Whether the host's KVM has the TSC deadline timer.
    pub tsc_deadline: bool,
}

impl Topology {
    /// APIC ID bits below the package number.
    fn id_bits(self) -> u32 {
        self.count.next_power_of_two().trailing_zeros()
    }
}

/// The leaves for the processor with this APIC ID, from what the host supports.
pub fn for_processor(
    supported: &CpuId,
    id: u32,
    topology: Topology,
) -> Result<CpuId, vmm_sys_util::fam::Error> {
    let mut entries: Vec<kvm_cpuid_entry2> =
        supported.as_slice().iter().filter(|entry| !matches!(entry.function, 0xB | 0x1F)).copied().collect();
    for entry in &mut entries {
        adjust(entry, id, topology);
    }
    if entries.iter().any(|entry| entry.function == 0 && entry.eax >= 0xB) {
        entries.extend(extended_topology(id, topology));
    }
    CpuId::from_entries(&entries)
}

fn adjust(entry: &mut kvm_cpuid_entry2, id: u32, topology: Topology) {
    match entry.function {
        1 => {
            // Initial APIC ID, and how many IDs the package takes up.
            let logical = topology.count.next_power_of_two().min(255);
            entry.ebx = entry.ebx & 0xFFFF | logical << 16 | id << 24;
            entry.ecx &= !(LEAF1_ECX_MONITOR | LEAF1_ECX_X2APIC | LEAF1_ECX_TSC_DEADLINE);
            entry.ecx |= LEAF1_ECX_HYPERVISOR;
            if topology.x2apic {
                entry.ecx |= LEAF1_ECX_X2APIC;
            }
            if topology.tsc_deadline {
                entry.ecx |= LEAF1_ECX_TSC_DEADLINE;
            }
            entry.edx &= !LEAF1_EDX_HTT;
            if topology.count > 1 {
                entry.edx |= LEAF1_EDX_HTT;
            }
        }
        // Intel's cache leaf: cores per package.
        4 => entry.eax = entry.eax & 0x03FF_FFFF | (topology.count - 1) << 26,
        // MWAIT would fault: nothing to say about it.
        5 => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0),
        0x4000_0001 => entry.eax &= !KVM_FEATURE_MSI_EXT_DEST_ID,
        // AMD's count of cores and width of their IDs.
        0x8000_0008 => entry.ecx = entry.ecx & !0xF0FF | topology.id_bits() << 12 | (topology.count - 1),
        // AMD's extended APIC ID, core and node.
        0x8000_001E => {
            entry.eax = id;
            entry.ebx = id & 0xFF;
            entry.ecx = 0;
        }
        _ => {}
    }
}

/// Leaf 0xB: one thread a core, `count` cores, and the x2APIC ID.
fn extended_topology(id: u32, topology: Topology) -> [kvm_cpuid_entry2; 3] {
    let level = |index: u32, shift: u32, processors: u32, kind: u32| kvm_cpuid_entry2 {
        function: 0xB,
        index,
        flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: shift,
        ebx: processors,
        ecx: kind << 8 | index,
        edx: id,
        ..Default::default()
    };
    [level(0, 0, 1, 1), level(1, topology.id_bits(), topology.count, 2), level(2, 0, 0, 0)]
}

#[cfg(test)]
mod tests;
