//! A function's registers as software reaches them.

use crate::config_space::register;
use crate::topology::{NodeId, Topology};
use crate::{Command, Function};

use super::layout::Pool;

const BAR_0: u16 = 0x10;
/// BARs of a type 0 and of a type 1 header.
const ENDPOINT_BARS: u16 = 6;
const BRIDGE_BARS: u16 = 2;
const ENDPOINT_ROM: u16 = 0x30;
const BRIDGE_ROM: u16 = 0x38;

const PORT_BAR: u32 = 1 << 0;
const WIDE_BAR: u32 = 0b10 << 1;
const BAR_TYPE: u32 = 0b11 << 1;
const PREFETCHABLE_BAR: u32 = 1 << 3;

/// A BAR as sizing shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SizedBar {
    pub(super) register: u16,
    pub(super) wide: bool,
    pub(super) pool: Pool,
    pub(super) size: u64,
}

impl SizedBar {
    /// What lets the BAR decode.
    pub(super) fn space(&self) -> Command {
        if self.pool == Pool::Ports { Command::IO_SPACE } else { Command::MEMORY_SPACE }
    }
}

/// Configuration accesses to one function.
pub(super) struct Registers<'a>(pub(super) &'a dyn Function);

impl<'a> Registers<'a> {
    pub(super) fn of(topology: &'a Topology, id: NodeId) -> Self {
        Self(topology.node(id).function.as_ref())
    }

    pub(super) fn read_u8(&self, offset: u16) -> u8 {
        let mut data = [0];
        self.0.config_read(offset, &mut data);
        data[0]
    }

    pub(super) fn read_u32(&self, offset: u16) -> u32 {
        let mut data = [0; 4];
        self.0.config_read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    pub(super) fn write_u8(&self, offset: u16, value: u8) {
        self.0.config_write(offset, &[value]);
    }

    pub(super) fn write_u16(&self, offset: u16, value: u16) {
        self.0.config_write(offset, &value.to_le_bytes());
    }

    pub(super) fn write_u32(&self, offset: u16, value: u32) {
        self.0.config_write(offset, &value.to_le_bytes());
    }

    pub(super) fn set_command(&self, command: Command) {
        self.write_u16(register::COMMAND, command.bits());
    }

    /// Sizes all BARs. Decoding has to be off; they hold garbage afterwards.
    pub(super) fn size_bars(&self, bridge: bool) -> Vec<SizedBar> {
        let (count, rom) = if bridge { (BRIDGE_BARS, BRIDGE_ROM) } else { (ENDPOINT_BARS, ENDPOINT_ROM) };
        let mut found = Vec::new();
        let mut index = 0;
        while index < count {
            let bar = self.size_bar(BAR_0 + 4 * index);
            index += if bar.is_some_and(|bar| bar.wide) { 2 } else { 1 };
            found.extend(bar);
        }
        found.extend(self.size_rom(rom));
        found
    }

    fn size_bar(&self, at: u16) -> Option<SizedBar> {
        let low = self.write_ones(at, !0);
        if low & PORT_BAR != 0 {
            // A function may leave the upper half of a port's address out.
            let size = lowest_bit(u64::from(low & !0b11));
            return (size != 0).then_some(SizedBar { register: at, wide: false, pool: Pool::Ports, size });
        }
        let wide = low & BAR_TYPE == WIDE_BAR;
        let high = if wide { self.write_ones(at + 4, !0) } else { 0 };
        let size = lowest_bit(u64::from(high) << 32 | u64::from(low & !0xF));
        // What is not prefetchable has to stay below 4 GiB: the window that bridges have for it does.
        let pool = if wide && low & PREFETCHABLE_BAR != 0 { Pool::High } else { Pool::Low };
        (size != 0).then_some(SizedBar { register: at, wide, pool, size })
    }

    fn size_rom(&self, at: u16) -> Option<SizedBar> {
        let size = lowest_bit(u64::from(self.write_ones(at, 0xFFFF_F800) & 0xFFFF_F800));
        (size != 0).then_some(SizedBar { register: at, wide: false, pool: Pool::Low, size })
    }

    fn write_ones(&self, at: u16, ones: u32) -> u32 {
        self.write_u32(at, ones);
        self.read_u32(at)
    }
}

fn lowest_bit(value: u64) -> u64 {
    value & value.wrapping_neg()
}
