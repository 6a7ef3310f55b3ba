mod remapping;

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::platform::testing::{RecordedMessages, Recorder};
use crate::{MsiSink, Remapping};

const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;
const REMOTE_IRR: u32 = 1 << 14;

#[derive(Debug, PartialEq)]
enum Told {
    Changed(Box<LevelPins>),
    External(MsiMessage),
}

impl PinRoutes for Recorder<Told> {
    fn changed(&self, pins: &LevelPins) {
        self.push(Told::Changed(Box::new(*pins)));
    }

    fn external_interrupt(&self, message: MsiMessage) {
        self.push(Told::External(message));
    }
}

struct Bench {
    ioapic: Arc<IoApic>,
    sent: Arc<RecordedMessages>,
    told: Arc<Recorder<Told>>,
}

impl Bench {
    fn new() -> Self {
        Self::behind(Remapping::Absent)
    }

    fn behind(remapping: Remapping) -> Self {
        let (sent, told) = (RecordedMessages::new(), Recorder::new());
        let interrupts = InterruptSource::new(remapping, sent.clone());
        let ioapic = IoApic::new(SourceId(0x00F8), interrupts, told.clone());
        Self { ioapic, sent, told }
    }

    fn read(&self, register: u8) -> u32 {
        self.ioapic.write(offset::SELECT, &[register]);
        let mut data = [0; 4];
        self.ioapic.read(offset::WINDOW, &mut data);
        u32::from_le_bytes(data)
    }

    fn write(&self, register: u8, value: u32) {
        self.ioapic.write(offset::SELECT, &u32::from(register).to_le_bytes());
        self.ioapic.write(offset::WINDOW, &value.to_le_bytes());
    }

    fn program(&self, pin: u8, high: u32, low: u32) {
        self.write(0x11 + 2 * pin, high);
        self.write(0x10 + 2 * pin, low);
    }

    fn line(&self, pin: usize) -> Arc<dyn InterruptLine> {
        self.ioapic.line(pin).unwrap()
    }

    fn vectors(&self) -> Vec<u8> {
        self.sent.taken().iter().map(|message| message.data as u8).collect()
    }
}

#[test]
fn the_version_register_announces_24_pins_and_an_eoi_register() {
    let bench = Bench::new();
    assert_eq!(bench.read(1), 0x0017_0020);
    assert!(bench.ioapic.line(24).is_none());
}

#[test]
fn pins_are_masked_after_reset_and_read_only_bits_stay() {
    let bench = Bench::new();
    assert_eq!(bench.read(0x10), MASKED);
    bench.program(3, u32::MAX, u32::MAX);
    assert_eq!(bench.read(0x16), 0x0001_AFFF);
    assert_eq!(bench.read(0x17), 0xFFFF_0000);
    bench.write(0, u32::MAX);
    assert_eq!(bench.read(0), 0x0F00_0000);
    assert_eq!(bench.read(2), 0x0F00_0000);
    bench.ioapic.reset();
    assert_eq!(bench.read(0x16), MASKED);
    assert_eq!(bench.read(0), 0);
}

#[test]
fn a_compatibility_entry_names_vector_destination_and_modes() {
    let bench = Bench::new();
    // Lowest priority, logical destination 0xA5.
    bench.program(4, 0xA500_0000, 0x0000_0931);
    bench.line(4).set(true);
    assert_eq!(bench.sent.taken(), [MsiMessage { address: 0xFEEA_5004, data: 0x0131 }]);
}

#[test]
fn a_remappable_entry_puts_index_and_format_into_the_address() {
    let bench = Bench::new();
    // Index 0x9234: its bit 15 is entry bit 11, the rest entry bits 63:49; bit 48 is the format.
    bench.program(5, 0x1234 << 17 | 1 << 16, 0x0000_0805);
    bench.line(5).set(true);
    let [message] = bench.sent.taken()[..] else { panic!("one message") };
    assert_eq!(message.address, 0xFEE0_0000 | 0x1234 << 5 | 1 << 4 | 1 << 2);
    assert_eq!(message.data, 5);
}

#[test]
fn a_level_message_says_level_and_assert() {
    let bench = Bench::new();
    bench.program(9, 0, LEVEL | 0x41);
    bench.line(9).set(true);
    assert_eq!(bench.sent.taken(), [MsiMessage { address: 0xFEE0_0000, data: 0xC041 }]);
}

