mod remapping;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use iommu::{GuestAddress, Pasid};
use vm_memory::Bytes;

use super::*;
use crate::testing::Bench;

/// A page at 0x1000 and one that ends at the interrupt range.
fn bench() -> Bench {
    Bench::new(&[(0x1000, 0x1000), (0xFEDF_F000, 0x1000)])
}

#[test]
fn what_is_written_is_read_back() {
    let Bench { master, .. } = bench();
    master.write(Iova(0x1FF0), &[7; 16]).unwrap();
    let mut data = [0; 16];
    master.read(Iova(0x1FF0), &mut data).unwrap();
    assert_eq!(data, [7; 16]);
}

#[test]
fn nothing_happens_without_bus_mastering() {
    let Bench { master, interrupts, .. } = bench();
    master.set_enabled(false);
    assert_eq!(master.write(Iova(0x1000), &[1]), Err(DmaError::NotMaster));
    assert_eq!(master.read(Iova(0x1000), &mut [0]), Err(DmaError::NotMaster));
    assert_eq!(master.write(Iova(0xFEE0_0000), &[1; 4]), Err(DmaError::NotMaster));
    assert_eq!(master.write(Iova(0xFEE0_0001), &[1; 4]), Err(DmaError::NotMaster));
    assert_eq!(master.store(Iova(0x1000), 1u16), Err(DmaError::NotMaster));
    assert!(interrupts.take().is_empty());
    master.set_enabled(true);
    assert_eq!(master.load(Iova(0x1000)), Ok(0u32));
}

#[test]
fn an_aligned_word_in_the_interrupt_range_is_an_interrupt() {
    let Bench { master, interrupts, .. } = bench();
    master.write(Iova(0xFEE0_1000), &0x4023u32.to_le_bytes()).unwrap();
    assert_eq!(interrupts.take(), [MsiMessage { address: 0xFEE0_1000, data: 0x4023 }]);
}

#[test]
fn any_other_access_to_the_interrupt_range_is_malformed() {
    let Bench { master, interrupts, .. } = bench();
    for address in [0xFEE0_0000, 0xFEEF_FFF8] {
        let error = Err(DmaError::MalformedInterrupt(address));
        assert_eq!(master.write(Iova(address), &[0; 2]), error);
        assert_eq!(master.write(Iova(address), &[0; 8]), error);
        assert_eq!(master.read(Iova(address), &mut [0; 4]), error);
        assert_eq!(master.load::<u32>(Iova(address)).map(drop), error);
        assert_eq!(master.store(Iova(address), 0u32), error);
    }
    assert_eq!(master.write(Iova(0xFEE0_0002), &[0; 4]), Err(DmaError::MalformedInterrupt(0xFEE0_0002)));
    assert!(interrupts.take().is_empty());
}

#[test]
fn a_transfer_that_runs_into_the_interrupt_range_stops_there() {
    let Bench { master, interrupts, .. } = bench();
    let error = Err(DmaError::MalformedInterrupt(0xFEE0_0000));
    assert_eq!(master.write(Iova(0xFEDF_FFFC), &[9; 8]), error);
    assert_eq!(master.load(Iova(0xFEDF_FFFC)), Ok(0x0909_0909u32));
    assert_eq!(master.read(Iova(0xFEDF_FFFC), &mut [0; 8]), error);
    assert!(interrupts.take().is_empty());
}

#[test]
fn addresses_without_memory_are_unreachable() {
    let Bench { master, .. } = bench();
    assert_eq!(master.read(Iova(0), &mut [0; 4]), Err(DmaError::Unreachable(0)));
    assert!(matches!(master.write(Iova(0x1FFE), &[0; 4]), Err(DmaError::Unreachable(_))));
    assert!(matches!(master.write(Iova(u64::MAX), &[0; 4]), Err(DmaError::Unreachable(_))));
}

#[test]
fn single_accesses_are_aligned() {
    let Bench { master, .. } = bench();
    master.store(Iova(0x1004), 0x1122_3344u32).unwrap();
    assert_eq!(master.load(Iova(0x1006)), Ok(0x1122u16));
    assert_eq!(master.load::<u32>(Iova(0x1006)), Err(DmaError::Unreachable(0x1006)));
}

#[test]
fn the_requester_id_follows_the_bus_number() {
    let Bench { master, bus, .. } = bench();
    assert_eq!(master.source_id(), SourceId(0x0020));
    bus.set(5);
    assert_eq!(master.source_id(), SourceId(0x0520));
}

/// The last fault the unit recorded: reason and page, if it is pending.
fn fault(unit: &VtdUnit) -> Option<(u8, u64)> {
    let read = |offset| {
        let mut data = [0; 8];
        unit.read(offset, &mut data);
        u64::from_le_bytes(data)
    };
    let record = (read(8) >> 24 & 0x3FF) * 16;
    (read(record + 8) >> 63 == 1).then(|| ((read(record + 8) >> 32) as u8, read(record)))
}

#[test]
fn a_unit_decides_where_an_access_goes() {
    // Two pages that follow each other for the device, and lie apart and in the other order in memory.
    let (bench, unit) = Bench::behind_unit(&[(0x8000, 0x2_0000), (0x9000, 0x1_0000)]);
    bench.master.write(Iova(0x8FFE), &[1, 2, 3, 4]).unwrap();
    let get = |address| bench.memory.read_obj::<u16>(GuestAddress(address)).unwrap();
    assert_eq!((get(0x2_0FFE), get(0x1_0000)), (0x0201, 0x0403));
    let mut data = [0; 4];
    bench.master.read(Iova(0x8FFE), &mut data).unwrap();
    assert_eq!(data, [1, 2, 3, 4]);
    assert_eq!(bench.master.load(Iova(0x9000)), Ok(0x0403_u16));
    bench.master.store(Iova(0x8000), 0x5A_u8).unwrap();
    assert_eq!(get(0x2_0000), 0x5A);
    assert_eq!(fault(&unit), None);
}

