use std::sync::atomic::AtomicU32;

use proptest::prelude::*;

use super::*;
use crate::platform::testing::{PortStep, RecordedLine, inb, outb};

/// End of interrupt: whichever is served, and input `n`.
const END: u8 = 0x20;
const END_OF: u8 = 0x60;

struct Bench {
    pic: Arc<Pic>,
    output: Arc<RecordedLine>,
}

impl Bench {
    /// A pair initialized as Linux does it: vectors from 0x30 and 0x38, nothing masked.
    fn new() -> Self {
        let bench = Self::fresh();
        bench.initialize(0x01);
        bench
    }

    fn fresh() -> Self {
        let output = RecordedLine::new();
        Self { pic: Pic::new(output.clone()), output }
    }

    fn initialize(&self, mode: u8) {
        for (command, data, words) in [(0x20, 0x21, [0x30, 1 << 2, mode]), (0xA0, 0xA1, [0x38, 2, mode])] {
            self.out(command, 0x11);
            for word in words {
                self.out(data, word);
            }
            self.out(data, 0);
        }
    }

    fn out(&self, port: u16, value: u8) {
        outb(&*self.pic, port, value);
    }

    fn read(&self, port: u16) -> u8 {
        inb(&*self.pic, port)
    }

    fn set(&self, input: u8, asserted: bool) {
        self.pic.input(input).set(asserted);
    }

    fn pulse(&self, input: u8) {
        self.set(input, true);
        self.set(input, false);
    }

    /// The vectors the processor would get without ending any.
    fn served(&self) -> Vec<u8> {
        std::iter::from_fn(|| self.pic.pending().then(|| self.pic.acknowledge())).take(20).collect()
    }
}

#[test]
fn nothing_interrupts_before_the_guest_unmasks_it() {
    let bench = Bench::fresh();
    (0..16).for_each(|input| bench.set(input, true));
    assert!(!bench.pic.pending());
    assert!(bench.output.taken().is_empty());
}

#[test]
fn linux_finds_the_pair_by_its_mask() {
    let bench = Bench::fresh();
    bench.out(0xA1, 0xFF);
    bench.out(0x21, 0xFB);
    assert_eq!(bench.read(0x21), 0xFB);
}

#[test]
fn vectors_follow_the_initialization_words() {
    let bench = Bench::new();
    bench.pulse(0);
    assert_eq!(bench.output.taken(), [true]);
    assert_eq!(bench.served(), [0x30]);
    assert_eq!(bench.output.taken(), [false]);
    bench.out(0x20, END);
    bench.pulse(12);
    assert_eq!(bench.served(), [0x3C]);
}

#[test]
fn initialization_without_a_fourth_word_ends_after_the_third() {
    let bench = Bench::fresh();
    bench.out(0x20, 0x10);
    bench.out(0x21, 0x47);
    bench.out(0x21, 0x04);
    bench.out(0x21, 0xA5);
    assert_eq!(bench.read(0x21), 0xA5);
    bench.out(0x20, 0x12);
    bench.out(0x21, 0x40);
    bench.out(0x21, 0x5A);
    assert_eq!(bench.read(0x21), 0x5A);
}

#[test]
fn an_interrupt_holds_up_those_of_lower_priority_until_its_end() {
    let bench = Bench::new();
    bench.pulse(4);
    assert_eq!(bench.served(), [0x34]);
    bench.pulse(6);
    bench.pulse(1);
    assert_eq!(bench.served(), [0x31], "the higher one gets through");
    bench.out(0x20, END);
    assert!(bench.served().is_empty(), "4 is in service still");
    bench.out(0x20, END_OF | 4);
    assert_eq!(bench.served(), [0x36]);
}

#[test]
fn both_chips_need_an_end() {
    let bench = Bench::new();
    bench.pulse(8);
    bench.pulse(14);
    assert_eq!(bench.served(), [0x38]);
    bench.out(0xA0, END_OF);
    assert!(bench.served().is_empty(), "the cascade is in service");
    bench.out(0x20, END_OF | 2);
    assert_eq!(bench.served(), [0x3E]);
}

#[test]
fn an_edge_is_served_once_and_a_level_as_long_as_it_lasts() {
    let bench = Bench::new();
    bench.out(0x4D1, 1 << 2);
    bench.set(1, true);
    bench.set(10, true);
    for expected in [0x31, 0x3A, 0x3A] {
        assert_eq!(bench.served()[0], expected);
        bench.out(0xA0, END);
        bench.out(0x20, END);
    }
    bench.set(10, false);
    assert!(bench.served().is_empty());
}

#[test]
fn only_inputs_of_the_bus_can_be_made_level_triggered() {
    let bench = Bench::fresh();
    assert_eq!([bench.read(0x4D0), bench.read(0x4D1)], [0x00, 0x02]);
    bench.pic.write(0x4D0, &[0xFF, 0xFF]);
    assert_eq!([bench.read(0x4D0), bench.read(0x4D1)], [0xF8, 0xDE]);
}

#[test]
fn a_level_that_has_gone_is_spurious() {
    let bench = Bench::new();
    bench.out(0x4D0, 1 << 5);
    bench.set(5, true);
    assert!(bench.pic.pending());
    bench.set(5, false);
    assert!(!bench.pic.pending());
    assert_eq!(bench.pic.acknowledge(), 0x37);
    bench.out(0x20, 0x0B);
    assert_eq!(bench.read(0x20), 0, "nothing is in service");
}

