use std::sync::atomic::AtomicUsize;

use iommu::{Capabilities, GuestAddress, HostDma, MsiMessage, SourceId, Unit};
use pci::{BusNumber, ROM_BAR};

use super::super::fake::{Event, FakeHost, FakeLine, FakeMapper, FakeRoutes, FakeSlots, Log};
use super::super::host::Region;
use super::super::routes::Signal;
use super::*;
use crate::GuestRam;

struct Setup {
    log: Log,
    host: Arc<FakeHost>,
    routes: FakeRoutes,
    slots: FakeSlots,
    line: Arc<FakeLine>,
    requester: Arc<dyn AssignedFunction>,
    bus: BusNumber,
    said: Arc<AtomicUsize>,
    function: Arc<VfioFunction>,
}

const MSIX_CONTROL: u16 = 0xB2;
const MSI: u16 = 0x40;
const ON: u16 = 0x8000;
const MASKED: u16 = 0x4000;

fn fake(vectors: u16, grows: bool) -> FakeHost {
    let mut host = FakeHost::new();
    host.bar(0, 4, 0x4000);
    host.capability(0x60, 0x10, &[0x02, 0x00]);
    host.capability(0xA0, 0x01, &[0x03, 0, 0, 0, 0, 0]);
    host.capability(0x40, 0x05, &[0x8A, 0x01]);
    host.irqs(InterruptKind::Msi, 32, false);
    host.irqs(InterruptKind::Intx, 1, false);
    host.irqs(InterruptKind::Error, 1, false);
    host.irqs(InterruptKind::Request, 1, false);
    host.msix(vectors, grows);
    host
}

fn setup_of(host: FakeHost) -> Setup {
    let log = host.log.clone();
    let host = Arc::new(host);
    let routes = FakeRoutes { log: log.clone(), ..FakeRoutes::default() };
    let slots = FakeSlots { log: log.clone(), ..FakeSlots::default() };
    let line = Arc::new(FakeLine { log: log.clone(), ..FakeLine::default() });
    let bus = BusNumber::new(3);
    let said = Arc::new(AtomicUsize::new(0));
    let counter = said.clone();
    let parts = Parts {
        name: "0000:03:00.0".into(),
        host: host.clone(),
        location: Location::new(bus.clone(), 0, 0),
        kind: Some(ExpressKind::Endpoint),
        pasid_bits: 10,
        routes: Box::new(routes.clone()),
        line: Some(line.clone()),
        slots: Arc::new(slots.clone()),
        events: Box::new(move |event| {
            let weight = match event {
                HostEvent::Failed => 1,
                HostEvent::Requested => 100,
                HostEvent::Gone => 10_000,
            };
            counter.fetch_add(weight, Ordering::Relaxed);
        }),
    };
    let mut requester: Option<Arc<dyn AssignedFunction>> = None;
    let function = VfioFunction::new(parts, |function| {
        requester = Some(function.clone());
        let ram = vec![(GuestAddress(0), 1 << 20)];
        // A unit that translates nothing: all memory is mapped while the function masters the bus.
        let memory = Arc::new(GuestRam::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap());
        let unit = Unit::new(memory, Capabilities::legacy(48));
        let group = unit.group(HostDma::Fixed(Box::new(FakeMapper(log.clone()))), ram);
        Some(unit.attach(function, &group))
    })
    .unwrap();
    Setup { log, host, routes, slots, line, requester: requester.unwrap(), bus, said, function }
}

fn setup() -> Setup {
    let setup = setup_of(fake(4, true));
    setup.log.take();
    setup
}

impl Setup {
    fn write_u16(&self, offset: u16, value: u16) {
        self.function.config_write(offset, &value.to_le_bytes());
    }

