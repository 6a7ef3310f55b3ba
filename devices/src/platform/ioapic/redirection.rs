//! The redirection table entry of an IOAPIC and the message it sends (VT-d §5.1.5.1).

use iommu::MsiMessage;

/// How the processor takes an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// By its vector, to the processors named or to one of them.
    Vector,
    /// As a system management interrupt, NMI or INIT: always edge-triggered.
    Signal,
    /// By the vector of the 8259 pair.
    External,
}

/// An entry of the redirection table. With bit 48 set it is in the format of interrupt remapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RedirectionEntry(u64);

const VECTOR: u64 = 0xFF;
const DELIVERY_MODE: u64 = 0x7 << 8;
/// Destination mode; bit 15 of the index in the remappable format.
const DESTINATION_MODE: u64 = 1 << 11;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// Everything but delivery status, remote IRR and the reserved bits. Polarity (bit 13) is kept and has no
/// effect: a wire says whether it is asserted, and the firmware tables say which voltage that would be.
const WRITABLE: u64 = 0xFFFF_0000_0001_AFFF;

const INTERRUPT_ADDRESS: u64 = 0xFEE0_0000;
/// The message's bit for an asserted level.
const ASSERT: u32 = 1 << 14;

impl RedirectionEntry {
    /// The state after reset.
    pub(super) const fn masked() -> Self {
        Self(MASKED)
    }

    pub(super) const fn low(self) -> u32 {
        self.0 as u32
    }

    pub(super) const fn high(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn set_low(&mut self, value: u32) {
        self.write(self.0 >> 32 << 32 | u64::from(value));
    }

    pub(super) fn set_high(&mut self, value: u32) {
        self.write(u64::from(value) << 32 | u64::from(self.low()));
    }

    fn write(&mut self, value: u64) {
        self.0 = self.0 & REMOTE_IRR | value & WRITABLE;
        // There is no interrupt in service on an edge-triggered pin. Guests without an EOI register to
        // write clear a stuck bit by a detour over edge.
        if !self.is_level() {
            self.0 &= !REMOTE_IRR;
        }
    }

    pub(super) const fn vector(self) -> u8 {
        (self.0 & VECTOR) as u8
    }

    pub(super) const fn delivery(self) -> Delivery {
        match (self.0 & DELIVERY_MODE) >> 8 {
            0b111 => Delivery::External,
            0b000 | 0b001 => Delivery::Vector,
            _ => Delivery::Signal,
        }
    }

    pub(super) const fn is_masked(self) -> bool {
        self.0 & MASKED != 0
    }

    pub(super) const fn is_level(self) -> bool {
        self.0 & LEVEL != 0 && matches!(self.delivery(), Delivery::Vector)
    }

    /// A level-triggered interrupt has been sent and not been ended.
    pub(super) const fn in_service(self) -> bool {
        self.0 & REMOTE_IRR != 0
    }

    pub(super) fn set_in_service(&mut self, in_service: bool) {
        self.0 = if in_service { self.0 | REMOTE_IRR } else { self.0 & !REMOTE_IRR };
    }

    /// The message for the bus. One composition serves both formats: the top 16 bits of the entry are bits
    /// 19:4 of the address, be they destination and zeros, or index and format.
    pub(super) const fn message(self) -> MsiMessage {
        let destination_mode = (self.0 & DESTINATION_MODE != 0) as u64;
        let level = if self.is_level() { LEVEL as u32 | ASSERT } else { 0 };
        MsiMessage {
            address: INTERRUPT_ADDRESS | self.0 >> 48 << 4 | destination_mode << 2,
            data: self.low() & (DELIVERY_MODE | VECTOR) as u32 | level,
        }
    }
}
