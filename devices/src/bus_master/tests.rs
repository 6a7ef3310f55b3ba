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
