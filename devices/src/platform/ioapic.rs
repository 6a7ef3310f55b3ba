//! The IOAPIC: turns interrupt wires into messages.

mod redirection;

use std::sync::{Arc, Mutex};

use iommu::{MsiMessage, SourceId};

use self::redirection::{Delivery, RedirectionEntry};
use super::wire::{EndListener, EndListeners, Wire};
use super::{lock, wide};
use crate::{InterruptLine, InterruptSource, MmioDevice};

/// Input pins of the IOAPIC.
pub const PINS: usize = 24;

/// For each pin the message it sends, if it is level-triggered: masked ones too, since an interrupt in
/// service when the guest masks its pin still ends with an EOI.
///
/// The messages are as the IOAPIC sends them: behind a remapping unit, `Unit::resolve` tells what arrives.
pub type LevelPins = [Option<MsiMessage>; PINS];

/// What the machine does for its IOAPIC.
pub trait PinRoutes: Send + Sync {
    /// Tells of a change among the level-triggered pins, before an interrupt is sent under the new state:
    /// the hypervisor must report the EOI of these vectors, see [`IoApic::eoi`].
    ///
    /// The IOAPIC's lock is held; the order of locks is IOAPIC, then the machine's routes. An implementation
    /// does not call the IOAPIC.
    fn changed(&self, pins: &LevelPins);

    /// A pin in ExtINT mode was asserted: the processors that `message` addresses shall take the vector
    /// that the 8259 pair has. The same rule about locks holds.
    fn external_interrupt(&self, _message: MsiMessage) {}
}

/// An IOAPIC of version 0x20: 24 pins and an EOI register.
pub struct IoApic {
    source: SourceId,
    interrupts: InterruptSource,
    routes: Arc<dyn PinRoutes>,
    state: Mutex<State>,
    listeners: [EndListeners; PINS],
    wires: Vec<Arc<Wire>>,
}

/// Everything the guest can see or has set.
#[derive(Clone)]
struct State {
    /// The ID register: software's name for the IOAPIC, without effect.
    id: u32,
    /// IOREGSEL.
    selected: u8,
    entries: [RedirectionEntry; PINS],
    /// What the wires say, a bit for each pin.
    asserted: u32,
    /// What the machine was last told.
    told: LevelPins,
}

/// Offsets in the MMIO window (82093AA §3.1; EOI: ICH9 §13.5.7).
mod offset {
    pub(super) const SELECT: u64 = 0x00;
    pub(super) const WINDOW: u64 = 0x10;
    pub(super) const EOI: u64 = 0x40;
}

/// Registers behind the window.
mod register {
    pub(super) const ID: u8 = 0x00;
    pub(super) const VERSION: u8 = 0x01;
    pub(super) const ARBITRATION: u8 = 0x02;
    /// Two for each pin, the lower half first.
    pub(super) const TABLE: u8 = 0x10;
}

const VERSION: u32 = 0x20;
const ID_MASK: u32 = 0x0F00_0000;

impl IoApic {
    /// Where every PC has its first IOAPIC.
    pub const ADDRESS: u64 = 0xFEC0_0000;
    /// Length of the MMIO window in bytes.
    pub const LENGTH: u64 = 0x1000;

    /// An IOAPIC after reset, which sends its messages as `source`, the requester that the DMAR table's
    /// scopes name.
    pub fn new(source: SourceId, interrupts: InterruptSource, routes: Arc<dyn PinRoutes>) -> Arc<Self> {
        Arc::new_cyclic(|this| {
            let wire = |pin| Wire::new(vec![Arc::new(Input { ioapic: this.clone(), pin })]);
            Self {
                source,
                interrupts,
                routes,
                state: Mutex::new(State {
                    id: 0,
                    selected: 0,
                    entries: [RedirectionEntry::masked(); PINS],
                    asserted: 0,
                    told: [None; PINS],
                }),
                listeners: std::array::from_fn(|_| EndListeners::default()),
                wires: (0..PINS).map(wire).collect(),
            }
        })
    }

    /// A new device's share of the wire at `pin`; `None` if there is no such pin.
    pub fn line(&self, pin: usize) -> Option<Arc<dyn InterruptLine>> {
        self.wires.get(pin).map(Wire::share)
    }

    /// Ends the level-triggered interrupts of `vector`: a processor's EOI, as the hypervisor reports it, or
    /// a write to the EOI register. Those whose wire is still asserted are sent again.
    pub fn eoi(&self, vector: u8) {
        let mut ended = 0_u32;
        for (pin, entry) in lock(&self.state).entries.iter_mut().enumerate() {
            if entry.is_level() && entry.in_service() && entry.vector() == vector {
                entry.set_in_service(false);
                ended |= 1 << pin;
            }
        }
        let ended = (0..PINS).filter(|pin| ended & 1 << pin != 0);
        for pin in ended.clone() {
            // A listener moves its wire, which takes the lock again.
            self.listeners[pin].notify();
        }
        let mut state = lock(&self.state);
        for pin in ended {
            self.serve_level(&mut state, pin);
        }
    }

