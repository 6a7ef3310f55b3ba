//! One 8259A: eight inputs by priority. Names in brackets are the data sheet's.

/// The inputs a call is about, a bit each.
pub(super) type Inputs = u8;

/// The input of the first chip that the second one's output is wired to.
pub(super) const CASCADE: u8 = 2;

#[derive(Clone)]
pub(super) struct Chip {
    /// The inputs as they stand.
    lines: Inputs,
    /// Rises not yet acknowledged. Unlike the real latch it outlives the fall of its input: devices that
    /// pulse need not hold their wire until the processor gets round to it.
    latched: Inputs,
    /// Inputs that ask while they are asserted and not when they rise [ELCR].
    level: Inputs,
    /// Those among them that the guest may choose.
    choosable: Inputs,
    /// [IMR]
    masked: Inputs,
    /// [ISR]
    in_service: Inputs,
    /// Vector of input 0.
    base: u8,
    /// The input of highest priority.
    first: u8,
    awaited: Awaited,
    modes: Modes,
}

bitflags::bitflags! {
    #[derive(Clone, Copy)]
    struct Modes: u8 {
        /// The interrupt ends when it is acknowledged [AEOI].
        const AUTO_END = 1 << 0;
        /// Ending in that way rotates the priorities.
        const AUTO_ROTATE = 1 << 1;
        /// Masked inputs in service hold up nobody.
        const SPECIAL_MASK = 1 << 2;
        /// The cascade in service does not hold up the cascade.
        const SPECIAL_NESTED = 1 << 3;
        /// The next read acknowledges [P].
        const POLLED = 1 << 4;
        /// A read of the command port shows what is in service, and not what is requested.
        const SHOWS_IN_SERVICE = 1 << 5;
    }
}

/// What the next write to the data port is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// The mask [OCW1].
    Mask,
    /// Vector of input 0 [ICW2].
    Vector { cascaded: bool, mode: bool },
    /// How the chips are wired [ICW3].
    Wiring { mode: bool },
    /// [ICW4]
    Mode,
}

/// First initialization word [ICW1].
mod initialize {
    pub(super) const MARK: u8 = 1 << 4;
    pub(super) const SINGLE: u8 = 1 << 1;
    pub(super) const MODE_FOLLOWS: u8 = 1 << 0;
}

/// Fourth initialization word [ICW4].
mod mode {
    pub(super) const SPECIAL_NESTED: u8 = 1 << 4;
    pub(super) const AUTO_END: u8 = 1 << 1;
}

/// Third operation command word [OCW3].
mod operation {
    pub(super) const MARK: u8 = 1 << 3;
    pub(super) const CHANGE_SPECIAL_MASK: u8 = 1 << 6;
    pub(super) const SPECIAL_MASK: u8 = 1 << 5;
    pub(super) const POLL: u8 = 1 << 2;
    pub(super) const CHANGE_SHOWN: u8 = 1 << 1;
    pub(super) const SHOW_IN_SERVICE: u8 = 1 << 0;
}

impl Chip {
    /// A chip with all inputs masked, as firmware leaves it.
    pub(super) fn new(base: u8, level: Inputs, choosable: Inputs) -> Self {
        Self {
            lines: 0,
            latched: 0,
            level,
            choosable,
            masked: 0xFF,
            in_service: 0,
            base,
            first: 0,
            awaited: Awaited::Mask,
            modes: Modes::empty(),
        }
    }

    /// The state of a new chip under the same wires.
    pub(super) fn reset(&mut self, new: &Self) {
        *self = Self { lines: self.lines, ..new.clone() };
    }

    pub(super) fn set_input(&mut self, input: u8, asserted: bool) {
        let bit = bit(input);
        if asserted {
            self.latched |= bit & !self.lines & !self.level;
            self.lines |= bit;
        } else {
            self.lines &= !bit;
        }
    }

    pub(super) const fn level(&self) -> Inputs {
        self.level & self.choosable
    }

    pub(super) fn set_level(&mut self, level: Inputs) {
        self.level = self.level & !self.choosable | level & self.choosable;
        self.latched &= !self.level;
    }

    /// The input to be served next, if the processor is to be interrupted [INT].
    pub(super) fn pending(&self) -> Option<u8> {
        let mut busy = self.in_service;
        if self.modes.contains(Modes::SPECIAL_MASK) {
            busy &= !self.masked;
        }
        if self.modes.contains(Modes::SPECIAL_NESTED) {
            busy &= !bit(CASCADE);
        }
        let request = self.highest(self.requested() & !self.masked)?;
        let held_up = self.highest(busy).is_some_and(|served| self.rank(served) <= self.rank(request));
        (!held_up).then_some(request)
    }

    /// Puts `input` into service [INTA]; what has ended with that.
    pub(super) fn acknowledge(&mut self, input: u8) -> Inputs {
        self.latched &= !bit(input);
        if !self.modes.contains(Modes::AUTO_END) {
            self.in_service |= bit(input);
            return 0;
        }
        if self.modes.contains(Modes::AUTO_ROTATE) {
            self.first = (input + 1) % 8;
        }
        bit(input)
    }