#[test]
fn what_a_unit_refuses_is_recorded_and_does_not_happen() {
    let (bench, unit) = Bench::behind_unit(&[(0x8000, 0x2_0000)]);
    let blocked = |reason| Err(DmaError::Blocked(Blocked { reason }));
    assert_eq!(bench.master.write(Iova(0x8FFE), &[1, 2, 3, 4]), blocked(5));
    assert_eq!(fault(&unit), Some((5, 0x9000)));
    // What came before the page that was refused is there.
    assert_eq!(bench.memory.read_obj::<u16>(GuestAddress(0x2_0FFE)).unwrap(), 0x0201);
    assert_eq!(bench.master.load::<u32>(Iova(0x1_0000)).map(drop), blocked(6));
}

#[test]
fn the_requester_id_of_the_moment_is_judged() {
    let (bench, unit) = Bench::behind_unit(&[(0x8000, 0x2_0000)]);
    bench.master.write(Iova(0x8000), &[1]).unwrap();
    bench.bus.set(1);
    let blocked = Err(DmaError::Blocked(Blocked { reason: 1 }));
    assert_eq!(bench.master.write(Iova(0x8000), &[1]), blocked);
    assert_eq!(fault(&unit), Some((1, 0x8000)));
}

#[test]
fn no_translation_leads_to_the_interrupt_range() {
    let (bench, _unit) = Bench::behind_unit(&[(0x8000, 0xFEE0_0000)]);
    assert!(bench.master.write(Iova(0x8000), &[0; 4]).is_err());
    assert!(bench.interrupts.take().is_empty());
}

#[test]
fn memory_computes_for_a_device() {
    let Bench { master, memory, .. } = bench();
    let requests = master.requests(Attributes::default());
    memory.write_obj(5u64, GuestAddress(0x1008)).unwrap();
    let add = |word: &AtomicU64| word.fetch_add(3, Ordering::SeqCst);
    assert_eq!(requests.atomic(Iova(0x1008), add), Ok(5));
    let exchange = |word: &AtomicU32| {
        word.compare_exchange(8, 1, Ordering::SeqCst, Ordering::SeqCst).unwrap_or_else(|found| found)
    };
    assert_eq!(requests.atomic(Iova(0x1008), exchange), Ok(8));
    assert_eq!(memory.read_obj::<u64>(GuestAddress(0x1008)).unwrap(), 1);
    assert_eq!(requests.atomic(Iova(0x1004), add), Err(DmaError::Unreachable(0x1004)));
    assert_eq!(requests.atomic(Iova(0x3000), add), Err(DmaError::Unreachable(0x3000)));
}

#[test]
fn an_atomic_operation_needs_both_permissions() {
    // 0x9000 is read-only.
    let (bench, unit) = Bench::behind_unit(&[(0x8000, 0x2_0000), (0x9000, 0x1_0000)]);
    bench.memory.write_obj(0x1_0001_u64, GuestAddress(0x5048)).unwrap();
    let requests = bench.master.requests(Attributes::default());
    let add = |word: &AtomicU64| word.fetch_add(1, Ordering::SeqCst);
    assert_eq!(requests.atomic(Iova(0x8000), add), Ok(0));
    assert_eq!(requests.atomic(Iova(0x9000), add), Err(DmaError::Blocked(Blocked { reason: 5 })));
    assert_eq!(fault(&unit), Some((5, 0x9000)));
}

#[test]
fn a_request_for_no_bytes_is_judged() {
    let (bench, unit) = Bench::behind_unit(&[(0x8000, 0x2_0000)]);
    let requests = bench.master.requests(Attributes::default());
    assert_eq!(requests.touch(Iova(0x8000)), Ok(()));
    assert_eq!(fault(&unit), None);
    assert_eq!(requests.touch(Iova(0x9000)), Err(DmaError::Blocked(Blocked { reason: 6 })));
}

#[test]
fn without_a_unit_nobody_knows_pasids() {
    let Bench { master, .. } = bench();
    let pasid = Attributes { pasid: Some(Pasid(1)), ..Attributes::default() };
    let translated = Attributes { translated: true, ..Attributes::default() };
    for attributes in [pasid, translated] {
        let requests = master.requests(attributes);
        assert_eq!(requests.read(Iova(0x1000), &mut [0]), Err(DmaError::Unreachable(0x1000)));
        // Not an interrupt either.
        assert_eq!(requests.write(Iova(0xFEE0_0000), &[0; 4]), Err(DmaError::Unreachable(0xFEE0_0000)));
    }
}

#[test]
fn a_pasid_reaches_the_unit() {
    let (bench, unit) = Bench::behind_unit(&[(0x8000, 0x2_0000)]);
    let attributes = Attributes { pasid: Some(Pasid(5)), ..Attributes::default() };
    let refused = bench.master.requests(attributes).read(Iova(0x8000), &mut [0]);
    // Legacy mode has no PASIDs.
    assert_eq!(refused, Err(DmaError::Blocked(Blocked { reason: 0x31 })));
    assert_eq!(fault(&unit), Some((0x31, 0x8000)));
}
