//! The register map as the specification has it (§11.4), held against a unit: every register's size, value after
//! power-on and kinds of bits, with and without the features that it serves.

use super::*;
use crate::spec::registers::{FSTS, GCMD, ICS, PMEN, PRS};
use crate::testing::descriptor::{device_tlb, iotlb_global, wait_interrupt};
use crate::testing::device::Device;
use crate::testing::scalable::{DEVICE_TLB, P, PAGE_REQUESTS};
use crate::testing::{Machine, SOURCE};
use crate::{Access, InvalidationCompletion, Iova, PageRequest, Profile, SourceId};

/// A register: bits that are in no other mask are read-only or reserved.
#[derive(Clone, Copy)]
struct Register {
    offset: u64,
    bytes: u64,
    reset: u64,
    /// RW: read as they were written.
    rw: u64,
    /// WO: kept, and read 0.
    wo: u64,
    /// Makes the unit do something and reads 0 when it is done.
    command: u64,
    /// RW1C: set by the unit, cleared by writing ones.
    w1c: u64,
}

const fn register(offset: u64, bytes: u64) -> Register {
    Register { offset, bytes, reset: 0, rw: 0, wo: 0, command: 0, w1c: 0 }
}

const fn word(offset: u64) -> Register {
    register(offset, 4)
}

const fn pair(offset: u64) -> Register {
    register(offset, 8)
}

impl Register {
    const fn reset(self, reset: u64) -> Self {
        Self { reset, ..self }
    }

    const fn rw(self, rw: u64) -> Self {
        Self { rw, ..self }
    }

    const fn w1c(self, w1c: u64) -> Self {
        Self { w1c, ..self }
    }
}

/// Control, data, address and upper address of an event.
fn event(offset: u64, extended: bool) -> [Register; 4] {
    [
        word(offset).reset(1 << 31).rw(1 << 31),
        word(offset + 4).rw(0xFFFF),
        word(offset + 8).rw(0xFFFF_FFFC),
        word(offset + 12).rw(if extended { 0xFFFF_FF00 } else { 0 }),
    ]
}

/// Every register that a unit with `capabilities` has.
fn map(capabilities: &Capabilities) -> Vec<Register> {
    let has = |feature| capabilities.has(feature);
    let extended = has(Feature::ExtendedInterruptMode);
    let wide = has(Feature::Scalable) || has(Feature::AbortMode);
    let mut map = vec![
        word(0x000).reset(0x10),
        pair(0x008).reset(capabilities.cap()),
        pair(0x010).reset(capabilities.ecap()),
        // What GCMD does is for other tests; here it is only not to be read.
        word(0x01C),
        pair(0x020).rw(0xFFFF_FFFF_FFFF_FC00),
        Register { wo: 0x3_FFFF_0000, command: 1 << 63, ..pair(0x028).rw(3 << 61 | 0xFFFF) },
        word(0x034).w1c(0x71),
        Register { wo: 0xFFFF_FFFF_FFFF_F07F, ..pair(0x0F0) },
        Register { command: 1 << 63, ..pair(0x0F8).rw(3 << 60 | 3 << 48 | 0xFFFF << 32) },
    ];
    map.extend(event(0x038, extended));
    if has(Feature::ProtectedLowMemory) {
        map.extend([word(0x068), word(0x06C)].map(|register| register.rw(0xFFF0_0000)));
    }
    if has(Feature::ProtectedHighMemory) {
        let reachable = (1 << capabilities.host_address_width()) - 1;
        map.extend([pair(0x070), pair(0x078)].map(|register| register.rw(reachable & !0xF_FFFF)));
    }
    if has(Feature::Queue) {
        let width = if wide { 1 << 11 } else { 0 };
        map.extend([pair(0x080), pair(0x088).rw(0x7_FFF0), pair(0x090).rw(!0xFFF | width | 7)]);
        map.extend([word(0x09C).w1c(1), pair(0x0B0)]);
        map.extend(event(0x0A0, extended));
    }
    if has(Feature::InterruptRemapping) {
        map.push(pair(0x0B8).rw(!0xFFF | if extended { 1 << 11 } else { 0 } | 0xF));
    }
    if has(Feature::PageRequests) {
        map.extend([pair(0x0C0).rw(0x7_FFE0), pair(0x0C8).rw(0x7_FFE0), pair(0x0D0).rw(!0xFFF | 7)]);
        map.push(word(0x0DC).w1c(3));
        map.extend(event(0x0E0, extended));
    }
    let first = (capabilities.cap() >> 24 & 0x3FF) * 16;
    let records = capabilities.cap() >> 40 & 0xFF;
    map.extend((0..=records).flat_map(|index| {
        let record = first + index * 16;
        [pair(record), pair(record + 8).w1c(1 << 63)]
    }));
    map
}

