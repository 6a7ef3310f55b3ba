//! Functions that come and go.

use std::ops::Range;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::testing::{Config, Event};
use crate::{BAR_COUNT, BarRange, Function, Message, Reserve, SlotListener};

const PORT: Bdf = Bdf::new(0, 5, 0);
const BEHIND: Bdf = Bdf::new(1, 0, 0);
const CONTROL: u16 = 0x60;
const POWERED: u16 = 0x01C0;
const UNPOWERED: u16 = 0x07C0;
const RESERVE: Reserve = Reserve { memory: 8 << 20, prefetchable: 1 << 30, ports: 0x1000 };

pub(super) struct Nobody;

impl SlotListener for Nobody {
    fn send(&self, _message: Message) {}
    fn set_wire(&self, _asserted: bool) {}
    fn released(&self) {}
}

/// A machine with an empty slot behind 00:05.0 and a probe at 00:04.0.
fn machine_with_slot() -> (RootComplex, Bus) {
    let complex = RootComplex::new(WINDOWS);
    let bus = complex.add_hot_plug_port(5, 0, RESERVE, Arc::new(Nobody)).unwrap();
    plug(&complex, complex.root_bus(), 4, 1, &BARS);
    complex.assign_resources(|_| 16).unwrap();
    (complex, bus)
}

fn insert(complex: &RootComplex, bus: Bus, mark: u8) -> Arc<Probe> {
    let slot = complex.slot(bus, 0, 0).unwrap();
    let probe = Probe::new(slot.location(), mark, &BARS);
    complex.insert(slot, probe.clone());
    probe
}

fn window(complex: &RootComplex, base: u16, limit: u16) -> Range<u64> {
    let bits = |at| u64::from(complex.read16(PORT, at) & 0xFFF0) << 16;
    bits(base)..bits(limit) + 0x10_0000
}

/// Does what a guest does with what has come: gives it power, addresses and bus mastering.
fn configure(complex: &RootComplex) -> u64 {
    complex.write16(PORT, CONTROL, POWERED);
    let base = window(complex, 0x20, 0x22).start;
    complex.write32(BEHIND, 0x10, base as u32);
    complex.write16(BEHIND, 0x04, 0x0006);
    base
}

#[test]
fn an_empty_slot_keeps_room_for_what_comes() {
    let (complex, _) = machine_with_slot();
    assert_eq!(complex.read8(PORT, 0x19), 1);
    let memory = window(&complex, 0x20, 0x22);
    assert_eq!(memory.end - memory.start, RESERVE.memory);
    assert_eq!(memory.start % RESERVE.memory, 0);
    let high = |at| u64::from(complex.read32(PORT, at)) << 32;
    let prefetchable = window(&complex, 0x24, 0x26);
    let (start, end) = (prefetchable.start | high(0x28), (prefetchable.end | high(0x2C)));
    assert_eq!((end - start, start % RESERVE.prefetchable), (RESERVE.prefetchable, 0));
    assert!(WINDOWS.memory64.contains(&start));
    let ports = |at| u64::from(complex.read8(PORT, at) & 0xF0) << 8;
    assert_eq!(ports(0x1D) + 0x1000 - ports(0x1C), RESERVE.ports);
}

#[test]
fn what_comes_is_reached_once_it_has_power_and_not_after_it_has_gone() {
    let (complex, bus) = machine_with_slot();
    assert_eq!(complex.read32(BEHIND, 0), !0);
    let probe = insert(&complex, bus, 7);
    assert_eq!(complex.read32(BEHIND, 0), !0, "it has no power");
    let base = configure(&complex);
    assert_eq!(complex.read16(BEHIND, 2), 7);
    let mut data = [0];
    assert!(complex.mmio_read(base, &mut data));
    assert_eq!(data, [7]);
    probe.events();

    complex.remove(bus);
    assert_eq!(complex.read32(BEHIND, 0), !0);
    assert!(!complex.mmio_read(base, &mut data));
    assert_eq!(probe.events(), [Event::Reachable([None; BAR_COUNT]), Event::Upstream(false)]);
    assert_eq!(Arc::strong_count(&probe), 1, "nobody holds it any more");
    assert!(!complex.slot_state(bus).unwrap().occupied);
    assert_eq!(complex.functions().len(), 4);
}

