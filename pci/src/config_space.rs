//! Configuration space: bytes, and for each bit whether software may write it or clears it by writing one.
//!
//! Everything that can be said with masks is said with masks; a BAR that is sized by writing ones needs no
//! code of its own. What a register *does* is the business of those who read it after a write.

use crate::Command;

/// Bytes of configuration space (PCI Express Base, 7.2).
pub const CONFIG_SPACE_SIZE: usize = 4096;

/// Offsets of the registers that both header types share (PCI Express Base, 7.5.1.1).
pub(crate) mod register {
    pub(crate) const VENDOR: u16 = 0x00;
    pub(crate) const DEVICE: u16 = 0x02;
    pub(crate) const COMMAND: u16 = 0x04;
    pub(crate) const STATUS: u16 = 0x06;
    pub(crate) const REVISION: u16 = 0x08;
    pub(crate) const CACHE_LINE_SIZE: u16 = 0x0C;
    pub(crate) const HEADER_TYPE: u16 = 0x0E;
    pub(crate) const CAPABILITIES: u16 = 0x34;
    pub(crate) const INTERRUPT_LINE: u16 = 0x3C;
    pub(crate) const INTERRUPT_PIN: u16 = 0x3D;
}

/// Where standard capabilities may be.
const STANDARD: std::ops::Range<u16> = 0x40..0x100;
/// Where extended capabilities may be.
const EXTENDED: std::ops::Range<u16> = 0x100..0x1000;

/// Status register: there is a list of capabilities.
const STATUS_CAPABILITIES: u16 = 1 << 4;

/// One register while configuration space is being laid out: width, value after power-on, and what software
/// may do to it. Read-only unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    width: u8,
    value: u32,
    writable: u32,
    clearable: u32,
}

impl Register {
    /// A byte.
    pub const fn u8(value: u8) -> Self {
        Self { width: 1, value: value as u32, writable: 0, clearable: 0 }
    }

    /// Two bytes, little-endian.
    pub const fn u16(value: u16) -> Self {
        Self { width: 2, value: value as u32, writable: 0, clearable: 0 }
    }

    /// Four bytes, little-endian.
    pub const fn u32(value: u32) -> Self {
        Self { width: 4, value, writable: 0, clearable: 0 }
    }

    /// Software may write these bits.
    #[must_use]
    pub const fn writable(self, mask: u32) -> Self {
        Self { writable: mask, ..self }
    }

    /// Software clears these bits by writing ones to them, and can do nothing else to them.
    #[must_use]
    pub const fn cleared_by_one(self, mask: u32) -> Self {
        Self { clearable: mask, ..self }
    }
}

/// No room is left for a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("No room in configuration space for capability {id:#x} of {length} bytes")]
pub struct NoRoom {
    /// Capability ID.
    pub id: u16,
    /// Bytes it needs, header included.
    pub length: usize,
}

#[derive(Clone, Copy, Default)]
struct Byte {
    value: u8,
    power_on: u8,
    writable: u8,
    clearable: u8,
}

/// The configuration space of one function.
pub struct ConfigSpace {
    bytes: Box<[Byte]>,
    standard: CapabilityList,
    extended: CapabilityList,
}

/// How far a list of capabilities has grown.
struct CapabilityList {
    free: u16,
    last: Option<u16>,
}

impl Default for ConfigSpace {
    fn default() -> Self {
        Self::new()
    }
}

impl ConfigSpace {
    /// 4096 read-only zeros.
    pub fn new() -> Self {
        Self {
            bytes: vec![Byte::default(); CONFIG_SPACE_SIZE].into_boxed_slice(),
            standard: CapabilityList { free: STANDARD.start, last: None },
            extended: CapabilityList { free: EXTENDED.start, last: None },
        }
    }

    /// Lays a register out at `offset`; what would lie outside of the space is left out.
    pub fn define(&mut self, offset: u16, register: Register) {
        let value = register.value.to_le_bytes();
        let writable = register.writable.to_le_bytes();
        let clearable = register.clearable.to_le_bytes();
        let bytes = self.bytes.iter_mut().skip(offset as usize).take(register.width as usize);
        for (((byte, value), writable), clearable) in bytes.zip(value).zip(writable).zip(clearable) {
            *byte = Byte { value, power_on: value, writable, clearable };
        }
    }