    /// The vector by which the processor knows `input`.
    pub(super) const fn vector(&self, input: u8) -> u8 {
        self.base | input
    }

    /// Reads the command port; also what has ended with that.
    pub(super) fn read_command(&mut self) -> (u8, Inputs) {
        if self.modes.contains(Modes::POLLED) {
            return self.poll();
        }
        (if self.modes.contains(Modes::SHOWS_IN_SERVICE) { self.in_service } else { self.requested() }, 0)
    }

    /// Reads the data port; also what has ended with that.
    pub(super) fn read_data(&mut self) -> (u8, Inputs) {
        if self.modes.contains(Modes::POLLED) { self.poll() } else { (self.masked, 0) }
    }

    /// Writes to the command port; gives what has ended.
    pub(super) fn write_command(&mut self, value: u8) -> Inputs {
        if value & initialize::MARK != 0 {
            self.initialize(value);
            0
        } else if value & operation::MARK != 0 {
            self.operate(value);
            0
        } else {
            self.end(value >> 5, value & 7)
        }
    }

    pub(super) fn write_data(&mut self, value: u8) {
        self.awaited = match self.awaited {
            Awaited::Mask => {
                self.masked = value;
                Awaited::Mask
            }
            Awaited::Vector { cascaded, mode } => {
                self.base = value & !7;
                match (cascaded, mode) {
                    (true, mode) => Awaited::Wiring { mode },
                    (false, true) => Awaited::Mode,
                    (false, false) => Awaited::Mask,
                }
            }
            // Wires are as they are.
            Awaited::Wiring { mode: true } => Awaited::Mode,
            Awaited::Wiring { mode: false } => Awaited::Mask,
            Awaited::Mode => {
                self.modes.set(Modes::SPECIAL_NESTED, value & mode::SPECIAL_NESTED != 0);
                self.modes.set(Modes::AUTO_END, value & mode::AUTO_END != 0);
                Awaited::Mask
            }
        };
    }

    fn initialize(&mut self, value: u8) {
        let new = Self::new(self.base, self.level, self.choosable);
        self.reset(&new);
        self.masked = 0;
        self.awaited = Awaited::Vector {
            cascaded: value & initialize::SINGLE == 0,
            mode: value & initialize::MODE_FOLLOWS != 0,
        };
    }

    fn operate(&mut self, value: u8) {
        if value & operation::CHANGE_SPECIAL_MASK != 0 {
            self.modes.set(Modes::SPECIAL_MASK, value & operation::SPECIAL_MASK != 0);
        }
        self.modes.set(Modes::POLLED, value & operation::POLL != 0);
        if value & operation::CHANGE_SHOWN != 0 {
            self.modes.set(Modes::SHOWS_IN_SERVICE, value & operation::SHOW_IN_SERVICE != 0);
        }
    }

    /// Ends interrupts and rotates priorities [OCW2].
    fn end(&mut self, command: u8, input: u8) -> Inputs {
        match command {
            0b000 => self.modes.set(Modes::AUTO_ROTATE, false),
            0b100 => self.modes.set(Modes::AUTO_ROTATE, true),
            0b001 | 0b101 => {
                // The one in service that no other holds up.
                let unmasked = if self.modes.contains(Modes::SPECIAL_MASK) { !self.masked } else { 0xFF };
                if let Some(served) = self.highest(self.in_service & unmasked) {
                    if command == 0b101 {
                        self.first = (served + 1) % 8;
                    }
                    return self.end_one(served);
                }
            }
            0b011 => return self.end_one(input),
            0b111 => {
                self.first = (input + 1) % 8;
                return self.end_one(input);
            }
            0b110 => self.first = (input + 1) % 8,
            _ => {}
        }
        0
    }

    fn end_one(&mut self, input: u8) -> Inputs {
        let ended = self.in_service & bit(input);
        self.in_service &= !ended;
        ended
    }

    fn poll(&mut self) -> (u8, Inputs) {
        self.modes.set(Modes::POLLED, false);
        self.pending().map_or((0, 0), |input| (0x80 | input, self.acknowledge(input)))
    }

    /// [IRR]
    const fn requested(&self) -> Inputs {
        self.latched | self.lines & self.level
    }

    /// The input of highest priority among some.
    fn highest(&self, inputs: Inputs) -> Option<u8> {
        (0..8).map(|rank| (self.first + rank) % 8).find(|&input| inputs & bit(input) != 0)
    }

    /// An input's place in the order of priorities, 0 the highest.
    const fn rank(&self, input: u8) -> u8 {
        (8 + input - self.first) % 8
    }
}

/// `input` is below 8.
const fn bit(input: u8) -> Inputs {
    1 << (input & 7)
}
