use std::sync::Mutex;

use super::*;
use crate::Function;

// Where the registers are: the port's capabilities are power management, PCI Express and MSI, in this order.
const LINK_STATUS: u16 = 0x48 + 0x12;
const CONTROL: u16 = 0x48 + 0x18;
const STATUS: u16 = 0x48 + 0x1A;
const MSI: u16 = 0x84;

/// Slot Control as pciehp sets it: all it wants of events, lights off, power off.
const WATCHING: u16 = 0x17F9;
const POWERED: u16 = 0x11F9;

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Message(Message),
    Wire(bool),
    Released,
}

#[derive(Default)]
struct Listener(Mutex<Vec<Told>>);

impl Listener {
    fn note(&self, told: Told) {
        self.0.lock().unwrap().push(told);
    }

    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl SlotListener for Listener {
    fn send(&self, message: Message) {
        self.note(Told::Message(message));
    }

    fn set_wire(&self, asserted: bool) {
        self.note(Told::Wire(asserted));
    }

    fn released(&self) {
        self.note(Told::Released);
    }
}

const MESSAGE: Message = Message { address: 0xFEE0_0000, data: 0x31 };

fn port() -> (RootPort, Arc<Listener>) {
    let listener = Arc::new(Listener::default());
    (RootPort::with_hot_plug(8, Reserve::default(), listener.clone()).unwrap(), listener)
}

/// A port whose guest waits for messages.
fn watched() -> (RootPort, Arc<Listener>) {
    let (port, listener) = port();
    write(&port, 0x04, 0x0004);
    port.config_write(MSI + 4, &0xFEE0_0000_u32.to_le_bytes());
    write(&port, MSI + 12, 0x31);
    write(&port, MSI + 2, 1);
    write(&port, CONTROL, WATCHING);
    seen(&port);
    listener.take();
    (port, listener)
}

fn write(port: &RootPort, at: u16, value: u16) {
    port.config_write(at, &value.to_le_bytes());
}

fn read(port: &RootPort, at: u16) -> u16 {
    let mut data = [0; 2];
    port.config_read(at, &mut data);
    u16::from_le_bytes(data)
}

/// Does what an interrupt handler does: reads the events, and clears them.
fn seen(port: &RootPort) -> u16 {
    let events = read(port, STATUS) & 0x11B;
    write(port, STATUS, events);
    events
}

#[test]
fn what_comes_in_is_told_by_one_message() {
    let (port, listener) = watched();
    port.insert();
    assert_eq!(listener.take(), [Told::Message(MESSAGE)]);
    assert_eq!(read(&port, STATUS), 1 << 6 | 1 << 3 | 1 << 0);
    assert!(!port.forwarding().link_up, "it has no power yet");
    assert_eq!(read(&port, LINK_STATUS) >> 13 & 1, 0);
    // Another event changes nothing as long as the first has not been seen.
    port.press_button();
    assert_eq!(listener.take(), []);
    seen(&port);
    port.press_button();
    assert_eq!(listener.take(), [Told::Message(MESSAGE)]);
}

#[test]
fn power_brings_the_link_up_and_takes_it_down() {
    let (port, listener) = watched();
    port.insert();
    seen(&port);
    listener.take();
    write(&port, CONTROL, POWERED);
    assert!(port.forwarding().link_up);
    assert_eq!(read(&port, LINK_STATUS) >> 13 & 1, 1);
    assert_eq!(listener.take(), [Told::Message(MESSAGE)]);
    assert_eq!(seen(&port), 1 << 8 | 1 << 4, "the link changed and the command is complete");
    write(&port, CONTROL, WATCHING);
    assert!(!port.forwarding().link_up);
    assert_eq!(seen(&port), 1 << 8 | 1 << 4);
}

#[test]
fn letting_go_is_told_if_there_is_something() {
    let (port, listener) = watched();
    write(&port, CONTROL, POWERED);
    write(&port, CONTROL, WATCHING);
    assert!(!listener.take().contains(&Told::Released), "the slot is empty");
    port.insert();
    write(&port, CONTROL, POWERED);
    listener.take();
    assert!(!port.slot_state().unwrap().is_released());
    write(&port, CONTROL, WATCHING);
    assert!(listener.take().contains(&Told::Released));
    assert!(port.slot_state().unwrap().is_released());
}

#[test]
fn what_is_pulled_takes_the_link_down() {
    let (port, listener) = watched();
    port.insert();
    write(&port, CONTROL, POWERED);
    seen(&port);
    listener.take();
    port.remove();
    assert_eq!(listener.take(), [Told::Message(MESSAGE)]);
    assert_eq!(seen(&port), 1 << 8 | 1 << 3);
    assert_eq!(read(&port, STATUS) >> 6 & 1, 0);
    assert_eq!(read(&port, LINK_STATUS) >> 13 & 1, 0);
}

#[test]
fn without_messages_the_wire_tells_until_all_is_seen() {
    let (port, listener) = watched();
    write(&port, MSI + 2, 0);
    port.insert();
    assert_eq!(listener.take(), [Told::Wire(true)]);
    assert_eq!(read(&port, 0x06) >> 3 & 1, 1, "interrupt status");
    write(&port, STATUS, 1 << 0);
    assert_eq!(listener.take(), []);
    write(&port, 0x04, 0x0404);
    assert_eq!(listener.take(), [Told::Wire(false)], "INTx is disabled");
    write(&port, 0x04, 0x0004);
    assert_eq!(listener.take(), [Told::Wire(true)]);
    seen(&port);
    assert_eq!(listener.take(), [Told::Wire(false)]);
    assert_eq!(read(&port, 0x06) >> 3 & 1, 0);
}

#[test]
fn messages_need_bus_mastering_and_d0() {
    for (register, value) in [(0x04, 0x0000), (0x44, 0x0003)] {
        let (port, listener) = watched();
        write(&port, register, value);
        port.insert();
        assert_eq!(listener.take(), [], "register {register:#x}");
    }
}

#[test]
fn a_masked_message_is_sent_when_it_may_be() {
    let (port, listener) = watched();
    write(&port, MSI + 16, 1);
    port.insert();
    assert_eq!(listener.take(), []);
    write(&port, MSI + 16, 0);
    assert_eq!(listener.take(), [Told::Message(MESSAGE)]);
}

#[test]
fn what_is_there_from_the_start_works_without_a_driver() {
    let (port, listener) = port();
    port.occupy();
    assert!(port.forwarding().link_up);
    let state = port.slot_state().unwrap();
    assert_eq!(state, SlotState { number: 8, occupied: true, powered: true, indicator: Indicator::On });
    assert_eq!(read(&port, STATUS), 1 << 6, "nothing has happened");
    port.reset();
    assert_eq!(port.slot_state(), Some(state));
    assert_eq!(read(&port, STATUS), 1 << 6);
    assert_eq!(listener.take(), []);
}

#[test]
fn an_ordinary_port_has_no_such_slot() {
    let port = RootPort::new(8).unwrap();
    assert_eq!(port.slot_state(), None);
    port.press_button();
    write(&port, CONTROL, 0xFFFF);
    assert_eq!((read(&port, CONTROL), read(&port, STATUS)), (0, 0));
    assert!(port.forwarding().link_up);
}
