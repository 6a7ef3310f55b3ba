//! Accesses: configuration space through ECAM and through ports 0xCF8–0xCFF, and BARs.

use std::sync::atomic::Ordering;

use super::RootComplex;
use crate::Bdf;
use crate::config_space::register;
use crate::map::{ConfigTarget, Map, Ranges};

/// The address register and the data registers behind it.
const ADDRESS_PORT: u16 = 0xCF8;
const DATA_PORTS: std::ops::RangeInclusive<u16> = 0xCFC..=0xCFF;
/// Address register: accesses to the data registers are configuration accesses.
const ADDRESS_ENABLE: u32 = 1 << 31;

/// Configuration space that the address register reaches.
const PORT_CONFIG_SPACE: u32 = 0x100;
/// Configuration space that conventional PCI has.
const CONVENTIONAL_CONFIG_SPACE: u16 = 0x100;

/// Header type: the device has more than function 0.
const MULTIFUNCTION: u8 = 1 << 7;

/// A place in the configuration space of some function.
#[derive(Clone, Copy)]
struct ConfigAddress {
    bdf: Bdf,
    offset: u16,
}

impl RootComplex {
    /// Reads the enhanced configuration region at `offset` from its start (PCI Express Base, 7.2.2): 4 KiB
    /// for each function, by its numbers. Any size and alignment; ones where there is nothing.
    pub fn ecam_read(&self, offset: u64, data: &mut [u8]) {
        let mut rest = data;
        let mut at = offset;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(aligned_length(at, rest.len()));
            match ConfigAddress::in_ecam(at) {
                Some(address) => self.config_read(address, now),
                None => now.fill(0xFF),
            }
            at = at.saturating_add(now.len() as u64);
            rest = later;
        }
    }

    /// Writes the enhanced configuration region; the counterpart of [`RootComplex::ecam_read`].
    pub fn ecam_write(&self, offset: u64, data: &[u8]) {
        let mut rest = data;
        let mut at = offset;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(aligned_length(at, rest.len()));
            if let Some(address) = ConfigAddress::in_ecam(at) {
                self.config_write(address, now);
            }
            at = at.saturating_add(now.len() as u64);
            rest = later;
        }
    }

    /// Reads ports 0xCF8–0xCFF; `false` means that the access is somebody else's.
    ///
    /// The register read is bits 7:0 of the address register plus the low bits of the port: both ways of
    /// naming a byte are in use.
    pub fn port_read(&self, port: u16, data: &mut [u8]) -> bool {
        if port == ADDRESS_PORT && data.len() == 4 {
            data.copy_from_slice(&self.address.load(Ordering::Acquire).to_le_bytes());
            return true;
        }
        if !is_data_access(port, data.len()) {
            return false;
        }
        data.fill(0xFF);
        if let Some((offset, length)) = self.addressed(port, data.len())
            && let Some(data) = data.get_mut(..length)
        {
            self.ecam_read(offset, data);
        }
        true
    }

    /// Writes ports 0xCF8–0xCFF; `false` means that the access is somebody else's: only all 4 bytes at once
    /// are a write to the address register, and among them lies the reset register at 0xCF9.
    pub fn port_write(&self, port: u16, data: &[u8]) -> bool {
        if port == ADDRESS_PORT
            && let Ok(bytes) = data.try_into()
        {
            self.address.store(u32::from_le_bytes(bytes), Ordering::Release);
            return true;
        }
        if !is_data_access(port, data.len()) {
            return false;
        }
        if let Some((offset, length)) = self.addressed(port, data.len())
            && let Some(data) = data.get(..length)
        {
            self.ecam_write(offset, data);
        }
        true
    }

    /// Reads memory behind the host bridge; `false` if no BAR is there, and `data` is then all ones. Any
    /// size and alignment.
    pub fn mmio_read(&self, address: u64, data: &mut [u8]) -> bool {
        read_bars(&self.map.load().memory, address, data)
    }

    /// Writes memory behind the host bridge; `false` if no BAR is there.
    pub fn mmio_write(&self, address: u64, data: &[u8]) -> bool {
        write_bars(&self.map.load().memory, address, data)
    }

    /// Reads ports behind the host bridge; `false` if no BAR is there, and `data` is then all ones.
    pub fn pio_read(&self, port: u16, data: &mut [u8]) -> bool {
        read_bars(&self.map.load().ports, u64::from(port), data)
    }

    /// Writes ports behind the host bridge; `false` if no BAR is there.
    pub fn pio_write(&self, port: u16, data: &[u8]) -> bool {
        write_bars(&self.map.load().ports, u64::from(port), data)
    }

    pub(super) fn reset_address(&self) {
        self.address.store(0, Ordering::Release);
    }

    /// What an access to a data register means: an offset in ECAM, and how many of its bytes are in the
    /// space that can be addressed this way.
    fn addressed(&self, port: u16, length: usize) -> Option<(u64, usize)> {
        let address = self.address.load(Ordering::Acquire);
        if address & ADDRESS_ENABLE == 0 {
            return None;
        }
        let function = u64::from(address >> 8 & 0xFFFF);
        let register = (address & 0xFF) + u32::from(port & 3);
        let length = length.min(PORT_CONFIG_SPACE.saturating_sub(register) as usize);
        Some((function << 12 | u64::from(register), length))
    }

    /// Reads up to 4 aligned bytes.
    fn config_read(&self, address: ConfigAddress, data: &mut [u8]) {
        let map = self.map.load();
        let Some(target) = address.target(&map) else {
            data.fill(0xFF);
            return;
        };
        target.function.config_read(address.offset, data);
        // Whether a device has several functions is a fact of this tree, not of one function.
        let header_type = register::HEADER_TYPE.checked_sub(address.offset);
        if let Some(byte) = header_type.and_then(|index| data.get_mut(usize::from(index))) {
            let bit = if target.multifunction { MULTIFUNCTION } else { 0 };
            *byte = *byte & !MULTIFUNCTION | bit;
        }
    }

    /// Writes up to 4 aligned bytes.
    fn config_write(&self, address: ConfigAddress, data: &[u8]) {
        let mut topology = self.topology();
        let id = {
            let map = self.map.load();
            let Some(target) = address.target(&map) else { return };
            target.function.config_write(address.offset, data);
            target.id
        };
        self.refresh_after_write(&mut topology, id);
    }
}

