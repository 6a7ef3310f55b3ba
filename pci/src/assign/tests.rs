use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::testing::{Config, Event, Probe, WINDOWS};
use crate::{BAR_COUNT, Bar, BarKind, BarRange, BarSpace, ROM_BAR, RootComplex, Windows};

fn bar(kind: BarKind, size: u64) -> Bar {
    Bar { kind, size }
}

fn plug(complex: &RootComplex, bus: Bus, device: u8, bars: &[(usize, Bar)]) -> Arc<Probe> {
    let slot = complex.slot(bus, device, 0).unwrap();
    let probe = Probe::new(slot.location(), 1, bars);
    complex.plug(slot, probe.clone());
    probe
}

fn assign(complex: &RootComplex) -> Result<(), AssignError> {
    complex.assign_resources(|wire| 16 + (wire.device + wire.pin.index()) % 8)
}

#[test]
fn each_kind_goes_to_its_window() {
    let complex = RootComplex::new(WINDOWS);
    let bars = [
        (0, bar(BarKind::Memory64, 0x1000)),
        (2, bar(BarKind::Prefetchable64, 1 << 30)),
        (4, bar(BarKind::Memory32, 0x10_0000)),
        (5, bar(BarKind::Port, 64)),
    ];
    let port = complex.add_root_port(2, 0).unwrap();
    for (bus, device) in [(complex.root_bus(), 1), (port, 0)] {
        let probe = plug(&complex, bus, device, &bars);
        assign(&complex).unwrap();
        let decoded = probe.endpoint.bars();
        for (index, window) in
            [(0, &WINDOWS.memory32), (2, &WINDOWS.memory64), (4, &WINDOWS.memory32), (5, &WINDOWS.ports)]
        {
            let range = decoded[index].unwrap();
            assert!(window.contains(&range.base), "BAR {index} at {:#x}", range.base);
            assert_eq!(range.base % range.length, 0);
        }
    }
}

#[test]
fn only_what_a_function_has_is_enabled_and_never_bus_mastering() {
    let complex = RootComplex::new(WINDOWS);
    plug(&complex, complex.root_bus(), 1, &[(0, bar(BarKind::Memory32, 4096))]);
    plug(&complex, complex.root_bus(), 2, &[(0, bar(BarKind::Port, 8))]);
    plug(&complex, complex.root_bus(), 3, &[]);
    complex.add_root_port(4, 0).unwrap();
    assign(&complex).unwrap();
    assert_eq!([1, 2, 3, 4].map(|device| complex.read16(Bdf::new(0, device, 0), 4)), [2, 1, 0, 7]);
}

#[test]
fn without_a_high_window_everything_goes_low() {
    let windows = Windows { memory64: 0..0, ..WINDOWS };
    let complex = RootComplex::new(windows);
    let bus = complex.add_root_port(1, 0).unwrap();
    let probe = plug(
        &complex,
        bus,
        0,
        &[(0, bar(BarKind::Prefetchable64, 1 << 20)), (2, bar(BarKind::Memory32, 4096))],
    );
    assign(&complex).unwrap();
    for index in [0, 2] {
        let base = probe.endpoint.bars()[index].unwrap().base;
        assert!(complex.mmio_read(base, &mut [0]), "BAR {index} at {base:#x}");
    }
}

#[test]
fn a_bridge_with_nothing_behind_it_forwards_nothing() {
    let complex = RootComplex::new(WINDOWS);
    complex.add_root_port(1, 0).unwrap();
    assign(&complex).unwrap();
    let port = Bdf::new(0, 1, 0);
    assert!(complex.read16(port, 0x20) > complex.read16(port, 0x22));
    assert!(complex.read16(port, 0x24) > complex.read16(port, 0x26));
    assert!(complex.read8(port, 0x1C) > complex.read8(port, 0x1D));
}

#[test]
fn the_interrupt_line_follows_the_wire() {
    let complex = RootComplex::new(WINDOWS);
    let bus = complex.add_root_port(5, 0).unwrap();
    plug(&complex, bus, 0, &[]);
    plug(&complex, complex.root_bus(), 6, &[]);
    assign(&complex).unwrap();
    assert_eq!(complex.read8(Bdf::new(1, 0, 0), 0x3C), 21);
    assert_eq!(complex.read8(Bdf::new(0, 6, 0), 0x3C), 22);
    assert_eq!(complex.read8(Bdf::new(0, 5, 0), 0x3C), 21);
    assert_eq!(complex.read8(Bdf::new(0, 0, 0), 0x3C), 0);
}

#[test]
fn what_does_not_fit_is_named() {
    let refused = |bars: &[(usize, Bar)], behind: bool| {
        let complex = RootComplex::new(WINDOWS);
        let port = complex.add_root_port(2, 0).unwrap();
        let (bus, device) = if behind { (port, 0) } else { (complex.root_bus(), 3) };
        plug(&complex, bus, device, bars);
        assign(&complex).unwrap_err()
    };
    let no_room = |function, size, space| AssignError::NoRoom { function, size, space };
    let (direct, port) = (Bdf::new(0, 3, 0), Bdf::new(0, 2, 0));
    let low = [(0, bar(BarKind::Memory32, 1 << 30))];
    assert_eq!(refused(&low, false), no_room(direct, 1 << 30, "memory below 4 GiB"));
    assert_eq!(refused(&low, true), no_room(port, 1 << 30, "memory below 4 GiB"));
    let high = [(0, bar(BarKind::Prefetchable64, 1 << 36))];
    assert_eq!(refused(&high, false), no_room(direct, 1 << 36, "memory above 4 GiB"));
    let huge = [
        (0, bar(BarKind::Prefetchable64, 1 << 62)),
        (2, bar(BarKind::Prefetchable64, 1 << 62)),
        (4, bar(BarKind::Prefetchable64, 1 << 62)),
    ];
    assert_eq!(refused(&huge, true), no_room(port, 3 << 62, "memory above 4 GiB"));
    assert_eq!(
        refused(&low, true).to_string(),
        "Function 00:02.0 needs 0x40000000 bytes of memory below 4 GiB, and the window for them has too little room"
    );
}