#[test]
fn request_and_service_registers_can_be_read() {
    let bench = Bench::new();
    bench.pulse(4);
    bench.served();
    bench.pulse(6);
    bench.out(0x20, 0x0A);
    assert_eq!(bench.read(0x20), 1 << 6);
    bench.out(0x20, 0x0B);
    assert_eq!(bench.read(0x20), 1 << 4);
}

#[test]
fn an_automatic_end_needs_no_command() {
    let bench = Bench::fresh();
    bench.initialize(0x03);
    bench.pulse(12);
    bench.pulse(10);
    bench.pulse(1);
    assert_eq!(bench.served(), [0x31, 0x3A, 0x3C]);
}

#[test]
fn rotation_makes_the_served_input_the_last() {
    let bench = Bench::new();
    bench.pulse(3);
    bench.served();
    bench.out(0x20, 0xA0);
    bench.pulse(3);
    bench.pulse(5);
    assert_eq!(bench.served(), [0x35]);
    bench.out(0x20, 0xE0 | 5);
    assert_eq!(bench.served(), [0x33]);
    // Priority can be set without an end.
    bench.out(0x20, END_OF | 3);
    bench.out(0x20, 0xC0 | 7);
    bench.pulse(7);
    bench.pulse(0);
    assert_eq!(bench.served(), [0x30]);
}

#[test]
fn automatic_ends_can_rotate() {
    let bench = Bench::fresh();
    bench.initialize(0x03);
    bench.out(0x20, 0x80);
    bench.pulse(1);
    assert_eq!(bench.served(), [0x31]);
    bench.pulse(0);
    bench.pulse(3);
    assert_eq!(bench.served(), [0x33, 0x30]);
    bench.out(0x20, 0x00);
    bench.pulse(0);
    bench.pulse(1);
    assert_eq!(bench.served(), [0x31, 0x30]);
}

#[test]
fn a_special_mask_lets_lower_priorities_through() {
    let bench = Bench::new();
    bench.pulse(1);
    bench.served();
    bench.pulse(6);
    assert!(!bench.pic.pending());
    bench.out(0x21, 1 << 1);
    bench.out(0x20, 0x68);
    assert_eq!(bench.served(), [0x36]);
    bench.out(0x20, END);
    bench.out(0x20, 0x0B);
    assert_eq!(bench.read(0x20), 1 << 1, "a masked one is not ended by a command that names none");
}

#[test]
fn special_nesting_lets_the_second_chip_interrupt_itself() {
    let bench = Bench::fresh();
    bench.initialize(0x11);
    bench.pulse(12);
    assert_eq!(bench.served(), [0x3C]);
    bench.pulse(8);
    assert_eq!(bench.served(), [0x38]);

    let bench = Bench::new();
    bench.pulse(12);
    bench.pulse(8);
    assert_eq!(bench.served(), [0x38]);
}

#[test]
fn polling_acknowledges() {
    let bench = Bench::new();
    bench.out(0x21, 0xFF);
    bench.out(0x20, 0x0C);
    assert_eq!(bench.read(0x20), 0);
    bench.out(0x21, 0);
    bench.pulse(6);
    bench.out(0x20, 0x0C);
    assert_eq!(bench.read(0x20), 0x86);
    bench.out(0x20, 0x0B);
    assert_eq!(bench.read(0x20), 1 << 6, "one read only");
}

#[test]
fn a_device_that_lets_go_at_the_end_does_not_interrupt_again() {
    let bench = Bench::new();
    bench.out(0x4D1, 1 << 3);
    let line = bench.pic.input(11);
    let (held, ends) = (line.clone(), Arc::new(AtomicU32::new(0)));
    let counted = ends.clone();
    line.on_end(Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        held.set(false);
    }));
    line.set(true);
    assert_eq!(bench.served(), [0x3B]);
    bench.output.taken();
    bench.out(0x20, END_OF | 2);
    bench.out(0xA0, END_OF | 3);
    assert_eq!(ends.load(Ordering::Relaxed), 1);
    assert!(bench.output.taken().is_empty());
}

#[test]
fn a_reset_masks_everything_and_keeps_the_wires() {
    let bench = Bench::new();
    bench.set(9, true);
    bench.pic.reset();
    assert!(!bench.pic.pending());
    bench.out(0x21, 0);
    bench.out(0xA1, 0);
    assert_eq!(bench.served(), [0x71]);
}

proptest! {
    #[test]
    fn the_output_says_whether_an_acknowledgement_would_be_genuine(
        steps in prop::collection::vec((PortStep::any(&Bench::fresh().pic.ports()), 0_u8..16, any::<bool>()), 1..200),
    ) {
        let bench = Bench::new();
        let mut output = false;
        for (step, input, asserted) in steps {
            step.take(&*bench.pic);
            bench.set(input, asserted);
            output = bench.output.taken().last().copied().unwrap_or(output);
            prop_assert_eq!(output, bench.pic.pending());
            prop_assert_eq!(output, lock(&bench.pic.state).pending());
            if asserted && output {
                bench.pic.acknowledge();
            }
        }
    }
}