#[test]
fn the_guest_that_takes_power_away_resets_what_is_there() {
    let (complex, bus) = machine_with_slot();
    let probe = insert(&complex, bus, 7);
    let base = configure(&complex);
    probe.events();
    complex.write16(PORT, CONTROL, UNPOWERED);
    let events = probe.events();
    assert!(events.contains(&Event::Reset) && events.contains(&Event::Upstream(false)), "{events:?}");
    assert!(!complex.mmio_read(base, &mut [0]));
    assert_eq!(complex.read32(BEHIND, 0), !0);
}

#[test]
fn a_slot_can_be_filled_again() {
    let (complex, bus) = machine_with_slot();
    for mark in 2..6 {
        insert(&complex, bus, mark);
        assert_eq!(complex.slot(bus, 0, 0).unwrap_err(), crate::PlaceError::Taken { device: 0, function: 0 });
        configure(&complex);
        assert_eq!(complex.read16(BEHIND, 2), u16::from(mark));
        complex.remove(bus);
    }
    let slot = complex.slot(bus, 0, 0).unwrap();
    complex.give_up(slot);
    assert!(complex.slot(bus, 0, 0).is_ok());
}

#[test]
fn ordinary_ports_keep_what_they_have() {
    let machine = machine();
    let bus = machine.complex.slot_state(machine.complex.root_bus());
    assert_eq!(bus, None);
    // The bus behind the first port.
    machine.complex.remove(Bus(1));
    assert_eq!(machine.complex.read16(FIRST, 2), 2);
}

/// A function at an address that only one may hold.
struct Holder {
    probe: Arc<Probe>,
    holds: AtomicBool,
    held: Arc<AtomicBool>,
}

impl Function for Holder {
    fn config_read(&self, offset: u16, data: &mut [u8]) {
        self.probe.config_read(offset, data);
    }

    fn config_write(&self, offset: u16, data: &[u8]) {
        self.probe.config_write(offset, data);
    }

    fn bars(&self) -> [Option<BarRange>; BAR_COUNT] {
        self.probe.bars()
    }

    fn bar_read(&self, bar: usize, offset: u64, data: &mut [u8]) {
        self.probe.bar_read(bar, offset, data);
    }

    fn bar_write(&self, _bar: usize, _offset: u64, _data: &[u8]) {}

    fn reachable(&self, bars: &[Option<BarRange>; BAR_COUNT]) {
        let holds = bars[0].is_some();
        if self.holds.swap(holds, Ordering::SeqCst) != holds {
            assert_ne!(self.held.swap(holds, Ordering::SeqCst), holds, "two hold the address");
        }
    }

    fn reset(&self) {
        self.probe.reset();
    }
}

#[test]
fn who_gains_an_address_is_told_after_it_was_let_go() {
    let complex = RootComplex::new(WINDOWS);
    let held = Arc::new(AtomicBool::new(false));
    let mut buses = Vec::new();
    for device in [5, 6] {
        buses.push(complex.add_hot_plug_port(device, 0, RESERVE, Arc::new(Nobody)).unwrap());
    }
    complex.assign_resources(|_| 16).unwrap();
    let base = window(&complex, 0x20, 0x22).start;
    let windows = complex.read32(PORT, 0x20);
    complex.write32(Bdf::new(0, 6, 0), 0x20, windows);
    for (number, bus) in (1u8..).zip(&buses) {
        let slot = complex.slot(*bus, 0, 0).unwrap();
        let probe = Probe::new(slot.location(), number, &BARS);
        let holder = Holder { probe, holds: AtomicBool::new(false), held: held.clone() };
        complex.insert(slot, Arc::new(holder));
        complex.write16(Bdf::new(0, 4 + number, 0), CONTROL, POWERED);
        complex.write32(Bdf::new(number, 0, 0), 0x10, base as u32);
        complex.write16(Bdf::new(number, 0, 0), 0x04, 2);
    }
    let read = || {
        let mut data = [0];
        complex.mmio_read(base, &mut data);
        data[0]
    };
    assert_eq!(read(), 1);
    complex.remove(buses[0]);
    assert_eq!(read(), 2);
    assert!(held.load(Ordering::SeqCst), "the other holds it now");
}

/// A function that says when it is in use after it must not be.
struct Guarded {
    probe: Arc<Probe>,
    gone: AtomicBool,
    touched: AtomicU32,
    late: AtomicBool,
}

impl Guarded {
    fn touch(&self) {
        self.touched.fetch_add(1, Ordering::Relaxed);
        for _ in 0..4 {
            std::thread::yield_now();
        }
        if self.gone.load(Ordering::SeqCst) {
            self.late.store(true, Ordering::SeqCst);
        }
    }
}