/// Units that lack this and that. Those that count have more registers, which are tested with the counting.
fn units() -> impl Iterator<Item = Capabilities> {
    const PAGE_REQUESTS: &[Feature] =
        &[Feature::PageRequests, Feature::PageRequestDrain, Feature::StopMarker];
    const REMAPPING: &[Feature] = &[Feature::InterruptRemapping, Feature::ExtendedInterruptMode];
    let without = |capabilities: Capabilities, features: &[Feature]| {
        features.iter().fold(capabilities.to_builder(), |builder, feature| builder.without(*feature))
    };
    let profiles = [Profile::Legacy, Profile::SecondStage, Profile::FirstStage, Profile::Full];
    let whole = profiles.into_iter().zip([39, 48, 57, 48]).map(|(profile, width)| {
        Capabilities::new(profile, width)
            .without(Feature::PerformanceMonitoring)
            .without(Feature::EnhancedCommands)
    });
    let full = Capabilities::new(Profile::Full, 57)
        .without(Feature::PerformanceMonitoring)
        .without(Feature::EnhancedCommands);
    let legacy = Capabilities::legacy(48);
    let less = [
        without(full, PAGE_REQUESTS),
        without(full, &[Feature::ProtectedLowMemory]),
        without(full, &[Feature::ProtectedHighMemory]).host_address_width(40),
        without(full, &[Feature::ProtectedLowMemory]).host_address_width(40).fault_records(1),
        without(full, &[Feature::ExtendedInterruptMode]),
        without(full, REMAPPING),
        without(legacy, &[Feature::ExtendedInterruptMode]),
        without(legacy, REMAPPING).without(Feature::Queue).fault_records(256),
    ];
    whole.chain(less.into_iter().map(|builder| builder.build().unwrap()))
}

impl Machine {
    fn get(&self, register: Register) -> u64 {
        match register.bytes {
            4 => self.read(register.offset).into(),
            _ => self.read_u64(register.offset),
        }
    }

    fn put(&self, register: Register, value: u64) {
        match register.bytes {
            4 => self.write(register.offset, value as u32),
            _ => self.write_u64(register.offset, value),
        }
    }
}

/// Every word of the window and of what comes behind it.
fn window(machine: &Machine) -> Vec<u32> {
    let end = machine.unit.capabilities().window_size() + 0x1000;
    (0..end).step_by(4).map(|offset| machine.read(offset)).collect()
}

#[test]
fn every_register_has_its_value_after_power_on_and_the_rest_reads_0() {
    for capabilities in units() {
        let machine = Machine::with(capabilities);
        let mut expected = vec![0; window(&machine).len()];
        for Register { offset, reset, .. } in map(&capabilities) {
            let at = offset as usize / 4;
            expected[at] |= reset as u32;
            expected[at + 1] |= (reset >> 32) as u32;
        }
        assert_eq!(window(&machine), expected, "{capabilities:x?}");
    }
}

#[test]
fn every_bit_is_of_its_kind() {
    for capabilities in units() {
        let machine = Machine::with(capabilities);
        for register in map(&capabilities) {
            let fixed = register.reset & !register.rw;
            let bits = (0..register.bytes * 8).map(|bit| 1 << bit);
            let all = !register.command & (u64::MAX >> (64 - register.bytes * 8));
            for value in bits.chain([all, 0]) {
                machine.put(register, value);
                let expected = fixed | value & register.rw;
                assert_eq!(machine.get(register), expected, "{value:#x} to {:#x}", register.offset);
                let kept = machine.unit.registers.get_u64(register.offset) & register.wo;
                assert_eq!(kept, value & register.wo, "{value:#x} to {:#x}", register.offset);
            }
        }
    }
}

#[test]
fn a_write_changes_its_own_register_and_what_is_no_register_takes_none() {
    for capabilities in units() {
        let machine = Machine::with(capabilities);
        let map = map(&capabilities);
        let mut expected = window(&machine);
        for offset in (0..expected.len() as u64 * 4).step_by(4) {
            // These two do more than keep what is written.
            if [GCMD, PMEN].contains(&offset) {
                continue;
            }
            let own = map.iter().find(|own| (own.offset..own.offset + own.bytes).contains(&offset));
            let half = |bits: u64| own.map_or(0, |own| (bits >> ((offset - own.offset) * 8)) as u32);
            let [rw, command] = own.map_or([0, 0], |own| [own.rw, own.command]).map(half);
            machine.write(offset, !command);
            let word = &mut expected[offset as usize / 4];
            *word |= rw;
            // Looking at everything takes a while.
            if offset % 0x40 == 0x3C {
                assert_eq!(window(&machine), expected, "up to {offset:#x} of {capabilities:x?}");
            }
        }
    }
}