    /// Appends a standard capability whose registers follow its ID and next pointer without gaps; gives the
    /// offset of the ID.
    pub fn add_capability(&mut self, id: u8, body: &[Register]) -> Result<u16, NoRoom> {
        let length = 2 + width_of(body);
        let at = self.standard.take(u16::from(id), length, STANDARD.end)?;
        self.define(at, Register::u8(id));
        self.define_all(at + 2, body);
        match self.standard.last.replace(at) {
            None => {
                self.define(register::CAPABILITIES, Register::u8(at as u8));
                let status = self.u16(register::STATUS) | STATUS_CAPABILITIES;
                self.preset_u16(register::STATUS, status);
            }
            Some(last) => self.define(last + 1, Register::u8(at as u8)),
        }
        Ok(at)
    }

    /// Appends an extended capability whose registers follow its 4-byte header without gaps; gives the offset
    /// of the header.
    pub fn add_extended_capability(
        &mut self,
        id: u16,
        version: u8,
        body: &[Register],
    ) -> Result<u16, NoRoom> {
        let length = 4 + width_of(body);
        let at = self.extended.take(id, length, EXTENDED.end)?;
        let version = u16::from(version & 0xF);
        self.define(at, Register::u16(id));
        self.define(at + 2, Register::u16(version));
        self.define_all(at + 4, body);
        if let Some(last) = self.extended.last.replace(at) {
            let version = self.u16(last + 2) & 0xF;
            self.define(last + 2, Register::u16(at << 4 | version));
        }
        Ok(at)
    }

    /// What software reads. Bytes outside of the space read as ones.
    pub fn read(&self, offset: u16, data: &mut [u8]) {
        for (byte, at) in data.iter_mut().zip(offset as usize..) {
            *byte = self.bytes.get(at).map_or(0xFF, |byte| byte.value);
        }
    }

    /// What software's write does to the bits it may change.
    pub fn write(&mut self, offset: u16, data: &[u8]) {
        for (byte, &new) in self.bytes.iter_mut().skip(offset as usize).zip(data) {
            let kept = byte.value & !byte.writable & !(byte.clearable & new);
            byte.value = kept | new & byte.writable;
        }
    }

    /// The byte at `offset`.
    pub fn u8(&self, offset: u16) -> u8 {
        let mut data = [0];
        self.read(offset, &mut data);
        data[0]
    }

    /// The two bytes at `offset`.
    pub fn u16(&self, offset: u16) -> u16 {
        let mut data = [0; 2];
        self.read(offset, &mut data);
        u16::from_le_bytes(data)
    }

    /// The four bytes at `offset`.
    pub fn u32(&self, offset: u16) -> u32 {
        let mut data = [0; 4];
        self.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    /// Sets two bytes as the function itself does, whatever software may write there.
    pub fn set_u16(&mut self, offset: u16, value: u16) {
        self.set(offset, &value.to_le_bytes());
    }

    /// Sets four bytes as the function itself does, whatever software may write there.
    pub fn set_u32(&mut self, offset: u16, value: u32) {
        self.set(offset, &value.to_le_bytes());
    }

    /// The command register.
    pub fn command(&self) -> Command {
        Command::from_bits_retain(self.u16(register::COMMAND))
    }

    /// Brings every register to its value after power-on.
    pub fn reset(&mut self) {
        for byte in &mut self.bytes {
            byte.value = byte.power_on;
        }
    }

    /// Changes a register's value now and after power-on, but not what software may do to it.
    pub(crate) fn preset_u16(&mut self, offset: u16, value: u16) {
        self.set_u16(offset, value);
        for (byte, value) in self.bytes.iter_mut().skip(offset as usize).zip(value.to_le_bytes()) {
            byte.power_on = value;
        }
    }

    fn set(&mut self, offset: u16, data: &[u8]) {
        for (byte, &value) in self.bytes.iter_mut().skip(offset as usize).zip(data) {
            byte.value = value;
        }
    }

    fn define_all(&mut self, mut offset: u16, registers: &[Register]) {
        for register in registers {
            self.define(offset, *register);
            offset += u16::from(register.width);
        }
    }
}

impl CapabilityList {
    /// Takes `length` bytes below `end`, 4-byte aligned.
    fn take(&mut self, id: u16, length: usize, end: u16) -> Result<u16, NoRoom> {
        let at = self.free;
        if length > usize::from(end - at) {
            return Err(NoRoom { id, length });
        }
        self.free = at + (length as u16).next_multiple_of(4);
        Ok(at)
    }
}

fn width_of(registers: &[Register]) -> usize {
    registers.iter().map(|register| usize::from(register.width)).sum()
}

#[cfg(test)]
mod tests;
