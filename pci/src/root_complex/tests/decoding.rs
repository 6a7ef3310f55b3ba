//! Accesses to BARs: who answers where, and who is told.

use super::*;
use crate::testing::{Config, Event};
use crate::{BAR_COUNT, BarRange, BarSpace, ROM_BAR};

fn read(complex: &RootComplex, address: u64, length: usize) -> (bool, Vec<u8>) {
    let mut data = vec![0x77; length];
    let claimed = complex.mmio_read(address, &mut data);
    (claimed, data)
}

fn memory(base: u64, length: u64) -> BarRange {
    BarRange { space: BarSpace::Memory, base, length }
}

fn base_of(probe: &Probe, bar: usize) -> u64 {
    probe.endpoint.bars()[bar].unwrap().base
}

#[test]
fn every_function_answers_at_its_bars() {
    let machine = machine();
    for (probe, mark) in [(&machine.root, 1), (&machine.first, 2), (&machine.second, 3)] {
        let base = base_of(probe, 0);
        assert_eq!(read(&machine.complex, base + 0x3FFC, 4), (true, vec![mark; 4]));
        assert!(machine.complex.mmio_write(base + 8, &[5, 6]));
        let port = base_of(probe, 2) as u16;
        let mut data = [0];
        assert!(machine.complex.pio_read(port + 31, &mut data));
        assert_eq!(data, [mark]);
        assert!(machine.complex.pio_write(port, &[7]));
        let expected = [
            Event::Read { bar: 0, offset: 0x3FFC, length: 4 },
            Event::Write { bar: 0, offset: 8, data: vec![5, 6] },
            Event::Read { bar: 2, offset: 31, length: 1 },
            Event::Write { bar: 2, offset: 0, data: vec![7] },
        ];
        assert_eq!(probe.events(), expected);
    }
}

#[test]
fn disabled_memory_answers_nothing() {
    let machine = machine();
    let (base, port) = (base_of(&machine.root, 0), base_of(&machine.root, 2) as u16);
    machine.complex.write16(ROOT, 4, 1);
    assert_eq!(
        machine.root.events(),
        [Event::Reachable([None, None, machine.root.endpoint.bars()[2], None, None, None, None])]
    );
    assert_eq!(read(&machine.complex, base, 4), (false, vec![0xFF; 4]));
    assert!(!machine.complex.mmio_write(base, &[0; 4]));
    assert!(machine.complex.pio_write(port, &[0]));
    machine.complex.write16(ROOT, 4, 2);
    machine.root.events();
    assert!(!machine.complex.pio_write(port, &[0]));
    assert!(!machine.complex.pio_read(port, &mut [0]));
    assert_eq!(machine.root.events(), []);
    assert!(machine.complex.mmio_write(base, &[0; 4]));
}