#[test]
fn a_function_that_no_guest_would_find_is_named() {
    let complex = RootComplex::new(WINDOWS);
    let slot = complex.slot(complex.root_bus(), 4, 3).unwrap();
    let probe = Probe::new(slot.location(), 1, &[]);
    complex.plug(slot, probe);
    assert_eq!(assign(&complex), Err(AssignError::Hidden(Bdf::new(0, 4, 3))));
    plug(&complex, complex.root_bus(), 4, &[]);
    assert_eq!(assign(&complex), Ok(()));
}

/// 1 MiB, 2 MiB, 1 MiB fill 4 MiB only if the largest goes first.
#[test]
fn a_window_is_filled_without_gaps() {
    let windows = Windows { memory32: 0xC000_0000..0xC040_0000, ..WINDOWS };
    let complex = RootComplex::new(windows);
    for (device, size) in [(1, 1 << 20), (2, 2 << 20), (3, 1 << 20)] {
        plug(&complex, complex.root_bus(), device, &[(0, bar(BarKind::Memory32, size))]);
    }
    assert_eq!(assign(&complex), Ok(()));
}

#[test]
fn functions_learn_their_numbers_before_anything_decodes() {
    let complex = RootComplex::new(WINDOWS);
    complex.add_root_port(1, 0).unwrap();
    let bus = complex.add_root_port(2, 0).unwrap();
    let probe = plug(&complex, bus, 0, &[(0, bar(BarKind::Memory32, 4096))]);
    assign(&complex).unwrap();
    let events = probe.events();
    let expected = Bdf::new(2, 0, 0);
    assert!(
        matches!(
            events.as_slice(),
            [Event::Upstream(false), Event::Renumbered(bdf), Event::Upstream(true), Event::Reachable(_)]
            if *bdf == expected
        ),
        "{events:?}"
    );
}

fn any_bars() -> impl Strategy<Value = Vec<(usize, Bar)>> {
    let kind = proptest::sample::select(vec![
        BarKind::Memory32,
        BarKind::Memory64,
        BarKind::Prefetchable64,
        BarKind::Port,
    ]);
    let wide = (kind, 4u32..22, any::<bool>());
    proptest::collection::vec(wide, 0..4).prop_map(|kinds| {
        let mut bars: Vec<_> = kinds
            .iter()
            .take(3)
            .enumerate()
            .map(|(index, (kind, order, _))| {
                let order = if *kind == BarKind::Port { *order % 7 + 2 } else { *order };
                (2 * index, bar(*kind, 1 << order))
            })
            .collect();
        if kinds.iter().any(|(.., rom)| *rom) {
            bars.push((ROM_BAR, bar(BarKind::Rom, 4096)));
        }
        bars
    })
}

proptest! {
    /// Whatever the functions are, all of them get addresses of their own, and are reached there.
    #[test]
    fn everything_assigned_is_reached(functions in proptest::collection::vec((any_bars(), any::<bool>()), 1..8)) {
        let complex = RootComplex::new(WINDOWS);
        let mut probes = Vec::new();
        for (device, (bars, behind)) in (1..).zip(&functions) {
            let (bus, device) =
                if *behind { (complex.add_root_port(device, 0).unwrap(), 0) } else { (complex.root_bus(), device) };
            probes.push((plug(&complex, bus, device, bars), bars));
        }
        assign(&complex).unwrap();
        for (probe, bars) in probes {
            let mut told = [None; BAR_COUNT];
            for event in probe.events() {
                if let Event::Reachable(bars) = event {
                    told = bars;
                }
            }
            for (index, bar) in bars.iter().filter(|(index, _)| *index != ROM_BAR) {
                let range: BarRange = told[*index].expect("reached");
                prop_assert_eq!(range.length, bar.size);
                prop_assert_eq!(range.base % bar.size, 0);
                let mut data = [0; 4];
                let reached = match range.space {
                    BarSpace::Memory => complex.mmio_read(range.base, &mut data),
                    BarSpace::Port => complex.pio_read(range.base as u16, &mut data),
                };
                prop_assert!(reached);
            }
            // What reads back is what decodes.
            let bdf = probe.location.bdf();
            for (index, bar) in bars.iter().filter(|(index, _)| *index != ROM_BAR) {
                let low = u64::from(complex.read32(bdf, 0x10 + 4 * *index as u16));
                let high = if bar.kind.is_wide() { u64::from(complex.read32(bdf, 0x14 + 4 * *index as u16)) << 32 } else { 0 };
                prop_assert_eq!((low | high) & !(bar.size - 1), told[*index].unwrap().base);
            }
        }
    }
}
