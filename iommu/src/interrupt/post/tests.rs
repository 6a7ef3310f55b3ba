use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;
use crate::mode::InterruptMode;
use crate::spec::interrupt::TablePointer;
use crate::testing::{DATA, Machine, Memory, Record, SOURCE, descriptor};
use crate::{Capabilities, Feature, GuestAddress, MemoryError, Outcome};

/// A descriptor, its notifications' vector 0xF2 and destination 7.
const DESCRIPTOR: u64 = DATA + 0x40;
const CONTROL: u64 = DESCRIPTOR + 32;
const NOTIFY: u64 = 7 << 32 | 0xF2 << 16;
const ON: u64 = 1;
const SN: u64 = 2;

const REQUEST: MsiMessage = MsiMessage { address: 0xFEE0_0010 | 5 << 5, data: 0 };
const NOTIFICATION: MsiMessage = MsiMessage { address: 0xFEE0_7000, data: 0xF2 };

/// Posted format, present; bits 14, 1 and those of the upper half may be added.
fn entry(vector: u64, at: u64) -> [u64; 2] {
    [at << 32 | vector << 16 | 1 << 15 | 1, at >> 32 << 32]
}

fn posting() -> Machine {
    let machine = Machine::with(Capabilities::legacy(48).with(Feature::PostedInterrupts));
    machine.enable_queue();
    machine.enable_interrupts(true);
    machine.platform.take();
    machine.interrupt_entry(5, entry(0x41, DESCRIPTOR));
    machine.write_memory(CONTROL, NOTIFY);
    machine
}

/// The vectors in PIR.
fn requested(machine: &Machine) -> Vec<u64> {
    let is_set = |vector: &u64| machine.read_memory(DESCRIPTOR + vector / 64 * 8) >> (vector % 64) & 1 == 1;
    (0..256).filter(is_set).collect()
}

#[test]
fn an_interrupt_is_posted_and_software_notified_once() {
    let machine = posting();
    assert_eq!(machine.remap(SOURCE, REQUEST), Ok(Some(NOTIFICATION)));
    assert_eq!(requested(&machine), [0x41]);
    assert_eq!(machine.read_memory(CONTROL), NOTIFY | ON);
    // Until it says so, software knows of whatever else comes.
    machine.interrupt_entry(5, entry(0xFF, DESCRIPTOR));
    machine.submit(&[descriptor::interrupt_index(5, 0)]);
    assert_eq!(machine.remap(SOURCE, REQUEST), Ok(None));
    assert_eq!(requested(&machine), [0x41, 0xFF]);
    machine.write_memory(CONTROL, NOTIFY);
    assert_eq!(machine.remap(SOURCE, REQUEST), Ok(Some(NOTIFICATION)));
    // What belongs to software is left alone.
    for offset in (40..64).step_by(8) {
        assert_eq!(machine.read_memory(DESCRIPTOR + offset), 0);
    }
    assert_eq!(machine.take_faults(), []);
}

#[test]
fn only_urgent_interrupts_disturb_software_that_suppresses_notifications() {
    let machine = posting();
    machine.write_memory(CONTROL, NOTIFY | SN);
    assert_eq!(machine.remap(SOURCE, REQUEST), Ok(None));
    assert_eq!((requested(&machine), machine.read_memory(CONTROL)), (vec![0x41], NOTIFY | SN));
    let [low, high] = entry(0x42, DESCRIPTOR);
    machine.interrupt_entry(5, [low | 1 << 14, high]);
    machine.submit(&[descriptor::interrupt_global()]);
    assert_eq!(machine.remap(SOURCE, REQUEST), Ok(Some(NOTIFICATION)));
    assert_eq!((requested(&machine), machine.read_memory(CONTROL)), (vec![0x41, 0x42], NOTIFY | SN | ON));
    assert_eq!(machine.remap(SOURCE, REQUEST), Ok(None));
}

#[test]
fn the_notification_goes_where_the_table_s_mode_says() {
    for (extended, destination, address) in
        [(true, 0x0012_3456, 0x0012_3400 << 32 | 0xFEE5_6000), (false, 0xAB00, 0xFEEA_B000)]
    {
        let machine = Machine::with(Capabilities::legacy(48).with(Feature::PostedInterrupts));
        machine.enable_interrupts(extended);
        machine.interrupt_entry(5, entry(0x41, DESCRIPTOR));
        machine.write_memory(CONTROL, destination << 32 | 0xF2 << 16);
        let notification = MsiMessage { address, data: 0xF2 };
        assert_eq!(machine.remap(SOURCE, REQUEST), Ok(Some(notification)), "{extended}");
    }
}