    fn read_u32(&self, offset: u16) -> u32 {
        let mut data = [0; 4];
        self.function.config_read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    /// Programs a vector of the MSI-X table, and unmasks it or not.
    fn program(&self, vector: u64, data: u32, masked: bool) {
        let at = 0x2000 + vector * 16;
        self.function.bar_write(0, at, &message(data).address.to_le_bytes());
        self.function.bar_write(0, at + 8, &data.to_le_bytes());
        self.function.bar_write(0, at + 12, &u32::from(masked).to_le_bytes());
    }

    fn pending(&self) -> u8 {
        let mut data = [0; 8];
        self.function.bar_read(0, 0x3000, &mut data);
        data[0]
    }

    /// The event loop runs until nothing is left to do.
    fn turn(&self) {
        let mut manager = event_manager::EventManager::<Arc<VfioFunction>>::new().unwrap();
        event_manager::SubscriberOps::add_subscriber(&mut manager, self.function.clone());
        while manager.run_with_timeout(0).unwrap() > 0 {}
    }
}

fn message(data: u32) -> MsiMessage {
    MsiMessage { address: 0xFEE0_0000, data }
}

fn triggers(kind: InterruptKind, first: u16, with: &[bool]) -> Event {
    Event::Triggers(kind, first, with.to_vec())
}

fn only_host(events: Vec<Event>) -> Vec<Event> {
    events.into_iter().filter(|event| matches!(event, Event::Triggers(..) | Event::Disable(_))).collect()
}

#[test]
fn it_is_reset_before_anything_else_and_starts_on_its_wire_without_dma() {
    let setup = setup_of(fake(4, true));
    let events = setup.log.take();
    assert_eq!(events.first(), Some(&Event::Reset));
    assert!(events.contains(&Event::Command(3)), "it decodes for the host, and sends nothing");
    assert_eq!(events.last(), Some(&triggers(InterruptKind::Intx, 0, &[true])));
    assert!(!setup.requester.bus_master());
    assert_eq!(setup.read_u32(4) & 0xFFFF, 0, "the guest finds it off");
}

#[test]
fn mappings_come_before_the_hardware_may_use_them_and_go_after_it_has_stopped() {
    let setup = setup();
    let on = [Event::Mapped, Event::Command(7)];
    let off = [Event::Command(3), Event::Unmapped];
    setup.write_u16(4, 6);
    assert_eq!(setup.log.take(), on);
    setup.write_u16(4, 2);
    assert_eq!(setup.log.take(), off);
    setup.write_u16(4, 6);
    setup.log.take();
    // Into D3hot and out again.
    setup.write_u16(0xA4, 3);
    assert_eq!(setup.log.take(), off);
    setup.write_u16(0xA4, 0);
    assert_eq!(setup.log.take(), on);
    // The bridge above closes and opens.
    setup.function.upstream(false);
    assert_eq!(setup.log.take(), off);
    setup.function.upstream(true);
    assert_eq!(setup.log.take(), on);
}

#[test]
fn memory_decoding_never_goes_off_in_the_hardware() {
    let setup = setup();
    for command in [0, 2, 6, 4, 0x0547] {
        setup.write_u16(4, command);
    }
    let commands = setup.log.take();
    assert!(commands.iter().all(|event| match event {
        Event::Command(command) => command & 3 == 3 && command & !0x407 == 0,
        _ => true,
    }));
    assert_eq!(setup.read_u32(4) & 0xFFFF, 0x0547, "the guest reads back its own");
}

#[test]
fn vectors_are_added_to_a_running_set_where_the_kernel_can() {
    let setup = setup();
    setup.write_u16(MSIX_CONTROL, ON | MASKED);
    setup.program(2, 0x42, false);
    setup.program(0, 0x40, false);
    assert_eq!(
        only_host(setup.log.take()),
        [Event::Disable(InterruptKind::Intx), triggers(InterruptKind::Msix, 0, &[false])]
    );
    setup.write_u16(MSIX_CONTROL, ON);
    assert_eq!(
        only_host(setup.log.take()),
        [triggers(InterruptKind::Msix, 0, &[true]), triggers(InterruptKind::Msix, 2, &[true])]
    );
    setup.program(3, 0x43, false);
    assert_eq!(only_host(setup.log.take()), [triggers(InterruptKind::Msix, 3, &[true])]);
    assert_eq!(setup.routes.signal(2), Some(Signal::Send(message(0x42))));
    assert_eq!(setup.routes.signal(1), None, "never unmasked, never made");
}

#[test]
fn a_set_that_cannot_grow_is_made_anew_and_nothing_is_lost_meanwhile() {
    let setup = setup_of(fake(4, false));
    setup.program(0, 0x40, false);
    setup.write_u16(MSIX_CONTROL, ON);
    setup.log.take();
    setup.program(2, 0x42, false);
    assert_eq!(
        only_host(setup.log.take()),
        [Event::Disable(InterruptKind::Msix), triggers(InterruptKind::Msix, 0, &[true, false, true])]
    );
    assert_eq!(setup.routes.count(0), 1, "what was in the old set is signalled once");
    assert_eq!(setup.routes.count(2), 0);
}

#[test]
fn the_route_is_there_before_the_host_signals_it() {
    let setup = setup();
    setup.write_u16(MSIX_CONTROL, ON);
    setup.log.take();
    setup.program(1, 0x41, false);
    let events = setup.log.take();
    let at = |wanted: &Event| events.iter().position(|event| event == wanted).unwrap();
    let route = Event::Signals(vec![(1, Signal::Send(message(0x41)))]);
    assert!(at(&route) < at(&triggers(InterruptKind::Msix, 1, &[true])));
}

#[test]
fn masking_holds_a_vector_and_shows_it_pending() {
    let setup = setup();
    setup.write_u16(MSIX_CONTROL, ON);
    setup.program(1, 0x41, false);
    setup.log.take();
    setup.program(1, 0x41, true);
    assert_eq!(setup.routes.signal(1), Some(Signal::Hold));
    assert_eq!(only_host(setup.log.take()), [], "the host keeps on signalling");
    assert_eq!(setup.pending(), 0);
    setup.host.interrupt(InterruptKind::Msix, 1);
    assert_eq!(setup.pending(), 2);
    setup.program(1, 0x51, false);
    assert_eq!(setup.routes.signal(1), Some(Signal::Send(message(0x51))));
    assert_eq!(setup.pending(), 0);
    // The mask of the whole function does the same.
    setup.write_u16(MSIX_CONTROL, ON | MASKED);
    assert_eq!(setup.routes.signal(1), Some(Signal::Hold));
}

#[test]
fn vectors_the_host_never_got_are_pending_in_the_hardware() {
    let setup = setup();
    setup.write_u16(MSIX_CONTROL, ON);
    setup.host.contents.lock().unwrap().insert((0, 0x3000), 0x08);
    assert_eq!(setup.pending(), 8);
}

#[test]
fn msix_switched_off_silences_all_and_goes_back_to_the_wire() {
    let setup = setup();
    setup.program(1, 0x41, false);
    setup.write_u16(MSIX_CONTROL, ON);
    setup.log.take();
    setup.write_u16(MSIX_CONTROL, 0);
    assert_eq!(setup.routes.signal(1), Some(Signal::Discard));
    assert_eq!(
        only_host(setup.log.take()),
        [Event::Disable(InterruptKind::Msix), triggers(InterruptKind::Intx, 0, &[true])]
    );
}

#[test]
fn the_table_is_the_guests_and_never_the_hardwares() {
    let setup = setup();
    setup.program(3, 0x43, true);
    let mut data = [0; 16];
    for (offset, word) in (0x2030_u64..).step_by(4).zip(data.chunks_mut(4)) {
        setup.function.bar_read(0, offset, word);
    }
    assert_eq!(data, [0, 0, 0xE0, 0xFE, 0, 0, 0, 0, 0x43, 0, 0, 0, 1, 0, 0, 0]);
    setup.function.bar_write(0, 0x3000, &[0xFF; 8]);
    // Half in the table and half out of it.
    setup.function.bar_write(0, 0x1FFC, &[0xFF; 8]);
    setup.function.bar_read(0, 0x203C, &mut data[..8]);
    assert_eq!(data[..8], [0; 8]);
    assert!(setup.host.contents.lock().unwrap().is_empty());
    setup.function.bar_write(0, 0x1FF8, &[1, 2, 3, 4]);
    assert_eq!(setup.host.contents.lock().unwrap().len(), 4, "next to it is the hardware");
}

#[test]
fn an_access_that_the_host_refuses_reads_as_ones() {
    let setup = setup();
    let mut data = [0; 4];
    setup.function.bar_read(3, 0, &mut data);
    assert_eq!(data, [0xFF; 4]);
    setup.function.bar_read(7, 0, &mut data);
    setup.function.bar_write(7, 0, &data);
}

#[test]
fn a_rom_is_read_and_never_shown_where_devices_could_reach_it() {
    let mut host = fake(4, true);
    // Even where the kernel would let it be mapped.
    let whole = std::iter::once(0..0x1_0000).collect();
    host.regions.insert(ROM_BAR as u8, Region { size: 0x1_0000, mappable: whole });
    host.contents.lock().unwrap().extend([((ROM_BAR as u8, 0), 0x55), ((ROM_BAR as u8, 1), 0xAA)]);
    let setup = setup_of(host);
    setup.write_u16(0x04, 0x0002);
    setup.function.config_write(0x30, &0xE000_0001_u32.to_le_bytes());
    let decoded = setup.function.bars();
    assert!(decoded[ROM_BAR].is_some(), "{decoded:?}");
    setup.function.reachable(&decoded);
    let rom = |(start, _): &(u64, u64)| (0xE000_0000..0xE001_0000).contains(start);
    assert!(!setup.slots.used().iter().any(rom), "{:x?}", setup.slots.used());
    let mut signature = [0; 2];
    setup.function.bar_read(ROM_BAR, 0, &mut signature);
    assert_eq!(signature, [0x55, 0xAA]);
}

#[test]
fn msi_follows_its_registers() {
    let setup = setup();
    setup.function.config_write(MSI + 4, &0xFEE0_0000_u32.to_le_bytes());
    setup.write_u16(MSI + 12, 0x60);
    setup.write_u16(MSI + 2, 0x0021);
    assert_eq!(
        only_host(setup.log.take()),
        [Event::Disable(InterruptKind::Intx), triggers(InterruptKind::Msi, 0, &[true; 4])]
    );
    assert_eq!(setup.routes.signal(3), Some(Signal::Send(message(0x63))));
    setup.write_u16(MSI + 12, 0x70);
    assert_eq!(setup.routes.signal(3), Some(Signal::Send(message(0x73))));
    assert_eq!(only_host(setup.log.take()), [], "a new message is a new route and no more");

    setup.function.config_write(MSI + 16, &2_u32.to_le_bytes());
    assert_eq!(setup.routes.signal(1), Some(Signal::Hold));
    setup.host.interrupt(InterruptKind::Msi, 1);
    assert_eq!(setup.read_u32(MSI + 20), 2);

    setup.write_u16(MSI + 2, 0x0020);
    assert_eq!(setup.routes.signal(3), Some(Signal::Discard));
    assert_eq!(
        only_host(setup.log.take()),
        [Event::Disable(InterruptKind::Msi), triggers(InterruptKind::Intx, 0, &[true])]
    );
}

#[test]
fn the_wire_is_asserted_until_the_guest_ends_the_interrupt() {
    let setup = setup();
    setup.host.interrupt(InterruptKind::Intx, 0);
    setup.turn();
    assert_eq!(setup.log.take(), [Event::Line(true)]);
    setup.line.end();
    assert_eq!(setup.log.take(), [Event::Line(false), Event::UnmaskWire]);
    setup.line.end();
    assert_eq!(setup.log.take(), [], "the end of another device's interrupt");
}

#[test]
fn a_wire_that_fires_while_it_goes_off_does_not_stay_asserted() {
    let setup = setup();
    setup.host.interrupt(InterruptKind::Intx, 0);
    setup.write_u16(MSIX_CONTROL, ON);
    setup.turn();
    assert!(!setup.log.take().contains(&Event::Line(true)));
}

#[test]
fn interrupt_disable_takes_the_wire_down_and_arms_it_again() {
    let setup = setup();
    setup.host.interrupt(InterruptKind::Intx, 0);
    setup.turn();
    setup.log.take();
    setup.write_u16(4, 0x400);
    assert_eq!(setup.log.take(), [Event::Command(0x403), Event::Line(false)]);
    setup.write_u16(4, 0);
    assert_eq!(setup.log.take(), [Event::Command(3), Event::UnmaskWire]);
}

#[test]
fn bars_are_shown_without_the_pages_of_the_table() {
    let setup = setup();
    let mut bars = [None; BAR_COUNT];
    bars[0] = Some(BarRange { space: pci::BarSpace::Memory, base: 0x10_0000, length: 0x4000 });
    setup.function.reachable(&bars);
    assert_eq!(setup.slots.used(), [(0x10_0000, 0x2000)]);
}

#[test]
fn a_function_level_reset_leaves_nothing_running() {
    let setup = setup();
    setup.function.config_write(0x10, &0x8000_0000_u32.to_le_bytes());
    setup.write_u16(4, 6);
    setup.program(1, 0x41, false);
    setup.write_u16(MSIX_CONTROL, ON);
    let mut bars = [None; BAR_COUNT];
    bars[0] = Some(BarRange { space: pci::BarSpace::Memory, base: 0x8000_0000, length: 0x4000 });
    setup.function.reachable(&bars);
    setup.log.take();

    setup.write_u16(0x68, 0x8000);
    let events = setup.log.take();
    let reset = events.iter().position(|event| *event == Event::Reset).unwrap();
    for before in
        [Event::Disable(InterruptKind::Msix), Event::Command(3), Event::Unmapped, Event::Hidden(0x8000_0000)]
    {
        assert!(events.iter().position(|event| *event == before).unwrap() < reset, "{before:?}");
    }
    assert!(!setup.requester.bus_master());
    assert_eq!(setup.function.bars(), [None; BAR_COUNT]);
    assert_eq!(setup.read_u32(0x10), 4);
    assert_eq!(setup.read_u32(0xB0) >> 16, 3, "MSI-X is off");
    let mut data = [0; 4];
    setup.function.bar_read(0, 0x201C, &mut data);
    assert_eq!(data, [1, 0, 0, 0], "and its vectors are masked");
}

#[test]
fn a_new_bus_number_is_a_new_requester_everywhere() {
    let setup = setup();
    assert_eq!(setup.requester.source_id(), SourceId(0x0300));
    setup.bus.set(7);
    setup.function.renumbered();
    assert_eq!(setup.requester.source_id(), SourceId(0x0700));
    assert_eq!(setup.log.take(), [Event::Renumbered]);
}

#[test]
fn on_a_conventional_bus_the_requester_is_the_bridges_alias() {
    let bus = BusNumber::new(3);
    let requester = Requester::new(Location::conventional(bus.clone(), 9, 2));
    assert_eq!(requester.source_id(), SourceId(0x0300));
    bus.set(7);
    assert_eq!(requester.source_id(), SourceId(0x0700));
}

#[test]
fn it_is_given_back_reset_and_silent_and_once() {
    let setup = setup();
    setup.write_u16(4, 6);
    setup.write_u16(MSIX_CONTROL, ON);
    setup.log.take();
    setup.function.stop();
    let events = setup.log.take();
    assert_eq!(
        events,
        [
            Event::Disable(InterruptKind::Msix),
            Event::Command(3),
            Event::Unmapped,
            Event::Disable(InterruptKind::Error),
            Event::Disable(InterruptKind::Request),
            Event::Reset
        ]
    );
    assert!(!setup.requester.bus_master());
    assert_eq!(setup.read_u32(0), u32::MAX);
    setup.write_u16(4, 6);
    setup.function.reset();
    drop(setup.function);
    let resets = setup.log.take().iter().filter(|event| **event == Event::Reset).count();
    assert_eq!(resets, 0);
}

#[test]
fn an_error_takes_the_device_from_the_guest() {
    let setup = setup();
    setup.write_u16(4, 6);
    setup.host.interrupt(InterruptKind::Error, 0);
    setup.turn();
    assert_eq!(setup.said.load(Ordering::Relaxed), 1);
    assert!(!setup.requester.bus_master());
    assert_eq!(setup.read_u32(0), u32::MAX);
    let mut data = [0; 4];
    setup.function.bar_read(0, 0, &mut data);
    assert_eq!(data, [0xFF; 4]);
    assert_eq!(setup.function.bars(), [None; BAR_COUNT]);
}

#[test]
fn a_request_of_the_host_is_passed_on_and_the_guest_keeps_the_device_until_then() {
    let setup = setup();
    setup.host.interrupt(InterruptKind::Request, 0);
    setup.turn();
    assert_eq!(setup.said.load(Ordering::Relaxed), 100);
    assert_eq!(setup.read_u32(0), 0x0010_1B36);
}

#[test]
fn hardware_that_the_host_has_lost_is_cut_off_and_said_once() {
    let setup = setup();
    setup.write_u16(4, 6);
    setup.function.reachable(&setup.function.bars());
    assert!(setup.requester.bus_master() && !setup.slots.used().is_empty());
    setup.host.config.lock().unwrap()[8..].fill(0xFF);
    setup.log.take();
    for _ in 0..3 {
        setup.host.interrupt(InterruptKind::Request, 0);
        setup.turn();
    }
    assert_eq!(setup.said.load(Ordering::Relaxed), 10_000);
    assert!(!setup.requester.bus_master());
    assert_eq!(setup.slots.used(), []);
    let log = setup.log.take();
    assert!(log.contains(&Event::Unmapped), "{log:?}");
    assert_eq!(setup.read_u32(0), u32::MAX);
    let mut data = [0; 4];
    setup.function.bar_read(0, 0, &mut data);
    assert_eq!(data, [0xFF; 4]);
    assert_eq!(setup.function.bars(), [None; BAR_COUNT]);
}

#[test]
fn a_bridge_is_refused() {
    let mut host = FakeHost::new();
    host.put(0x0E, &[1]);
    let parts = Parts {
        name: "0000:03:00.0".into(),
        host: Arc::new(host),
        location: Location::new(BusNumber::new(3), 0, 0),
        kind: Some(ExpressKind::Endpoint),
        pasid_bits: 0,
        routes: Box::new(FakeRoutes::default()),
        line: None,
        slots: Arc::new(FakeSlots::default()),
        events: Box::new(|_| {}),
    };
    assert!(matches!(VfioFunction::new(parts, |_| None), Err(VfioError::Bridge(_))));
}

#[test]
fn pasids_are_sent_while_the_guest_has_them_switched_on() {
    let setup = setup();
    let (control, requester) = (0xFFE, &setup.requester);
    assert_eq!(requester.pasid_bits(), 0);
    setup.write_u16(control, 1);
    assert_eq!(requester.pasid_bits(), 10);
    setup.write_u16(control, 0);
    assert_eq!(requester.pasid_bits(), 0);
    setup.write_u16(control, 1);
    setup.function.reset();
    assert_eq!((requester.pasid_bits(), setup.read_u32(0xFFC) >> 16), (0, 0));
    setup.write_u16(control, 1);
    setup.function.stop();
    assert_eq!(requester.pasid_bits(), 0);
}

#[test]
fn a_host_that_refuses_interrupts_costs_interrupts_and_no_more() {
    let setup = setup();
    *setup.host.refuses.lock().unwrap() = true;
    setup.program(1, 0x41, false);
    setup.write_u16(MSIX_CONTROL, ON);
    setup.write_u16(MSIX_CONTROL, 0);
    setup.write_u16(MSI + 2, 1);
    setup.write_u16(MSI + 2, 0);
    assert_eq!(setup.read_u32(0), 0x0010_1B36);
}

#[test]
fn hardware_that_is_gone_reads_as_ones() {
    let setup = setup();
    assert!(setup.function.is_present());
    assert_eq!(setup.function.name(), "0000:03:00.0");
    assert!(setup.function.audit().unwrap().is_exact());
    // The vendor comes from the kernel's memory, and stays.
    setup.host.config.lock().unwrap()[8..].fill(0xFF);
    assert!(!setup.function.is_present());
    // Giving it back works all the same.
    setup.function.stop();
    assert_eq!(setup.read_u32(0), !0);
}

#[test]
fn what_is_taken_out_is_not_watched_any_more() {
    struct Watcher(Arc<VfioFunction>, bool);
    impl event_manager::MutEventSubscriber for Watcher {
        fn process(&mut self, events: event_manager::Events, ops: &mut event_manager::EventOps) {
            event_manager::EventSubscriber::process(&*self.0, events, ops);
            if !std::mem::replace(&mut self.1, true) {
                self.0.unwatch(ops);
            }
        }
        fn init(&mut self, ops: &mut event_manager::EventOps) {
            event_manager::EventSubscriber::init(&*self.0, ops);
        }
    }
    let setup = setup();
    let mut manager = event_manager::EventManager::new().unwrap();
    event_manager::SubscriberOps::add_subscriber(&mut manager, Watcher(setup.function.clone(), false));
    for said in [100, 100] {
        setup.host.interrupt(InterruptKind::Request, 0);
        manager.run_with_timeout(0).unwrap();
        assert_eq!(setup.said.load(Ordering::Relaxed), said);
    }
}
