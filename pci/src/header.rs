//! The first 64 bytes of configuration space: type 0 (endpoints) and type 1 (bridges) headers.

use crate::config_space::register;
use crate::{ConfigSpace, Register};

bitflags::bitflags! {
    /// The command register (PCI Express Base, 7.5.1.1.3).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Command: u16 {
        /// I/O Space Enable: port BARs (of a bridge: the port window) decode.
        const IO_SPACE = 1 << 0;
        /// Memory Space Enable: memory BARs (of a bridge: the memory windows) decode.
        const MEMORY_SPACE = 1 << 1;
        /// Bus Master Enable: the function may send requests, message-signalled interrupts included.
        const BUS_MASTER = 1 << 2;
        /// Parity Error Response.
        const PARITY_ERROR = 1 << 6;
        /// SERR# Enable.
        const SERR = 1 << 8;
        /// Interrupt Disable: INTx stays quiet.
        const INTERRUPT_DISABLE = 1 << 10;
        const _ = !0;
    }
}

/// Bits of the command register that a PCI Express function has.
const COMMAND_WRITABLE: u32 = 0x0547;
/// Error bits of the status registers, cleared by writing one.
const STATUS_ERRORS: u32 = 0xF900;
/// Status register: INTx is asserted (whether or not Interrupt Disable keeps the wire quiet).
pub(crate) const STATUS_INTERRUPT: u16 = 1 << 3;

/// Registers of a type 1 header (PCI Express Base, 7.5.1.3).
pub(crate) mod type1 {
    pub(crate) const PRIMARY_BUS: u16 = 0x18;
    pub(crate) const SECONDARY_BUS: u16 = 0x19;
    pub(crate) const SUBORDINATE_BUS: u16 = 0x1A;
    pub(crate) const IO_BASE: u16 = 0x1C;
    pub(crate) const IO_LIMIT: u16 = 0x1D;
    pub(crate) const SECONDARY_STATUS: u16 = 0x1E;
    pub(crate) const MEMORY_BASE: u16 = 0x20;
    pub(crate) const MEMORY_LIMIT: u16 = 0x22;
    pub(crate) const PREFETCHABLE_BASE: u16 = 0x24;
    pub(crate) const PREFETCHABLE_LIMIT: u16 = 0x26;
    pub(crate) const PREFETCHABLE_BASE_UPPER: u16 = 0x28;
    pub(crate) const PREFETCHABLE_LIMIT_UPPER: u16 = 0x2C;
    pub(crate) const BRIDGE_CONTROL: u16 = 0x3E;
}

/// Bridge Control: hold everything below in reset.
pub(crate) const SECONDARY_BUS_RESET: u16 = 1 << 6;

/// What a function says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Revision ID.
    pub revision: u8,
    /// Class code, 24 bits: base class, sub-class, programming interface.
    pub class: u32,
    /// Subsystem vendor ID; bridges have none in their header.
    pub subsystem_vendor: u16,
    /// Subsystem ID; bridges have none in their header.
    pub subsystem: u16,
}

/// An INTx pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InterruptPin {
    /// INTA.
    A,
    /// INTB.
    B,
    /// INTC.
    C,
    /// INTD.
    D,
}

impl InterruptPin {
    /// 0–3, as `_PRT` counts pins.
    pub const fn index(self) -> u8 {
        self as u8
    }

    /// The pin `index` modulo 4.
    pub const fn from_index(index: u8) -> Self {
        match index % 4 {
            0 => Self::A,
            1 => Self::B,
            2 => Self::C,
            _ => Self::D,
        }
    }

    /// What the Interrupt Pin register holds: 1–4.
    pub const fn register(self) -> u8 {
        self as u8 + 1
    }
}

impl ConfigSpace {
    /// A type 0 header without BARs, interrupt pin or capabilities.
    pub fn endpoint(identity: &Identity) -> Self {
        let mut space = Self::common(identity);
        space.define(0x2C, Register::u16(identity.subsystem_vendor));
        space.define(0x2E, Register::u16(identity.subsystem));
        space
    }

    /// A type 1 header: bus numbers 0, port window of 16 bits, prefetchable window of 64, all windows as
    /// power-on leaves them.
    pub(crate) fn bridge(identity: &Identity) -> Self {
        let mut space = Self::common(identity);
        space.define(register::HEADER_TYPE, Register::u8(1));
        for bus in [type1::PRIMARY_BUS, type1::SECONDARY_BUS, type1::SUBORDINATE_BUS] {
            space.define(bus, Register::u8(0).writable(0xFF));
        }
        space.define(type1::IO_BASE, Register::u8(0).writable(0xF0));
        space.define(type1::IO_LIMIT, Register::u8(0).writable(0xF0));
        space.define(type1::SECONDARY_STATUS, Register::u16(0).cleared_by_one(STATUS_ERRORS));
        space.define(type1::MEMORY_BASE, Register::u16(0).writable(0xFFF0));
        space.define(type1::MEMORY_LIMIT, Register::u16(0).writable(0xFFF0));
        space.define(type1::PREFETCHABLE_BASE, Register::u16(1).writable(0xFFF0));
        space.define(type1::PREFETCHABLE_LIMIT, Register::u16(1).writable(0xFFF0));
        space.define(type1::PREFETCHABLE_BASE_UPPER, Register::u32(0).writable(!0));
        space.define(type1::PREFETCHABLE_LIMIT_UPPER, Register::u32(0).writable(!0));
        // Parity Error Response, SERR# and Secondary Bus Reset; no VGA or ISA ranges are forwarded.
        space.define(type1::BRIDGE_CONTROL, Register::u16(0).writable(0x0003 | SECONDARY_BUS_RESET as u32));
        space
    }

    /// Says which INTx pin the function uses and lets software keep its routing in Interrupt Line.
    pub fn set_interrupt_pin(&mut self, pin: InterruptPin) {
        self.define(register::INTERRUPT_PIN, Register::u8(pin.register()));
    }

    fn common(identity: &Identity) -> Self {
        let mut space = Self::new();
        space.define(register::VENDOR, Register::u16(identity.vendor));
        space.define(register::DEVICE, Register::u16(identity.device));
        space.define(register::COMMAND, Register::u16(0).writable(COMMAND_WRITABLE));
        space.define(register::STATUS, Register::u16(0).cleared_by_one(STATUS_ERRORS));
        space.define(register::REVISION, Register::u32(identity.class << 8 | u32::from(identity.revision)));
        space.define(register::CACHE_LINE_SIZE, Register::u8(0).writable(0xFF));
        space.define(register::INTERRUPT_LINE, Register::u8(0).writable(0xFF));
        space
    }
}