#[test]
fn commands_that_serve_a_feature_do_nothing_without_it() {
    for capabilities in units() {
        let machine = Machine::with(capabilities);
        machine.write(GCMD, u32::MAX);
        let mut expected = 1 << 31 | 1 << 30;
        if capabilities.has(Feature::Queue) {
            expected |= 1 << 26;
        }
        if capabilities.has(Feature::InterruptRemapping) {
            expected |= 1 << 25 | 1 << 24 | 1 << 23;
        }
        assert_eq!((machine.read(GCMD), machine.read(0x1C)), (0, expected), "{capabilities:x?}");
        machine.write(GCMD, 0);
        assert_eq!(machine.read(0x1C), expected & (1 << 30 | 1 << 24), "one-shot commands have been done");
    }
}

#[test]
fn protected_regions_are_switched_by_one_bit_if_there_are_any() {
    for capabilities in units() {
        let machine = Machine::with(capabilities);
        let any = [Feature::ProtectedLowMemory, Feature::ProtectedHighMemory];
        let any = any.into_iter().any(|feature| capabilities.has(feature));
        machine.write(PMEN, u32::MAX);
        assert_eq!(machine.read(PMEN), if any { 1 << 31 | 1 } else { 0 });
        machine.write(PMEN, !(1 << 31));
        assert_eq!(machine.read(PMEN), 0);
    }
}

/// A unit in which every bit that the unit sets and software clears is set.
fn provoked() -> (Machine, std::sync::Arc<Device>) {
    let machine = Machine::with(Capabilities::new(Profile::Full, 48));
    machine.enable_wide_queue();
    let device = Device::new(&machine, SOURCE);
    let directory = machine.table();
    machine.scalable_context(SOURCE, [directory | P | DEVICE_TLB | PAGE_REQUESTS, 0, 0, 0]);
    machine.enable_scalable();
    // More faults than there are records.
    for index in 0..=machine.unit.capabilities().fault_records() as u64 {
        assert!(machine.translate_as(SourceId(0x100), index << 12, Access::Read).is_err());
    }
    let request = PageRequest {
        source: SOURCE,
        pasid: None,
        privileged: false,
        execute: false,
        read: true,
        write: false,
        last: true,
        group: 1,
        iova: Iova(0x5000),
    };
    // A queue that has room for none but the first.
    machine.write_u64(PQA, machine.table());
    machine.write(PQH, 0x40);
    assert_eq!(machine.unit.page_request(&request), None);
    assert!(machine.unit.page_request(&request).is_some());
    machine.submit_wide(&[wait_interrupt()]);
    device.answers(InvalidationCompletion::Malformed);
    machine.submit_wide(&[device_tlb(SOURCE.0.into(), 0, false)]);
    device.answers(InvalidationCompletion::Silent);
    // What nobody answers, and at once what cannot be.
    machine.submit_wide(&[device_tlb(SOURCE.0.into(), 0, false), [0xF, 0]]);
    for at in (0..0x1000).step_by(32) {
        machine.write_memory(machine.queue + at, iotlb_global()[0]);
        machine.write_memory(machine.queue + at + 8, 0);
    }
    (machine, device)
}

#[test]
fn what_the_unit_sets_is_cleared_by_ones_and_by_nothing_else() {
    let (machine, _device) = provoked();
    let map = map(&machine.unit.capabilities());
    let with_w1c: Vec<_> = map.into_iter().filter(|register| register.w1c != 0).collect();
    assert_eq!(with_w1c.len(), 3 + 64);
    for register in &with_w1c {
        let value = machine.get(*register);
        assert_eq!(value & register.w1c, register.w1c, "{:#x} is {value:#x}", register.offset);
        machine.put(*register, 0);
        machine.put(*register, !register.w1c);
        assert_eq!(machine.get(*register), value, "{:#x}", register.offset);
    }
    // The status of faults last: it tells of the records.
    assert_eq!([0, 1].map(|index| with_w1c[index].offset), [FSTS, ICS]);
    assert_eq!(
        (with_w1c[2].offset, with_w1c[3].offset),
        (PRS, machine.unit.capabilities().fault_record_offset() + 8)
    );
    for register in with_w1c[1..].iter().chain(&with_w1c[..1]) {
        for bit in (0..64).map(|bit| 1 << bit).filter(|bit| register.w1c & bit != 0) {
            let value = machine.get(*register);
            machine.put(*register, bit);
            assert_eq!(machine.get(*register), value & !bit, "{bit:#x} of {:#x}", register.offset);
        }
    }
    assert_eq!([FSTS, ICS, PRS].map(|status| machine.read(status) & 0xFF), [0; 3]);
}