impl Function for Guarded {
    fn config_read(&self, offset: u16, data: &mut [u8]) {
        self.touch();
        self.probe.config_read(offset, data);
    }

    fn config_write(&self, offset: u16, data: &[u8]) {
        self.touch();
        self.probe.config_write(offset, data);
    }

    fn bars(&self) -> [Option<BarRange>; BAR_COUNT] {
        self.probe.bars()
    }

    fn bar_read(&self, _bar: usize, _offset: u64, data: &mut [u8]) {
        self.touch();
        data.fill(1);
    }

    fn bar_write(&self, _bar: usize, _offset: u64, _data: &[u8]) {
        self.touch();
    }

    fn reset(&self) {
        self.probe.reset();
    }
}

/// Has the other threads end, however this one does.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Threads that access everything while functions come and go, now and then without the guest's leave: none of them
/// is in a function when its removal has returned.
fn race(rounds: u32, surprise: impl Fn(u32) -> bool) -> u32 {
    let (complex, bus) = machine_with_slot();
    let base = window(&complex, 0x20, 0x22).start;
    let (done, start) = (AtomicBool::new(false), Barrier::new(4));
    let mut touched = 0;
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (complex, done, start) = (&complex, &done, &start);
            scope.spawn(move || {
                start.wait();
                let mut turn = thread;
                while !done.load(Ordering::Relaxed) {
                    turn += 1;
                    match turn % 4 {
                        0 => _ = complex.read32(BEHIND, 0),
                        1 => complex.write32(BEHIND, 0x3C, turn as u32),
                        2 => _ = complex.mmio_read(base + turn % 64 * 4, &mut [0; 4]),
                        _ => _ = complex.mmio_write(base + turn % 64 * 4, &[0; 4]),
                    }
                }
            });
        }
        let _ending = Ending(&done);
        start.wait();
        for round in 0..rounds {
            let slot = complex.slot(bus, 0, 0).unwrap();
            let probe = Probe::new(slot.location(), 7, &BARS);
            let guarded = Arc::new(Guarded {
                probe,
                gone: AtomicBool::new(false),
                touched: AtomicU32::new(0),
                late: AtomicBool::new(false),
            });
            complex.insert(slot, guarded.clone());
            configure(&complex);
            while guarded.touched.load(Ordering::Relaxed) < 20 {
                std::thread::yield_now();
            }
            if !surprise(round) {
                complex.write16(PORT, CONTROL, UNPOWERED);
            }
            complex.remove(bus);
            guarded.gone.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_micros(200));
            assert!(!guarded.late.load(Ordering::SeqCst), "round {round}: an access was still under way");
            assert_eq!(Arc::strong_count(&guarded), 1);
            touched += guarded.touched.load(Ordering::Relaxed);
        }
    });
    touched
}

#[test]
fn no_access_outlives_a_removal() {
    assert!(race(200, |round| round % 2 == 0) >= 200);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes and goes in three slots in whatever order, what is there is reached and nothing else.
    #[test]
    fn what_is_there_is_reached_and_nothing_else(steps in proptest::collection::vec((0usize..3, any::<bool>()), 1..40)) {
        let complex = RootComplex::new(WINDOWS);
        let buses: Vec<Bus> = (5..8)
            .map(|device| complex.add_hot_plug_port(device, 0, RESERVE, Arc::new(Nobody)).unwrap())
            .collect();
        complex.assign_resources(|_| 16).unwrap();
        let mut there = [None; 3];
        for (mark, (slot, orderly)) in (1u8..).zip(steps) {
            let port = Bdf::new(0, 5 + slot as u8, 0);
            if there[slot].take().is_some() {
                if orderly {
                    complex.write16(port, CONTROL, UNPOWERED);
                }
                complex.remove(buses[slot]);
            } else {
                insert(&complex, buses[slot], mark);
                complex.write16(port, CONTROL, POWERED);
                there[slot] = Some(mark);
            }
            for (slot, mark) in (0u8..).zip(there) {
                let found = complex.read32(Bdf::new(slot + 1, 0, 0), 0);
                let expected = mark.map_or(!0, |mark| u32::from(mark) << 16 | 0x1234);
                prop_assert_eq!(found, expected);
                prop_assert_eq!(complex.slot_state(buses[usize::from(slot)]).unwrap().occupied, mark.is_some());
            }
            prop_assert_eq!(complex.functions().len(), 5 + there.iter().flatten().count());
        }
    }
}
