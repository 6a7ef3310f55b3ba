use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use devices::vfio::VectorRoutes;
use pci::BusNumber;
use proptest::prelude::*;

use iommu::Blocked;

use super::*;

/// KVM, as far as the routes see it.
#[derive(Default)]
struct FakeChip {
    state: Mutex<FakeState>,
    table_calls: AtomicUsize,
    refuse_tables: std::sync::atomic::AtomicBool,
}

#[derive(Default)]
struct FakeState {
    routes: BTreeMap<u32, MsiMessage>,
    irqfds: BTreeMap<RawFd, (EventFd, u32)>,
    delivered: Vec<MsiMessage>,
}

impl FakeChip {
    /// Lets every irqfd consume what its eventfd holds, as the kernel does at once.
    fn run(&self) {
        let mut state = self.state.lock().unwrap();
        let due: Vec<u32> =
            state.irqfds.values().filter(|(fd, _)| fd.read().is_ok()).map(|(_, gsi)| *gsi).collect();
        for gsi in due {
            let message = state.routes[&gsi];
            state.delivered.push(message);
        }
    }

    fn delivered(&self) -> Vec<MsiMessage> {
        std::mem::take(&mut self.state.lock().unwrap().delivered)
    }

    fn routes(&self) -> Vec<MsiMessage> {
        self.state.lock().unwrap().routes.values().copied().collect()
    }

    fn irqfds(&self) -> usize {
        self.state.lock().unwrap().irqfds.len()
    }
}

impl InterruptChip for FakeChip {
    fn set_routes(&self, routes: &[Route]) -> io::Result<()> {
        self.table_calls.fetch_add(1, Ordering::Relaxed);
        if self.refuse_tables.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        if routes.iter().any(|route| route.message.address >> 32 & 0xFF != 0) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut state = self.state.lock().unwrap();
        let table: BTreeMap<_, _> = routes.iter().map(|route| (route.gsi, route.message)).collect();
        assert_eq!(table.len(), routes.len(), "a number has one route");
        state.routes = table;
        Ok(())
    }

    fn assign(&self, trigger: &EventFd, gsi: u32) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let message = state.routes[&gsi];
        // Found signalled, it is delivered, but only a signal that comes later is consumed.
        if let Ok(count) = trigger.read() {
            state.delivered.push(message);
            trigger.write(count).unwrap();
        }
        let before = state.irqfds.insert(trigger.as_raw_fd(), (trigger.try_clone()?, gsi));
        assert!(before.is_none(), "an eventfd has one irqfd");
        Ok(())
    }

    fn deassign(&self, trigger: &EventFd, gsi: u32) -> io::Result<()> {
        self.run();
        let removed = self.state.lock().unwrap().irqfds.remove(&trigger.as_raw_fd());
        assert_eq!(removed.map(|(_, gsi)| gsi), Some(gsi));
        Ok(())
    }

    fn signal(&self, message: MsiMessage) -> io::Result<()> {
        self.state.lock().unwrap().delivered.push(message);
        Ok(())
    }
}

/// A unit whose request data is the entry's index, and whose entries are the messages themselves.
#[derive(Default)]
struct FakeUnit {
    state: Mutex<FakeEntries>,
}

#[derive(Default)]
struct FakeEntries {
    on: bool,
    entries: BTreeMap<u16, (SourceId, MsiMessage)>,
    /// Those that have posted format; how often one was used, and whether the guest knows.
    posted: BTreeSet<u16>,
    posts: usize,
    outstanding: bool,
    faults: Vec<SourceId>,
    asked: usize,
}

impl FakeUnit {
    fn set(&self, entry: u16, value: Option<u32>) {
        let mut state = self.state.lock().unwrap();
        state.on = true;
        state.posted.remove(&entry);
        match value {
            Some(vector) => state.entries.insert(entry, (SOURCE, message(vector))),
            None => state.entries.remove(&entry),
        };
    }

    /// Gives `entry` posted format.
    fn post(&self, entry: u16) {
        self.set(entry, Some(0));
        self.state.lock().unwrap().posted.insert(entry);
    }

    fn posts(&self) -> usize {
        std::mem::take(&mut self.state.lock().unwrap().posts)
    }

    fn faults(&self) -> usize {
        std::mem::take(&mut self.state.lock().unwrap().faults).len()
    }

