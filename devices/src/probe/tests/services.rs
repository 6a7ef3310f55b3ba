//! Translations of the device's own, before a unit.

use std::sync::Arc;

use iommu::{DeviceTlbInvalidation, InvalidationCompletion, Iova};

use super::*;
use crate::VtdUnit;

/// Leaf entries of the bench's tables.
const ENTRIES: u64 = 0x5000;
const IOVA: u64 = 0x8000;
/// By translations of the device's own.
const CACHED: u32 = 1 << 4;
const IMMEDIATE: u32 = 1 << 8;
const ALL: DeviceTlbInvalidation =
    DeviceTlbInvalidation { scope: DeviceTlbScope::WithoutPasid, iova: Iova(0), size: None };

/// A probe with ATS enabled, whose page leads to 0x2_0000.
fn translating() -> (Device, Arc<VtdUnit>) {
    let (bench, unit) = Bench::behind_translating_unit(&[(IOVA, 0x2_0000)]);
    let device = with(bench);
    enable_translations(&device, true);
    (device, unit)
}

fn enable_translations(device: &Device, on: bool) {
    device.probe.config_write(ats(device) + 6, &(u16::from(on) << 15).to_le_bytes());
}

/// The ATS capability: among the extended ones.
fn ats(device: &Device) -> u16 {
    const ATS: u32 = 0x0F;
    let mut at = 0x100;
    loop {
        let mut header = [0; 4];
        device.probe.config_read(at, &mut header);
        let header = u32::from_le_bytes(header);
        if header & 0xFFFF == ATS {
            return at;
        }
        at = (header >> 20) as u16;
        assert_ne!(at, 0, "there is no such capability");
    }
}

fn write(mark: u64) -> Block {
    Block {
        operation: 2,
        flags: CACHED | IMMEDIATE,
        address: IOVA,
        length: 8,
        operand: mark,
        ..Block::default()
    }
}

fn map(device: &Device, entry: u64) {
    device.bench.memory.write_obj(entry, GuestAddress(ENTRIES + IOVA / 0x1000 * 8)).unwrap();
}

/// The unit forgets all translations (IOTLB_REG.IVT); devices do not.
fn forget(unit: &VtdUnit) {
    unit.write(0xF8, &(1_u64 << 63 | 1 << 60).to_le_bytes());
}

#[test]
fn what_it_holds_is_used_until_it_is_taken_back() {
    let (device, unit) = translating();
    assert_eq!(device.run(&write(1)), DONE);
    assert_eq!(device.read(at::TRANSLATIONS), 1);
    map(&device, 0x3_0003);
    forget(&unit);
    assert_eq!(device.run(&write(2)), DONE);
    assert_eq!((device.memory::<u64>(0x2_0000), device.memory::<u64>(0x3_0000)), (2, 0));
    assert_eq!(device.probe.inner.invalidate(&ALL), InvalidationCompletion::Done);
    assert_eq!(device.read(at::TRANSLATIONS), 0);
    assert_eq!(device.run(&write(3)), DONE);
    assert_eq!((device.memory::<u64>(0x2_0000), device.memory::<u64>(0x3_0000)), (2, 3));
}

#[test]
fn a_translation_to_read_does_not_let_it_write() {
    let (device, _unit) = translating();
    map(&device, 0x2_0001);
    let read = Block { operation: 1, ..write(0) };
    assert_eq!(device.run(&read).0, 1);
    // 10: the translation does not permit it.
    assert_eq!(device.run(&write(1)), (10, 0, 0));
    assert_eq!(device.memory::<u64>(0x2_0000), 0);
}

#[test]
fn translations_end_with_the_service() {
    let (device, _unit) = translating();
    assert_eq!(device.run(&write(1)), DONE);
    enable_translations(&device, false);
    assert_eq!(device.read(at::TRANSLATIONS), 0);
    assert_eq!(device.run(&write(2)), (3, 0, 0));
    enable_translations(&device, true);
    assert_eq!(device.run(&write(3)), DONE);
    device.probe.reset();
    assert_eq!(device.read(at::TRANSLATIONS), 0);
}

#[test]
fn an_invalidation_can_be_answered_wrongly_or_not_at_all() {
    let (device, _unit) = translating();
    assert_eq!(device.run(&write(1)), DONE);
    for (value, expected) in [(1, InvalidationCompletion::Malformed), (2, InvalidationCompletion::Silent)] {
        device.write(at::INVALIDATION_ANSWER, value);
        assert_eq!(device.probe.inner.invalidate(&ALL), expected);
        assert_eq!(device.read(at::TRANSLATIONS), 1);
    }
    assert_eq!(device.read(at::INVALIDATIONS), 2);
}

#[test]
fn an_invalidation_waits_for_what_is_under_way() {
    let (device, unit) = translating();
    let burst = Block { operation: 3, operand: 1, repetitions: 1 << 20, ..write(1) };
    for _ in 0..20 {
        device.start(&burst);
        let before: u64 = device.memory(0x2_0000);
        while device.memory::<u64>(0x2_0000) == before {
            std::thread::yield_now();
        }
        map(&device, 0);
        forget(&unit);
        device.probe.inner.invalidate(&ALL);
        let then: u64 = device.memory(0x2_0000);
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(device.memory::<u64>(0x2_0000), then);
        device.write(at::DOORBELL, 4);
        map(&device, 0x2_0003);
    }
}
