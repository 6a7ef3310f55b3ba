//! Protected memory regions (§11.4.8): what no device reaches unless tables say so.

use iommu::{Access, Capabilities, Feature, Profile, Request, SourceId};
use proptest::prelude::*;

use crate::bits::{below_interrupt_range, in_interrupt_range, mask};
use crate::memory::Memory;
use crate::rig::Rig;
use crate::walks::{assert_all_seen, config};

const PMEN: u64 = 0x64;
const PLMBASE: u64 = 0x68;
const PLMLIMIT: u64 = 0x6C;
const PHMBASE: u64 = 0x70;
const PHMLIMIT: u64 = 0x78;
/// Context entries: pass-through, and one for a device that has translations of its own.
const PASS_THROUGH: u16 = 1;
const TRANSLATES: u16 = 2;

/// One region, as its registers say.
#[derive(Clone, Copy, Debug)]
struct Region {
    base: u64,
    limit: u64,
}

impl Region {
    /// The region of two registers of which only `writable` bits exist.
    fn new(base: u64, limit: u64, writable: u64) -> Self {
        let granule = (1 << writable.trailing_zeros()) - 1;
        Self { base: base & writable, limit: limit & writable | granule }
    }

    fn contains(self, address: u64) -> bool {
        (self.base..=self.limit).contains(&address)
    }

    /// How many bytes lie between `address` and the region above it.
    fn below(self, address: u64) -> u64 {
        if address < self.base && self.base <= self.limit { self.base - address } else { u64::MAX }
    }
}

#[derive(Clone, Debug)]
struct Case {
    /// PLMR, PHMR.
    has: [bool; 2],
    /// Values of the four registers.
    values: [u64; 4],
    enabled: bool,
    translating: bool,
    device: u16,
    access: Access,
    address: u64,
    length: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let value = || (0..8_u64, 0..0x20_0000_u64).prop_map(|(number, low)| (number << 29) + low * 3);
    let high = || (0..16_u64, any::<u64>()).prop_map(|(number, low)| (number << 43) + (low & mask(43, 0)));
    let address = prop_oneof![
        (0..0x1_0000_0000_u64),
        (any::<u64>().prop_map(|address| address & mask(46, 0))),
        (0..16_u64, 0..0x1000_u64).prop_map(|(number, below)| ((number + 1) << 29) - below),
    ];
    let access = prop_oneof![Just(Access::Read), Just(Access::Write), Just(Access::Atomic)];
    (
        [any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()],
        proptest::bool::weighted(0.9),
        [value().boxed(), value().boxed(), high().boxed(), high().boxed()],
        access,
        address,
        1..0x4000_0000_u64,
    )
        .prop_map(|([low, high, translating, translates], enabled, values, access, address, length)| {
            Case {
                has: [low || !high, high],
                values,
                enabled,
                translating,
                device: if translates { TRANSLATES } else { PASS_THROUGH },
                access,
                address,
                length,
            }
        })
}

/// A unit with the tables and registers of a case, and its regions.
fn prepare(case: &Case) -> (Rig, Vec<Region>) {
    let mut builder = Capabilities::builder(Profile::Full, 48);
    for (feature, has) in
        [(Feature::ProtectedLowMemory, case.has[0]), (Feature::ProtectedHighMemory, case.has[1])]
    {
        builder = if has { builder.with(feature) } else { builder.without(feature) };
    }
    let mut memory = Memory::new();
    let (root, contexts) = (memory.pages(1, false), memory.pages(1, false));
    memory.write(root, contexts | 1);
    for (device, translation) in [(PASS_THROUGH, 2), (TRANSLATES, 1)] {
        memory.write(contexts + 16 * u64::from(device), translation << 2 | 1);
        memory.write(contexts + 16 * u64::from(device) + 8, 1 << 8 | 2);
    }
    let mut rig = Rig::new(builder.build().unwrap(), memory);
    let mut regions = Vec::new();
    if case.has[0] {
        rig.write32(PLMBASE, u32::MAX);
        let writable = u64::from(rig.read32(PLMBASE));
        rig.write32(PLMBASE, case.values[0] as u32);
        rig.write32(PLMLIMIT, case.values[1] as u32);
        regions.push(Region::new(case.values[0] & mask(31, 0), case.values[1] & mask(31, 0), writable));
    }
    if case.has[1] {
        rig.write64(PHMBASE, u64::MAX);
        let writable = rig.read64(PHMBASE);
        rig.write64(PHMBASE, case.values[2]);
        rig.write64(PHMLIMIT, case.values[3]);
        regions.push(Region::new(case.values[2], case.values[3], writable));
    }
    rig.write32(PMEN, u32::from(case.enabled) << 31);
    assert_eq!(rig.read32(PMEN), if case.enabled { 1 << 31 | 1 } else { 0 });
    if case.translating {
        rig.translate_with(root);
    }
    if !case.enabled {
        regions.clear();
    }
    (rig, regions)
}

proptest! {
    #![proptest_config(config())]

    /// Without translation, by pass-through and with translated requests, a device reaches every byte but those
    /// of the regions; that it does not is no fault.
    #[test]
    fn protected_regions_are_not_reached(case in cases()) {
        let (rig, regions) = prepare(&case);
        prop_assume!(!in_interrupt_range(case.address));
        let translated = case.translating && case.device == TRANSLATES;
        let request =
            Request { translated, ..Request::new(SourceId(case.device), case.access) };
        let result = rig.access(&request, case.address, case.length);
        let within = regions.iter().any(|region| region.contains(case.address));
        let room = regions.iter().map(|region| region.below(case.address)).min().unwrap_or(u64::MAX);
        let room = room.min(below_interrupt_range(case.address)).min(case.length);
        match result {
            Ok((address, length)) => {
                prop_assert!(!within, "{regions:x?}");
                prop_assert_eq!(address, case.address);
                prop_assert!((1..=room).contains(&length), "{length:#x} of {room:#x}, {regions:x?}");
            }
            Err(reason) => prop_assert!(within, "{reason:#x}, {regions:x?}"),
        }
        prop_assert!(rig.records().is_empty());
    }
}

/// The property above means something: requests go into regions of both kinds, and up to them.
#[test]
fn protected_cases_come_to_every_end() {
    assert_all_seen(&cases(), &[0, 1, 2], |case| {
        let (rig, regions) = prepare(case);
        let inside = |region: &Region| region.contains(case.address);
        let last = case.address + case.length - 1;
        let into =
            regions.iter().any(|region| region.contains(last) || region.below(case.address) < case.length);
        match regions.iter().position(inside) {
            Some(which) if regions.len() == 2 => Some(Err(which as u8)),
            None if into => Some(Err(2)),
            Some(_) => None,
            None => rig.caps.scalable().then_some(Ok(())),
        }
    });
}
