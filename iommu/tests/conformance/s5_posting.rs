//! Chapter 5 and chapter 9: interrupt posting.

use std::rc::Rc;

use iommu::{Capabilities, Feature, MsiMessage, Profile, SourceId};

use super::support::{Bench, descriptor};

/// Bits of a posted-interrupt descriptor's fifth word: ON, SN, and where NV and NDST lie.
const ON: u64 = 1;
const SN: u64 = 2;
const NV: u64 = 0xF2 << 16;
/// An interrupt request for entry 3.
const REQUEST: u64 = 0xFEE0_0070;
/// Bit URG of an entry.
const URG: u64 = 1 << 14;
const VECTOR: u64 = 0x47;

/// A unit that posts, and a descriptor at an address of which both parts are needed.
fn posting(extended: bool) -> (Rc<Bench>, u64) {
    let capabilities = Capabilities::builder(Profile::Legacy, 48).with(Feature::PostedInterrupts).build();
    let bench = Bench::new(capabilities.expect("possible"));
    bench.start_queue(false);
    bench.remap_interrupts(extended);
    let descriptor = bench.page() + 0x40;
    bench.store(descriptor + 32, NV | 0x15 << 40);
    set(&bench, entry(descriptor, VECTOR));
    (bench, descriptor)
}

/// An entry of posted format, its descriptor's address in two parts.
const fn entry(descriptor: u64, vector: u64) -> [u64; 2] {
    let low = (descriptor & 0xFFFF_FFFF) >> 6;
    [1 | 1 << 15 | vector << 16 | low << 38, descriptor >> 32 << 32]
}

/// Makes it entry 3.
fn set(bench: &Bench, entry: [u64; 2]) {
    bench.set_interrupt(3, entry);
    bench.invalidate(descriptor::interrupts_global());
}

fn post(bench: &Bench) -> Result<Option<MsiMessage>, u8> {
    bench.post_as(Bench::DEVICE, REQUEST, 0)
}

/// Vector 0xF2 to destination 0x15.
const NOTIFICATION: MsiMessage = MsiMessage { address: 0xFEE1_5000, data: 0xF2 };

/// PIR.
fn requests(bench: &Bench, descriptor: u64) -> [u64; 4] {
    [0, 8, 16, 24].map(|at| bench.load(descriptor + at))
}

#[test]
fn s5_2_1_a_posted_entry_names_a_descriptor_and_a_vector() {
    let (bench, descriptor) = posting(false);
    assert_eq!(bench.get64(0x08) >> 59 & 1, 1, "CAP.PI");
    assert_eq!(post(&bench), Ok(Some(NOTIFICATION)));
    assert_eq!(requests(&bench, descriptor), [0, 1 << 7, 0, 0]);
    assert_eq!(bench.load(descriptor + 32) & ON, ON);
}

#[test]
fn s5_2_1_sources_are_validated_as_for_remapped_entries() {
    let (bench, descriptor) = posting(false);
    let [low, high] = entry(descriptor, VECTOR);
    set(&bench, [low, high | 1 << 18 | u64::from(Bench::DEVICE.0)]);
    assert_eq!(bench.post_as(SourceId(0x0208), REQUEST, 0), Err(0x26));
    bench.one_fault(0x26);
    assert_eq!(requests(&bench, descriptor), [0; 4]);
    assert_eq!(post(&bench), Ok(Some(NOTIFICATION)));
}

#[test]
fn s5_2_2_every_vector_has_a_bit_of_its_own() {
    let (bench, descriptor) = posting(false);
    for vector in 0..256_u64 {
        set(&bench, entry(descriptor, vector));
        for word in 0..4 {
            bench.store(descriptor + word * 8, 0);
        }
        assert!(post(&bench).is_ok());
        let mut expected = [0; 4];
        expected[vector as usize / 64] = 1 << (vector % 64);
        assert_eq!(requests(&bench, descriptor), expected, "{vector}");
    }
}

#[test]
fn s5_2_3_one_notification_until_software_has_come() {
    let (bench, descriptor) = posting(false);
    assert_eq!(post(&bench), Ok(Some(NOTIFICATION)));
    set(&bench, entry(descriptor, 0xC0));
    assert_eq!(post(&bench), Ok(None), "ON stands");
    assert_eq!(requests(&bench, descriptor), [0, 1 << 7, 0, 1]);
    // Software clears ON, then takes what is there.
    bench.store(descriptor + 32, bench.load(descriptor + 32) & !ON);
    assert_eq!(post(&bench), Ok(Some(NOTIFICATION)));
}

