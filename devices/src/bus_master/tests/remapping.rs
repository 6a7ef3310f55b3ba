//! A bus master behind a unit that remaps interrupts.

use super::*;

/// Where things lie, beside the tables of [`Bench::behind_unit`]: more of them, the interrupt remapping table,
/// and a page that nothing may ever reach.
const TABLES: [u64; 3] = [0x3000, 0x6000, 0x7000];
const INTERRUPTS: u64 = 0x8000;
const CANARY: u64 = 0x2_0000;

/// The numbers of the function in question.
const SOURCE: u64 = 0x0020;
const RENUMBERED: u64 = 0x0520;

fn store(bench: &Bench, address: u64, value: u64) {
    bench.memory.write_obj(value, GuestAddress(address)).unwrap();
}

/// A function behind a unit that translates and remaps. Its tables lead from the interrupt range to memory,
/// which means nothing.
fn remapping() -> (Bench, Arc<VtdUnit>) {
    let (bench, unit) = Bench::behind_unit(&[]);
    // 0xFEE0_0000 is in the fourth GiB, and in its 503rd part of 2 MiB.
    store(&bench, TABLES[0] + 3 * 8, TABLES[1] | 3);
    store(&bench, TABLES[1] + 503 * 8, TABLES[2] | 3);
    for page in 0..256 {
        store(&bench, TABLES[2] + page * 8, CANARY | 3);
    }
    // IRTA, 16 entries and 32-bit destinations; then GCMD.SIRTP and GCMD.IRE, with GCMD.TE as it was.
    unit.write(0xB8, &(INTERRUPTS | 1 << 11 | 3).to_le_bytes());
    for command in [1 << 24, 1 << 25] {
        unit.write(0x18, &(1_u32 << 31 | command).to_le_bytes());
    }
    (bench, unit)
}

/// Makes an entry of the interrupt remapping table present, for the function `source` alone.
fn allow(bench: &Bench, index: u64, source: u64, vector: u64) {
    store(bench, INTERRUPTS + index * 16 + 8, 1 << 18 | source);
    store(bench, INTERRUPTS + index * 16, 2 << 32 | vector << 16 | 1);
}

/// Writes what raises the interrupt of entry `index`.
fn raise(bench: &Bench, index: u64) -> Result<(), DmaError> {
    bench.master.write(Iova(0xFEE0_0010 | index << 5), &[0; 4])
}

/// What arrives for an entry that [`allow`] has made.
fn remapped(vector: u32) -> MsiMessage {
    MsiMessage { address: 0xFEE0_2000, data: vector }
}

#[test]
fn an_interrupt_written_by_dma_is_remapped_and_checked() {
    let (bench, unit) = remapping();
    allow(&bench, 1, SOURCE, 0x61);
    raise(&bench, 1).unwrap();
    assert_eq!(bench.interrupts.take(), [remapped(0x61)]);
    assert_eq!(fault(&unit), None);

    // Another function's interrupt, one that nobody has, and one that names its vector itself.
    allow(&bench, 2, SOURCE | 1, 0x62);
    let blocked = |reason| Err(DmaError::Blocked(Blocked { reason }));
    assert_eq!(raise(&bench, 2), blocked(0x26));
    assert_eq!(fault(&unit), Some((0x26, 2 << 48)));
    assert_eq!(raise(&bench, 3), blocked(0x22));
    assert_eq!(bench.master.write(Iova(0xFEE0_1000), &[0x63, 0, 0, 0]), blocked(0x25));
    assert!(bench.interrupts.take().is_empty());
    assert_eq!(bench.memory.read_obj::<u64>(GuestAddress(CANARY)).unwrap(), 0);
}

#[test]
fn a_renumbered_function_raises_what_its_new_number_may() {
    let (bench, _unit) = remapping();
    allow(&bench, 1, SOURCE, 0x61);
    allow(&bench, 2, RENUMBERED, 0x62);
    bench.bus.set(5);
    assert_eq!(raise(&bench, 1), Err(DmaError::Blocked(Blocked { reason: 0x26 })));
    raise(&bench, 2).unwrap();
    assert_eq!(bench.interrupts.take(), [remapped(0x62)]);
}

/// A master at the same numbers on a bus of conventional PCI.
fn conventional(bench: &Bench) -> BusMaster {
    let location = Location::conventional(bench.bus.clone(), 4, 0);
    let sink = bench.interrupts.clone();
    let master = BusMaster::new(location, bench.memory.clone(), bench.master.remapping().clone(), sink);
    master.set_enabled(true);
    master
}

#[test]
fn dma_from_a_conventional_bus_is_translated_by_the_bridges_alias() {
    let (bench, unit) = Bench::behind_unit(&[(0x8000, 0x1_0000)]);
    let master = conventional(&bench);
    // What its own numbers may reach is not for it: 00:00.0 has no context entry.
    assert_eq!(master.write(Iova(0x8000), &[1]), Err(DmaError::Blocked(Blocked { reason: 2 })));
    assert_eq!(fault(&unit), Some((2, 0x8000)));
    // The context entry of bus 5, device 0, function 0 is that of 00:04.0.
    store(&bench, 0x1000 + 5 * 16, 0x6001);
    for half in [0, 8] {
        let entry: u64 = bench.memory.read_obj(GuestAddress(0x2000 + 0x20 * 16 + half)).unwrap();
        store(&bench, 0x6000 + half, entry);
    }
    bench.bus.set(5);
    master.write(Iova(0x8000), &[7]).unwrap();
    assert_eq!(bench.memory.read_obj::<u8>(GuestAddress(0x1_0000)).unwrap(), 7);
}

#[test]
fn an_interrupt_from_a_conventional_bus_bears_the_bridges_alias() {
    const ALIAS: u64 = 0x0500;
    let (bench, _unit) = remapping();
    bench.bus.set(5);
    let master = conventional(&bench);
    let raise = |index: u64| master.write(Iova(0xFEE0_0010 | index << 5), &[0; 4]);
    allow(&bench, 1, RENUMBERED, 0x61);
    allow(&bench, 2, ALIAS, 0x62);
    // By the range of buses, as guests have it checked behind a bridge.
    allow(&bench, 3, ALIAS, 0x63);
    store(&bench, INTERRUPTS + 3 * 16 + 8, 2 << 18 | 0x04_05);
    assert_eq!(raise(1), Err(DmaError::Blocked(Blocked { reason: 0x26 })));
    raise(2).unwrap();
    raise(3).unwrap();
    assert_eq!(bench.interrupts.take(), [remapped(0x62), remapped(0x63)]);
}

/// Registers of a device are no memory: a device cannot be made to write its own, or another's.
#[test]
fn a_translation_that_ends_outside_of_ram_reaches_nothing() {
    let (bench, _unit) = Bench::behind_unit(&[(0x8000, 0xFEB0_0000)]);
    let unreachable = DmaError::Unreachable(0xFEB0_0010);
    assert_eq!(bench.master.write(Iova(0x8010), &[1; 4]), Err(unreachable));
    assert_eq!(bench.master.read(Iova(0x8010), &mut [0; 4]), Err(unreachable));
    assert_eq!(bench.master.store(Iova(0x8010), 1_u32), Err(unreachable));
}
