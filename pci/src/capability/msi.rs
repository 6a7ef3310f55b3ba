//! Message-signalled interrupts, MSI (PCI Express Base, 7.7.1), with 64-bit addresses.

use super::id;
use crate::config_space::NoRoom;
use crate::{ConfigSpace, Delivery, Message, Register};

const ENABLE: u16 = 1 << 0;
const MULTIPLE_ENABLE: u16 = 0b111 << 4;
const ADDRESS_64: u16 = 1 << 7;
const MASKABLE: u16 = 1 << 8;

// Offsets in the capability.
const CONTROL: u16 = 0x02;
const ADDRESS: u16 = 0x04;
const ADDRESS_UPPER: u16 = 0x08;
const DATA: u16 = 0x0C;
const MASK: u16 = 0x10;
const PENDING: u16 = 0x14;

/// The MSI capability of one function; its registers are in [`ConfigSpace`].
#[derive(Clone, Copy, Debug)]
pub struct Msi {
    at: u16,
    /// The base-2 logarithm of how many vectors the function can use.
    capable: u16,
    maskable: bool,
}

impl Msi {
    /// Adds the capability for `vectors` vectors, rounded up to a power of two and at most 32, with a mask
    /// bit for each if `maskable`.
    pub fn add(config: &mut ConfigSpace, vectors: u8, maskable: bool) -> Result<Self, NoRoom> {
        let vectors = u32::from(vectors.clamp(1, 32)).next_power_of_two();
        let capable = vectors.trailing_zeros() as u16;
        let optional = if maskable { MASKABLE } else { 0 };
        let mask = !0 >> (32 - vectors);
        let body = [
            Register::u16(ADDRESS_64 | capable << 1 | optional).writable(u32::from(ENABLE | MULTIPLE_ENABLE)),
            Register::u32(0).writable(!0b11),
            Register::u32(0).writable(!0),
            Register::u16(0).writable(0xFFFF),
            Register::u16(0),
            Register::u32(0).writable(mask),
            Register::u32(0),
        ];
        let body = if maskable { &body[..] } else { &body[..4] };
        let at = config.add_capability(id::MSI, body)?;
        Ok(Self { at, capable, maskable })
    }

    /// Whether MSI is on; INTx must then be quiet.
    pub fn is_enabled(self, config: &ConfigSpace) -> bool {
        config.u16(self.at + CONTROL) & ENABLE != 0
    }

    /// How many vectors the guest lets the function use.
    pub fn granted(self, config: &ConfigSpace) -> u16 {
        let asked = (config.u16(self.at + CONTROL) & MULTIPLE_ENABLE) >> 4;
        1 << asked.min(self.capable)
    }

    /// The message of `vector` as the registers stand; vectors beyond those granted share the last.
    pub fn message(self, config: &ConfigSpace, vector: u16) -> Message {
        let last = self.granted(config) - 1;
        let address =
            u64::from(config.u32(self.at + ADDRESS_UPPER)) << 32 | u64::from(config.u32(self.at + ADDRESS));
        let data = config.u16(self.at + DATA) & !last | vector.min(last);
        Message { address, data: u32::from(data) }
    }

    /// Raises `vector`; vectors beyond those granted share the last.
    pub fn raise(self, config: &mut ConfigSpace, vector: u16) -> Delivery {
        if !self.is_enabled(config) {
            return Delivery::Off;
        }
        let vector = vector.min(self.granted(config) - 1);
        if self.maskable && config.u32(self.at + MASK) >> vector & 1 != 0 {
            let pending = config.u32(self.at + PENDING);
            config.set_u32(self.at + PENDING, pending | 1 << vector);
            return Delivery::Pending;
        }
        Delivery::Send(self.message(config, vector))
    }

    /// Ends a write to configuration space: takes the messages that were pending and are no longer masked.
    /// Nothing stays pending when MSI goes off.
    pub fn take_unmasked(self, config: &mut ConfigSpace) -> Vec<Message> {
        if !self.maskable {
            return Vec::new();
        }
        if !self.is_enabled(config) {
            config.set_u32(self.at + PENDING, 0);
            return Vec::new();
        }
        let pending = config.u32(self.at + PENDING);
        let ready = pending & !config.u32(self.at + MASK);
        if ready == 0 {
            return Vec::new();
        }
        config.set_u32(self.at + PENDING, pending & !ready);
        (0..32).filter(|vector| ready >> vector & 1 != 0).map(|v| self.message(config, v)).collect()
    }

    /// The registers that decide what is sent: a change of them is a change of routes.
    pub(crate) fn fingerprint(self, config: &ConfigSpace) -> (u16, Message, u32) {
        let mask = if self.maskable { config.u32(self.at + MASK) } else { 0 };
        (config.u16(self.at + CONTROL), self.message(config, 0), mask)
    }
}

#[cfg(test)]
mod tests;