    fn asked(&self) -> usize {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

impl Judge for Arc<FakeUnit> {
    fn resolve(&self, source: SourceId, request: MsiMessage) -> Resolution {
        let mut state = self.state.lock().unwrap();
        state.asked += 1;
        if !state.on {
            return Resolution { entry: None, outcome: Ok(Outcome::Message(request)) };
        }
        let entry = request.data as u16;
        let found = state.entries.get(&entry).filter(|(owner, _)| *owner == source);
        let outcome = match found {
            Some(_) if state.posted.contains(&entry) => Ok(Outcome::Posted),
            Some((_, message)) => Ok(Outcome::Message(*message)),
            None => Err(Blocked { reason: 0x22 }),
        };
        Resolution { entry: Some(entry), outcome }
    }

    fn remap(&self, source: SourceId, request: MsiMessage, deliver: &dyn Fn(MsiMessage)) {
        match self.resolve(source, request).outcome {
            Ok(Outcome::Message(message)) => deliver(message),
            Ok(Outcome::Posted) => {
                let notifies = {
                    let mut state = self.state.lock().unwrap();
                    state.posts += 1;
                    !std::mem::replace(&mut state.outstanding, true)
                };
                if notifies {
                    deliver(message(NOTIFICATION));
                }
            }
            Err(_) => self.state.lock().unwrap().faults.push(source),
        }
    }
}

const SOURCE: SourceId = SourceId(0x0300);
const IOAPIC: SourceId = SOURCE;
/// The vector of notifications.
const NOTIFICATION: u32 = 0xF2;

fn message(data: u32) -> MsiMessage {
    MsiMessage { address: 0xFEE0_0000, data }
}

struct Setup {
    chip: Arc<FakeChip>,
    unit: Arc<FakeUnit>,
    table: Arc<RouteTable>,
    bus: BusNumber,
    function: FunctionRoutes,
}

fn setup() -> Setup {
    let (chip, unit) = (Arc::new(FakeChip::default()), Arc::new(FakeUnit::default()));
    let table = RouteTable::with_judge(chip.clone(), Box::new(unit.clone()), IOAPIC).unwrap();
    let bus = BusNumber::new(3);
    let function = table.function(Location::new(bus.clone(), 0, 0));
    Setup { chip, unit, table, bus, function }
}

impl Setup {
    /// Opens `vector` and has it send the request for `entry`.
    fn send(&self, vector: u16, entry: u16) -> Arc<EventFd> {
        let eventfd = self.function.eventfd(vector).unwrap();
        self.function.set(&[(vector, Signal::Send(message(entry.into())))]);
        eventfd
    }

    /// The device interrupts, and everybody who has to do with it gets a turn.
    fn fire(&self, eventfd: &EventFd) {
        eventfd.write(1).unwrap();
        self.chip.run();
        self.table.service();
    }

    /// How many interrupts have ended, one way or another: a notification is none.
    fn outcomes(&self) -> usize {
        let notification = message(NOTIFICATION);
        let delivered = self.chip.delivered().into_iter().filter(|message| *message != notification);
        delivered.count() + self.unit.faults() + self.unit.posts()
    }

    fn change(&self, entry: u16, value: Option<u32>) {
        self.unit.set(entry, value);
        self.table.entries_changed(EntryRange::Some { first: entry, count: 1 });
    }
}

#[test]
fn a_live_vector_reaches_the_guest_as_the_entry_says() {
    let setup = setup();
    setup.unit.set(5, Some(0x41));
    let eventfd = setup.send(0, 5);
    assert_eq!(setup.chip.routes(), [message(0x41)]);
    setup.fire(&eventfd);
    assert_eq!(setup.chip.delivered(), [message(0x41)]);
    assert_eq!(setup.unit.faults(), 0);
}

#[test]
fn a_vector_whose_entry_posts_is_never_a_route() {
    let setup = setup();
    setup.unit.set(5, Some(0x41));
    let eventfd = setup.send(0, 5);
    setup.unit.post(5);
    setup.table.entries_changed(EntryRange::Some { first: 5, count: 1 });
    assert!(setup.chip.routes().is_empty() && setup.chip.irqfds() == 0);
    // Each signal is posted, and what comes of it is the unit's decision of that moment.
    setup.fire(&eventfd);
    setup.fire(&eventfd);
    assert_eq!((setup.unit.posts(), setup.chip.delivered()), (2, vec![message(NOTIFICATION)]));
    setup.change(5, Some(0x42));
    setup.fire(&eventfd);
    assert_eq!((setup.unit.posts(), setup.chip.delivered()), (0, vec![message(0x42)]));
}

#[test]
fn a_pin_whose_entry_posts_has_no_route() {
    let setup = setup();
    setup.unit.post(0x31);
    let mut pins = [None; 24];
    pins[4] = Some(message(0x31));
    setup.table.pins_changed(&pins);
    assert!(setup.chip.routes().is_empty());
    assert_eq!(setup.unit.posts(), 0);
}

/// One message that is none, as any guest can program without remapping, and KVM refuses the whole table.
#[test]
fn a_message_that_kvm_refuses_does_not_cost_others_their_routes() {
    let setup = setup();
    let [_good, _bad] = [0, 1].map(|vector| setup.function.eventfd(vector).unwrap());
    let nowhere = MsiMessage { address: 0x1_FEE0_0000, data: 0x42 };
    setup.function.set(&[(0, Signal::Send(message(0x41))), (1, Signal::Send(nowhere))]);
    assert_eq!(setup.chip.routes(), [message(0x41)]);
    assert_eq!(setup.chip.irqfds(), 1);
}

#[test]
fn behind_a_conventional_bridge_entries_are_those_of_its_alias() {
    let setup = setup();
    setup.unit.set(5, Some(0x41));
    let function = setup.table.function(Location::conventional(setup.bus.clone(), 9, 1));
    function.eventfd(0).unwrap();
    function.set(&[(0, Signal::Send(message(5)))]);
    assert_eq!(setup.chip.routes(), [message(0x41)], "03:00.0 owns the entry, and 03:09.1 sends as 03:00.0");
}

#[test]
fn without_a_unit_messages_pass_as_they_are() {
    let chip = Arc::new(FakeChip::default());
    let table = RouteTable::new(chip.clone(), Remapping::Absent, IOAPIC).unwrap();
    let function = table.function(Location::new(BusNumber::new(3), 0, 0));
    function.eventfd(0).unwrap();
    function.set(&[(0, Signal::Send(message(0x51)))]);
    assert_eq!(chip.routes(), [message(0x51)]);
}

#[test]
fn an_entry_made_invalid_takes_the_route_away_before_the_invalidation_completes() {
    let setup = setup();
    setup.unit.set(5, Some(0x41));
    let eventfd = setup.send(0, 5);
    setup.change(5, None);
    // `entries_changed` has returned: this is what the guest may rely on.
    assert!(setup.chip.routes().is_empty());
    assert_eq!(setup.chip.irqfds(), 0);
    setup.fire(&eventfd);
    assert!(setup.chip.delivered().is_empty());
    assert_eq!(setup.unit.faults(), 1, "and the guest learns of the blocked interrupt");
}

#[test]
fn an_entry_made_valid_brings_the_route_back_and_faults_end() {
    let setup = setup();
    setup.unit.set(1, Some(1));
    let eventfd = setup.send(0, 5);
    setup.fire(&eventfd);
    assert_eq!(setup.unit.faults(), 1);
    setup.change(5, Some(0x42));
    setup.fire(&eventfd);
    assert_eq!(setup.chip.delivered(), [message(0x42)]);
    assert_eq!(setup.unit.faults(), 0);
}

#[test]
fn an_invalidation_makes_only_the_routes_of_the_entries_named_again() {
    let setup = setup();
    for entry in 0..8 {
        setup.unit.set(entry, Some(0x40 + u32::from(entry)));
        setup.send(entry, entry);
    }
    // Every entry changes, but the guest names two of them: the rest stays as it was.
    for entry in 0..8 {
        setup.unit.set(entry, Some(0x60 + u32::from(entry)));
    }
    setup.unit.asked();
    let calls = setup.chip.table_calls.load(Ordering::Relaxed);
    setup.table.entries_changed(EntryRange::Some { first: 2, count: 2 });
    assert_eq!(setup.unit.asked(), 2);
    assert_eq!(setup.chip.table_calls.load(Ordering::Relaxed), calls + 1, "one call for all of them");
    let data: Vec<_> = setup.chip.routes().iter().map(|message| message.data).collect();
    assert_eq!(data, [0x40, 0x41, 0x62, 0x63, 0x44, 0x45, 0x46, 0x47]);
}

#[test]
fn an_invalidation_that_changes_nothing_costs_no_call() {
    let setup = setup();
    setup.unit.set(5, Some(0x41));
    setup.send(0, 5);
    let calls = setup.chip.table_calls.load(Ordering::Relaxed);
    setup.table.entries_changed(EntryRange::All);
    setup.table.entries_changed(EntryRange::Some { first: 6, count: 1000 });
    assert_eq!(setup.chip.table_calls.load(Ordering::Relaxed), calls);
}

#[test]
fn an_invalidation_up_to_the_last_entry_reaches_it() {
    let setup = setup();
    setup.unit.set(u16::MAX, Some(0x41));
    setup.send(0, u16::MAX);
    setup.unit.set(u16::MAX, None);
    setup.table.entries_changed(EntryRange::Some { first: 0xFF00, count: 0x100 });
    assert!(setup.chip.routes().is_empty());
}

#[test]
fn remapping_switched_on_and_off_leaves_no_old_route() {
    let setup = setup();
    let eventfd = setup.send(0, 0x30);
    assert_eq!(setup.chip.routes(), [message(0x30)], "remapping is off: the request is the message");
    setup.unit.state.lock().unwrap().on = true;
    setup.table.entries_changed(EntryRange::All);
    assert!(setup.chip.routes().is_empty() && setup.chip.irqfds() == 0);
    setup.unit.state.lock().unwrap().on = false;
    setup.table.entries_changed(EntryRange::All);
    setup.fire(&eventfd);
    assert_eq!(setup.chip.delivered(), [message(0x30)]);
}

#[test]
fn a_new_table_leaves_no_old_route() {
    let setup = setup();
    setup.unit.set(1, Some(0x41));
    setup.unit.set(2, Some(0x42));
    setup.send(0, 1);
    setup.send(1, 2);
    let entries = [(1, (SOURCE, message(0x77)))].into();
    setup.unit.state.lock().unwrap().entries = entries;
    setup.table.entries_changed(EntryRange::All);
    assert_eq!(setup.chip.routes(), [message(0x77)]);
    assert_eq!(setup.chip.irqfds(), 1);
}

#[test]
fn a_new_requester_id_is_judged_at_once() {
    let setup = setup();
    setup.unit.set(5, Some(0x41));
    let eventfd = setup.send(0, 5);
    setup.bus.set(9);
    setup.function.renumbered();
    assert!(setup.chip.routes().is_empty(), "the entry names another requester");
    setup.fire(&eventfd);
    assert_eq!(setup.unit.state.lock().unwrap().faults, [SourceId(0x0900)]);
    setup.bus.set(3);
    setup.function.renumbered();
    assert_eq!(setup.chip.routes(), [message(0x41)]);
}

#[test]
fn a_masked_vector_has_no_route_and_keeps_its_signal() {
    let setup = setup();
    setup.unit.set(5, Some(0x41));
    let eventfd = setup.send(0, 5);
    setup.function.set(&[(0, Signal::Hold)]);
    assert!(setup.chip.routes().is_empty() && setup.chip.irqfds() == 0);
    assert!(!setup.function.is_pending(0));
    eventfd.write(1).unwrap();
    assert!(setup.function.is_pending(0), "also before the event loop had its turn");
    setup.table.service();
    assert!(setup.function.is_pending(0));
    assert!(setup.chip.delivered().is_empty());

    setup.function.set(&[(0, Signal::Send(message(5)))]);
    assert_eq!(setup.chip.delivered(), [message(0x41)]);
    assert!(!setup.function.is_pending(0));
    setup.chip.run();
    setup.table.service();
    assert!(setup.chip.delivered().is_empty(), "once");
}

#[test]
fn a_held_signal_whose_entry_is_blocked_becomes_a_fault() {
    let setup = setup();
    setup.unit.set(1, Some(1));
    let eventfd = setup.function.eventfd(0).unwrap();
    setup.function.set(&[(0, Signal::Hold)]);
    setup.fire(&eventfd);
    setup.function.set(&[(0, Signal::Send(message(5)))]);
    setup.table.service();
    assert_eq!(setup.unit.faults(), 1);
    assert!(!setup.function.is_pending(0));
}

#[test]
fn a_vector_switched_off_forgets_its_signals() {
    let setup = setup();
    setup.unit.set(5, Some(0x41));
    let eventfd = setup.send(0, 5);
    setup.function.set(&[(0, Signal::Hold)]);
    setup.fire(&eventfd);
    setup.function.set(&[(0, Signal::Discard)]);
    setup.fire(&eventfd);
    setup.function.set(&[(0, Signal::Send(message(5)))]);
    setup.chip.run();
    setup.table.service();
    assert!(setup.chip.delivered().is_empty());
}

#[test]
fn where_kvm_takes_no_routes_interrupts_go_by_hand_and_no_old_route_is_used() {
    let setup = setup();
    setup.unit.set(5, Some(0x41));
    let eventfd = setup.send(0, 5);
    setup.chip.refuse_tables.store(true, Ordering::Relaxed);
    setup.change(5, Some(0x42));
    assert_eq!(setup.chip.irqfds(), 0);
    setup.fire(&eventfd);
    assert_eq!(setup.chip.delivered(), [message(0x42)]);
    setup.chip.refuse_tables.store(false, Ordering::Relaxed);
    setup.change(5, Some(0x43));
    setup.fire(&eventfd);
    assert_eq!(setup.chip.delivered(), [message(0x43)]);
    assert_eq!(setup.chip.irqfds(), 1);
}

#[test]
fn vectors_without_a_number_are_served_by_hand() {
    let setup = setup();
    {
        let mut state = setup.table.state();
        while state.gsis.take().is_some() {}
    }
    setup.unit.set(5, Some(0x41));
    let eventfd = setup.send(0, 5);
    assert_eq!(setup.chip.irqfds(), 0);
    setup.fire(&eventfd);
    assert_eq!(setup.chip.delivered(), [message(0x41)]);
}

#[test]
fn a_function_that_goes_leaves_nothing_behind() {
    let setup = setup();
    let other = setup.table.function(Location::new(setup.bus.clone(), 1, 0));
    setup.unit.set(5, Some(0x41));
    let eventfd = setup.send(0, 5);
    setup.send(1, 5);
    drop(setup.function);
    assert!(setup.chip.routes().is_empty() && setup.chip.irqfds() == 0);
    eventfd.write(1).unwrap();
    setup.table.service();
    assert!(setup.chip.delivered().is_empty());
    assert!(setup.table.state().by_entry.is_empty());
    other.eventfd(0).unwrap();
    assert_eq!(setup.table.state().gsis.take(), Some(24), "its numbers are free again");
}

#[test]
fn pins_have_the_routes_that_the_unit_gives_them() {
    let setup = setup();
    let mut pins = [None; 24];
    pins[4] = Some(message(0x8031));
    setup.table.pins_changed(&pins);
    assert_eq!(setup.chip.state.lock().unwrap().routes, [(4, message(0x8031))].into());
    setup.unit.set(0x8031, Some(0x99));
    setup.table.entries_changed(EntryRange::All);
    assert_eq!(setup.chip.state.lock().unwrap().routes, [(4, message(0x99))].into());
    setup.change(0x8031, Some(0x9A));
    assert_eq!(setup.chip.state.lock().unwrap().routes, [(4, message(0x9A))].into());
    setup.change(0x8031, None);
    assert!(setup.chip.routes().is_empty());
    setup.table.pins_changed(&[None; 24]);
    assert!(setup.chip.routes().is_empty());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Fire,
    Mask,
    Unmask,
    Block,
    Allow,
    Post,
    Turn,
}

proptest! {
    /// Whatever happens in between, an interrupt that is fired while the vector is on and that is not refused
    /// arrives, and none arrives that was not fired.
    #[test]
    fn no_signal_is_lost_or_made_up(steps in proptest::collection::vec(
        prop_oneof![
            Just(Step::Fire), Just(Step::Mask), Just(Step::Unmask),
            Just(Step::Block), Just(Step::Allow), Just(Step::Post), Just(Step::Turn),
        ], 0..60))
    {
        let setup = setup();
        setup.unit.set(5, Some(0x41));
        let eventfd = setup.send(0, 5);
        let (mut fired, mut ended) = (0, 0);
        let mut waiting = false;
        let mut masked = false;
        for step in steps {
            match step {
                Step::Fire => {
                    eventfd.write(1).unwrap();
                    // An irqfd is woken by the very write.
                    setup.chip.run();
                    fired += 1;
                    waiting = true;
                }
                Step::Mask => {
                    setup.function.set(&[(0, Signal::Hold)]);
                    masked = true;
                }
                Step::Unmask => {
                    setup.function.set(&[(0, Signal::Send(message(5)))]);
                    masked = false;
                }
                Step::Block => setup.change(5, None),
                Step::Allow => setup.change(5, Some(0x41)),
                Step::Post => {
                    setup.unit.post(5);
                    setup.table.entries_changed(EntryRange::Some { first: 5, count: 1 });
                }
                Step::Turn => setup.table.service(),
            }
            let outcomes = setup.outcomes();
            ended += outcomes;
            waiting &= outcomes == 0;
            prop_assert!(ended <= fired, "an interrupt nobody fired");
            prop_assert_eq!(setup.chip.irqfds(), setup.chip.routes().len());
        }
        if masked {
            prop_assert_eq!(setup.function.is_pending(0), waiting);
            setup.function.set(&[(0, Signal::Send(message(5)))]);
        }
        setup.chip.run();
        setup.table.service();
        let outcomes = setup.outcomes();
        prop_assert_eq!(outcomes, usize::from(waiting), "what was fired last has arrived, or is a fault");
    }
}