#[test]
fn an_edge_is_sent_once_for_each_rise() {
    let bench = Bench::new();
    bench.program(4, 0, 0x31);
    let line = bench.line(4);
    for asserted in [true, true, false, true] {
        line.set(asserted);
    }
    assert_eq!(bench.vectors(), [0x31, 0x31]);
    assert_eq!(bench.read(0x18) & REMOTE_IRR, 0);
}

#[test]
fn an_edge_on_a_masked_pin_is_lost() {
    let bench = Bench::new();
    bench.program(4, 0, MASKED | 0x31);
    bench.line(4).set(true);
    bench.program(4, 0, 0x31);
    assert!(bench.vectors().is_empty());
}

#[test]
fn a_level_is_sent_once_until_it_is_ended_and_again_while_it_is_asserted() {
    let bench = Bench::new();
    bench.program(9, 0, LEVEL | 0x41);
    let line = bench.line(9);
    line.set(true);
    line.set(false);
    line.set(true);
    assert_eq!(bench.vectors(), [0x41]);
    assert_ne!(bench.read(0x22) & REMOTE_IRR, 0);

    bench.ioapic.eoi(0x42);
    assert!(bench.vectors().is_empty());
    bench.ioapic.eoi(0x41);
    assert_eq!(bench.vectors(), [0x41]);

    line.set(false);
    bench.ioapic.eoi(0x41);
    assert!(bench.vectors().is_empty());
    assert_eq!(bench.read(0x22) & REMOTE_IRR, 0);
}

#[test]
fn the_eoi_register_ends_an_interrupt_whose_entry_is_remappable() {
    let bench = Bench::new();
    // As Linux programs it: the vector field holds the pin.
    bench.program(16, 7 << 17 | 1 << 16, LEVEL | 16);
    let line = bench.line(16);
    line.set(true);
    bench.ioapic.write(offset::EOI, &16_u32.to_le_bytes());
    assert_eq!(bench.vectors(), [16, 16]);
}

#[test]
fn a_level_waits_for_its_pin_to_be_unmasked() {
    let bench = Bench::new();
    bench.program(9, 0, MASKED | LEVEL | 0x41);
    let line = bench.line(9);
    line.set(true);
    assert!(bench.vectors().is_empty());
    bench.program(9, 0, LEVEL | 0x41);
    assert_eq!(bench.vectors(), [0x41]);
}

#[test]
fn a_mask_while_in_service_keeps_the_end_due() {
    let bench = Bench::new();
    bench.program(9, 0, LEVEL | 0x41);
    let line = bench.line(9);
    line.set(true);
    bench.program(9, 0, MASKED | LEVEL | 0x41);
    bench.ioapic.eoi(0x41);
    assert_eq!(bench.vectors(), [0x41]);
    bench.program(9, 0, LEVEL | 0x41);
    assert_eq!(bench.vectors(), [0x41]);
}

#[test]
fn a_detour_over_edge_clears_a_stuck_interrupt() {
    let bench = Bench::new();
    bench.program(9, 0, LEVEL | 0x41);
    let line = bench.line(9);
    line.set(true);
    bench.program(9, 0, MASKED | 0x41);
    bench.program(9, 0, MASKED | LEVEL | 0x41);
    assert_eq!(bench.read(0x22) & REMOTE_IRR, 0);
}

#[test]
fn devices_on_one_pin_are_both_served() {
    let bench = Bench::new();
    bench.program(16, 0, LEVEL | 0x51);
    let (first, second) = (bench.line(16), bench.line(16));
    first.set(true);
    second.set(true);
    first.set(false);
    bench.ioapic.eoi(0x51);
    assert_eq!(bench.vectors(), [0x51, 0x51]);
    second.set(false);
    bench.ioapic.eoi(0x51);
    assert!(bench.vectors().is_empty());
}

#[test]
fn a_device_that_lets_go_when_told_of_the_end_is_not_served_again() {
    let bench = Bench::new();
    bench.program(17, 0, LEVEL | 0x52);
    let line = bench.line(17);
    let ends = Arc::new(AtomicUsize::new(0));
    let (held, counted) = (line.clone(), ends.clone());
    line.on_end(Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        held.set(false);
    }));
    line.set(true);
    bench.ioapic.eoi(0x52);
    assert_eq!(bench.vectors(), [0x52]);
    assert_eq!(ends.load(Ordering::Relaxed), 1);
}