#[test]
fn odd_sized_accesses_are_carried_out_whole() {
    let machine = machine();
    let base = base_of(&machine.root, 0);
    for length in 1..=8 {
        assert_eq!(read(&machine.complex, base + 3, length), (true, vec![1; length]));
        assert_eq!(machine.root.events(), [Event::Read { bar: 0, offset: 3, length }]);
    }
    assert!(machine.complex.mmio_write(base, &[9; 19]));
    let lengths: Vec<_> = machine
        .root
        .events()
        .iter()
        .map(|event| match event {
            Event::Write { offset, data, .. } => (*offset, data.len()),
            _ => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(lengths, [(0, 8), (8, 8), (16, 3)]);
    assert_eq!(read(&machine.complex, base, 0), (false, vec![]));
}

#[test]
fn an_access_across_the_end_of_a_bar_stays_inside_it() {
    let machine = machine();
    let base = base_of(&machine.second, 0);
    assert_eq!(read(&machine.complex, base + 0x3FFE, 4), (true, vec![3, 3, 0xFF, 0xFF]));
    assert_eq!(read(&machine.complex, base - 2, 4), (true, vec![0xFF, 0xFF, 3, 3]));
    assert_eq!(read(&machine.complex, u64::MAX - 1, 8), (false, vec![0xFF; 8]));
}

#[test]
fn a_moved_bar_answers_at_its_new_place_only() {
    let machine = machine();
    let old = base_of(&machine.root, 0);
    machine.complex.write32(ROOT, 0x10, 0xD700_0000);
    assert!(!read(&machine.complex, old, 1).0);
    assert_eq!(read(&machine.complex, 0xD700_0000, 1), (true, vec![1]));
}

#[test]
fn sizing_while_decoding_harms_nobody() {
    let machine = machine();
    let old = base_of(&machine.root, 0);
    machine.complex.write32(ROOT, 0x10, !0);
    assert_eq!(machine.complex.read32(ROOT, 0x10), 0xFFFF_C000);
    assert!(!read(&machine.complex, old, 1).0);
    assert!(!read(&machine.complex, 0xFFFF_C000, 1).0, "outside of the host bridge's windows");
    machine.complex.write32(ROOT, 0x10, old as u32);
    assert_eq!(read(&machine.complex, old, 1), (true, vec![1]));
}

#[test]
fn a_bar_over_ram_or_platform_registers_is_not_reached() {
    let machine = machine();
    for base in [0u32, 0x10_0000, 0xBFFF_C000, 0xFEE0_0000, 0xE000_0000] {
        machine.complex.write32(ROOT, 0x10, base);
        assert_eq!(machine.root.endpoint.bars()[0], Some(memory(base.into(), 0x4000)));
        assert!(!read(&machine.complex, base.into(), 1).0, "{base:#x}");
    }
}

#[test]
fn what_a_bridge_does_not_forward_is_not_reached() {
    let machine = machine();
    let (base, port) = (base_of(&machine.first, 0), base_of(&machine.first, 2) as u16);
    let reached = || (read(&machine.complex, base, 1).0, machine.complex.pio_read(port, &mut [0]));
    assert_eq!(reached(), (true, true));
    for (command, expected) in
        [(0, (false, false)), (1, (false, true)), (2, (true, false)), (3, (true, true))]
    {
        machine.complex.write16(FIRST_PORT, 4, command);
        assert_eq!(reached(), expected, "command {command}");
    }
    // A window that is closed, and one elsewhere.
    machine.complex.write32(FIRST_PORT, 0x20, 0x0000_FFF0);
    assert_eq!(reached(), (false, true));
    machine.complex.write32(FIRST_PORT, 0x20, 0xDF00_DF00);
    assert_eq!(reached(), (false, true));
    machine.complex.write16(FIRST_PORT, 0x1C, 0x00F0);
    assert_eq!(reached(), (false, false));
}

#[test]
fn the_prefetchable_window_forwards_too() {
    let machine = machine();
    machine.complex.write32(FIRST_PORT, 0x20, 0x0000_FFF0);
    machine.complex.write32(FIRST, 0x10, 0xDD00_0000);
    assert!(!read(&machine.complex, 0xDD00_0000, 1).0);
    machine.complex.write32(FIRST_PORT, 0x24, 0xDD00_DD00);
    machine.complex.write32(FIRST_PORT, 0x28, 0);
    machine.complex.write32(FIRST_PORT, 0x2C, 0);
    assert_eq!(read(&machine.complex, 0xDD00_0000, 1), (true, vec![2]));
    machine.complex.write32(FIRST_PORT, 0x28, 1);
    assert!(!read(&machine.complex, 0xDD00_0000, 1).0);
}

#[test]
fn where_bars_overlap_the_lowest_function_answers() {
    let machine = machine();
    let base = base_of(&machine.first, 0);
    machine.complex.write32(ROOT, 0x10, base as u32);
    assert_eq!(read(&machine.complex, base, 1), (true, vec![1]));
    assert_eq!(
        machine.first.events(),
        [Event::Reachable([None, None, machine.first.endpoint.bars()[2], None, None, None, None])]
    );
    machine.complex.write16(ROOT, 4, 0);
    assert_eq!(read(&machine.complex, base, 1), (true, vec![2]));
    assert_eq!(
        machine.first.events(),
        [Event::Reachable(machine.first.endpoint.bars()), Event::Read { bar: 0, offset: 0, length: 1 }]
    );
}

#[test]
fn of_a_bar_that_is_covered_in_part_the_rest_answers_but_none_is_mapped() {
    let complex = RootComplex::new(WINDOWS);
    let big =
        plug(&complex, complex.root_bus(), 9, 9, &[(0, Bar { kind: BarKind::Memory32, size: 0x10000 })]);
    let small =
        plug(&complex, complex.root_bus(), 8, 8, &[(0, Bar { kind: BarKind::Memory32, size: 0x1000 })]);
    for (device, base) in [(8, 0xC000_4000), (9, 0xC000_0000)] {
        complex.write32(Bdf::new(0, device, 0), 0x10, base);
        complex.write16(Bdf::new(0, device, 0), 4, 2);
    }
    assert_eq!(read(&complex, 0xC000_3FFF, 2), (true, vec![9, 8]));
    assert_eq!(read(&complex, 0xC000_4FFC, 8), (true, vec![8, 8, 8, 8, 9, 9, 9, 9]));
    let offsets = |event: &Event| match event {
        Event::Read { offset, .. } => Some(*offset),
        _ => None,
    };
    assert_eq!(big.events().iter().filter_map(offsets).collect::<Vec<_>>(), [0x3FFF, 0x5000]);
    assert_eq!(
        small.events()[0],
        Event::Reachable([Some(memory(0xC000_4000, 0x1000)), None, None, None, None, None, None])
    );
    complex.write16(Bdf::new(0, 8, 0), 4, 0);
    assert_eq!(
        big.events(),
        [Event::Reachable([Some(memory(0xC000_0000, 0x10000)), None, None, None, None, None, None])]
    );
}

#[test]
fn a_function_lets_go_before_another_is_told_to_take() {
    // Both write into one list, so that the order shows.
    struct Taker(Arc<Probe>, u8, Arc<std::sync::Mutex<Vec<(u8, bool)>>>);
    impl crate::Function for Taker {
        fn config_read(&self, offset: u16, data: &mut [u8]) {
            self.0.config_read(offset, data);
        }
        fn config_write(&self, offset: u16, data: &[u8]) {
            self.0.config_write(offset, data);
        }
        fn bars(&self) -> [Option<BarRange>; BAR_COUNT] {
            self.0.bars()
        }
        fn bar_read(&self, _: usize, _: u64, _: &mut [u8]) {}
        fn bar_write(&self, _: usize, _: u64, _: &[u8]) {}
        fn reachable(&self, bars: &[Option<BarRange>; BAR_COUNT]) {
            self.2.lock().unwrap().push((self.1, bars[0].is_some()));
        }
        fn reset(&self) {}
    }
    let complex = RootComplex::new(WINDOWS);
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    // The one that comes to its BAR later in the same place is plugged first.
    for device in [3, 7] {
        let slot = complex.slot(complex.root_bus(), device, 0).unwrap();
        let probe = Probe::new(slot.location(), device, &BARS);
        complex.plug(slot, Arc::new(Taker(probe, device, order.clone())));
        complex.write32(Bdf::new(0, device, 0), 0x10, 0xC000_0000);
    }
    complex.write16(Bdf::new(0, 7, 0), 4, 2);
    complex.write16(Bdf::new(0, 3, 0), 4, 2);
    assert_eq!(*order.lock().unwrap(), [(7, true), (7, false), (3, true)]);
}

#[test]
fn a_rom_is_reached_only_while_it_is_enabled() {
    let complex = RootComplex::new(WINDOWS);
    let probe =
        plug(&complex, complex.root_bus(), 3, 3, &[(ROM_BAR, Bar { kind: BarKind::Rom, size: 0x1_0000 })]);
    complex.assign_resources(|_| 0).unwrap();
    let bdf = Bdf::new(0, 3, 0);
    let base = u64::from(complex.read32(bdf, 0x30));
    assert_ne!(base, 0);
    assert!(!read(&complex, base, 4).0);
    complex.write32(bdf, 0x30, base as u32 | 1);
    probe.events();
    assert_eq!(read(&complex, base, 4), (true, vec![3; 4]));
    assert_eq!(probe.events(), [Event::Read { bar: ROM_BAR, offset: 0, length: 4 }]);
}

#[test]
fn a_function_level_reset_takes_the_bars_away() {
    let machine = machine();
    let base = base_of(&machine.root, 0);
    machine.complex.write16(ROOT, 0x48, 0x8000);
    assert!(machine.root.events().contains(&Event::Reset));
    assert!(!read(&machine.complex, base, 1).0);
}

#[test]
fn nothing_goes_up_through_a_port_that_does_not_master_the_bus() {
    let machine = machine();
    machine.complex.write16(FIRST_PORT, 4, 3);
    assert_eq!(machine.first.events(), [Event::Upstream(false)]);
    machine.complex.write16(FIRST_PORT, 4, 7);
    assert_eq!(machine.first.events(), [Event::Upstream(true)]);
    machine.complex.write16(FIRST_PORT, 0x44, 3);
    assert!(machine.first.events().contains(&Event::Upstream(false)));
    assert_eq!(machine.second.events(), []);
    assert_eq!(machine.root.events(), []);
}