    /// Brings the registers to their state after reset; the wires stay as the devices hold them.
    pub fn reset(&self) {
        let mut state = lock(&self.state);
        state.id = 0;
        state.selected = 0;
        state.entries = [RedirectionEntry::masked(); PINS];
        self.tell(&mut state);
    }

    fn set_input(&self, pin: usize, asserted: bool) {
        let mut state = lock(&self.state);
        let before = state.asserted;
        let bit = 1 << pin;
        state.asserted = if asserted { before | bit } else { before & !bit };
        let entry = state.entries[pin];
        if entry.is_level() {
            self.serve_level(&mut state, pin);
        } else if asserted && before & bit == 0 && !entry.is_masked() {
            // An edge on a masked pin is lost (82093AA §3.2.4, bit 16).
            self.send(entry);
        }
    }

    /// Sends the interrupt of a level-triggered pin if it is due.
    ///
    /// One that the remapping unit refuses is not in service, as nobody will end it; it is tried again when
    /// the wire is next asserted or the entry written, so that a device which holds its wire cannot fill the
    /// guest's fault records.
    fn serve_level(&self, state: &mut State, pin: usize) {
        let entry = &mut state.entries[pin];
        let due = entry.is_level() && !entry.is_masked() && !entry.in_service();
        if due && state.asserted & 1 << pin != 0 {
            let sent = self.send(*entry);
            entry.set_in_service(sent);
        }
    }

    /// Sends an entry's message; whether it got through.
    fn send(&self, entry: RedirectionEntry) -> bool {
        let message = entry.message();
        if entry.delivery() == Delivery::External {
            self.routes.external_interrupt(message);
            return true;
        }
        self.interrupts.send(self.source, message).is_ok()
    }

    /// Tells the machine about level-triggered pins that have changed.
    fn tell(&self, state: &mut State) {
        let pins = state.entries.map(|entry| entry.is_level().then(|| entry.message()));
        if pins != state.told {
            state.told = pins;
            self.routes.changed(&pins);
        }
    }

    fn read_register(&self) -> u32 {
        let state = lock(&self.state);
        match state.selected {
            register::ID | register::ARBITRATION => state.id,
            register::VERSION => VERSION | (PINS as u32 - 1) << 16,
            selected => match table_position(selected) {
                Some((pin, Half::Low)) => state.entries[pin].low(),
                Some((pin, Half::High)) => state.entries[pin].high(),
                None => 0,
            },
        }
    }

    fn write_register(&self, value: u32) {
        let mut state = lock(&self.state);
        if state.selected == register::ID {
            state.id = value & ID_MASK;
        } else if let Some((pin, half)) = table_position(state.selected) {
            match half {
                Half::Low => state.entries[pin].set_low(value),
                Half::High => state.entries[pin].set_high(value),
            }
            self.tell(&mut state);
            self.serve_level(&mut state, pin);
        }
    }
}

/// Which half of a redirection entry a register is.
#[derive(Clone, Copy)]
enum Half {
    Low,
    High,
}

/// The pin (below [`PINS`]) whose entry a register belongs to.
fn table_position(selected: u8) -> Option<(usize, Half)> {
    let index = usize::from(selected.checked_sub(register::TABLE)?);
    let half = if index % 2 == 0 { Half::Low } else { Half::High };
    (index / 2 < PINS).then_some((index / 2, half))
}

impl MmioDevice for IoApic {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let value = match offset {
            offset::SELECT => u32::from(lock(&self.state).selected),
            offset::WINDOW => self.read_register(),
            _ => 0,
        };
        wide::fill(data, u64::from(value));
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let value = wide::value(data) as u32;
        match offset {
            offset::SELECT => lock(&self.state).selected = value as u8,
            offset::WINDOW => self.write_register(value),
            offset::EOI => self.eoi(value as u8),
            _ => {}
        }
    }
}

/// The end of a pin's wire.
struct Input {
    ioapic: std::sync::Weak<IoApic>,
    /// Below [`PINS`].
    pin: usize,
}

impl InterruptLine for Input {
    fn set(&self, asserted: bool) {
        if let Some(ioapic) = self.ioapic.upgrade() {
            ioapic.set_input(self.pin, asserted);
        }
    }

    fn on_end(&self, listener: EndListener) {
        if let Some(ioapic) = self.ioapic.upgrade() {
            ioapic.listeners[self.pin].add(listener);
        }
    }
}

#[cfg(test)]
mod tests;
