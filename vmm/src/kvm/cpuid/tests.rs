use super::*;

fn supported() -> CpuId {
    let leaf = |function, eax| kvm_cpuid_entry2 { function, eax, ecx: u32::MAX, ..Default::default() };
    CpuId::from_entries(&[leaf(0, 0xD), leaf(1, 0), leaf(0xB, 7), leaf(0x4000_0001, u32::MAX)]).unwrap()
}

fn leaf(cpuid: &CpuId, function: u32) -> kvm_cpuid_entry2 {
    *cpuid.as_slice().iter().find(|entry| entry.function == function).unwrap()
}

#[test]
fn x2apic_is_shown_only_where_the_machine_says_so() {
    for x2apic in [false, true] {
        let topology = Topology { count: 2, x2apic, tsc_deadline: true };
        let cpuid = for_processor(&supported(), 1, topology).unwrap();
        let features = leaf(&cpuid, 1).ecx;
        assert_eq!(features & LEAF1_ECX_X2APIC != 0, x2apic);
        assert_eq!(features & LEAF1_ECX_MONITOR, 0);
    }
}

#[test]
fn every_processor_has_its_own_id_in_every_leaf_that_names_one() {
    let topology = Topology { count: 3, x2apic: true, tsc_deadline: false };
    let cpuid = for_processor(&supported(), 2, topology).unwrap();
    assert_eq!(leaf(&cpuid, 1).ebx >> 24, 2);
    let levels: Vec<_> = cpuid.as_slice().iter().filter(|entry| entry.function == 0xB).collect();
    assert_eq!(levels.len(), 3, "the host's own topology is replaced, not repeated");
    assert!(levels.iter().all(|level| level.edx == 2));
    assert_eq!((levels[1].eax, levels[1].ebx), (2, 3));
}

#[test]
fn kvms_own_wide_destination_format_is_hidden() {
    let topology = Topology { count: 1, x2apic: true, tsc_deadline: false };
    let cpuid = for_processor(&supported(), 0, topology).unwrap();
    assert_eq!(leaf(&cpuid, 0x4000_0001).eax & KVM_FEATURE_MSI_EXT_DEST_ID, 0);
}