#[test]
fn a_descriptor_that_cannot_be_used_is_a_fault_and_stays_as_it_is() {
    for (at, control, reason) in [
        (1 << 40, 0, 0x27),
        (0xFEE0_0000, 0, 0x27),
        (DESCRIPTOR, 1 << 2, 0x28),
        (DESCRIPTOR, 1 << 15, 0x28),
        (DESCRIPTOR, 1 << 24, 0x28),
    ] {
        let machine = posting();
        machine.interrupt_entry(5, entry(0x41, at));
        machine.write_memory(CONTROL, control);
        assert_eq!(machine.remap(SOURCE, REQUEST).unwrap_err().reason, reason);
        assert_eq!(machine.take_faults(), [Record { source: SOURCE, reason, info: 5 << 48, read: false }]);
        assert_eq!((requested(&machine), machine.read_memory(CONTROL)), (vec![], control));
        // The entry may keep it to itself.
        let [low, high] = entry(0x41, at);
        machine.interrupt_entry(5, [low | 2, high]);
        machine.submit(&[descriptor::interrupt_global()]);
        assert_eq!(machine.remap(SOURCE, REQUEST).unwrap_err().reason, reason);
        assert_eq!(machine.take_faults(), []);
    }
}

#[test]
fn nothing_is_posted_for_a_requester_that_the_entry_does_not_name() {
    let machine = posting();
    let [low, high] = entry(0x41, DESCRIPTOR);
    machine.interrupt_entry(5, [low, high | 1 << 18 | u64::from(SOURCE.0 ^ 8)]);
    assert_eq!(machine.remap(SOURCE, REQUEST).unwrap_err().reason, 0x26);
    assert_eq!((requested(&machine), machine.read_memory(CONTROL)), (vec![], NOTIFY));
}

#[test]
fn resolving_says_that_an_entry_posts_and_posts_nothing() {
    let machine = posting();
    let resolution = machine.unit.resolve(SOURCE, REQUEST);
    assert_eq!((resolution.entry, resolution.outcome), (Some(5), Ok(Outcome::Posted)));
    assert_eq!(resolution.message(), None);
    assert_eq!((requested(&machine), machine.read_memory(CONTROL)), (vec![], NOTIFY));
}

#[test]
fn an_invalidation_waits_for_the_notification() {
    let machine = posting();
    let (begun, has_begun) = mpsc::channel();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            machine.unit.remap(SOURCE, REQUEST, |_| {
                begun.send(()).unwrap();
                thread::sleep(Duration::from_millis(50));
                ended.store(true, Ordering::SeqCst);
            })
        });
        has_begun.recv().unwrap();
        machine.submit(&[descriptor::interrupt_index(5, 0)]);
        assert!(ended.load(Ordering::SeqCst));
    });
}

/// What software does when it is notified: it clears ON, then takes PIR; gives how many vectors were there.
fn collect(memory: &Memory) -> u32 {
    let change = |at, change: &dyn Fn(u64) -> u64| loop {
        let value = memory.read_u64(GuestAddress(at)).unwrap();
        if memory.compare_exchange_u64(GuestAddress(at), value, change(value)).unwrap().is_ok() {
            return value;
        }
    };
    change(CONTROL, &|control| control & !ON);
    (0..4).map(|word| change(DESCRIPTOR + word * 8, &|_| 0).count_ones()).sum()
}

#[test]
fn software_that_only_looks_when_notified_misses_nothing() {
    const ROUNDS: u32 = 20_000;
    let machine = posting();
    machine.interrupt_entry(6, entry(0x80, DESCRIPTOR));
    // Each poster goes on when software has seen its last interrupt.
    let seen = AtomicU32::new(0);
    let (notify, notified) = mpsc::channel();
    thread::scope(|scope| {
        let (machine, seen) = (&machine, &seen);
        let software = scope.spawn(move || {
            for () in notified {
                seen.fetch_add(collect(&machine.memory), Ordering::SeqCst);
            }
        });
        let posters = [5, 6].map(|index| {
            let notify = notify.clone();
            scope.spawn(move || {
                let request = MsiMessage { address: 0xFEE0_0010 | index << 5, data: 0 };
                for _ in 0..ROUNDS {
                    machine.unit.remap(SOURCE, request, |_| notify.send(()).unwrap()).unwrap();
                }
            })
        });
        for poster in posters {
            poster.join().unwrap();
        }
        drop(notify);
        software.join().unwrap();
    });
    assert!(seen.load(Ordering::SeqCst) >= 2);
    assert!(requested(&machine).is_empty(), "bits that nobody was told of");
    assert_eq!(machine.read_memory(CONTROL), NOTIFY);
}

