//! Enters small kernels on a real vCPU: registers that look right on paper may still not be accepted.

use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use crate::boot::testing::{TestMachine, bzimage, multiboot_elf, pvh_elf};
use crate::boot::{Entry, Segment};

fn segment(segment: &Segment) -> kvm_segment {
    kvm_segment {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        type_: segment.kind,
        present: 1,
        db: segment.default_32.into(),
        s: segment.code_or_data.into(),
        l: segment.long.into(),
        g: segment.granularity.into(),
        ..kvm_segment::default()
    }
}

fn registers(mut sregs: kvm_sregs, entry: &Entry) -> (kvm_sregs, kvm_regs) {
    sregs.cs = segment(&entry.code);
    let data = segment(&entry.data);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.tr = segment(&entry.task);
    sregs.gdt.base = entry.gdt.base;
    sregs.gdt.limit = entry.gdt.limit;
    sregs.idt.limit = 0;
    (sregs.cr0, sregs.cr3, sregs.cr4, sregs.efer) = (entry.cr0, entry.cr3, entry.cr4, entry.efer);
    let regs = kvm_regs {
        rip: entry.rip,
        rax: entry.rax,
        rbx: entry.rbx,
        rsi: entry.rsi,
        rflags: entry.rflags,
        ..kvm_regs::default()
    };
    (sregs, regs)
}

/// Runs the guest until it halts and returns what it wrote to ports; `None` without a usable KVM.
fn run(test: &TestMachine, state: impl FnOnce(kvm_sregs) -> (kvm_sregs, kvm_regs)) -> Option<Vec<u32>> {
    let kvm = Kvm::new().ok()?;
    let vm = kvm.create_vm().ok()?;
    let region = kvm_userspace_memory_region {
        slot: 0,
        guest_phys_addr: 0,
        memory_size: test.ram.iter().map(vm_memory::GuestMemoryRegion::len).sum(),
        userspace_addr: test.ram.get_host_address(GuestAddress(0)).unwrap() as u64,
        flags: 0,
    };
    // SAFETY: the region is one mapping of `test.ram`, which outlives the VM made in this function.
    unsafe { vm.set_user_memory_region(region) }.ok()?;
    vm.set_tss_address(0xfffb_d000).ok()?;
    let mut vcpu = vm.create_vcpu(0).ok()?;
    let (sregs, regs) = state(vcpu.get_sregs().unwrap());
    vcpu.set_sregs(&sregs).unwrap();
    vcpu.set_regs(&regs).unwrap();
    let mut written = Vec::new();
    for _ in 0..16 {
        match vcpu.run().unwrap() {
            VcpuExit::IoOut(_, data) => written.push(u32::from_le_bytes(data.try_into().unwrap())),
            VcpuExit::Hlt => return Some(written),
            other => panic!("the guest left by {other:?}"),
        }
    }
    panic!("the guest does not halt");
}

fn compare(written: Option<Vec<u32>>, expected: &[u32]) {
    match written {
        Some(written) => assert_eq!(written, expected, "{expected:x?}"),
        None => eprintln!("SKIPPED: /dev/kvm cannot be used here, so no kernel was entered"),
    }
}

/// Boots `kernel` and compares what it wrote.
fn check(kernel: &[u8], expected: &[u32]) {
    let test = TestMachine::new(32);
    let entry = test.boot(kernel, "").unwrap();
    compare(run(&test, |sregs| registers(sregs, &entry)), expected);
}

#[test]
fn a_bzimage_is_entered_in_64_bit_mode_with_its_zero_page() {
    let code = [
        &[0x8b, 0x86, 0x02, 0x02, 0, 0][..],               // mov eax, [rsi + 0x202]
        &[0xe7, 0xf4],                                     // out 0xf4, eax
        &[0x48, 0xb8, 1, 0, 0, 0, 0x78, 0x56, 0x34, 0x12], // mov rax, 0x12345678_00000001
        &[0x48, 0xc1, 0xe8, 32],                           // shr rax, 32
        &[0xe7, 0xf4],                                     // out 0xf4, eax
        &[0xb9, 0, 0, 0, 0xff],                            // mov ecx, 0xff000000
        &[0x8e, 0xdb],                                     // mov ds, ebx: the null selector
        &[0xb8, 0x18, 0, 0, 0, 0x8e, 0xd8],                // mov eax, 0x18; mov ds, eax: from the table
        &[0xe7, 0xf4, 0xf4],                               // out 0xf4, eax; hlt
    ]
    .concat();
    check(&bzimage(&code), &[u32::from_le_bytes(*b"HdrS"), 0x1234_5678, 0x18]);
}

#[test]
fn a_pvh_kernel_is_entered_in_32_bit_mode_with_its_start_information() {
    let code = [
        &[0x8b, 0x03][..],                  // mov eax, [ebx]
        &[0xe7, 0xf4],                      // out 0xf4, eax
        &[0x0f, 0x20, 0xc0, 0xe7, 0xf4],    // mov eax, cr0; out 0xf4, eax
        &[0xb8, 0x18, 0, 0, 0, 0x8e, 0xd0], // mov eax, 0x18; mov ss, eax: from the table
        &[0xe7, 0xf4, 0xf4],                // out 0xf4, eax; hlt
    ]
    .concat();
    check(&pvh_elf(&code), &[0x336e_c578, 0x11, 0x18]);
}

#[test]
fn a_multiboot_kernel_is_entered_with_magic_and_information() {
    let code = [
        &[0xe7, 0xf4][..],         // out 0xf4, eax
        &[0x8b, 0x03, 0xe7, 0xf4], // mov eax, [ebx]; out 0xf4, eax
        &[0x8b, 0x43, 0x04],       // mov eax, [ebx + 4]
        &[0xe7, 0xf4, 0xf4],       // out 0xf4, eax; hlt
    ]
    .concat();
    check(&multiboot_elf(&code), &[0x2bad_b002, 0b10_0100_1101, 639]);
}

/// Back in real mode, a service is asked for with the carry flag clear and must set it.
#[test]
fn bios_services_refuse_with_the_carry_flag() {
    let code = [
        &[0xf8, 0xcd, 0x15][..],   // clc; int 0x15
        &[0x0f, 0x92, 0xc0],       // setc al
        &[0x66, 0x0f, 0xb6, 0xc0], // movzx eax, al
        &[0x66, 0xe7, 0xf4, 0xf4], // out 0xf4, eax; hlt
    ]
    .concat();
    let test = TestMachine::new(32);
    test.boot(&multiboot_elf(&[0xf4]), "").unwrap();
    test.ram.write_slice(&code, GuestAddress(0x9000)).unwrap();
    compare(
        run(&test, |mut sregs| {
            (sregs.cs.base, sregs.cs.selector) = (0, 0);
            let regs = kvm_regs { rip: 0x9000, rsp: 0x9000, rflags: 2, ..kvm_regs::default() };
            (sregs, regs)
        }),
        &[1],
    );
}
