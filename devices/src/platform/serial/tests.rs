use proptest::prelude::*;

use super::*;
use crate::platform::testing::{PortStep, RecordedLine, Recorder, inb, outb};

const BASE: u16 = Serial::COM1;
const ENABLE: u16 = BASE + 1;
const IDENTIFICATION: u16 = BASE + 2;
const FIFO_CONTROL: u16 = BASE + 2;
const LINE_CONTROL: u16 = BASE + 3;
const MODEM_CONTROL: u16 = BASE + 4;
const LINE_STATUS: u16 = BASE + 5;

struct Terminal(Arc<Recorder<u8>>);

impl Write for Terminal {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        for &byte in data {
            self.0.push(byte);
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn serial() -> (Serial, Arc<RecordedLine>, Arc<Recorder<u8>>) {
    let (line, output) = (RecordedLine::new(), Recorder::new());
    let serial = Serial::new(BASE, line.clone(), Box::new(Terminal(output.clone()))).unwrap();
    (serial, line, output)
}

#[test]
fn output_appears_in_order() {
    let (serial, _, output) = serial();
    for byte in *b"dmar" {
        assert_eq!(inb(&serial, LINE_STATUS) & 0x60, 0x60);
        outb(&serial, BASE, byte);
    }
    assert_eq!(output.taken(), b"dmar");
}

#[test]
fn long_input_arrives_whole_with_an_interrupt_for_each_fifo() {
    let (serial, line, _) = serial();
    outb(&serial, ENABLE, 1);
    let input: Vec<u8> = (0..200).collect();
    assert_eq!(serial.enqueue(&input), 200);
    let mut read = Vec::new();
    while inb(&serial, LINE_STATUS) & 1 != 0 {
        read.push(inb(&serial, BASE));
    }
    assert_eq!(read, input);
    assert_eq!(line.taken(), [true, false].repeat(4));
}

#[test]
fn input_that_finds_no_room_is_announced_when_it_may_be_offered_again() {
    let (serial, ..) = serial();
    let taken = serial.enqueue(&[b'x'; 10_000]);
    assert_eq!(taken, BACKLOG);
    assert!(serial.room().read().is_err());
    for _ in 0..taken {
        inb(&serial, BASE);
    }
    assert_eq!(serial.room().read().unwrap(), 1);
    assert_eq!(serial.enqueue(&[b'x'; 10]), 10);
}

#[test]
fn two_causes_are_reported_one_after_the_other() {
    let (serial, ..) = serial();
    outb(&serial, ENABLE, 3);
    serial.enqueue(b"k");
    assert_eq!(inb(&serial, IDENTIFICATION), 0xC4);
    assert_eq!(inb(&serial, IDENTIFICATION), 0xC4, "as long as there is something to read");
    assert_eq!(inb(&serial, BASE), b'k');
    assert_eq!(inb(&serial, IDENTIFICATION), 0xC2);
    assert_eq!(inb(&serial, IDENTIFICATION), 0xC1);
}

#[test]
fn a_cause_interrupts_again_when_it_is_enabled_again() {
    let (serial, line, _) = serial();
    outb(&serial, ENABLE, 2);
    assert_eq!(line.taken(), [true, false]);
    outb(&serial, ENABLE, 0);
    assert_eq!(inb(&serial, IDENTIFICATION), 0xC1, "a cause that is not enabled is not reported");
    outb(&serial, ENABLE, 2);
    assert_eq!(line.taken(), [true, false]);
    assert_eq!(inb(&serial, IDENTIFICATION), 0xC2);
}

#[test]
fn clearing_the_fifo_drops_what_was_received_and_nothing_else() {
    let (serial, ..) = serial();
    outb(&serial, MODEM_CONTROL, 0x10);
    outb(&serial, BASE, b'a');
    serial.enqueue(b"b");
    outb(&serial, LINE_CONTROL, 0x83);
    outb(&serial, FIFO_CONTROL, 0x07);
    outb(&serial, LINE_CONTROL, 0x03);
    assert_eq!(inb(&serial, LINE_STATUS) & 1, 0);
    outb(&serial, MODEM_CONTROL, 0x08);
    assert_eq!(inb(&serial, BASE), b'b');
}

#[test]
fn linux_finds_a_16550a() {
    let (serial, ..) = serial();
    // Interrupt enable keeps four bits, the scratch register everything.
    outb(&serial, ENABLE, 0xFF);
    assert_eq!(inb(&serial, ENABLE), 0x0F);
    outb(&serial, BASE + 7, 0xA5);
    assert_eq!(inb(&serial, BASE + 7), 0xA5);
    // In loopback, modem outputs come back as modem inputs.
    outb(&serial, MODEM_CONTROL, 0x10 | 0x0A);
    assert_eq!(inb(&serial, BASE + 6) & 0xF0, 0x90);
    outb(&serial, FIFO_CONTROL, 1);
    assert_eq!(inb(&serial, IDENTIFICATION) >> 6, 3);
    serial.reset();
    assert_eq!(inb(&serial, ENABLE), 0);
    assert_eq!(inb(&serial, MODEM_CONTROL), 0x08);
}

proptest! {
    #[test]
    fn any_access_is_survived(
        steps in prop::collection::vec(PortStep::any(&[PortRange::new(BASE, 8)]), 1..200),
        input in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (serial, ..) = serial();
        for step in steps {
            serial.enqueue(&input);
            step.take(&serial);
            prop_assert!(lock(&serial.state).backlog.len() <= BACKLOG);
        }
    }
}