/// Memory in which software changes the descriptor: what each look at the control word finds, one after the
/// other, and from the last on always that.
struct Changing {
    controls: &'static [u64],
    looks: AtomicUsize,
    requested: AtomicBool,
}

impl Changing {
    fn post(controls: &'static [u64]) -> (Result<Option<MsiMessage>, FaultReason>, usize) {
        let memory =
            Arc::new(Self { controls, looks: AtomicUsize::new(0), requested: AtomicBool::new(false) });
        let interrupts = InterruptRemapping::new(Arc::clone(&memory), true);
        let table = TablePointer(1 << 11);
        interrupts.set_mode(InterruptMode::default().with_table(table).with_remapping(true));
        let outcome = interrupts.post(InterruptEntry(entry(0x41, DESCRIPTOR)));
        assert!(memory.requested.load(Ordering::Relaxed), "the vector is posted");
        (outcome.map_err(|fault| fault.reason), memory.looks.load(Ordering::Relaxed))
    }

    fn look(&self) -> u64 {
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        self.controls[look.min(self.controls.len() - 1)]
    }
}

impl TableMemory for Changing {
    fn read_u64(&self, _: GuestAddress) -> Result<u64, MemoryError> {
        Ok(self.look())
    }

    fn write_u32(&self, address: GuestAddress, _: u32) -> Result<(), MemoryError> {
        Err(MemoryError(address.0))
    }

    fn compare_exchange_u64(
        &self,
        _: GuestAddress,
        current: u64,
        _: u64,
    ) -> Result<Result<u64, u64>, MemoryError> {
        assert!(self.requested.load(Ordering::Relaxed), "notifications are decided once the vector is there");
        let found = self.look();
        // The last value is one that changes between the look at it and the exchange.
        let same = found == current && self.looks.load(Ordering::Relaxed) < self.controls.len();
        Ok(if same { Ok(found) } else { Err(found) })
    }

    fn fetch_or_u64(&self, address: GuestAddress, set: u64) -> Result<u64, MemoryError> {
        if address.0 == CONTROL {
            assert_eq!(set, ON);
            return Ok(self.look());
        }
        assert_eq!((address.0, set), (DESCRIPTOR + 8, 1 << 1));
        self.requested.store(true, Ordering::Relaxed);
        Ok(0)
    }
}

#[test]
fn what_software_does_meanwhile_counts() {
    // A value for the look, one for each exchange; the last does not come up.
    for (controls, outcome) in [
        (&[NOTIFY, NOTIFY, 0][..], Ok(Some(NOTIFICATION))),
        // It has taken what was there before this vector, and is to be notified of it.
        (&[NOTIFY | ON, NOTIFY, NOTIFY, 0], Ok(Some(NOTIFICATION))),
        // Another has notified it.
        (&[NOTIFY, NOTIFY | ON, NOTIFY | ON, 0], Ok(None)),
        (&[NOTIFY | SN, NOTIFY, NOTIFY, 0], Ok(Some(NOTIFICATION))),
        (&[NOTIFY, NOTIFY | SN, NOTIFY | SN, 0], Ok(None)),
        (&[NOTIFY, NOTIFY | 4, 0], Err(FaultReason::PostedDescriptorReserved)),
    ] {
        assert_eq!(Changing::post(controls).0, outcome, "{controls:x?}");
    }
}

#[test]
fn a_descriptor_that_keeps_changing_costs_a_bounded_time_and_loses_nothing() {
    for (controls, notification) in
        [(&[NOTIFY][..], Some(NOTIFICATION)), (&[NOTIFY | SN], Some(NOTIFICATION)), (&[NOTIFY | ON], None)]
    {
        assert_eq!(Changing::post(controls), (Ok(notification), 66));
    }
}
