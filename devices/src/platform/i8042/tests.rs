use proptest::prelude::*;

use super::*;
use crate::platform::testing::{PortStep, RecordedLine, RecordedPower, inb, outb};

fn controller() -> (I8042, Arc<RecordedPower>, Arc<RecordedLine>) {
    let (power, line) = (RecordedPower::new(), RecordedLine::new());
    (I8042::new(power.clone(), line.clone()), power, line)
}

/// Sends a command and reads its answer, which must be there at once.
fn ask(device: &I8042, command: u8) -> u8 {
    outb(device, 0x64, command);
    answer(device)
}

fn answer(device: &I8042) -> u8 {
    assert_eq!(inb(device, 0x64) & 1, 1, "an answer");
    let answer = inb(device, 0x60);
    assert_eq!(inb(device, 0x64) & 1, 0, "the only one");
    answer
}

#[test]
fn a_pulse_of_the_reset_line_reboots() {
    let (device, power, _) = controller();
    outb(&device, 0x64, 0xFF);
    outb(&device, 0x64, 0xF1);
    assert!(power.taken().is_empty());
    outb(&device, 0x64, 0xFE);
    assert_eq!(power.taken(), [PowerRequest::Reboot]);
    outb(&device, 0x64, 0xD1);
    outb(&device, 0x60, 0x02);
    assert_eq!(power.taken(), [PowerRequest::Reboot]);
}

#[test]
fn linux_finds_a_controller_without_a_mouse_and_never_waits() {
    let (device, ..) = controller();
    assert_eq!(inb(&device, 0x64) & 1, 0, "nothing to flush");
    assert_eq!(ask(&device, 0xAA), 0x55);
    let configuration = ask(&device, 0x20);
    outb(&device, 0x64, 0x60);
    outb(&device, 0x60, configuration | 0x30);
    assert_eq!(ask(&device, 0x20), configuration | 0x30);
    // The loopback to the mouse is answered, but not by a mouse (status bit 5), and its port fails the test.
    outb(&device, 0x64, 0xD3);
    outb(&device, 0x60, 0x5A);
    assert_eq!(inb(&device, 0x64) & 0x21, 0x01);
    assert_eq!(inb(&device, 0x60), 0x5A);
    assert_eq!(ask(&device, 0xA9), 0x01);
    assert_eq!(ask(&device, 0xAB), 0x00);
}

#[test]
fn a_byte_for_the_absent_keyboard_times_out_at_once() {
    let (device, _, line) = controller();
    outb(&device, 0x64, 0x60);
    outb(&device, 0x60, 0x05);
    line.taken();
    outb(&device, 0x60, 0xF2);
    assert_eq!(line.taken(), [true]);
    assert_eq!(inb(&device, 0x64) & 0x41, 0x41);
    assert_eq!(answer(&device), 0xFE);
    assert_eq!(line.taken().last(), Some(&false));
    assert_eq!(inb(&device, 0x64) & 0x40, 0);
}

#[test]
fn the_status_tells_commands_from_data() {
    let (device, ..) = controller();
    outb(&device, 0x64, 0x60);
    assert_ne!(inb(&device, 0x64) & 0x08, 0);
    outb(&device, 0x60, 0x04);
    assert_eq!(inb(&device, 0x64) & 0x08, 0);
}

proptest! {
    #[test]
    fn any_access_is_survived(steps in prop::collection::vec(PortStep::any(&controller().0.ports()), 1..200)) {
        let (device, ..) = controller();
        for step in steps {
            step.take(&device);
        }
        device.reset();
        prop_assert_eq!(inb(&device, 0x64), 0x14);
    }
}