impl ConfigAddress {
    fn in_ecam(offset: u64) -> Option<Self> {
        let bdf = u16::try_from(offset >> 12).ok()?;
        Some(Self { bdf: Bdf(bdf), offset: offset as u16 & 0xFFF })
    }

    /// Who answers, if anybody does.
    fn target(self, map: &Map) -> Option<&ConfigTarget> {
        map.function(self.bdf).filter(|target| target.extended || self.offset < CONVENTIONAL_CONFIG_SPACE)
    }
}

/// How many bytes at `offset` make an aligned access of 1, 2 or 4 bytes.
fn aligned_length(offset: u64, length: usize) -> usize {
    let alignment = 1 << offset.trailing_zeros().min(2);
    match length.min(alignment) {
        3 => 2,
        length => length,
    }
}

fn is_data_access(port: u16, length: usize) -> bool {
    DATA_PORTS.contains(&port) && length > 0 && length <= usize::from(DATA_PORTS.end() - port) + 1
}

fn read_bars(ranges: &Ranges, address: u64, data: &mut [u8]) -> bool {
    let mut claimed = false;
    let mut rest = data;
    let mut at = Some(address);
    while !rest.is_empty() {
        let piece = at.map(|at| ranges.first_piece(at, rest.len()));
        let (length, target) = piece.map_or((rest.len(), None), |piece| (piece.length, piece.target));
        let (now, later) = rest.split_at_mut(length);
        match target {
            Some(target) => {
                target.function.bar_read(target.bar, target.offset, now);
                claimed = true;
            }
            None => now.fill(0xFF),
        }
        at = at.and_then(|at| at.checked_add(length as u64));
        rest = later;
    }
    claimed
}

fn write_bars(ranges: &Ranges, address: u64, data: &[u8]) -> bool {
    let mut claimed = false;
    let mut rest = data;
    let mut at = Some(address);
    while !rest.is_empty() {
        let piece = at.map(|at| ranges.first_piece(at, rest.len()));
        let (length, target) = piece.map_or((rest.len(), None), |piece| (piece.length, piece.target));
        let (now, later) = rest.split_at(length);
        if let Some(target) = target {
            target.function.bar_write(target.bar, target.offset, now);
            claimed = true;
        }
        at = at.and_then(|at| at.checked_add(length as u64));
        rest = later;
    }
    claimed
}