#[test]
fn s5_2_3_suppressed_notifications_are_for_urgent_interrupts_only() {
    let (bench, descriptor) = posting(false);
    bench.store(descriptor + 32, bench.load(descriptor + 32) | SN);
    assert_eq!(post(&bench), Ok(None));
    assert_eq!(requests(&bench, descriptor), [0, 1 << 7, 0, 0]);
    assert_eq!(bench.load(descriptor + 32) & ON, 0);
    let [low, high] = entry(descriptor, VECTOR);
    set(&bench, [low | URG, high]);
    assert_eq!(post(&bench), Ok(Some(NOTIFICATION)));
    assert_eq!(bench.load(descriptor + 32) & ON, ON);
    assert_eq!(post(&bench), Ok(None), "urgent or not, one is enough");
}

#[test]
fn s5_2_3_destinations_have_32_bits_in_extended_mode() {
    let (bench, descriptor) = posting(true);
    bench.store(descriptor + 32, NV | 0x1234_5678 << 32);
    let message = MsiMessage { address: 0x1234_5600_FEE7_8000, data: 0xF2 };
    assert_eq!(post(&bench), Ok(Some(message)));
}

#[test]
fn s5_2_3_a_descriptor_that_is_no_memory() {
    let (bench, descriptor) = posting(false);
    for nowhere in [Bench::NOWHERE, 1 << 40] {
        set(&bench, entry(nowhere, VECTOR));
        assert_eq!(post(&bench), Err(0x27), "{nowhere:#x}");
        bench.one_fault(0x27);
    }
    // Fault processing disable counts for both reasons.
    let [low, high] = entry(Bench::NOWHERE, VECTOR);
    set(&bench, [low | 2, high]);
    assert_eq!(post(&bench), Err(0x27));
    let [low, high] = entry(descriptor, VECTOR);
    set(&bench, [low | 2, high]);
    bench.store(descriptor + 32, 1 << 2);
    assert_eq!(post(&bench), Err(0x28));
    assert!(bench.faults().is_empty());
}

#[test]
fn s5_2_4_the_interrupt_is_in_memory_before_software_is_notified() {
    let (bench, descriptor) = posting(false);
    let request = MsiMessage { address: REQUEST, data: 0 };
    let seen = bench.unit.remap(Bench::DEVICE, request, |_| {
        (requests(&bench, descriptor)[1], bench.load(descriptor + 32) & ON)
    });
    assert_eq!(seen, Ok(Some((1 << 7, ON))));
}

#[test]
fn s5_2_4_an_entry_that_has_been_invalidated_posts_nothing_more() {
    let (bench, old) = posting(false);
    let new = bench.page();
    bench.store(new + 32, NV);
    set(&bench, entry(new, VECTOR));
    assert!(post(&bench).is_ok());
    assert_eq!(requests(&bench, old), [0; 4]);
    assert_eq!(requests(&bench, new), [0, 1 << 7, 0, 0]);
}

fn bits(high: u32, low: u32) -> impl Iterator<Item = u64> {
    (low..=high).map(|bit| 1 << bit)
}

#[test]
fn s9_10_posted_entries_have_reserved_bits() {
    let (bench, descriptor) = posting(false);
    let [low, high] = entry(descriptor, VECTOR);
    let lows = bits(7, 2).chain(bits(13, 12)).chain(bits(37, 24)).map(|bit| (bit, 0));
    for (more_low, more_high) in lows.chain(bits(31, 20).map(|bit| (0, bit))) {
        set(&bench, [low | more_low, high | more_high]);
        assert_eq!(post(&bench), Err(0x24), "{more_high:x} {more_low:x}");
    }
    for bit in bits(11, 8) {
        set(&bench, [low | bit, high]);
        assert!(post(&bench).is_ok(), "{bit:x} is software's");
    }
    set(&bench, [low, high | 3 << 18]);
    assert_eq!(post(&bench), Err(0x24), "source validation 11");
}

#[test]
fn s9_10_a_unit_that_does_not_post_has_no_such_entries() {
    let bench = Bench::legacy();
    bench.start_queue(false);
    bench.remap_interrupts(false);
    set(&bench, entry(bench.page(), VECTOR));
    assert_eq!(post(&bench), Err(0x24));
}

#[test]
fn s9_11_descriptors_have_reserved_bits() {
    for extended in [false, true] {
        let (bench, descriptor) = posting(extended);
        let narrow = bits(39, 32).chain(bits(63, 48)).filter(|_| !extended);
        for bit in bits(15, 2).chain(bits(31, 24)).chain(narrow) {
            bench.store(descriptor + 32, NV | bit);
            assert_eq!(post(&bench), Err(0x28), "{bit:x}");
            assert_eq!(bench.load(descriptor + 32) & ON, 0);
        }
        // What follows is software's.
        bench.store_all(descriptor + 32, &[NV, u64::MAX, u64::MAX, u64::MAX]);
        assert!(post(&bench).is_ok());
    }
}