#[test]
fn the_machine_learns_of_level_pins_and_only_of_their_changes() {
    let bench = Bench::new();
    bench.program(4, 0, 0x31);
    assert!(bench.told.taken().is_empty());

    bench.write(0x10 + 2 * 9, MASKED | LEVEL | 0x41);
    let mut pins = [None; PINS];
    pins[9] = Some(MsiMessage { address: 0xFEE0_0000, data: 0xC041 });
    assert_eq!(bench.told.taken(), [Told::Changed(Box::new(pins))]);

    bench.write(0x10 + 2 * 9, LEVEL | 0x41);
    assert!(bench.told.taken().is_empty(), "masks change no route");

    bench.ioapic.reset();
    assert_eq!(bench.told.taken(), [Told::Changed(Box::new([None; PINS]))]);
}

/// Remembers both what the machine was told and what was sent.
struct InOrder(Recorder<Told>);

impl PinRoutes for InOrder {
    fn changed(&self, pins: &LevelPins) {
        self.0.changed(pins);
    }
}

impl MsiSink for InOrder {
    fn deliver(&self, message: MsiMessage) {
        self.0.push(Told::External(message));
    }
}

#[test]
fn the_machine_learns_of_a_level_pin_before_its_interrupt_is_sent() {
    let order = Arc::new(InOrder(Arc::into_inner(Recorder::new()).unwrap()));
    let interrupts = InterruptSource::new(Remapping::Absent, order.clone());
    let ioapic = IoApic::new(SourceId(0xF8), interrupts, order.clone());
    let line = ioapic.line(9).unwrap();
    line.set(true);
    ioapic.write(offset::SELECT, &[0x22]);
    ioapic.write(offset::WINDOW, &(LEVEL | 0x41).to_le_bytes());
    assert!(matches!(order.0.taken()[..], [Told::Changed(_), Told::External(_)]));
}

#[test]
fn an_extint_pin_is_handed_to_the_machine() {
    let bench = Bench::new();
    bench.program(0, 0x0300_0000, 0x0700);
    bench.line(0).set(true);
    assert!(bench.sent.taken().is_empty());
    let message = MsiMessage { address: 0xFEE0_3000, data: 0x0700 };
    assert_eq!(bench.told.taken(), [Told::External(message)]);
}

#[test]
fn an_nmi_is_an_edge_whatever_its_trigger_bit_says() {
    let bench = Bench::new();
    bench.program(1, 0, LEVEL | 0x0400);
    let line = bench.line(1);
    line.set(true);
    line.set(false);
    line.set(true);
    assert_eq!(bench.sent.taken().len(), 2);
    assert_eq!(bench.read(0x12) & REMOTE_IRR, 0);
}

#[derive(Clone, Debug)]
enum Step {
    Read(u64, usize),
    Write(u64, Vec<u8>),
    Wire(usize, bool),
    Eoi(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let offset = prop_oneof![Just(0), Just(0x10), Just(0x40), any::<u64>()];
    prop_oneof![
        (offset.clone(), 1_usize..=8).prop_map(|(offset, length)| Step::Read(offset, length)),
        (offset, proptest::collection::vec(any::<u8>(), 1..=8)).prop_map(|(o, data)| Step::Write(o, data)),
        (0..PINS, any::<bool>()).prop_map(|(pin, asserted)| Step::Wire(pin, asserted)),
        any::<u8>().prop_map(Step::Eoi),
    ]
}

proptest! {
    #[test]
    fn no_step_sends_more_than_a_message_for_each_pin(steps in proptest::collection::vec(step(), 1..200)) {
        let bench = Bench::new();
        let lines: Vec<_> = (0..PINS).map(|pin| bench.line(pin)).collect();
        for step in steps {
            match step {
                Step::Read(offset, length) => bench.ioapic.read(offset, &mut vec![0; length]),
                Step::Write(offset, data) => bench.ioapic.write(offset, &data),
                Step::Wire(pin, asserted) => lines[pin].set(asserted),
                Step::Eoi(vector) => bench.ioapic.eoi(vector),
            }
            prop_assert!(bench.sent.taken().len() <= PINS);
        }
    }
}
